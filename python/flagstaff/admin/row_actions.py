"""The actions of rows on their pages: the rows, the form, and the receipt.

A page may be about several rows of a list.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, Generic, TypeVar, cast

from django import forms
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import JSONField
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from flagstaff._tables.rows import (
    Kind,
    all_rows,
    find_field,
    find_row,
    is_stored,
    unknown_row,
)
from flagstaff._text import (
    Sentence,
    local_list,
    local_number,
    localized,
    quoted,
    say,
)
from flagstaff._text.rules import naming
from flagstaff.actions import Action, Argument, Done
from flagstaff.actions.arguments import Several
from flagstaff.actions.commit import COUNT_TIMEOUT
from flagstaff.actions.table import Line, Look, Run, Written
from flagstaff.admin.action_page import ActionAdmin, ArgumentForm, Receipt, is_answered
from flagstaff.admin.links import back_url, list_link, page_url, row_id, row_links, undo_url
from flagstaff.admin.looks import (
    deleted_texts,
    describe_changed,
    newer_texts,
    tables_of,
    text_for_log,
    use_rows,
)
from flagstaff.admin.rights import can_read, denied, may
from flagstaff.admin.waiting_parts import (
    asked_before,
    concerned_actions,
    waiting_line,
    wants_later,
)
from flagstaff.admin.words import joined
from flagstaff.changes.fields import Changed
from flagstaff.conf import conf
from flagstaff.models import WaitingAction
from flagstaff.validators import VALUE, is_secret
from flagstaff.waiting.outlook import look_ahead

# Seconds for the count of users before an action that nothing may delay.
_SHORT_COUNT = 0.3
_Result = TypeVar("_Result", Changed, Done)


class RowSubject:
    """An action of rows, for a user who may do it."""

    def __init__(
        self,
        admin: ActionAdmin,
        request: HttpRequest,
        action: Action,
        rows: Sequence[Any],
        receipts: Receipts[Any],
    ) -> None:
        """Takes the rows that the action changes, by key; none for one that creates a row."""
        self.admin, self.site, self.request = admin, admin.admin_site, request
        self.action, self.receipts = action, receipts
        #: The time of the last look.
        self.at: datetime | None = None
        #: Whether the rows are the selection of the list, which posts it without a reason.
        self.is_of_list = ACTION_CHECKBOX_NAME in request.POST
        # A secret value would be stored.
        can_be_stored = action.can_wait and not any(map(is_secret, rows))
        self.can_wait = can_be_stored and can_read(request, "change_table")
        self.can_end = bool(action.ended_by)
        # A page that is opened for later does nothing now, also where nothing can wait.
        is_now = not (action.can_wait and wants_later(request))
        always = action.always_runs is True
        self.versions = None if (always and is_now) or not rows else admin.versions(request, rows)
        # Read after their versions: the page must not show older rows.
        of_pks = all_rows(admin.model).filter(pk__in=[row.pk for row in rows])
        newest = {row.pk: row for row in of_pks} if rows else {}
        self.rows = [newest.get(row.pk, row) for row in rows]
        again = asked_before(self.site, request, action)
        # A link can name an action of other rows, which this page must not end.
        is_of_rows = again is not None and {row.key for row in self.rows} <= {*again.keys}
        again = self.again = again if is_of_rows else None
        asked = {} if again is None else {"key": again.keys[0], **again.arguments}
        fields = ArgumentFields(admin, request, action, self.rows, asked)
        self.form = fields.form(is_answered=is_answered(request))
        if callable(action.always_runs) and self.form.is_valid():
            always = action.runs_always(self.form.arguments())
            self.versions = None if always and is_now else self.versions
        self.is_urgent = always and is_now
        self.is_danger = action.deletes
        self.needs_reason = action.keeps_reason and not always
        self.waits_for_workers = action.waits_for_workers

    @property
    def row(self) -> Any:
        """The row; None if there is none, or if there are several."""
        return self.rows[0] if len(self.rows) == 1 else None

    def run(self) -> Run:
        """The action with what was typed."""
        arguments = self.form.arguments()
        keys = [row.key for row in self.rows] or [arguments.pop("key")]
        return Run(self.action, keys, self.rows, arguments)

    def look(self, run: Run, at: datetime | None) -> Look:
        """What it would do, for the user."""
        if self.action.creates:
            self.admin.require_rights_for_new(self.request, run.keys[0])
        timeout = _SHORT_COUNT if self.is_urgent else COUNT_TIMEOUT
        look = look_ahead(run, at, viewer=self.request.user, timeout=timeout)
        self._require_rights(look)
        self.at = at
        # What an app does is seen before it is done.
        return replace(look, asks=look.asks or bool(look.lines))

    def _require_rights(self, look: Look) -> None:
        """Raises PermissionDenied, or UnknownFlagError for a hidden flag, as that of a plan."""
        for row in look.rows:
            if isinstance(row, (type, self.admin.model)):
                continue
            if not may(self.site, self.request, "view", row):
                raise unknown_row(type(row), row.key)
            right = look.right or self.action.right
            if not (may(self.site, self.request, right, row) or conf.read_only):
                raise denied(self.request, right, row)

    def newer_texts(self, shown: Sequence[str]) -> Iterator[str]:
        """Yields which rows have changed since the page was shown, and by whom."""
        self.versions = self.admin.versions(self.request, self.rows)
        yield from newer_texts(self.request, self.rows, shown, self.versions)

    # What the page says.

    def notes(self, look: Look | None) -> list[SafeString | str]:
        """Who gains and loses, what else to know, and what waits for the rows."""
        if look is None:
            return [*self._waiting(None)]
        is_same = look.changed and not any(change.written for change in look.changed)
        unchanged = (
            self.admin.unchanged_text(self.request, self.action) if is_same and self.rows else ""
        )
        # Of rows of apps, the notes say it.
        users = look.users_text() if look.changed else ""
        if users and len(self.rows) > 1 and self.admin.row_kind is Kind.FLAG:
            count = {"on": sum(row.enabled for row in self.rows), "count": len(self.rows)}
            users = f"{say('{on} of {count} are on.', **count).local} {users}"
        more = self.admin.notes_before(self.request, look)
        return [*filter(None, [users, unchanged]), *look.notes, *more, *self._waiting(look)]

    def _waiting(self, look: Look | None) -> Iterator[SafeString]:
        """Yields which actions would no longer run, and which others wait for the rows."""
        # An approval, whose look has no rows, and what waits for one change nothing now.
        is_now = self.at or not wants_later(self.request)
        is_known = look is not None and (look.rows or look.cancels) and is_now
        rows = (look and look.rows) or self.rows
        ended, staying = concerned_actions(
            self.site, self.request, rows, look if is_known else None, self.at
        )
        if ended:
            text = say(
                "If you change it now, this will not run: {actions}",
                "If you change it now, these will not run: {actions}",
            )
            if self.at:
                text = say(
                    "It is before this, which then will not run: {actions}",
                    "It is before these, which then will not run: {actions}",
                )
            if look and look.cancels:
                text = say(
                    "This was to run after it, and will not run either: {actions}",
                    "These were to run after it, and will not run either: {actions}",
                )
            yield say(text, count=len(ended), actions=self._lines(ended)).html
        if staying:
            text = say("Waiting actions: {actions}")
            if is_known and not self.at:
                text = say("Actions that still wait afterwards: {actions}")
            yield say(text, actions=self._lines(staying)).html

    def _lines(self, actions: Sequence[WaitingAction]) -> SafeString:
        return joined("; ", (waiting_line(self.site, waiting) for waiting in actions))

    def tables(self, look: Look) -> Sequence[tuple[Sequence[Line], object]]:
        """The fields of a row, or a line for each row, and what uses a segment."""
        heading = say("Field").local if self.row else capfirst(self.admin.opts.verbose_name)
        return tables_of(self.site, self.request, look, heading)

    def words(self, run: Run | None) -> Mapping[str, Any]:
        """The heading, the button, and what a selection posts again."""
        action, row = self.action, self.row
        if row is not None and self.is_urgent:
            action = self.admin.worded(action, row)
        name = self.admin.heading(row) if row else ""
        if len(self.rows) > 1:
            name = f"{local_number(len(self.rows))} {self.admin.opts.verbose_name_plural}"
        try:
            arguments = {} if run is None else run.arguments
            button = say(action.button, **{**arguments, "key": name}).local
        except KeyError:
            button = str(action.label)
        # Details and a new row decide nothing yet.
        is_asked = not (action.fields or action.creates or self.is_danger or self.is_urgent)
        if run is None and is_asked:
            # The first press shows what changes, and asks.
            button = f"{button.removesuffix('…')}…"
        posted = [("action", action.name), *((ACTION_CHECKBOX_NAME, row.pk) for row in self.rows)]
        is_one = row is not None
        return {
            "title": action.label,
            "subject": self.admin.subject(row) if is_one else name,
            "original": row and row.key,
            "crumbs": row_links(self.site, row, name)
            if is_one
            else [list_link(self.site, self.admin.model)],
            "button": button,
            "posted": posted if self.is_of_list else [],
        }

    def back_url(self, *, is_done: bool = False) -> str:
        """The page that the person came from: else of the row, or the list."""
        admin, row, site = self.admin, self.row, self.site
        if url := back_url(self.request):
            return url
        if self.is_of_list:
            # With its filters.
            return self.request.get_full_path()
        is_gone = row is None or (is_done and self.action.deletes)
        if not is_gone and admin.has_view_permission(self.request, row):
            return page_url(site, admin.model, "change", row_id(row))
        if not admin.has_view_permission(self.request):
            return reverse("admin:index", current_app=site.name)
        return page_url(site, admin.model, "changelist")

    # What was done.

    def log(self, written: Written) -> None:
        """Adds what was done to rows to Django's log, which has no text of a deletion."""
        admin, request = self.admin, self.request
        if self.action.creates and written:
            # That of the row that was created last: a flag has several plans.
            self.rows = [all_rows(admin.model).filter(key=written[0].key).latest("pk")]
        # The first change of a declared key has made its row.
        self.rows = [
            row if is_stored(row) else find_row(admin.model, row.key) or row for row in self.rows
        ]
        pairs = zip(self.rows, written, strict=True)
        done = [(row, change) for row, change in pairs if change.written]
        if self.action.deletes:
            # Only the type asks for a query set.
            admin.log_deletions(request, cast("Any", [row for row, _change in done]))
            return
        log = admin.log_addition if self.action.creates else admin.log_change
        with naming():
            for row, change in done:
                log(request, row, self.receipts.text_of(change))

    def _used_by(self, look: Look) -> Iterator[str]:
        """Yields what else has changed, such as the flags that use a segment."""
        lines = use_rows(self.site, self.request, look.impact)
        texts = [
            f"{line.field}: {line.now and f'{line.now} → '}{line.after}"
            for line in lines
            if line.now != line.after
        ]
        if texts:
            yield say("{sentence}.", sentence=local_list(texts)).local

    def receipt(self, written: Written, look: Look | None) -> Receipt:
        """What was written, and how to undo it."""
        if look is not None:
            # The change has the percentages already.
            users = " ".join([look.users_text(percents=False), *self._used_by(look)])
        else:
            # As it is now.
            newest = all_rows(self.admin.model).filter(pk__in=[row.pk for row in self.rows])
            users = self.admin.summary(newest[0]) if len(self.rows) == 1 and newest else ""
        return self.receipts.receipt(written, self.rows, users)


