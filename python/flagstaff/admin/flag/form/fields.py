"""The fields of the form of a flag."""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._tables.bucket_units import BUCKET_BY
from flagstaff._tables.model_fields import OWNER, RULES
from flagstaff._tables.tags import usable_tags
from flagstaff._words.text import local_list
from flagstaff.admin.flag.form.inputs import OWNERSHIP
from flagstaff.admin.flag.parts.deletion import allowed_links
from flagstaff.admin.own_fields import other_fields, replaced_fields
from flagstaff.admin.part import Part
from flagstaff.admin.users.field import PANEL
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.history.user_names import may_see_users

if TYPE_CHECKING:
    from django.contrib.admin.options import _FieldsetSpec

TIMES = ("created_at", "changed_at")
_TARGETING, _DETAILS = gettext_lazy("Targeting"), gettext_lazy("Details")
# What a new flag needs.
_FIRST = ("key", "description", OWNER)
_MAX_DESCRIPTION = 80
#: The sections, unless a subclass has its own.
FIELDSETS: _FieldsetSpec = (
    (gettext_lazy("Release"), {"fields": ("key", "enabled", "rollout_percent")}),
    (_TARGETING, {"fields": ("rules", ALLOWED, BUCKET_BY)}),
    (_DETAILS, {"fields": ("description", "kind", "client_side", *OWNERSHIP, *TIMES)}),
)

# The parameters of the URL with values for a new flag.
_FILLED_IN = frozenset({"who", RULES})


class FlagFields(Part):
    """The sections of the form."""

    def set_options(self) -> None:
        """Chooses the sections. Also for Django's checks."""
        admin = self.admin
        fieldsets: _FieldsetSpec = admin.fieldsets or ()
        if admin.fields is not None:
            # A subclass has chosen `fields`, and Django refuses both.
            fieldsets = ((None, {"fields": admin.fields}),)
        elif fieldsets is FIELDSETS:
            *first, (title, options) = FIELDSETS
            others = other_fields(admin.model, admin.known_model)
            fieldsets = (*first, (title, {"fields": (*options["fields"], *others)}))
        # Django refuses a field with a table of the project's own.
        if not allowed_links(admin.model)._meta.auto_created:
            fieldsets = replaced_fields(fieldsets, {ALLOWED: (PANEL,)})
        admin.set_options(fieldsets=fieldsets, fields=None)

    def fieldsets(self, request: HttpRequest, row: Any, fieldsets: _FieldsetSpec) -> _FieldsetSpec:
        """The sections. Those that seldom change are folded, with their values in one line."""
        if _DETAILS not in [name for name, _options in fieldsets]:
            return fieldsets
        # The page that is shown again has what was typed, or an error.
        is_folded = request.method == "GET"
        if row is None:
            folded = {_DETAILS} if is_folded else set()
            if is_folded and _FILLED_IN.isdisjoint(request.GET):
                folded.add(_TARGETING)
            return _for_new_flag(fieldsets, folded)
        return tuple(
            _details(row, options, is_folded=is_folded) if name == _DETAILS else (name, options)
            for name, options in replaced_fields(fieldsets, {"key": ()})
        )

    def allows_lookup(self, field: str, request: HttpRequest) -> bool:
        """Allows filters by allowed user for users who may view users."""
        return field != ALLOWED or may_see_users(request.user)


def _for_new_flag(fieldsets: _FieldsetSpec, folded: Container[Any]) -> _FieldsetSpec:
    """The key, the description and the owner first, and what most new flags lack folded."""
    names = {name for _title, options in fieldsets for name in options["fields"]}
    first: list[Any] = [name for name in _FIRST if name in names]
    moved = dict.fromkeys((*_FIRST, *TIMES), ())
    others = [
        (title, _folded(options) if title in folded else options)
        for title, options in replaced_fields(fieldsets, moved)
        if options["fields"]
    ]
    return ((None, {"fields": first}), *others)


def _details(row: Any, options: Any, *, is_folded: bool) -> tuple[Any, Any]:
    """The section with the key, which nobody can change, and the values in its heading."""
    options = {**options, "fields": ("key", *options["fields"])}
    if not is_folded:
        return _DETAILS, options
    title = format_html('{} <span class="flagstaff-folded">{}</span>', _DETAILS, _values(row))
    return title, _folded(options)


def _folded(options: Any) -> Any:
    return {**options, "classes": (*options.get("classes", ()), "collapse")}


def _values(row: Any) -> str:
    """The values of the details in one line."""
    parts = (
        Truncator(row.description).chars(_MAX_DESCRIPTION),
        row.owner,
        local_list(usable_tags(row.tags)),
        row.review_on and _("review on %(date)s") % {"date": date_format(row.review_on)},
    )
    return " · ".join(str(part) for part in parts if part)
