"""The admin of flags: its options and its parts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from django.http import HttpRequest
from django.utils.translation import gettext_lazy

from flagstaff.actions.rights import reaches_users
from flagstaff.admin.app_pages import PAGES
from flagstaff.admin.flag.bulk.page import FlagActions
from flagstaff.admin.flag.form.fields import FIELDSETS, TIMES, FlagFields
from flagstaff.admin.flag.form.inputs import FlagForm, FlagInputs
from flagstaff.admin.flag.form.question import ReleaseQuestion
from flagstaff.admin.flag.form.rights import ReadOnlyWords, ToggleRights
from flagstaff.admin.flag.form.rules import FlagRules
from flagstaff.admin.flag.list.columns import FlagColumns
from flagstaff.admin.flag.list.filters import (
    ChangedFilter,
    EvaluatedFilter,
    OwnerFilter,
    RulesFilter,
    StaleFilter,
    StateFilter,
    TagFilter,
)
from flagstaff.admin.flag.list.part import SEARCH_FIELDS, FlagListPart
from flagstaff.admin.flag.page.impact import Impact
from flagstaff.admin.flag.page.new_flag import NewFlag
from flagstaff.admin.flag.page.sections import FlagSections
from flagstaff.admin.flag.page.toggle import TogglePages
from flagstaff.admin.flag.parts.app_panels import AppPanels
from flagstaff.admin.flag.parts.deletion import FlagDeletion
from flagstaff.admin.flag.parts.former_flags import NewKey
from flagstaff.admin.flag.parts.stale_flag import StaleSignals
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
from flagstaff.models import FeatureFlag

if TYPE_CHECKING:
    from django.contrib.admin.options import _FieldsetSpec, _ListDisplayT, _ListFilterT
    from django.utils.datastructures import _ListOrTuple


class FeatureFlagAdmin(RowAdmin):
    """Flags, also those of a project's own flag model."""

    row_kind = Kind.FLAG
    known_model = AbstractFeatureFlag
    parts: ClassVar[tuple[type[Part], ...]] = (
        ToggleRights,
        FlagFields,
        FlagColumns,
        FlagListPart,
        FlagActions,
        AppPanels,
        StaleSignals,
        FlagInputs,
        FlagRules,
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

    list_display: _ListDisplayT[FeatureFlag] = FlagColumns.displays
    list_display_links = ("flag",)
    list_filter: ClassVar[_ListOrTuple[_ListFilterT]] = (
        *(StateFilter, OwnerFilter, TagFilter, ChangedFilter),
        *(EvaluatedFilter, StaleFilter, RulesFilter, "kind"),
    )
    search_fields: ClassVar[_ListOrTuple[str]] = SEARCH_FIELDS
    search_help_text = gettext_lazy("Key, description, owner, tag")
    ordering = ("key",)
    # A row shows more than one of Django's lists, so a page of 100 would take too long.
    list_per_page = 40
    # The list counts all flags together with the shortcuts.
    show_full_result_count = False

    form = FlagForm
    # Used if this admin cannot search for users; see AllowedUsersInput.
    raw_id_fields = (ALLOWED,)
    readonly_fields: ClassVar[_ListOrTuple[str]] = (*TIMES, PANEL)
    fieldsets: ClassVar[_FieldsetSpec] = FIELDSETS

    class Media:
        names = ("admin", "lists", "charts", "console", "flag_page")
        css = {"all": tuple(f"flagstaff/{name}.css" for name in names)}

    def part_classes(self) -> Iterable[type[Part]]:
        """Returns the classes of all parts, those of the optional apps included."""
        return (*self.parts, *(pages.flag_part for pages in PAGES if pages.flag_part))

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