# The labels of arguments that are not columns of their row.
_LABELS: Mapping[str, Any] = {"percent": say("Percent").lazy, "users": say("Users").lazy}


class ArgumentFields:
    """The fields of the arguments of an action of rows."""

    def __init__(
        self,
        admin: ActionAdmin,
        request: HttpRequest,
        action: Action,
        rows: Sequence[Any],
        asked: Mapping[str, Any],
    ) -> None:
        """`asked` are the arguments of an action that is asked for again."""
        self.admin, self.request, self.action, self.rows = admin, request, action, rows
        self.asked = asked
        self.row = rows[0] if len(rows) == 1 else None

    def form(self, *, is_answered: bool) -> ArgumentForm:
        """Returns the form, bound to what was posted, or to what a link has filled in."""
        admin, request, action, row = self.admin, self.request, self.action, self.row
        fields, query = self._fields(), request.GET
        initial = {**self._shared(fields), **admin.initial_arguments(request, action, row)}
        initial |= {name: self._from_url(name, query[name]) for name in fields.keys() & query}
        for name in fields.keys() & self.asked:
            initial[name] = self._from_stored(name, self.asked[name])
            # It is written, although the person does not change it.
            fields[name].show_hidden_initial = False
        data: Any = request.POST if is_answered else None
        if not is_answered and self._is_complete(fields, initial):
            data = initial
        form: ArgumentForm = type("Form", (ArgumentForm,), fields)(data, initial=initial)
        admin.prepare_form(form, request, action, row)
        if data is None and self._is_value_given(form):
            # As a browser would post what the link has filled in.
            data = form.data = {
                name: field.prepare_value(initial.get(name)) for name, field in form.fields.items()
            }
            form.is_bound = True
        if data is None and form.fields:
            widget = next(iter(form.fields.values())).widget
            # Of an input with a box, the input.
            getattr(widget, "widgets", [widget])[0].attrs["autofocus"] = True
        return form

    def _fields(self) -> dict[str, forms.Field]:
        fields = dict[str, forms.Field]()
        if self.action.creates:
            fields["key"] = self._field("key", Argument(""), required=True)
        readonly = {*self.admin.get_readonly_fields(self.request, self.row)}
        for name, (argument, required) in self.action.arguments().items():
            if name not in readonly:
                field = fields[name] = self._field(name, argument, required=required)
                # Only what a person changes is written of the fields that need not be given.
                is_kept = bool(self.rows and not required and self._column(name))
                field.show_hidden_initial = is_kept
                if is_kept and self.row is None:
                    field.required = False
        return fields

    def _column(self, name: str) -> Any:
        """Returns the field of the model whose form field an argument has; None for none."""
        return find_field(self.admin.model, name) if self.admin.has_column_arguments else None

    def _field(self, name: str, argument: Argument, *, required: bool) -> forms.Field:
        """Returns the form field of the model for one of its fields, as on any page of Django."""
        column = self._column(name)
        field = self.admin.formfield_for_dbfield(column, self.request) if column else None
        if field is not None:
            # A field that a model may leave empty, such as a value, can be what an action is about.
            field.required = field.required or required
            return field
        # Without a label of ours, translated where a column or a table has the same name.
        label = _LABELS.get(name) or say(capfirst(name.replace("_", " "))).local
        field = argument.form_field(label, required=required)
        if isinstance(argument.help, Sentence):
            text, lines = localized(argument.help), say("One on each line: {what}")
            is_several = isinstance(argument, Several)
            field.help_text = say(lines, what=text).local if is_several else capfirst(text)
        return field

    def _shared(self, names: Iterable[str]) -> dict[str, Any]:
        """Returns what all rows have in the columns."""
        shared: dict[str, Any] = {}
        for name in names:
            # Not methods of a row, which Django would call for the initial value, as `delete`.
            if column := self._column(name):
                values = [getattr(row, column.attname) for row in self.rows]
                if values and all(value == values[0] for value in values):
                    shared[name] = values[0]
        return shared

    def _from_url(self, name: str, text: str) -> Any:
        """Returns the initial value of a field that a link fills in."""
        if isinstance(self._column(name), JSONField):
            with suppress(ValueError):
                return json.loads(text)
        return text

    def _from_stored(self, name: str, value: Any) -> Any:
        """Returns the initial value of a field that was asked for before."""
        is_lines = isinstance(value, list) and self._column(name) is None
        return "\n".join(map(str, value)) if is_lines else value

    def _is_value_given(self, form: ArgumentForm) -> bool:
        """Whether a link fills in the only argument: a value, which is no secret."""
        is_named = form.fields.keys() == {VALUE} == self.request.GET.keys() & form.fields.keys()
        return is_named and not any(map(is_secret, self.rows))

    def _is_complete(self, fields: Mapping[str, forms.Field], initial: Mapping[str, Any]) -> bool:
        """Whether a link, or what is usual, fills in the form. What is edited is no answer yet."""
        if self.action.fields is not None or any(map(self._column, fields)):
            return False
        return all(name in initial for name, field in fields.items() if field.required)


