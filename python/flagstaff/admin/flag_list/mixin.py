"""The options of the list of flags, and its query."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from django.contrib.admin import AdminSite
from django.db.models import Count, ManyToManyField, Model, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest

from flagstaff._tables.model_fields import (
    OWNER,
    TAGS,
    ownership_fields,
    rules_field,
    through_model,
)
from flagstaff.admin.flag_list.columns import FlagColumnsMixin
from flagstaff.admin.flag_rules import RulesFilter
from flagstaff.admin.flag_state import ALLOWED_COUNT
from flagstaff.admin.ownership import OwnerFilter, TagFilter
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.models import FeatureFlag

__all__ = ["FlagListMixin"]

if TYPE_CHECKING:
    from django.contrib.admin.options import _ListDisplayT, _ListFilterT
    from django.utils.datastructures import _ListOrTuple


class FlagListMixin(FlagColumnsMixin):
    """The list of flags. Put it before OwnFieldsMixin."""

    # The button comes early: a narrow screen shows it without scrolling.
    list_display: _ListDisplayT[FeatureFlag] = (
        "flag",
        "state",
        "on_off",
        "rollout",
        "allowed",
        "changed",
    )
    list_display_links = ("flag",)
    list_filter: ClassVar[_ListOrTuple[_ListFilterT]] = (
        "enabled",
        "kind",
        RulesFilter,
        OwnerFilter,
        TagFilter,
    )
    search_fields: ClassVar[_ListOrTuple[str]] = ("key", "description", OWNER)
    ordering = ("key",)

    def __init__(self, model: type[FeatureFlag], admin_site: AdminSite) -> None:
        super().__init__(model, admin_site)
        self._leave_out_lists()

    def _leave_out_lists(self) -> None:
        """Leaves out filters and a search by fields that the model lacks, or that are its own."""
        owned = ownership_fields(self.model)
        lacking: list[object] = [] if rules_field(self.model) else [RulesFilter]
        lacking += [] if OWNER in owned else [OwnerFilter]
        lacking += [] if TAGS in owned else [TagFilter]
        vars(self)["list_filter"] = tuple(one for one in self.list_filter if one not in lacking)
        if OWNER not in owned and type(self).search_fields is FlagListMixin.search_fields:
            searched = tuple(one for one in self.search_fields if one != OWNER)
            vars(self)["search_fields"] = searched

    def get_queryset(self, request: HttpRequest) -> QuerySet[FeatureFlag]:
        """All flags, with the number of their allowed users."""
        flags: QuerySet[FeatureFlag] = super().get_queryset(request)
        # Not a join, which the queries that count the rows of the list would make, too.
        return flags.annotate(**{ALLOWED_COUNT: _allowed_count(self.model)})

    def get_list_display(self, request: HttpRequest) -> _ListDisplayT[FeatureFlag]:
        """The columns, without the on/off button for users who may not change flags."""
        columns = super().get_list_display(request)
        may_change = self.has_change_permission(request)
        return [column for column in columns if may_change or column != "on_off"]


def _allowed_count(model: type[Model]) -> Coalesce:
    field = cast("ManyToManyField[Model, Model]", model._meta.get_field(ALLOWED))
    links, flag = through_model(field)._base_manager, field.m2m_field_name()
    of_flag = links.filter(**{flag: OuterRef("pk")}).order_by().values(flag)
    return Coalesce(Subquery(of_flag.annotate(number=Count("pk")).values("number")), 0)
