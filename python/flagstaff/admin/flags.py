"""The admin of flags: combines the list, the page of a flag, its history and its permissions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import AdminSite
from django.db.models import Field, ManyToManyField, Model, QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.http import HttpRequest
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._tables.bucket_units import BUCKET_BY
from flagstaff._tables.model_fields import through_model
from flagstaff._tables.optional_fields import FlagModel
from flagstaff.admin.allowed_users import AllowedUsersMixin
from flagstaff.admin.allowed_users.panel import PANEL
from flagstaff.admin.app_panels import AppPanelsMixin
from flagstaff.admin.bucket_units import BucketUnitMixin
from flagstaff.admin.deleting import ConfirmedDeletionMixin
from flagstaff.admin.environment import EnvironmentMixin
from flagstaff.admin.evaluation_warnings import evaluation_warnings
from flagstaff.admin.fieldsets import replaced_fields
from flagstaff.admin.flag_list import FlagListMixin
from flagstaff.admin.flag_page import (
    ConfirmedSavingMixin,
    FlagPageMixin,
    ImpactMixin,
    TogglePagesMixin,
)
from flagstaff.admin.flag_permissions import ToggleMixin
from flagstaff.admin.flag_rules import FlagForm, FlagRulesMixin
from flagstaff.admin.history import HistoryMixin
from flagstaff.admin.list_title import ListTitleMixin
from flagstaff.admin.new_key import NewKeyMixin
from flagstaff.admin.own_fields import OwnFieldsMixin
from flagstaff.admin.ownership import OWNERSHIP, OwnershipMixin
from flagstaff.admin.rollout import RolloutInput
from flagstaff.admin.saving import SavingMixin, set_widget
from flagstaff.base_models import AbstractFeatureFlag
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.history.user_names import may_see_users
from flagstaff.models import FeatureFlag

if TYPE_CHECKING:
    from django.contrib.admin.options import _FieldsetSpec
    from django.utils.datastructures import _ListOrTuple

    _ModelAdmin = admin.ModelAdmin[FeatureFlag]
else:
    _ModelAdmin = admin.ModelAdmin

_TIMES = ("created_at", "changed_at")
_RELEASE = gettext_lazy("Release")
_TARGETING = gettext_lazy("Targeting")
_DETAILS = gettext_lazy("Details")

# Django's confirmation page posts this name.
_DELETION_CONFIRMED = "post"


class FeatureFlagAdmin(
    ToggleMixin,
    AllowedUsersMixin,
    EnvironmentMixin,
    ConfirmedDeletionMixin,
    TogglePagesMixin,
    FlagPageMixin,
    ImpactMixin,
    NewKeyMixin,
    ConfirmedSavingMixin,
    HistoryMixin,
    FlagRulesMixin,
    BucketUnitMixin,
    OwnershipMixin,
    AppPanelsMixin,
    ListTitleMixin,
    FlagListMixin,
    SavingMixin,
    OwnFieldsMixin,
    _ModelAdmin,
):
    """Flags: key, state, on/off button, rollout, allowed users.

    Also for a project's own flag model: uses the fields that it has.
    """

    known_model = AbstractFeatureFlag

    form = FlagForm
    readonly_fields: ClassVar[_ListOrTuple[str]] = (*_TIMES, PANEL)
    fieldsets: ClassVar[_FieldsetSpec] = (
        (_RELEASE, {"fields": ("key", "enabled", "rollout_percent")}),
        (_TARGETING, {"fields": ("rules", ALLOWED, BUCKET_BY)}),
        (_DETAILS, {"fields": ("description", "kind", "client_side", *OWNERSHIP, *_TIMES)}),
    )

    class Media:
        css = {"all": ("flagstaff/admin.css", "flagstaff/lists.css", "flagstaff/charts.css")}

    def __init__(self, model: type[FeatureFlag], admin_site: AdminSite) -> None:
        super().__init__(model, admin_site)
        owned = FlagModel.of(model).fields
        if self.fields is not None:
            # A subclass has chosen `fields`, and Django refuses both.
            fieldsets: _FieldsetSpec = ((None, {"fields": self.fields}),)
        else:
            fieldsets = self.fieldsets
        if fieldsets is FeatureFlagAdmin.fieldsets:
            *first, (name, details) = FeatureFlagAdmin.fieldsets
            unknown = {
                field for field in OWNERSHIP if field not in owned or not owned[field].editable
            }
            known = [field for field in details["fields"] if field not in unknown]
            fieldsets = (*first, (name, {"fields": (*known, *self.other_fields())}))
        if not self._may_list_allowed_users():
            fieldsets = replaced_fields(fieldsets, {ALLOWED: (PANEL,)})
        # For Django's checks, too.
        vars(self)["fieldsets"] = self.present_fieldsets(fieldsets)
        vars(self)["fields"] = None

    def get_fieldsets(self, request: HttpRequest, obj: FeatureFlag | None = None) -> _FieldsetSpec:
        """The fields. The times are set at creation."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None:
            return replaced_fields(fieldsets, dict.fromkeys(_TIMES, ()))
        return _with_key_in_details(fieldsets)

    def formfield_for_dbfield(
        self, db_field: Field[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> forms.Field | None:
        """The form field. The rollout has buttons, and the attributes of the theme's input."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and db_field.name == "rollout_percent":
            set_widget(field, RolloutInput(field.widget.attrs))
        return field

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Allows filters by allowed user for users who may view users."""
        by_user = lookup.partition(LOOKUP_SEP)[0] == "allowed_users"
        return (may_see_users(request.user) or not by_user) and super().lookup_allowed(
            lookup, value, request
        )

    def get_deleted_objects(
        self, objs: Sequence[FeatureFlag] | QuerySet[FeatureFlag], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """What the confirmation page lists: one number for all links to allowed users.

        Warns on that page of flags that are still evaluated.
        """
        if _DELETION_CONFIRMED not in request.POST:
            for text in evaluation_warnings([flag.key for flag in objs]):
                self.message_user(request, text, messages.WARNING)
        lines, counts, forbidden, protected = super().get_deleted_objects(objs, request)
        links = self._allowed_links()._meta
        if not links.auto_created:
            return lines, counts, forbidden, protected
        lines = _without_lines(lines, f"{capfirst(links.verbose_name)}: ")
        if count := counts.pop(str(links.verbose_name_plural), 0):
            counts[_("links to allowed users")] = count
        return lines, counts, forbidden, protected

    def _allowed_links(self) -> type[Model]:
        """The model of the table between flags and users."""
        allowed = cast("ManyToManyField[Model, Model]", self.model._meta.get_field(ALLOWED))
        return through_model(allowed)

    def _may_list_allowed_users(self) -> bool:
        """Whether a form can have them: Django refuses a table of the project's own."""
        return bool(self._allowed_links()._meta.auto_created)


def _without_lines(lines: Iterable[object], prefix: str) -> list[Any]:
    """Without the lines that start like this. A nested list has the related objects of a line."""
    kept: list[object] = []
    for line in lines:
        if isinstance(line, list):
            nested = _without_lines(line, prefix)
            kept += [nested] if nested else []
        elif not str(line).startswith(prefix):
            kept.append(line)
    return kept


def _with_key_in_details(fieldsets: _FieldsetSpec) -> _FieldsetSpec:
    """Shows the key of an existing flag, which no user can change, with the details."""
    if _DETAILS not in [name for name, _options in fieldsets]:
        return fieldsets
    without = replaced_fields(fieldsets, {"key": ()})
    return tuple(
        (name, {**options, "fields": ("key", *options["fields"])} if name == _DETAILS else options)
        for name, options in without
    )
