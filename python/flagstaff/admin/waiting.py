"""The admin of actions that wait: a list, a page for each, and the pages that decide about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import Case, QuerySet, When
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._attribution.context import current_actor
from flagstaff._tables.rows import all_rows
from flagstaff._tables.user_lookup import actor_table
from flagstaff._words.text import localized
from flagstaff._words.times import local_time_text
from flagstaff.actions import Action
from flagstaff.actions.rights import Right
from flagstaff.admin.app_rows import AppRowAdmin
from flagstaff.admin.base_admin import BaseAdmin
from flagstaff.admin.confirmation import preview_rows
from flagstaff.admin.fallbacks import once
from flagstaff.admin.question import Preview, lines_of_rows
from flagstaff.admin.rights import may, needs_view_user_text
from flagstaff.admin.row_page import Head, Section
from flagstaff.admin.segment_uses import segment_rows, visible_refusal
from flagstaff.admin.table import Column, Table
from flagstaff.admin.waiting_lines import (
    action_text,
    names_of,
    shown_actions,
    state_badge,
    viewable_models,
)
from flagstaff.admin.words import colour_of, two_lines
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError
from flagstaff.history.user_names import may_see_users
from flagstaff.models import WaitingAction
from flagstaff.waiting.actions import KIND, find, prospect_for_approval
from flagstaff.waiting.records import OPEN, PROBLEMS, State
from flagstaff.waiting.stored import stored_action

if TYPE_CHECKING:
    from django.contrib.admin.options import _ListDisplayT, _ListFilterT
    from django.utils.datastructures import _ListOrTuple

_USERS = "users"


class WaitingActionAdmin(AppRowAdmin):
    """Actions that wait. The rights for their rows decide."""

    app_kind = KIND
    docs_page = "how-to/later-and-approval/"
    list_display: _ListDisplayT[WaitingAction] = ("what", "shown_state", "time", "asked")
    list_display_links = ("what",)
    list_filter: ClassVar[_ListOrTuple[_ListFilterT]] = ("state",)
    search_fields: ClassVar[_ListOrTuple[str]] = ("keys", "action")
    ordering = ("-id",)

    # Rights.

    def get_queryset(self, request: HttpRequest) -> QuerySet[WaitingAction]:
        """The actions of which the user may see all rows."""
        return shown_actions(self.admin_site, request, super().get_queryset(request))

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may see some kind of row; one action is found or not."""
        return bool(viewable_models(self.admin_site, request))

    has_module_permission = has_view_permission

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may do what an action does; the rights are asked again when it runs."""
        if obj is None:
            return self.has_view_permission(request)
        # Asked for each action of the page.
        name = f"right for waiting action {obj.pk}"
        return once(request, name, partial(self._may_change_rows, request, obj))

    def _may_change_rows(self, request: HttpRequest, obj: Any) -> bool:
        site = self.admin_site
        right: Right = "change"
        model = viewable_models(site, request)[obj.row_kind]
        # If the code has no such action any more, whoever may change such rows may take it off the
        # overview.
        with suppress(FlagstaffError):
            right = stored_action(obj).right
        rows = [*all_rows(model).filter(key__in=obj.keys)]
        return all(may(site, request, right, row) for row in rows or [model])

    def has_add_permission(self, request: HttpRequest) -> bool:
        """The page of each action asks for one."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Retention deletes them."""
        return False

    def may_do(self, request: HttpRequest, action: Action, row: Any) -> bool:
        """Whether the user may decide. Those who asked may only cancel it."""
        if row.asked_by == current_actor():
            return action.name == "cancel" and not conf.read_only
        return super().may_do(request, action, row)

    def get_object(self, request: HttpRequest, *arguments: Any, **options: Any) -> Any:
        """The action, with what the user may do to it."""
        found: Any = super().get_object(request, *arguments, **options)
        if found is not None:
            found.possible = {
                one.name for one in self.page_actions if self.may_do(request, one, found)
            }
        return found

    # The list.

    def get_ordering(self, request: HttpRequest) -> Any:
        """What needs a person first, then what waits."""
        first = Case(
            When(state__in=(*PROBLEMS, State.APPROVAL), then=0),
            When(state=State.WAITING, then=1),
            default=2,
        )
        return [first, *self.ordering]

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """The list, with the names of who asked. A query."""
        found = super().get_changelist_instance(request)
        rows: list[Any] = [*found.result_list]
        names = names_of(rows)
        for row in rows:
            row.asked_by_name = names[row.asked_by]
        found.result_list = rows
        return found

    @admin.display(description=gettext_lazy("action"))
    def what(self, waiting: WaitingAction) -> str:
        """What it does, with the keys."""
        return action_text(waiting)

    @admin.display(description=gettext_lazy("state"), ordering="state")
    def shown_state(self, waiting: WaitingAction) -> SafeString:
        """The state, and why it did not run."""
        why = localized(waiting.result) if waiting.state in PROBLEMS else ""
        return two_lines(state_badge(waiting), why)

    @admin.display(description=gettext_lazy("time"), ordering="run_at")
    def time(self, waiting: WaitingAction) -> str:
        """When it runs."""
        return local_time_text(waiting.run_at) if waiting.run_at else ""

    @admin.display(description=gettext_lazy("asked by"))
    def asked(self, waiting: Any) -> str:
        """Who asked for it."""
        return str(waiting.asked_by_name)

    # The page.

    def heading(self, row: Any) -> str:
        """What it does, and when."""
        time = [local_time_text(row.run_at)] if row.run_at else []
        return ", ".join([action_text(row), *time])

    def head(self, request: HttpRequest, row: Any) -> Head:
        """What it waits for, or why it did not run."""
        result = localized(row.result)
        is_problem = row.state in PROBLEMS
        is_own = row.state == State.APPROVAL and row.asked_by == current_actor()
        return Head(
            state=(colour_of(row.state), str(row.get_state_display())),
            lines=[
                _("Another user has to approve it.") if is_own else "",
                "" if is_problem else result,
            ],
            main="approve",
            others=("refuse", "cancel"),
            alarms=[result] if is_problem and result else [],
        )

    def sections(self, request: HttpRequest, row: Any) -> Iterator[Section]:
        """What it would do now beside what it did when it was asked for, and who did what."""
        if row.state in OPEN:
            yield Section(_("What it would do"), self._prospect(request, row))
        yield Section(_("About"), _about(request, row))

    def _prospect(self, request: HttpRequest, row: WaitingAction) -> SafeString | str:
        """Returns the users then and now, and the rows now and afterwards."""
        try:
            preview = self._preview(request, row)
        except FlagstaffError as error:
            text = visible_refusal(self.admin_site, request, error)
            return format_html('<p class="flagstaff-notice flagstaff-alarm">{}.</p>', text)
        notes = format_html_join("", "<p>{}</p>", ((note,) for note in preview.notes))
        columns = [Column(_("Field")), Column(_("Now")), Column(_("After"))]
        table = Table(columns, [(one.field, one.now, one.after) for one in preview.rows])
        return format_html("{}{}", notes, table.html(_("What it would do")) if table.rows else "")

    def _preview(self, request: HttpRequest, waiting: WaitingAction) -> Preview:
        prospect = prospect_for_approval(waiting)
        run, found, outlook = prospect.run, prospect.impact, prospect.outlook
        lines = [
            preview_rows(request, row, changed)
            for row, changed in zip(run.rows, prospect.changed, strict=False)
        ]
        notes = [needs_view_user_text()]
        if may_see_users(request.user):
            now = outlook.users()
            # The stored sentences are in English.
            asked = now if waiting.users == prospect.users else waiting.users
            sides = ((_("When asked"), asked), (_("Now"), now))
            notes = [f"{side}: {text}" for side, text in sides if text]
        return Preview(
            {"expect_consequence": int(prospect.consequence)},
            rows=[
                *(lines_of_rows(run.rows, lines) if lines else ()),
                *segment_rows(self.admin_site, request, found),
            ],
            notes=notes,
            impact=found,
            typed=outlook.typed,
        )

    def is_offered(self, action: Action, row: Any) -> bool:
        """What the user may decide in this state."""
        states = (*OPEN, *PROBLEMS) if action.name == "cancel" else (State.APPROVAL,)
        return row.state in states and action.name in row.possible

    def last_changes(self, request: HttpRequest, row: Any) -> Section:
        """The row says by itself who did what to it."""
        return Section("", "")

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Django's log of the row."""
        return BaseAdmin.history_view(self, request, object_id, extra_context)

    # The pages of the actions.

    def version(self, row: Any) -> str:
        """The state; an approval also compares the versions of the rows."""
        return find(row.key).state

    def preview(
        self, request: HttpRequest, action: Action, row: Any, arguments: Mapping[str, Any]
    ) -> Preview:
        """What an approved action would do now. The others write nothing but the state."""
        if action.name == "approve":
            return self._preview(request, row)
        return Preview(asks=False)

    def report_applied(
        self, request: HttpRequest, text: str, *, timeout: float, **_others: Any
    ) -> None:
        """Says what was decided. No flag has changed yet, so no worker has to apply anything."""
        self.message_user(request, text, messages.SUCCESS)


def _about(request: HttpRequest, row: WaitingAction) -> SafeString:
    """Returns the facts: arguments, times, people and reasons."""
    names = actor_table().names({row.asked_by, row.approved_by, row.ended_by} - {""})
    facts = [
        *(
            (_(capfirst(name.replace("_", " "))), value)
            for name, value in row.arguments.items()
            if name != _USERS or may_see_users(request.user)
        ),
        (_("Time"), row.run_at and local_time_text(row.run_at)),
        (_("Asked by"), _who(names, row.asked_by, row.asked_at, row.reason)),
        (_("Approved by"), _who(names, row.approved_by, row.approved_at, row.approval)),
        (_("Ended by"), _who(names, row.ended_by, row.ended_at, "")),
    ]
    html = format_html_join("", "<dt>{}</dt><dd>{}</dd>", [fact for fact in facts if fact[1]])
    return format_html('<dl class="flagstaff-facts">{}</dl>', html)


def _who(names: Mapping[str, str], pk: str, at: Any, why: str) -> str:
    """Returns who did something, when and why; empty if nobody did."""
    return ", ".join(filter(None, (names.get(pk, pk), at and local_time_text(at), why)))
