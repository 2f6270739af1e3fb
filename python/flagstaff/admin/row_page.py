"""The page of a row: what is, in sections, and the actions that change it, each with its page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, ClassVar, cast

from django import forms
from django.contrib import messages
from django.contrib.admin.options import IS_POPUP_VAR
from django.contrib.admin.utils import display_for_field, unquote
from django.contrib.admin.views.main import ChangeList
from django.core.checks import CheckMessage, Error
from django.core.exceptions import PermissionDenied
from django.db.models import Field, JSONField, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import URLPattern
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.text import capfirst

from flagstaff._core import is_storable
from flagstaff._tables.rows import RULES, Kind, declaration, declared_row, find_row, stored_fields
from flagstaff._text import local_list, local_number, quoted, say
from flagstaff._text.times import local_time_text
from flagstaff.actions import Action
from flagstaff.actions.arguments import JsonField
from flagstaff.actions.table import Right, has_permission, noun_of, permission_name
from flagstaff.admin.action_page import ActionAdmin, ActionPage
from flagstaff.admin.changes.events import event_rows, rows_of_app
from flagstaff.admin.declared import declared_groups
from flagstaff.admin.links import (
    DECLARED_ID,
    changes_url,
    history_url,
    list_link,
    page_url,
    row_id,
    row_path,
)
from flagstaff.admin.parts import Head, Level, Section
from flagstaff.admin.rights import can_read, denied, may, may_see
from flagstaff.admin.row_actions import AppReceipts, ChangeReceipts, Receipts, RowSubject
from flagstaff.admin.rules.editor import RulesField
from flagstaff.admin.rules.forms import Offer
from flagstaff.admin.waiting_parts import asked_before, row_notes
from flagstaff.admin.words import joined
from flagstaff.conf import conf
from flagstaff.history.log import Change, events
from flagstaff.waiting.stored import OPEN, PROBLEMS

CONDITIONS = "conditions"
#: Seconds for which the page of a row waits for a count of users.
COUNT_TIMEOUT = 0.5
# The newest events, among a few entries.
_COUNT, _MAX_ENTRIES = 5, 20
# A person cannot check more rows on one page.
_MAX_SELECTED = 100


@dataclass(frozen=True)
class ActionLink:
    """An action on the page of a row; without a URL, the user may not see what it would do."""

    action: Action
    url: str = ""
    #: The permission that the user lacks for it.
    permission: str = ""


class RowPageAdmin(ActionAdmin):
    """Shows a row as text, with its actions."""

    #: How the messages after an action say what was done.
    receipts: ClassVar[type[Receipts[Any]]] = ChangeReceipts
    #: What the editor of rules says if there are none, and below it.
    no_rules: ClassVar[str | Promise] = ""
    rules_help: ClassVar[str | Promise] = ""
    #: What actions are called in the menu of the list, where others are beside them, by name.
    menu_labels: ClassVar[Mapping[str, Promise]] = {}

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        """Returns what is wrong with the options. A list cannot merge or confirm edits."""
        problems = super().check(**kwargs)
        if self.list_editable:
            text = "list_editable cannot be used: a list neither merges nor confirms edits"
            hint = "remove it, and edit rows on their pages"
            problems.append(Error(text, hint=hint, obj=type(self), id="flagstaff.E048"))
        return problems

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """The row of a primary key, or of a declared key, which need not have one."""
        if not object_id.startswith(DECLARED_ID):
            return super().get_object(request, object_id, from_field)
        key = object_id.removeprefix(DECLARED_ID)
        if find_row(self.model, key) is None:
            return declared_row(self.model, key)
        return self.get_queryset(request).filter(key=key).first()

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """The fields that nobody changes here: those of a project, and those that code owns."""
        declared = None if obj is None else declaration(self.model, obj.key)
        return [
            *super().get_readonly_fields(request, obj),
            *(declared.owned if declared is not None else ()),
        ]

    def list_context(self, request: HttpRequest, changelist: ChangeList) -> dict[str, Any]:
        """What code declares, above the list."""
        context = super().list_context(request, changelist)
        groups = declared_groups(self, request, changelist.query)
        return {**context, "flagstaff_declared": [*groups]}

    def head(self, request: HttpRequest, row: Any) -> Head:
        """Returns what the page of a row begins with."""
        return Head()

    def sections(self, request: HttpRequest, row: Any) -> Iterator[Section]:
        """Yields what the page of a row shows; those without HTML are left out."""
        raise NotImplementedError

    def is_offered(self, request: HttpRequest, action: Action, row: Any) -> bool:
        """Whether the page of a row links to an action that the user may do."""
        return True

    def formfield_for_dbfield(
        self, db_field: Field[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> forms.Field | None:
        """The form field of an argument that is a field of the model; for rules, an editor."""
        if db_field.name in (RULES, CONDITIONS):
            return RulesField(
                Offer(self.admin_site, request),
                of_segment=db_field.name == CONDITIONS,
                of_value=self.row_kind is Kind.VALUE,
                no_rules=self.no_rules,
                label=capfirst(db_field.verbose_name),
                help_text=self.rules_help,
            )
        if isinstance(db_field, JSONField):
            kwargs.setdefault("form_class", JsonField)
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field and db_field.name == "description":
            field.widget.attrs["rows"] = 3
        return field

    # The URLs. Those of Django's own pages stay: links of the whole admin lead to them.

    def own_urls(self) -> Iterator[URLPattern]:
        """The URL of each action."""
        for action in self.page_actions.values():
            if not action.creates and action is not self._first("deletes"):
                yield row_path(self, action.name, partial(self._action_view, action))

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The page of a row, or the action that creates one."""
        if object_id is None:
            return self._ask(request, self._first("creates"), None)
        row = self.get_object(request, unquote(object_id))
        if row is None:
            return self.missing(request, object_id)
        if not may(self.admin_site, request, "view", row):
            raise denied(request, "view", self.needed_to_view(row))
        return self._page(request, row)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The action that deletes a row."""
        return self._action_view(self._first("deletes"), request, object_id)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Goes to the changes of a row, also of a deleted one. Without any, shows Django's log."""
        site, kind, pk, row = self.admin_site, self.row_kind, unquote(object_id), None
        if can_read(request, "change_table") and is_storable(pk):
            row = self.get_object(request, pk)
            if row is not None and not may(site, request, "view", row):
                raise denied(request, "view", self.needed_to_view(row))
            if row is None and may_see(site, request, kind.model, pk):
                row = Change.objects.of_row(kind, pk).newest().first()
        if row is not None and (url := history_url(site, kind, row.key)):
            return HttpResponseRedirect(url)
        return super().history_view(request, object_id, extra_context)

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> Any:
        """The actions of the list: those for several rows, and those of the project."""
        # Newer versions of Django have actions of the page of a row, too.
        place = [] if action_location is None else [action_location]
        actions: dict[str, Any] = super().get_actions(request, *place)
        # It asks less than the action that deletes.
        actions.pop("delete_selected", None)
        if IS_POPUP_VAR in request.GET:
            return actions
        page_actions = self.page_actions.values()
        listed_actions = (
            action
            for action in page_actions
            if action.many and self.may_do(request, action, self.model)
        )
        return {
            action.name: (
                partial(self._act, action),
                action.name,
                self.menu_labels.get(action.name, action.label),
            )
            for action in listed_actions
        } | actions

    def _act(
        self, action: Action, _admin: Any, request: HttpRequest, rows: QuerySet[Any]
    ) -> HttpResponse | None:
        """The page of an action for the selected rows of the list."""
        selected = [*rows.order_by("key")[: _MAX_SELECTED + 1]]
        if len(selected) > _MAX_SELECTED:
            text = say("Nothing was changed: select at most {count}, then the others.")
            count = {"count": local_number(_MAX_SELECTED)}
            self.message_user(request, say(text, **count).local, messages.ERROR)
            return None
        if refused := [row.key for row in selected if not self.may_do(request, action, row)]:
            text = say("Nothing was changed: you may not change {keys}.")
            keys = {"keys": local_list(map(quoted, refused))}
            self.message_user(request, say(text, **keys).local, messages.ERROR)
            return None
        return self._action_page(request, action, selected) if selected else None

    def _first(self, option: str) -> Action | None:
        """Returns the action with an option, such as "creates"."""
        return next(
            (action for action in self.page_actions.values() if getattr(action, option)), None
        )

    def _action_view(
        self, action: Action | None, request: HttpRequest, object_id: str
    ) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        return self.missing(request, object_id) if row is None else self._ask(request, action, row)

    def _ask(self, request: HttpRequest, action: Action | None, row: Any) -> HttpResponse:
        if action is None:
            raise PermissionDenied
        rows = [row] if row else []
        if row and action.many and (again := asked_before(self.admin_site, request, action)):
            rows = [*self.get_queryset(request).filter(key__in=again.keys).order_by("key")] or rows
        may_write = all(self.may_do(request, action, each) for each in rows or [self.model])
        if not may_write and not (
            rows and all(self.may_look(request, action, each) for each in rows)
        ):
            raise denied(request, *self.needed_right(request, action, row or self.model))
        return self._action_page(request, action, rows, may_write=may_write)

    def may_look(self, request: HttpRequest, action: Action, row: Any) -> bool:
        """Whether the user may see what an action would do to a row.

        Where nobody may write, this needs the right to view it only.
        """
        looked_at = replace(action, right="view") if conf.read_only else action
        return self.may_do(request, looked_at, row)

    def _action_page(
        self, request: HttpRequest, action: Action, rows: Sequence[Any], *, may_write: bool = True
    ) -> HttpResponse:
        receipts = self.receipts(self, request, action)
        subject = RowSubject(self, request, action, rows, receipts)
        return ActionPage(self, request, subject, may_write=may_write).answer()

    def missing(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Says that there is no such row, and goes to the index."""
        redirect = self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined]
        return cast("HttpResponse", redirect)

    # The page.

    def _page(self, request: HttpRequest, row: Any) -> HttpResponse:
        links = {
            name: self.link_to(request, name, row)
            for name, action in self.page_actions.items()
            if not action.creates and self.is_offered(request, action, row)
        }
        all_sections = [*self.sections(request, row), self.last_changes(request, row)]
        head = self.head(request, row)
        noun = noun_of(self.action_kind)
        waiting = row_notes(self.admin_site, request, noun, row.key, (*OPEN, *PROBLEMS))
        notes = sorted([*head.notes, *waiting], key=lambda note: note.level is not Level.PROBLEM)
        sections = [
            (section, [links.pop(name) for name in section.actions if name in links])
            for section in all_sections
            if section.html
        ]
        step, steps = head.steps
        context = {
            "head": head,
            "notes": notes,
            "beside": [links.pop(name) for name in head.beside or [head.main] if name in links],
            "step": links.pop(step, None),
            "steps": steps,
            "others": [links.pop(name) for name in head.others if name in links],
            "title": self.heading(row),
            "crumbs": [list_link(self.admin_site, self.model)],
            "subtitle": None,
            # A text: Unfold would show the row, beginning with a capital letter.
            "original": row.key,
            "has_view_permission": True,
            "sections": sections,
            "has_aside": any(section.is_aside for section, _links in sections),
            # Those of apps.
            "links": links.values(),
        }
        return self.template_page(request, "flagstaff/row.html", context)

    def link_to(self, request: HttpRequest, name: str, row: Any) -> ActionLink:
        """Returns the link to an action of a row."""
        action = self.page_actions[name]
        url = page_url(self.admin_site, self.model, name, row_id(row))
        if self.may_look(request, action, row):
            return ActionLink(action, url)
        needed = self.needed_right(request, action, row)
        # The class of a project, or READ_ONLY, can refuse what the user has the permission for.
        is_lacking = not has_permission(request.user, *needed)
        return ActionLink(action, permission=permission_name(*needed) if is_lacking else "")

    def needed_right(self, request: HttpRequest, action: Action, row: Any) -> tuple[Right, Any]:
        """Returns which right an action needs, and the row or the model that it is for."""
        return action.right, row

    def about(self, row: Any, *elsewhere: str) -> Section:
        """Returns the section with the columns that are not empty and not `elsewhere` on the page.

        A project may have columns of its own.
        """
        values = {
            field: getattr(row, field.name)
            for field in stored_fields(self.model)
            if not (field.primary_key or field.name in ("key", *elsewhere))
        }
        lines = (
            format_html("{}: {}", capfirst(field.verbose_name), _column_text(field, value))
            for field, value in values.items()
            if value is not False and value not in (None, "", [])
        )
        declared = declaration(self.model, row.key)
        place = []
        if declared is not None:
            place = [say("declared in {place}", place=declared.place.path).local]
        html = format_html('<p class="flagstaff-quiet">{}</p>', joined(" · ", [*place, *lines]))
        return Section(say("About").local, html, ("details", "delete", "default"))

    def last_changes(self, request: HttpRequest, row: Any) -> Section:
        """Returns the section with what has happened to a row."""
        title = say("Last changes").local
        if not can_read(request, "change_table"):
            return Section(title, "")
        site, kind = self.admin_site, self.row_kind
        newest = Change.objects.of_row(kind, row.pk).short().newest()[:_MAX_ENTRIES]
        shown = [*islice(events(newest), _COUNT)]
        rows = event_rows(site, request, shown, row=row)
        html = render_to_string("flagstaff/last_changes.html", {"rows": rows})
        return Section(title, html if rows else "", is_aside=True)


def _column_text(field: Any, value: Any) -> str:
    if isinstance(value, datetime):
        return local_time_text(value)
    # Django shows an icon without a text.
    return say("yes").local if value is True else str(display_for_field(value, field, ""))


# The rows of apps, such as rollout plans, which have events but no history. Their actions return
# `Done`, and have a look of their own.


# A row that changes for weeks has many.
_MAX_EVENTS = 100


class AppRowAdmin(RowPageAdmin):
    """Shows a row of an app as text, with its actions."""

    #: The kind of the actions, which is also the name of the app's pages: see `admin.parts`.
    app_kind: ClassVar[str]
    receipts = AppReceipts
    has_column_arguments = False

    @property
    def action_kind(self) -> str:
        """The kind of row whose actions have pages."""
        return self.app_kind

    def as_shown(self, request: HttpRequest, rows: Iterable[Any]) -> Sequence[Any]:
        """Returns rows with what their list and their pages show of them."""
        return [*rows]

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """The rows of the list."""
        changelist = super().get_changelist_instance(request)
        changelist.result_list = self.as_shown(request, changelist.result_list)
        return changelist

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """The row of a page."""
        row = super().get_object(request, object_id, from_field)
        return None if row is None else self.as_shown(request, [row])[0]

    def events(self, row: Any) -> QuerySet[Any]:
        """Returns what has happened to a row."""
        raise NotImplementedError

    def version(self, row: Any) -> str:
        """Returns a text that differs after each change that a person must see. Queries."""
        raise NotImplementedError

    def versions(self, request: HttpRequest, rows: Sequence[Any]) -> list[str] | None:
        """Their texts, because they have no history."""
        return [*map(self.version, rows)]

    def last_changes(self, request: HttpRequest, row: Any) -> Section:
        """Returns the section with the events."""
        rows = rows_of_app([*self.events(row).order_by("-id")[:_MAX_EVENTS]])
        html = render_to_string("flagstaff/last_changes.html", {"rows": rows})
        return Section(say("Events").local, html if rows else "")

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Goes to the events of a row among the recent changes."""
        row = self.get_object(request, object_id)
        if row is None:
            return self.missing(request, object_id)
        if not may(self.admin_site, request, "view", row):
            raise denied(request, "view", self.needed_to_view(row))
        filters = {"key": row.key, "kind": self.app_kind}
        return HttpResponseRedirect(changes_url(self.admin_site, filters))
