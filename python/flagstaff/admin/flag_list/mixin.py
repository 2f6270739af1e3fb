"""The options of the list of flags, and its query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib.admin import AdminSite
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from flagstaff._tables.optional_fields import OWNER, RULES, TAGS, FlagModel
from flagstaff.admin.app_panels import FLAG_LIST
from flagstaff.admin.environment import extend_template
from flagstaff.admin.flag_list.changelist import FlagChangeListMixin
from flagstaff.admin.flag_list.columns import FlagColumnsMixin
from flagstaff.admin.flag_list.conditions import allowed_count
from flagstaff.admin.flag_list.filters import (
    ChangedFilter,
    EvaluatedFilter,
    MineFilter,
    StaleFilter,
    StateFilter,
    has_usage,
)
from flagstaff.admin.flag_list.overview import overview_of
from flagstaff.admin.flag_list.shortcuts import shortcuts
from flagstaff.admin.flag_list.turning_off import TurningOffMixin
from flagstaff.admin.flag_permissions import may_toggle, why_not_toggle
from flagstaff.admin.flag_rules import RulesFilter
from flagstaff.admin.flag_state import ALLOWED_COUNT
from flagstaff.admin.ownership import OwnerFilter, TagFilter
from flagstaff.admin.recent_changes.urls import deleted_url
from flagstaff.models import FeatureFlag

# The attribute of a request for the list.
_IS_LIST = "flagstaff_is_list"

if TYPE_CHECKING:
    from django.contrib.admin.options import _ListDisplayT, _ListFilterT
    from django.utils.datastructures import _ListOrTuple


class FlagListMixin(TurningOffMixin, FlagColumnsMixin):
    """The list of flags. Put it after AppPanelsMixin and before OwnFieldsMixin."""

    # The button comes early: a narrow screen shows it without scrolling.
    list_display: _ListDisplayT[FeatureFlag] = (
        *("flag", "state", "on_off", "rollout", "allowed", "evaluated", "changed"),
    )
    list_display_links = ("flag",)
    list_filter: ClassVar[_ListOrTuple[_ListFilterT]] = (
        *(StateFilter, ChangedFilter, EvaluatedFilter, StaleFilter, MineFilter),
        *("enabled", "kind", RulesFilter, OwnerFilter, TagFilter),
    )
    search_fields: ClassVar[_ListOrTuple[str]] = ("key", "description", OWNER)
    ordering = ("key",)
    # A row shows more than one of Django's lists, so a page of 100 would take too long.
    list_per_page = 40
    # The list counts all flags together with the shortcuts.
    show_full_result_count = False

    def __init__(self, model: type[FeatureFlag], admin_site: AdminSite) -> None:
        super().__init__(model, admin_site)
        self._leave_out_lists()

    def _leave_out_lists(self) -> None:
        """Leaves out filters and a search by fields that the model lacks, or that are its own."""
        model = FlagModel.of(self.model)
        lacking: list[object] = [] if model.has(RULES) else [RulesFilter]
        lacking += [] if model.has(OWNER) else [OwnerFilter, MineFilter]
        lacking += [] if model.has(TAGS) else [TagFilter]
        vars(self)["list_filter"] = tuple(
            list_filter for list_filter in self.list_filter if list_filter not in lacking
        )
        if not model.has(OWNER) and type(self).search_fields is FlagListMixin.search_fields:
            searched = tuple(field for field in self.search_fields if field != OWNER)
            vars(self)["search_fields"] = searched

    def get_queryset(self, request: HttpRequest) -> QuerySet[FeatureFlag]:
        """All flags, with the number of their allowed users.

        The list counts those of its page only, but can be sorted by the number.
        """
        flags: QuerySet[FeatureFlag] = super().get_queryset(request)
        counted = {ALLOWED_COUNT: allowed_count(self.model)}
        return flags.alias(**counted) if _IS_LIST in vars(request) else flags.annotate(**counted)

    def get_list_display(self, request: HttpRequest) -> _ListDisplayT[FeatureFlag]:
        """The columns that have something to show."""
        columns = super().get_list_display(request)
        return columns if has_usage() else [column for column in columns if column != "evaluated"]

    def get_list_filter(self, request: HttpRequest) -> _ListOrTuple[_ListFilterT]:
        """The filters. Their choices are read together with the numbers of the shortcuts."""
        overview_of(request, self)
        return super().get_list_filter(request)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """The list. Its base class may be a theme's."""
        base = super().get_changelist(request, **kwargs)
        return type("FlagList", (FlagChangeListMixin, base), {})

    def get_paginator(
        self, request: HttpRequest, queryset: Any, *args: Any, **kwargs: Any
    ) -> Paginator[Any]:
        """The pages of the list. The number of all flags is known already."""
        paginator = super().get_paginator(request, queryset, *args, **kwargs)
        if queryset.model is self.model and _is_whole(queryset, self.get_queryset(request)):
            vars(paginator)["count"] = overview_of(request, self).total
        return paginator

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, object] | None = None
    ) -> HttpResponse:
        """The list, with shortcuts above it."""
        vars(request)[_IS_LIST] = True
        response = super().changelist_view(request, extra_context)
        if isinstance(response, TemplateResponse) and "cl" in (response.context_data or {}):
            self._add_shortcuts(request, response)
        return response

    def _add_shortcuts(self, request: HttpRequest, response: TemplateResponse) -> None:
        # A subclass may have a template of its own.
        if self.change_list_template is not None or response.context_data is None:
            return
        context, overview = response.context_data, overview_of(request, self)
        context["flagstaff_shortcuts"] = shortcuts(request, overview, context["cl"].list_filter)
        context["flagstaff_total"] = overview.total
        context["flagstaff_deleted_url"] = deleted_url(
            self.admin_site, request, context["cl"].query
        )
        context["flagstaff_why_not"] = "" if may_toggle(self, request) else why_not_toggle(self)
        extend_template(response, FLAG_LIST)


def _is_whole(flags: QuerySet[Any], every: QuerySet[Any]) -> bool:
    """Whether no filter and no search has added a condition."""
    return len(flags.query.where.children) == len(every.query.where.children)