class Receipts(Generic[_Result]):
    """Says what an action of rows has done, for what the actions of a kind of row return."""

    def __init__(self, admin: ActionAdmin, request: HttpRequest, action: Action) -> None:
        self.admin, self.request, self.action = admin, request, action

    def text_of(self, done: _Result) -> str:
        """Returns what was done to a row, for Django's log."""
        raise NotImplementedError

    def receipt(self, written: Sequence[_Result], rows: Sequence[Any], users: str) -> Receipt:
        """Returns what was done to the rows, and what `users` says of them."""
        raise NotImplementedError


class ChangeReceipts(Receipts[Changed]):
    """Those of rows with a history."""

    def text_of(self, done: Changed) -> str:
        """Returns the fields that were written."""
        return text_for_log(self.request, done)

    def receipt(self, written: Sequence[Changed], rows: Sequence[Any], users: str) -> Receipt:
        """Returns which rows were added, deleted or changed."""
        admin, request, action = self.admin, self.request, self.action
        unchanged = ""
        changed = [change for change in written if change.written]
        if same := [change.key for change in written if not change.written]:
            text = say(
                "Nothing was changed: {keys} already has these values.",
                "Nothing was changed: {keys} already have these values.",
            )
            unchanged = say(text, count=len(same), keys=local_list(map(quoted, same))).local
        if not changed:
            return Receipt("", unchanged=unchanged)
        values: dict[str, Any] = {
            "count": len(changed),
            "keys": local_list(quoted(change.key) for change in changed),
        }
        undone = [change for change in changed if change.version]
        if action.creates:
            sentences = [say("{keys} was added.", **values).local]
            undone = undone if may(admin.admin_site, request, "delete", rows[0]) else []
        elif action.deletes:
            sentences = deleted_texts(changed[0].kind, [change.key for change in changed])
            undone = undone if may(admin.admin_site, request, "add", admin.model) else []
        else:
            text = say("{keys} was changed.", "{keys} were changed.")
            sentences = [say(text, **values).local]
            undone = [change for change in undone if change.undo is not None and not change.secret]
            if len(changed) == 1:
                text = say("“{key}” was changed: {change}.")
                change = describe_changed(self.request, changed[0])
                sentences = [say(text, key=changed[0].key, change=change).local, users]
        url = undo_url(admin.admin_site, [change.version for change in undone if change.version])
        links = admin.next_steps(request, rows[0]) if action.creates else ()
        return Receipt(
            " ".join(filter(None, sentences)),
            url,
            unchanged=unchanged,
            links=links,
        )


