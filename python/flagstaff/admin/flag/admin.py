"""The admin of flags: its options and its parts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from django.db.models import QuerySet
from django.http import HttpRequest

from flagstaff.actions.rights import reaches_users
from flagstaff.admin.app_pages import PAGES
from flagstaff.admin.flag.bulk.page import FlagActions
from flagstaff.admin.flag.form.fields import FIELDSETS, TIMES, FlagFields
from flagstaff.admin.flag.form.inputs import FlagForm, FlagInputs
from flagstaff.admin.flag.form.question import ReleaseQuestion
from flagstaff.admin.flag.form.rights import ReadOnlyWords, ToggleRights
from flagstaff.admin.flag.form.rules import FlagRules
from flagstaff.admin.flag.list import FlagListAdmin
from flagstaff.admin.flag.page.impact import Impact
from flagstaff.admin.flag.page.new_flag import NewFlag
from flagstaff.admin.flag.page.sections import FlagSections
from flagstaff.admin.flag.page.toggle import TogglePages
from flagstaff.admin.flag.parts.deletion import FlagDeletion
from flagstaff.admin.flag.parts.former_flags import NewKey
from flagstaff.admin.flag.parts.stale_flag import StaleSignals
from flagstaff.admin.flag.state import with_allowed_count
from flagstaff.admin.history.part import History
from flagstaff.admin.page import page_of, stored_row
from flagstaff.admin.part import Part
from flagstaff.admin.rights import has_toggle_permission, may
from flagstaff.admin.row_admin import RowAdmin
from flagstaff.admin.users.field import PANEL, AllowedUsersInput, AllowedUsersPanel
from flagstaff.admin.users.page import AllowedUsersPage
from flagstaff.base_models import AbstractFeatureFlag
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.changes.impact import RowState
from flagstaff.history.kinds import Kind

if TYPE_CHECKING:
    from django.contrib.admin.options import _FieldsetSpec
    from django.utils.datastructures import _ListOrTuple


class FeatureFlagAdmin(FlagListAdmin, RowAdmin):
    """Flags, also those of a project's own flag model."""

    row_kind = Kind.FLAG
    known_model = AbstractFeatureFlag
    parts: ClassVar[tuple[type[Part], ...]] = (
        ToggleRights,
        FlagFields,
        FlagActions,
        StaleSignals,
        FlagInputs,
        FlagRules,
        History,
        NewKey,
        NewFlag,
        ReleaseQuestion,
        Impact,
        FlagSections,
        TogglePages,
        FlagDeletion,
        AllowedUsersPanel,
        AllowedUsersInput,
        AllowedUsersPage,
        ReadOnlyWords,
    )

    form = FlagForm
    # Used if this admin cannot search for users; see AllowedUsersInput.
    raw_id_fields = (ALLOWED,)
    readonly_fields: ClassVar[_ListOrTuple[str]] = (*TIMES, PANEL)
    fieldsets: ClassVar[_FieldsetSpec] = FIELDSETS

    class Media:
        names = ("admin", "lists", "charts", "recent_changes", "flag_page")
        css = {"all": tuple(f"flagstaff/{name}.css" for name in names)}

    def part_classes(self) -> Iterable[type[Part]]:
        """Returns the classes of all parts, those of the optional apps included."""
        return (*self.parts, *(pages.flag_part for pages in PAGES if pages.flag_part))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """The flags; on a page with the number of allowed users. The list counts its own rows."""
        flags = super().get_queryset(request)
        return flags if page_of(request).is_list else with_allowed_count(flags)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may change flags, or save the page of one that the user may toggle."""
        return page_of(request).is_toggle or super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may delete flags. One that users have needs the right to toggle it."""
        may_delete = super().has_delete_permission(request, obj)
        if not may_delete or obj is None or may(self.admin_site, request, "toggle", obj):
            return may_delete
        return not reaches_users(RowState(Kind.FLAG, stored_row(obj)))

    def has_toggle_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may turn flags on and off, or this one. A subclass may restrict it."""
        return has_toggle_permission(self, request, obj)
