"""The page of an action: its arguments, what they change, what it asks, and what was done."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from typing import Any, cast

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import JSONField, Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from flagstaff._tables.database import db
from flagstaff._tables.model_fields import find_field
from flagstaff._tables.rows import all_rows, case_variants
from flagstaff._text import local_list, local_number, localized, quoted, say
from flagstaff._text.rules import sentence
from flagstaff._value_schema import is_secret
from flagstaff.actions import Action, Argument, Outlook
from flagstaff.actions.table import Run
from flagstaff.admin.base_admin import REASON, SAVE_TIMEOUT, BaseAdmin, posted_reason
from flagstaff.admin.confirmation import (
    PreviewRow,
    describe_changed,
    describe_events,
    parse_version,
    preview_rows,
    segment_rows,
)
from flagstaff.admin.links import back_url, list_link, page_url, row_links, undo_url
from flagstaff.admin.rights import may, require_reach, visible_refusal
from flagstaff.admin.rules.editor import EDIT
from flagstaff.admin.waiting_lines import row_lines, waiting_line
from flagstaff.changes import Changed
from flagstaff.changes.consequence import (
    consequence_of,
    impact_text,
    needs_question,
    text_for_many,
    text_to_type,
)
from flagstaff.changes.impact import impact_of_changes
from flagstaff.changes.row_states import Impact
from flagstaff.conf import conf
from flagstaff.exceptions import ConflictError, FlagstaffError, NoHistoryError
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Change, events, has_history, versions_of
from flagstaff.waiting.actions import ask, find
from flagstaff.waiting.prospect import Prospect, is_approval_needed
from flagstaff.waiting.times import future_time

#: Seconds for which an action that nothing may delay waits for the workers, and its page for the
#: count of users.
LONG_TIMEOUT, SHORT_COUNT = 5.0, 0.3
# The names of the fields that confirm, with the key that a person types, and with the version that
# the page showed.
_CONFIRMED, _TYPED_KEY, _VERSION = "_confirmed", "_typed_key", "expect_version"
# The names of the field with the time of an action, and of the button beside it.
_AT, _LATER = "_at", "_later"
# The newer changes that a message lists.
_MAX_NEWER = 5
# The labels of arguments that are not columns of their row.
_LABELS: Mapping[str, Any] = {"percent": say("Percent").lazy, "users": say("Users").lazy}


@dataclass(frozen=True)
class Written:
    """What was done, as the message says it."""

    #: Empty if nothing was written.
    text: str
    undo_url: str = ""
    #: What the link says; without a text, that it undoes the change.
    undo_label: str = ""
    #: What was asked for, but is so already.
    unchanged: str = ""
    #: The URLs and texts of what a person may do next with a new row.
    links: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Preview:
    """What an action would do with some arguments."""

    arguments: Mapping[str, Any] = field(default_factory=dict)
    #: The changes of the rows, in their order.
    changed: Sequence[Changed] = ()
    impact: Impact = field(default_factory=lambda: Impact([], []))
    #: Whether a person has to see it first.
    asks: bool = True
    #: What a person has to type; empty for nothing.
    typed: str = ""
    #: Of a row of an app: what changes, and what a person should know, in sentences.
    rows: Sequence[PreviewRow] = ()
    notes: Sequence[str] = ()
    #: What lets it wait, and refuses it if something has changed.
    outlook: Outlook | None = None

    @property
    def seal(self) -> str:
        """A text that differs if the arguments, or the weight of the question, differ."""
        text = json.dumps(dict(self.arguments), sort_keys=True, default=str)
        return sha256(f"{text}{self.typed}{consequence_of(self.impact)}".encode()).hexdigest()


class ActionRequest:
    """A request to the page of an action, for a user who may do it."""

    def __init__(
        self, admin: BaseAdmin, request: HttpRequest, action: Action, rows: Sequence[Any]
    ) -> None:
        """Takes the rows that the action changes, by key; none for one that creates a row."""
        self.admin, self.site = admin, admin.admin_site
        self.request, self.action = request, action
        #: Whether nothing may delay it: no count, no version, no reason.
        self.is_urgent = action.always_runs is True
        #: The versions of the rows; None without a history.
        self.versions = None if self.is_urgent or not rows else self._versions_of(rows)
        # Read after their versions: the page must not show older rows.
        self.rows: list[Any] = self._newest(rows)
        self.is_edited = EDIT in request.POST
        #: Whether the rows are the selection of the list, which posts it without a reason.
        self.is_of_list = ACTION_CHECKBOX_NAME in request.POST
        is_posted = request.method == "POST"
        self.is_answered = is_posted and (not self.is_of_list or REASON in request.POST)
        self.form = self._form()
        self.problems: list[str] = []
        #: When to do it, if not now.
        self.at: datetime | None = None
        if callable(action.always_runs) and not self._is_later and self.form.is_valid():
            self.is_urgent = action.runs_always(self._typed_arguments())
            self.versions = None if self.is_urgent else self.versions

    @property
    def row(self) -> Any:
        """The row; None if there is none, or if there are several."""
        return self.rows[0] if len(self.rows) == 1 else None

    # What a kind of row adds.

    def prepare_form(self, form: forms.Form) -> None:
        """Adapts the form to the row and the action."""

    def notes(self, preview: Preview) -> Sequence[str]:
        """Returns what a person should know of the action, before and after it, in sentences."""
        return []

    def lines(self, impact: Impact) -> Mapping[str, Sequence[PreviewRow]]:
        """Returns what a change does beside the fields, by the text of the primary key."""
        return {}

    def summary(self, row: Any) -> str:
        """Returns the sentence that says what a row means after a change."""
        return ""

    def in_use(self, keys: Sequence[str]) -> bool:
        """Whether rows are used, so that a person types the key to delete them anywhere."""
        return False

    # The answer.

    def answer(self) -> HttpResponse:
        """Returns the page, or writes what it has confirmed. A GET locks and writes nothing."""
        preview = self._preview()
        is_final = self.is_answered and not self.is_edited
        if is_final and self._is_later:
            self._read_time()
        if is_final and preview is not None and self._is_confirmed(preview):
            try:
                prospect = self._prospect(preview)
                needs_approval = prospect is not None and is_approval_needed(prospect)
                if prospect is not None and (self._is_later or needs_approval):
                    return self._ask(prospect, approval=needs_approval)
                return self._finish(preview)
            except ConflictError:
                self._say_what_is_newer()
            except FlagstaffError as error:
                self._refuse(error)
        return self._page(preview)

    def _newest(self, rows: Sequence[Any]) -> list[Any]:
        """Returns the present rows."""
        pks = [row.pk for row in rows]
        newest = {row.pk: row for row in all_rows(self.admin.model).filter(pk__in=pks)}
        return [newest.get(row.pk, row) for row in rows]

    def _kind_of(self, row: Any) -> Kind:
        """Returns what a row is."""
        return cast("Kind", Kind.of_model(type(row)))

    def _versions_of(self, rows: Sequence[Any]) -> list[str] | None:
        """Returns the present versions of rows, in their order; None without a history.

        Makes a query for each kind.
        """
        if not has_history():
            return None
        pks = defaultdict[Kind, list[object]](list)
        for row in rows:
            pks[self._kind_of(row)].append(row.pk)
        versions = {kind: versions_of(kind, of_kind) for kind, of_kind in pks.items()}
        return [str(versions[self._kind_of(row)].get(str(row.pk), 0)) for row in rows]

    # What was typed.

    def _form(self) -> forms.Form:
        query, fields = self.request.GET, dict[str, forms.Field]()
        if self.action.creates:
            fields["key"] = self._field("key", Argument(""), required=True)
        readonly = {*self.admin.get_readonly_fields(self.request, self.row)}
        for name, (argument, required) in self._arguments().items():
            if name not in readonly:
                field = fields[name] = self._field(name, argument, required=required)
                # Only what a person changes is written of the fields that need not be given.
                field.show_hidden_initial = bool(self.rows and not required and self._column(name))
                if field.show_hidden_initial and self.row is None:
                    field.required = False
        initial = self._initial(fields)
        initial |= {name: self._from_url(name, query[name]) for name in fields.keys() & query}
        data = self.request.POST if self.is_answered else self._data_of_link(fields, initial)
        if data is None and fields:
            next(iter(fields.values())).widget.attrs["autofocus"] = True
        # The page says what is missing, as Django's forms do.
        options = {**fields, "use_required_attribute": False}
        form: forms.Form = type("ArgumentForm", (forms.Form,), options)(data, initial=initial)
        self.prepare_form(form)
        return form

    def _arguments(self) -> Mapping[str, tuple[Argument, bool]]:
        """Returns the arguments that the page asks for, and whether each is required."""
        return self.action.arguments()

    def _data_of_link(
        self, fields: Mapping[str, forms.Field], initial: Mapping[str, Any]
    ) -> Mapping[str, Any] | None:
        """Returns the data of a form that a link has filled in completely; else None."""
        query = self.request.GET
        is_given = all(name in query for name in fields if fields[name].required)
        return query if is_given and not any(map(self._column, fields)) else None

    def _column(self, name: str) -> Any:
        """Returns the field of the model with this name, or None."""
        return find_field(self.admin.model, name)

    def _field(self, name: str, argument: Argument, *, required: bool) -> forms.Field:
        """Returns the form field of the model for one of its fields, as on any page of Django."""
        column = self._column(name)
        field = self.admin.formfield_for_dbfield(column, self.request) if column else None
        if field is None:
            # Without a label of ours, translated where a column or a table has the same name.
            label = _LABELS.get(name) or say(capfirst(name.replace("_", " "))).local
            return argument.form_field(label, required=required)
        # A field that a model may leave empty, such as a value, can be what an action is about.
        field.required = field.required or required
        return field

    def _from_url(self, name: str, text: str) -> Any:
        """Returns the initial value of a field that a link fills in."""
        if isinstance(self._column(name), JSONField):
            with suppress(ValueError):
                return json.loads(text)
        return text

    def _initial(self, fields: Mapping[str, forms.Field]) -> dict[str, Any]:
        """Returns what all rows have in the columns."""
        initial: dict[str, Any] = {}
        # Not methods of a row, which Django would call for the initial value, such as `delete`.
        for name in filter(self._column, fields):
            values = [getattr(row, self._column(name).attname) for row in self.rows]
            if values and all(value == values[0] for value in values):
                initial[name] = values[0]
        return initial

    def _preview(self) -> Preview | None:
        """Returns what the arguments would change; None if there are none, or if they are wrong."""
        if not self.form.is_valid():
            return None
        arguments = self._typed_arguments()
        try:
            preview = self.preview(arguments)
        except FlagstaffError as error:
            self._refuse(error)
            return None
        # Those of the preview are not asked for.
        return replace(preview, arguments={**arguments, **preview.arguments})

    def _typed_arguments(self) -> dict[str, Any]:
        form = self.form
        return {
            name: value
            for name, value in form.cleaned_data.items()
            if (
                name in form.changed_data
                if form.fields[name].show_hidden_initial
                else value is not None
            )
        }

    def preview(self, arguments: dict[str, Any]) -> Preview:
        """Returns what the action would do. Writes and locks nothing. Raises FlagstaffError."""
        action = self.action
        keys = [row.key for row in self.rows] or [arguments.pop("key")]
        changed = Run(action, keys, self.rows, arguments).preview()
        impact = self._count(changed)
        require_reach(self.site, self.request, impact)
        if action.deletes:
            typed = text_for_many(keys)
            if not typed and self.in_use(keys):
                typed = keys[0] if self.row else str(len(keys))
            return Preview({}, changed, impact, typed=typed)
        least = action.asks_from if action.is_asked_about(arguments) else None
        is_kept = any(change.kept_by_rules for change in changed)
        asks = least is not None and (is_kept or needs_question(impact, least))
        typed = text_to_type(impact) if asks else ""
        return Preview({}, changed, impact, asks=asks, typed=typed)

    def _count(self, changed: Sequence[Changed]) -> Impact:
        """Counts users, but not before an urgent action is done."""
        if self.is_urgent and self.is_answered:
            return Impact([], [])
        timeout = SHORT_COUNT if self.is_urgent else 1.0
        return impact_of_changes(changed, timeout=timeout, viewer=self.request.user)

    def _refuse(self, error: FlagstaffError) -> None:
        text = visible_refusal(self.site, self.request, error)
        # What is wrong with a field begins with its name.
        name, _colon, problem = text.partition(": ")
        if name in self.form.fields:
            self.form.add_error(name, problem)
        else:
            # Not with a capital letter: it may begin with a key.
            self.form.add_error(None, f"{text}.")

    # What is asked.

    def _is_confirmed(self, preview: Preview) -> bool:
        """Whether the page has asked, and a person has confirmed what is known now."""
        if self._is_outdated():
            self._say_what_is_newer()
        has_asked = not preview.asks or self.request.POST.get(_CONFIRMED) == preview.seal
        if has_asked:
            self.problems += self._answer_problems(preview)
        elif _CONFIRMED in self.request.POST and not (self.problems or self.form.fields):
            # Without arguments, it was no edit of the person.
            self.problems.append(
                say("This has changed since the page was shown. Press the button again.").local
            )
        return has_asked and not self.problems

    def _answer_problems(self, preview: Preview) -> Iterator[str]:
        """Yields what is wrong with the text that a person had to type, and with the reason."""
        # An input of one line has no line breaks, and a page shows several blanks as one.
        typed = preview.typed
        if typed and self.request.POST.get(_TYPED_KEY, "").split() != typed.split():
            yield say("Not confirmed: type “{text}” exactly.", text=typed).local
        has_reason = bool(posted_reason(self.request).strip())
        if conf.require_reason and self._needs_reason(preview) and not has_reason:
            yield say(
                "A reason is required. Write why you make this change: the history shows it."
            ).local

    def _needs_reason(self, preview: Preview | None) -> bool:
        """Whether this needs a reason, if the settings require one."""
        return not self.is_urgent

    def _focus(self, preview: Preview | None) -> str:
        """Returns what a person does next: type a reason or a text, or press the button."""
        if preview is None or self.is_edited:
            return ""
        if conf.require_reason and self._needs_reason(preview) and not posted_reason(self.request):
            return "reason"
        return "typed" if preview.typed else "button"

    def _prospect(self, preview: Preview) -> Prospect | None:
        """Returns what may wait for an approval or a time; None if nothing may delay it."""
        if self.is_urgent:
            return None
        run = self._run(preview)
        return Prospect.counted(run, self._expected(run), preview.changed, preview.impact)

    @cached_property
    def _may_wait(self) -> bool:
        """Whether the page offers a time. A secret value would be stored."""
        # What is urgent is neither counted nor compared, so nothing could be stored of it.
        can_wait = self.action.can_wait and not self.is_urgent
        return can_wait and has_history() and not any(map(is_secret, self.rows))

    @property
    def _is_later(self) -> bool:
        """Whether a person has typed a time, or asked for one without typing it."""
        posted = self.request.POST
        return self._may_wait and bool(posted.get(_AT, "").strip() or _LATER in posted)

    def _read_time(self) -> None:
        """Reads when to do it, or adds a problem."""
        try:
            self.at = future_time(self.request.POST.get(_AT, ""))
        except FlagstaffError as error:
            self.problems.append(f"{localized(error.message)}.")

    def _ask(self, prospect: Prospect, *, approval: bool) -> HttpResponse:
        """Stores the action, and says what it waits for. Raises FlagstaffError."""
        if not prospect.outlook.is_counted:
            # For a person who may not see them, or not within a second. The job compares them.
            prospect = Prospect.of(prospect.run, prospect.outlook.expected)
        done = ask(prospect, self.at, approval=approval)
        name = done.record["asked_by_name"]
        line = waiting_line(self.site, find(done.key), name)
        message = format_html("{} {}", say("Nothing is changed yet.").local, line)
        self.admin.message_user(self.request, message, messages.WARNING)
        for note in done.notes:
            self.admin.message_user(self.request, localized(note), messages.WARNING)
        return HttpResponseRedirect(self._back_url())

    def _run(self, preview: Preview) -> Run:
        keys = [change.key for change in preview.changed]
        return Run(self.action, keys, self.rows, preview.arguments)

    def _expected(self, run: Run) -> dict[str, int]:
        """Returns the versions that the rows must have, by key; none without a history."""
        versions = (self.versions if self.action.takes_version else None) or ()
        return dict(zip(run.keys, map(int, versions), strict=False))

    def _is_outdated(self) -> bool:
        """Whether the rows have changed since the page was shown."""
        shown, versions = self._shown, self.versions
        return shown is not None and versions is not None and shown != versions

    @property
    def _version(self) -> str | None:
        """What the page posts as the version of its rows; None without a history."""
        return None if self.versions is None else ",".join(self.versions)

    @property
    def _shown(self) -> list[str] | None:
        """The versions that the submitted page showed; None without a history."""
        posted = self.request.POST.get(_VERSION)
        return posted.split(",") if posted else None

    def _say_what_is_newer(self) -> None:
        """Adds a problem: what others have changed since the page was shown."""
        shown, self.versions = self._shown or [], self._versions_of(self.rows)
        if self.versions is None or len(shown) != len(self.rows):
            self.problems.append(say("Some of what you selected no longer exists.").local)
            return
        for row, old, new in zip(self.rows, shown, self.versions, strict=True):
            if old == new:
                continue
            of_row = Change.objects.of_row(self._kind_of(row), row.pk)
            newer = of_row.filter(id__gt=parse_version(old))
            newer_events = [*events(newer.short().newest()[:_MAX_NEWER])]
            self.problems += [
                say(
                    "“{key}” has changed since the page was shown. Press the button again.",
                    key=row.key,
                ).local,
                *describe_events(self.request, newer_events),
            ]

    def _page(self, preview: Preview | None) -> HttpResponse:
        context = self._context(preview)
        return self.admin.template_page(self.request, "flagstaff/question.html", context)

    def _context(self, preview: Preview | None) -> dict[str, Any]:
        """Returns what the page shows."""
        action, admin, row, request = self.action, self.admin, self.row, self.request
        posted = [
            ("action", action.name),
            *((ACTION_CHECKBOX_NAME, selected.pk) for selected in self.rows),
        ]
        context: dict[str, Any] = {
            "title": action.label,
            "subtitle": None,
            "original": row and row.key,
            "subject": self._subject(),
            "crumbs": self._crumbs(),
            "posted": posted if self.is_of_list else [],
            "form": self.form,
            "media": admin.media + self.form.media,
            "is_edited": self.is_edited,
            "problems": self.problems,
            "preview": preview,
            "cannot": action.deletes and preview is None,
            "version": request.POST.get(_VERSION) if self.is_edited else self._version,
            "reason": posted_reason(request),
            "needs_reason": conf.require_reason and self._needs_reason(preview),
            "focus": self._focus(preview),
            "is_danger": action.deletes or self.is_urgent,
            "button": self._button(preview),
            "back": self._back_url(),
            "zone": timezone.get_current_timezone_name() if self._may_wait else "",
            "at": request.POST.get(_AT, ""),
            "is_later": self._is_later,
        }
        if preview is not None:
            context["notes"] = [*self._notes_before(preview), *self._what_would_not_run()]
            prospect = self._prospect(preview)
            if prospect is not None and is_approval_needed(prospect):
                context["notes"].append(
                    say("Another user has to approve this before it is done.").local
                )
                context["button"] = say("Request approval").local
            context["tables"] = self._tables(preview)
        return context

    def _what_would_not_run(self) -> list[SafeString]:
        """Returns what waits for the row. An action is refused if its row has changed."""
        key = getattr(self.row, "key", None)
        lines = row_lines(self.site, self.request, self.action.noun, key) if key else []
        text = say("If you change it now, this will not run:").local
        return [format_html("{} {}", text, line) for _is_alarm, line in lines]

    def _crumbs(self) -> list[tuple[str, str]]:
        """Returns the URLs and texts of the pages above this one."""
        if self.row is None:
            return [list_link(self.site, self.admin.model)]
        return row_links(self.site, self.row, self._subject())

    def _subject(self) -> str:
        """Returns the key, or the number of rows; empty for a new row."""
        if self.row or not self.rows:
            return self.admin.heading(self.row) if self.row else ""
        return f"{local_number(len(self.rows))} {self.admin.opts.verbose_name_plural}"

    def _button(self, preview: Preview | None) -> str:
        arguments = preview.arguments if preview else {}
        try:
            return say(self.action.button, **{**arguments, "key": self._subject()}).local
        except KeyError:
            return str(self.action.label)

    def _tables(self, preview: Preview) -> list[tuple[Sequence[PreviewRow], object]]:
        """Returns the tables of what is now and afterwards, and their headings."""
        heading = say("Field").local if self.row else capfirst(self.admin.opts.verbose_name)
        uses = segment_rows(self.site, self.request, preview.impact)
        return [(self._lines(preview), heading), (uses, capfirst(say("used by").local))]

    def _lines(self, preview: Preview) -> Sequence[PreviewRow]:
        """Returns the lines of the table: of a row one for each field, else one for each row."""
        if self.action.deletes:
            return [
                PreviewRow(row.key, self.summary(row), say("deleted").local) for row in self.rows
            ]
        if self.action.creates:
            return []
        more = self.lines(preview.impact)
        lines = [
            [*preview_rows(self.request, row, changed), *more.get(str(row.pk), ())]
            for row, changed in zip(self.rows, preview.changed, strict=True)
        ]
        return lines_of_rows(self.rows, lines)

    def _notes_before(self, preview: Preview) -> list[str]:
        is_lost = self.action.deletes and any(map(is_secret, self.rows))
        lost = say(
            "A secret value cannot be brought back: the history does not store what it was."
        ).local
        is_same = self.rows and not any(change.written for change in preview.changed)
        unchanged = say("Nothing would change.").local if is_same else ""
        texts = filter(None, [impact_text(preview.impact), unchanged, lost if is_lost else ""])
        return [*texts, *self._notes(preview)]

    def _notes_after(self, preview: Preview) -> Sequence[str]:
        """Returns what to know of what was done; nothing of what is deleted or killed."""
        return [] if self.action.deletes or self.is_urgent else self._notes(preview)

    def _notes(self, preview: Preview) -> list[str]:
        similar = ""
        if self.action.creates:
            similar = _case_variants_text(self.admin.model, preview.changed[0].key)
        kept = [
            sentence(change.kept_by_rules) for change in preview.changed if change.kept_by_rules
        ]
        notes = self.notes(preview)
        return [*filter(None, [similar]), *kept, *notes]

    # What was done.

    def _finish(self, preview: Preview) -> HttpResponse:
        """Writes what was confirmed, says so with the receipt of the workers, and goes back."""
        admin, request = self.admin, self.request
        # Read before the write, which makes some of them wrong.
        notes = self._notes_after(preview)
        done = self._write(preview)
        if done.unchanged:
            admin.message_user(request, done.unchanged, messages.INFO)
        if done.text:
            timeout = LONG_TIMEOUT if self.action.waits_for_workers else SAVE_TIMEOUT
            undo = done.undo_url, done.undo_label or say("Undo").local
            admin.report_applied(request, done.text, timeout=timeout, undo=undo, links=done.links)
        for note in notes:
            admin.message_user(request, note, messages.WARNING)
        return HttpResponseRedirect(self._back_url(is_done=True))

    def _write(self, preview: Preview) -> Written:
        """Writes all rows or none."""
        run = self._run(preview)
        with db.atomic():
            try:
                changed = run.write(self._expected(run))
            except NoHistoryError:
                # Without triggers there are no versions: a system check reports that.
                changed = run.write({})
            if self.action.creates:
                self.rows = [self.admin.row_kind.row(changed[0].key)]
            rows = [row for row, change in zip(self.rows, changed, strict=True) if change.written]
            written = [change for change in changed if change.written]
            self._log(rows, (describe_changed(self.request, change) for change in written))
        unchanged = ""
        if unchanged_keys := [change.key for change in changed if not change.written]:
            unchanged = say(
                "Nothing was changed: {keys} already has these values.",
                "Nothing was changed: {keys} already have these values.",
                count=len(unchanged_keys),
                keys=local_list(map(quoted, unchanged_keys)),
            ).local
        return replace(self._report(preview, written), unchanged=unchanged)

    def _log(self, rows: Sequence[Any], texts: Iterable[str]) -> None:
        """Adds what was done to rows to Django's log, which has no text of a deletion."""
        if self.action.deletes:
            # Only the type asks for a query set.
            self.admin.log_deletions(self.request, cast("Any", rows))
            return
        log = self.admin.log_addition if self.action.creates else self.admin.log_change
        for row, text in zip(rows, texts, strict=True):
            log(self.request, row, text)

    def _report(self, preview: Preview, written: Sequence[Changed]) -> Written:
        """Returns which rows were added, deleted or changed, and how to undo it."""
        action, admin, request = self.action, self.admin, self.request
        site, users = self.site, ""
        if not written:
            return Written("")
        texts = {"keys": local_list(quoted(change.key) for change in written)}
        undone = [change for change in written if change.version]
        if action.creates:
            text = say("{keys} was added.")
            undone = undone if may(site, request, "delete", self.row) else []
        elif action.deletes:
            text = say("{keys} was deleted.", "{keys} were deleted.")
            undone = undone if may(site, request, "add", admin.model) else []
        else:
            text = say("{keys} was changed.", "{keys} were changed.")
            undone = [change for change in undone if change.undo is not None and not change.secret]
            if len(written) == 1:
                text = say("“{key}” was changed: {change}.")
                description = describe_changed(request, written[0])
                texts = {"key": written[0].key, "change": description}
                # The change has them already.
                users = impact_text(preview.impact, percents=False)
                if self.is_urgent and (row := admin.row_kind.find(written[0].key)):
                    # The users were not counted.
                    users = self.summary(row)
        sentences = " ".join(filter(None, (say(text, count=len(written), **texts).local, users)))
        url = undo_url(site, [change.version for change in undone if change.version])
        return Written(sentences, url, links=self.next_steps() if action.creates else ())

    def next_steps(self) -> Sequence[tuple[str, str]]:
        """Returns the URLs and texts of what a person may do next with a new row."""
        return []

    def _back_url(self, *, is_done: bool = False) -> str:
        admin, row, site = self.admin, self.row, self.site
        if url := back_url(self.request):
            return url
        if self.is_of_list:
            # With its filters.
            return self.request.get_full_path()
        is_gone = row is None or (is_done and self.action.deletes)
        if not is_gone and admin.has_view_permission(self.request, row):
            return page_url(site, admin.model, "change", row.pk)
        if not admin.has_view_permission(self.request):
            return reverse("admin:index", current_app=site.name)
        return page_url(site, admin.model, "changelist")


def _case_variants_text(model: type[Model], key: str) -> str:
    """Returns the sentence; empty if there is no such key. Makes a query."""
    similar = case_variants(model, key)
    if not similar:
        return ""
    keys = local_list(quoted(variant) for variant in similar)
    return say(
        "Keys are case-sensitive: “{key}” differs only in case from {keys}.", key=key, keys=keys
    ).local


def lines_of_rows(
    rows: Sequence[Any], lines: Sequence[Sequence[PreviewRow]]
) -> Sequence[PreviewRow]:
    """Returns the lines of one row, or one line for each of several."""
    if len(rows) == 1:
        return lines[0]
    return [joined_row(row.key, some) for row, some in zip(rows, lines, strict=True)]


def joined_row(key: str, lines: Sequence[PreviewRow]) -> PreviewRow:
    """Returns what differs of one row in one line."""
    if all(line.now == line.after for line in lines):
        return PreviewRow(key, no_change := say("no change").local, no_change)
    sides = {}
    for side in ("now", "after"):
        texts = [(line.field, getattr(line, side)) for line in lines if line.now != line.after]
        named = (text if field == key else f"{field}: {text}" for field, text in texts if text)
        sides[side] = "; ".join(named)
    return PreviewRow(key, **sides)
