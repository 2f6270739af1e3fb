"""The admin of actions that wait: a list, a page for each, and the pages that decide about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin import AdminSite
from django.db.models import Case, Model, QuerySet, When
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from flagstaff._attribution import current_actor
from flagstaff._tables.rows import all_rows, declared_row
from flagstaff._text import say
from flagstaff._text.times import local_time_text
from flagstaff.actions import Action
from flagstaff.actions.table import Right
from flagstaff.admin.base_admin import BaseAdmin
from flagstaff.admin.links import page_url
from flagstaff.admin.parts import Head, Level, Note, Section
from flagstaff.admin.rights import admin_of, may
from flagstaff.admin.row_page import ActionLink, AppRowAdmin
from flagstaff.admin.waiting_parts import (
    AGAIN,
    problem_text,
    shown_actions,
    state_badge,
    times_query,
    to_show,
    viewable_models,
)
from flagstaff.admin.words import colour_of, facts_html, link, two_lines
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError
from flagstaff.history.describe import may_see_users
from flagstaff.history.log import has_history
from flagstaff.models import WaitingAction
from flagstaff.validators import is_secret
from flagstaff.waiting.actions import asked_together, begin_of, users_when_asked
from flagstaff.waiting.standing import USERS
from flagstaff.waiting.stored import (
    KIND,
    OPEN,
    PROBLEMS,
    State,
    action_text,
    names_of,
    result_text,
    state_text,
    stored_action,
)

if TYPE_CHECKING:
    from django.contrib.admin.options import _ListDisplayT, _ListFilterT
    from django.utils.datastructures import _ListOrTuple


class WaitingActionAdmin(AppRowAdmin):
    """Actions that wait. The rights for their rows decide."""

    app_kind = KIND
    docs_page = "how-to/later-and-approval/"
    list_display: _ListDisplayT[WaitingAction] = (
        "heading",
        "shown_state",
        "asked",
        "users_then",
    )
    list_display_links = ("heading",)
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
        site = self.admin_site
        model = None if obj is None else viewable_models(site, request).get(obj.row_kind)
        if model is None:
            return obj is None and self.has_view_permission(request)
        right = _right_of(obj)
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

    def needed_to_view(self, row: Any) -> Any:
        """The model of flags, which most actions are for."""
        return conf.flag_model

    def needed_right(self, request: HttpRequest, action: Action, row: Any) -> tuple[Right, Any]:
        """The right of what waits, for its rows."""
        model = viewable_models(self.admin_site, request)[row.row_kind]
        return _right_of(row), model

    # The list.

    def get_ordering(self, request: HttpRequest) -> Any:
        """What waits, then what a person has to look at, and then what has ended."""
        waits, fails = (When(state__in=states, then=n) for n, states in enumerate((OPEN, PROBLEMS)))
        return [Case(waits, fails, default=2), *self.ordering]

    def as_shown(self, request: HttpRequest, rows: Iterable[Any]) -> Sequence[Any]:
        """The actions, of which each says whether it will run, who asked, and for how many."""
        shown: Sequence[Any] = to_show(rows)
        for row in shown:
            row.shown_users = users_when_asked(row, request.user)
        return shown

    @admin.display(description=say("asked by").lazy)
    def asked(self, row: Any) -> SafeString:
        """Who asked, when and why."""
        return two_lines(f"{row.asker}, {local_time_text(row.asked_at)}", row.reason)

    @admin.display(description=say("users, when asked").lazy)
    def users_then(self, row: Any) -> str:
        """For how many users it was asked."""
        return str(row.shown_users)

    @admin.display(description=say("action").lazy)
    def heading(self, row: Any) -> str:
        """What it does, and when; of one that did not run, when it was to run."""
        if row.run_at is None:
            return action_text(row)
        time = local_time_text(row.run_at)
        if row.state not in {*OPEN, State.DONE}:
            time = say("was to run at {time}", time=time).local
        return f"{action_text(row)}, {time}"

    @admin.display(description=say("state").lazy, ordering="state")
    def shown_state(self, waiting: WaitingAction) -> SafeString:
        """The state, and why it did not run."""
        why = state_text(waiting) if waiting.needs_attention else ""
        return two_lines(state_badge(waiting), why)

    # The page.

    def head(self, request: HttpRequest, row: Any) -> Head:
        """What it waits for, or why it did not run."""
        state, label = row.shown_state
        is_own = _needs_decision(row) and row.asked_by == current_actor()
        own_lines = [say("Another user has to approve it.").local] if is_own else []
        return Head(
            state=(colour_of(state), label),
            lines=[*own_lines, "" if row.needs_attention else result_text(row)],
            main="approve",
            others=("refuse", "cancel"),
            notes=[self._alarm(request, row)] if row.needs_attention else [],
        )

    def _alarm(self, request: HttpRequest, row: Any) -> Note:
        """Returns why an action does not run, with a link to ask for it again."""
        url = self._again_url(request, row) if row.can_be_asked_again else ""
        again = (url, say("Ask again…").local) if url else ()
        return Note(problem_text(row), Level.PROBLEM, again)

    def _again_url(self, request: HttpRequest, waiting: Any) -> str:
        """Returns the page that asks for the same as a new action; "" without one for the user."""
        model: Any = viewable_models(self.admin_site, request).get(waiting.kind)
        model_admin: Any = model and admin_of(self.admin_site, model)
        action = model_admin and model_admin.page_actions.get(waiting.action)
        if not action or not has_history():
            return ""
        # Of several plans with the key of a flag, the newest.
        row = all_rows(model).filter(key=waiting.keys[0]).order_by("-pk").first()
        row = row or declared_row(model, waiting.keys[0])
        url = ""
        if action.creates and model_admin.has_add_permission(request):
            url = page_url(self.admin_site, model, "add")
        elif row is not None and not action.creates and not is_secret(row):
            url = model_admin.link_to(request, action.name, row).url
        ends = [part.run_at for part in asked_together(waiting) if part.begun_by == waiting.pk]
        times = times_query(waiting.run_at, *ends)
        return url and f"{url}?{urlencode({AGAIN: waiting.pk, **times})}"

    def sections(self, request: HttpRequest, row: Any) -> Iterator[Section]:
        """The arguments, for how many users it was asked, and who did what."""
        yield Section(say("About").local, _about(self.admin_site, request, row))

    def link_to(self, request: HttpRequest, name: str, row: Any) -> ActionLink:
        """The link to an action; what has ended is not cancelled any more."""
        link = super().link_to(request, name, row)
        return replace(link, action=_as_named(link.action, [row]))

    def _action_page(
        self, request: HttpRequest, action: Action, rows: Sequence[Any], *, may_write: bool = True
    ) -> HttpResponse:
        return super()._action_page(request, _as_named(action, rows), rows, may_write=may_write)

    def is_offered(self, request: HttpRequest, action: Action, row: WaitingAction) -> bool:
        """What can be decided in this state; those who asked may only cancel it."""
        if action.name == "cancel":
            return row.state in {*row.OPEN, *row.PROBLEMS}
        return row.asked_by != current_actor() and _needs_decision(row)

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
        """The states; an approval also compares the versions of the rows."""
        return " ".join(part.state for part in asked_together(row))

    def report_applied(self, request: HttpRequest, text: str, **_others: Any) -> None:
        """Says what was decided. No flag has changed yet, so no worker has to apply anything."""
        self.message_user(request, text, messages.SUCCESS)


def _as_named(action: Action, rows: Sequence[WaitingAction]) -> Action:
    """Returns an action as these rows name it: what did not run is taken off the overview."""
    if action.name != "cancel" or any(row.state not in row.PROBLEMS for row in rows):
        return action
    text = say("Take off the overview")
    return replace(action, label=text.lazy, button=text)


def _right_of(waiting: WaitingAction) -> Right:
    """Returns the right that an action needs.

    If the code has no such action any more, whoever may change such rows may take it off the
    overview.
    """
    with suppress(FlagstaffError):
        return stored_action(waiting).right
    return "change"


def _needs_decision(row: WaitingAction) -> bool:
    """Whether it waits for an approval, or its begin does, with which the end of a period waits."""
    return begin_of(row).state == State.APPROVAL


def _about(site: AdminSite, request: HttpRequest, row: Any) -> SafeString:
    """Returns the facts: rows, arguments, users, people, times and reasons."""
    sees_users, names = may_see_users(request.user), names_of([row])

    def who(pk: str, at: Any, why: str = "") -> str:
        return ", ".join(filter(None, (names[pk], at and local_time_text(at), why)))

    model = viewable_models(site, request)[row.row_kind]
    ended = say("Ended by") if row.ended_by else say("Ended")
    facts = [
        (capfirst(model._meta.verbose_name), _links(site, model, row.keys)),
        *(
            (say(capfirst(name.replace("_", " "))).local, value)
            for name, value in row.arguments.items()
            if name != USERS or sees_users
        ),
        (say("When asked").local, row.shown_users),
        (say("Asked by").local, who(row.asked_by, row.asked_at, row.reason)),
        (say("Approved by").local, who(row.approved_by, row.approved_at, row.approval)),
        (say(ended).local, who(row.ended_by, row.ended_at)),
    ]
    return facts_html(fact for fact in facts if fact[1])


def _links(site: AdminSite, model: type[Model], keys: list[str]) -> SafeString:
    """Returns the keys, with links to the pages of those that exist. Makes a query."""
    urls: dict[str, str] = {}
    if admin_of(site, model):
        # Of several plans with the key of a flag, the newest.
        rows = all_rows(model).filter(key__in=keys).order_by("pk").values_list("key", "pk")
        urls = {key: page_url(site, model, "change", pk) for key, pk in rows}
    return format_html_join(", ", "{}", ((link(urls.get(key, ""), key),) for key in keys))