class AppReceipts(Receipts[Done]):
    """Those of a row of an app."""

    def text_of(self, done: Done) -> str:
        """Returns its messages."""
        return " ".join(map(str, done.messages))

    def receipt(self, written: Sequence[Done], rows: Sequence[Any], users: str) -> Receipt:
        """Returns what was done to the row, and the action that takes it back."""
        admin, action, [done], [row] = self.admin, self.action, written, rows
        # What has happened is stored, and shown in English.
        text = " ".join(_sentence(done, localized(message)) for message in done.messages)
        if action.deletes:
            text = admin.deleted_text(done.key)
        if not done.written:
            return Receipt("", unchanged=text)
        # Others may gain nothing.
        if not (users or action.creates or action.deletes):
            users = admin.summary(row)
        # What was done may say it already.
        if users.casefold() in text.casefold():
            users = ""
        url = label = ""
        if done.undo is not None and not action.deletes:
            _kind, name, *_more = done.undo.arguments
            undo = admin.page_actions[name]
            if admin.may_do(self.request, undo, row):
                url = page_url(admin.admin_site, admin.model, name, row_id(row))
                label = f"{undo.label}…" if done.instead else ""
        return Receipt(" ".join(filter(None, [text, users])), url, label)


def _sentence(done: Done, text: str) -> str:
    prefix, name = f"{done.key}: ", done.title or done.key
    # Django capitalises the first letter of a message: a key must not come first.
    if text.startswith(prefix):
        rest = text.removeprefix(prefix).removeprefix(f"{name}: ")
        text = f"{quoted(name)}: {rest}"
    return f"{capfirst(text).removesuffix('.')}."
