"""The fields of the form of a flag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.http import HttpRequest
from django.utils.translation import gettext_lazy

from flagstaff._tables.bucket_units import BUCKET_BY
from flagstaff._tables.optional_fields import FlagModel
from flagstaff.admin.flag.form.ownership import OWNERSHIP
from flagstaff.admin.flag.form.rollout import RolloutInput
from flagstaff.admin.flag.parts.deletion import allowed_links
from flagstaff.admin.own_fields import replaced_fields
from flagstaff.admin.part import DbField, FormField, Part
from flagstaff.admin.saving import set_widget
from flagstaff.admin.users.field import PANEL
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.history.user_names import may_see_users

if TYPE_CHECKING:
    from django.contrib.admin.options import _FieldsetSpec

TIMES = ("created_at", "changed_at")
_DETAILS = gettext_lazy("Details")
#: The sections, unless a subclass has its own.
FIELDSETS: _FieldsetSpec = (
    (gettext_lazy("Release"), {"fields": ("key", "enabled", "rollout_percent")}),
    (gettext_lazy("Targeting"), {"fields": ("rules", ALLOWED, BUCKET_BY)}),
    (_DETAILS, {"fields": ("description", "kind", "client_side", *OWNERSHIP, *TIMES)}),
)


class FlagFields(Part):
    """The sections of the form, for the fields that the model has."""

    def set_options(self) -> None:
        """Chooses the sections. Also for Django's checks."""
        admin, owned = self.admin, FlagModel.of(self.admin.model).fields
        unknown = {one for one in OWNERSHIP if one not in owned or not owned[one].editable}
        fieldsets: _FieldsetSpec = admin.fieldsets or ()
        if admin.fields is not None:
            # A subclass has chosen `fields`, and Django refuses both.
            fieldsets = ((None, {"fields": admin.fields}),)
        elif fieldsets is FIELDSETS:
            *first, (title, options) = FIELDSETS
            known = [one for one in options["fields"] if one not in unknown]
            others = admin.own_fields.other_fields({*OWNERSHIP} - {*owned})
            fieldsets = (*first, (title, {"fields": (*known, *others)}))
        if not self._may_list_allowed_users():
            fieldsets = replaced_fields(fieldsets, {ALLOWED: (PANEL,)})
        admin.set_options(fieldsets=admin.own_fields.present_fieldsets(fieldsets), fields=None)

    def fieldsets(self, request: HttpRequest, row: Any, fieldsets: _FieldsetSpec) -> _FieldsetSpec:
        """The sections. The times are set at creation."""
        if row is None:
            return replaced_fields(fieldsets, dict.fromkeys(TIMES, ()))
        return _with_key_in_details(fieldsets)

    def form_field(self, db_field: DbField, field: FormField, request: HttpRequest) -> FormField:
        """The form field. The rollout has buttons, and the attributes of the theme's input."""
        if db_field.name == "rollout_percent":
            set_widget(field, RolloutInput(field.widget.attrs))
        return field

    def allows_lookup(self, field: str, request: HttpRequest) -> bool:
        """Allows filters by allowed user for users who may view users."""
        return field != ALLOWED or may_see_users(request.user)

    def _may_list_allowed_users(self) -> bool:
        """Whether a form can have them: Django refuses a table of the project's own."""
        return bool(allowed_links(self.admin.model)._meta.auto_created)


def _with_key_in_details(fieldsets: _FieldsetSpec) -> _FieldsetSpec:
    """Shows the key of an existing flag, which nobody can change, with the details."""
    if _DETAILS not in [name for name, _options in fieldsets]:
        return fieldsets
    without = replaced_fields(fieldsets, {"key": ()})
    return tuple(
        (name, {**options, "fields": ("key", *options["fields"])} if name == _DETAILS else options)
        for name, options in without
    )
