"""The page of an action: its arguments, what it would do, what it asks, and what was done."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from typing import Any, ClassVar, Protocol

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.safestring import SafeString

from flagstaff._attribution import current_actor
from flagstaff._tables.database import db, value_or_default
from flagstaff._tables.rows import (
    CONDITIONS,
    RULES,
    Kind,
)
from flagstaff._text import (
    localized,
    say,
)
from flagstaff._text.rules import sentence
from flagstaff.actions import Action, all_actions
from flagstaff.actions.commit import commit, look_after
from flagstaff.actions.table import Look, Run, Written
from flagstaff.admin.base_admin import REASON, BaseAdmin, posted_reason
from flagstaff.admin.rights import can_read, denied, require_reach, visible_refusal
from flagstaff.admin.rules.editor import EDIT
from flagstaff.admin.rules.forms import rule_notes
from flagstaff.admin.waiting_parts import (
    Later,
    colleagues_text,
    ended_actions,
    to_show,
    waiting_line,
)
from flagstaff.admin.words import joined
from flagstaff.changes import Changed
from flagstaff.changes.consequence import Consequence
from flagstaff.changes.row_states import Impact
from flagstaff.changes.rule_use import notes_of
from flagstaff.conf import conf
from flagstaff.exceptions import ConflictError, FlagstaffError
from flagstaff.history.describe import may_see_users
from flagstaff.history.log import versions_of
from flagstaff.models import WaitingAction
from flagstaff.waiting.actions import ask, asked_together, find
from flagstaff.waiting.rights import approver_names, is_approval_needed
from flagstaff.waiting.standing import only_takes

# The names of the fields that confirm, with the key that a person types, and with the version that
# the page showed.
_CONFIRMED, _TYPED_KEY, _VERSION = "_confirmed", "_typed_key", "expect_version"
# The codes of errors of what a person has not finished typing.
_UNFINISHED = ("required", "rows")


def is_answered(request: HttpRequest) -> bool:
    """Whether a page was submitted. The list posts its selection without a reason."""
    is_of_list = ACTION_CHECKBOX_NAME in request.POST
    return request.method == "POST" and (not is_of_list or REASON in request.POST)


class ArgumentForm(forms.Form):
    """The arguments that a person types, and those that the page gives by itself."""

    # The page says what is missing, as Django's forms do.
    use_required_attribute = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        #: Arguments that nobody is asked for.
        self.given: dict[str, Any] = {}

    def arguments(self) -> dict[str, Any]:
        """Returns the arguments of a valid form; of columns, those that a person has changed."""
        typed = {
            name: value
            for name, value in self.cleaned_data.items()
            if (
                name in self.changed_data
                if self.fields[name].show_hidden_initial
                else value is not None or getattr(self.fields[name], "is_nullable", False)
            )
        }
        return {**self.given, **typed}


@dataclass(frozen=True)
class Receipt:
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


class ActionAdmin(BaseAdmin):
    """The actions of a kind of row that have pages, and what the kind adds to these pages."""

    #: The names of actions of the terminal that have no page.
    left_out: ClassVar[Collection[str]] = ()
    #: Whether an argument with the name of a column has its form field. Those of apps are texts.
    has_column_arguments: ClassVar[bool] = True

    @property
    def action_kind(self) -> Kind | str:
        """The kind of row whose actions have pages."""
        return self.row_kind

    @cached_property
    def page_actions(self) -> Mapping[str, Action]:
        """The actions that have pages, by name."""
        # The pages of changes undo and restore.
        actions = (action for action in all_actions(self.action_kind) if not action.undoes)
        return {action.name: action for action in actions if action.name not in self.left_out}

    def prepare_form(
        self, form: ArgumentForm, request: HttpRequest, action: Action, row: Any
    ) -> None:
        """Adapts the form of an action; `row` is None for a new one, or for several."""

    def initial_arguments(self, request: HttpRequest, action: Action, row: Any) -> dict[str, Any]:
        """Returns what is usual, for the arguments of an action that are not columns."""
        return {}

    def require_rights_for_new(self, request: HttpRequest, key: str) -> None:
        """Raises FlagstaffError or PermissionDenied if the user may not create a row of this key.

        Called before anything else is said about the key.
        """

    def notes_before(self, request: HttpRequest, look: Look) -> Iterable[str]:
        """Returns what else a person should know before a change, in sentences with links."""
        return ()

    def subject(self, row: Any) -> str:
        """Returns what the heading of an action of a row names."""
        return self.heading(row)

    def deleted_text(self, key: str) -> str:
        """Returns the sentence for a row of an app that was deleted."""
        return say("“{key}” was deleted.", key=key).local

    def worded(self, action: Action, row: Any) -> Action:
        """Returns an action with the label and the button that fit its row, done now."""
        return action

    def unchanged_text(self, request: HttpRequest, action: Action) -> str:
        """Returns the sentence for an action that would write nothing."""
        return say("Nothing would change.").local

    def summary(self, row: Any) -> str:
        """Returns the sentence that says what a row means after a change."""
        return ""

    def next_steps(self, request: HttpRequest, row: Any) -> Sequence[tuple[str, str]]:
        """Returns the URLs and texts of what a person may do next with a new row."""
        return []

    def versions(self, request: HttpRequest, rows: Sequence[Any]) -> list[str] | None:
        """Returns the present versions of rows, in their order; None without a history."""
        if not can_read(request, "change_table"):
            return None
        versions = versions_of(self.row_kind, [row.pk for row in rows])
        return [str(versions.get(str(row.pk), 0)) for row in rows]


class Subject(Protocol):
    """What a page is about: an action of rows, or an undo of entries."""

    #: What is done. Without a run, it cannot wait.
    form: ArgumentForm
    #: The versions that the page shows; None without a history.
    versions: list[str] | None
    #: Whether nothing may delay it: then no look is made before it is done.
    is_urgent: bool
    is_danger: bool
    needs_reason: bool
    waits_for_workers: bool
    can_wait: bool
    #: Whether it begins something that another action ends.
    can_end: bool
    #: The action that will not run, and is asked for again.
    again: WaitingAction | None

    def run(self) -> Run:
        """Returns the action with its arguments. The form is valid."""

    def look(self, run: Run, at: datetime | None) -> Look | None:
        """Returns what it would do, at a time; None if that is not possible, as the form then says.

        Raises FlagstaffError, PermissionDenied.
        """

    def newer_texts(self, shown: Sequence[str]) -> Iterator[str]:
        """Yields what others have changed since the versions that the page showed."""

    def notes(self, look: Look | None) -> Sequence[SafeString | str]:
        """Returns what a person should know before, also without a look."""

    def tables(self, look: Look) -> Sequence[tuple[Sequence[Any], object]]:
        """Returns the lines of what is now and afterwards, with headings."""

    def words(self, run: Run | None) -> Mapping[str, Any]:
        """Returns the heading, the button, and the links of the page."""

    def back_url(self, *, is_done: bool = False) -> str:
        """Returns the page to which the person returns."""

    def log(self, written: Written) -> None:
        """Adds what was written to Django's log."""

    def receipt(self, written: Written, look: Look | None) -> Receipt:
        """Returns what was written; without a look, nothing was counted."""


class ActionPage:
    """Shows a look, asks what it asks, and writes or stores what was confirmed."""

    def __init__(
        self, admin: BaseAdmin, request: HttpRequest, subject: Subject, *, may_write: bool = True
    ) -> None:
        """`may_write` is False for a person who may only look."""
        self.admin, self.request, self.subject = admin, request, subject
        self.may_write = may_write
        self.is_edited = EDIT in request.POST
        self.is_answered = is_answered(request)
        self.problems: list[str] = []
        self.later = Later(
            request,
            is_possible=subject.can_wait and may_write,
            can_end=subject.can_end,
            is_final=self.is_answered and not self.is_edited,
        )
        self.cannot_wait = self.later.is_required and not subject.can_wait and not subject.is_urgent
        if self.cannot_wait:
            self.problems.append(
                say("This cannot wait: its value is secret, or changes leave no history.").local
            )

    def answer(self) -> HttpResponse:
        """Returns the page, or writes what it has confirmed. A GET locks and writes nothing."""
        is_final = self.is_answered and not self.is_edited
        if self.request.method == "POST" and not self.may_write:
            raise denied(self.request, "change", self.admin.model)
        run = self.subject.run() if self.subject.form.is_valid() else None
        if run is not None and is_final and self.subject.is_urgent:
            return self._answer_at_once(run)
        shown, versions = self._shown, self.subject.versions
        if is_final and shown is not None and versions is not None and shown != versions:
            self.problems += self.subject.newer_texts(shown)
        look = None if run is None else self._look(run)
        if is_final and run is not None and look is not None and self._is_confirmed(run, look):
            try:
                needs_approval = self.later.is_request or self._needs_approval(run, look)
                if self.later.at or needs_approval:
                    return self._ask(run, look, approval=needs_approval)
                return self._finish(run, look)
            except ConflictError as error:
                self._say_what_is_newer(error)
                look = self._look(run)
            except FlagstaffError as error:
                self._refuse(error)
        return self._page(run, look)

    # What it would do.

    def _look(self, run: Run) -> Look | None:
        """Returns what the arguments would do; None if that is not possible."""
        try:
            look = self.subject.look(run, self.later.at)
            if look is not None and self.may_write:
                require_reach(self.admin.admin_site, self.request, look.impact)
        except FlagstaffError as error:
            self._refuse(error)
            return None
        return look

    def _say_what_is_newer(self, error: ConflictError) -> None:
        """Adds what has changed since the page was shown."""
        shown = self._shown
        problems = [] if shown is None else [*self.subject.newer_texts(shown)]
        text = visible_refusal(self.admin.admin_site, self.request, error)
        self.problems += problems or [f"{text}."]

    def _refuse(self, error: FlagstaffError) -> None:
        text, form = visible_refusal(self.admin.admin_site, self.request, error), self.subject.form
        # What is wrong with a field begins with its name.
        name, _colon, problem = text.partition(": ")
        if name in form.fields:
            form.add_error(name, problem)
        else:
            # Not with a capital letter: it may begin with a key.
            form.add_error(None, f"{text}.")

    # What is asked.

    def _is_confirmed(self, run: Run, look: Look) -> bool:
        """Whether the page has asked, and a person has confirmed what is known now.

        A time is confirmed, too: without JavaScript, the button did not say it yet.
        """
        is_asked = look.asks or self.later.at is not None
        has_asked = not is_asked or self.request.POST.get(_CONFIRMED) == self._seal(run, look)
        if self.later.problem:
            return False
        if has_asked:
            self.problems += self._answer_problems(look)
        elif _CONFIRMED in self.request.POST and not (
            self.problems or self.subject.form.fields or self.later.at
        ):
            # Without arguments and a time, it was no edit of the person.
            self.problems.append(
                say("This has changed since the page was shown. Press the button again.").local
            )
        return has_asked and not self.problems

    def _answer_problems(self, look: Look) -> Iterator[str]:
        """Yields what is wrong with the text that a person had to type, and with the reason."""
        # An input of one line has no line breaks, and a page shows several blanks as one.
        typed = look.typed if look.asks else ""
        if typed and self.request.POST.get(_TYPED_KEY, "").split() != typed.split():
            yield say("Not confirmed: type “{text}” exactly.", text=typed).local
        has_reason = bool(posted_reason(self.request).strip())
        if conf.require_reason and self.subject.needs_reason and not has_reason:
            yield say(
                "A reason is required. Write why you make this change: the history shows it."
            ).local

    def _seal(self, run: Run, look: Look) -> str:
        """Returns a text that differs if what decides, its weight or its time differs."""
        footprint = sorted(f"{place} {digest}" for place, digest in look.footprint.items())
        expected = sorted(f"{name} {version}" for name, version in look.expected.items())
        weight = look.typed, int(look.consequence), *self.later.times
        sealed = [dict(run.arguments), *weight, expected, footprint]
        return sha256(json.dumps(sealed, sort_keys=True, default=str).encode()).hexdigest()

    @property
    def _shown(self) -> list[str] | None:
        """The versions that the submitted page showed; None without a history."""
        posted = self.request.POST.get(_VERSION)
        return posted.split(",") if posted else None

    # What waits.

    def _needs_approval(self, run: Run, look: Look) -> bool:
        """Whether a second person has to approve it."""
        # Nothing delays what cannot wait and gives nobody anything, such as an undo.
        is_giving = run.action.can_wait or look.consequence >= Consequence.MORE
        return (
            is_giving
            and not self.subject.is_urgent
            and is_approval_needed(run, look.rows, look.largest_consequence)
        )

    def _colleagues(self, run: Run, look: Look) -> str:
        """Returns who can approve it. A query.

        Names only to those who may view users: it says who of them holds which permission.
        """
        if not may_see_users(self.request.user):
            return colleagues_text([])
        names = value_or_default(
            "the page of an action cannot read who may approve it",
            lambda: approver_names(run, look, current_actor()),
            list[str](),
        )
        return colleagues_text(names)

    def _ask(self, run: Run, look: Look, *, approval: bool) -> HttpResponse:
        """Stores the action, and says what it waits for. Raises FlagstaffError."""
        versions = self.subject.versions
        if versions is not None and (newer := [*self.subject.newer_texts(versions)]):
            self.problems += newer
            return self._page(run, self._look(run))
        at, until = self.later.times
        done = ask(run, look, at, until=until, approval=approval, again=self.subject.again)
        rows = to_show(asked_together(find(done.key)))
        lines = [waiting_line(self.admin.admin_site, row) for row in rows]
        message = format_html("{} {}", say("Nothing is changed yet.").local, joined("; ", lines))
        self.admin.message_user(self.request, message, messages.WARNING)
        for note in done.notes:
            self.admin.message_user(self.request, localized(note), messages.WARNING)
        return HttpResponseRedirect(self.subject.back_url())

    # What was done.

    def _answer_at_once(self, run: Run) -> HttpResponse:
        """Writes what nothing may delay: no look, no count, no version, no reason."""
        with db.atomic():
            written = run.write({})
            self.subject.log(written)
        is_off = run.action.always_runs is True
        after = None if is_off else look_after(written, viewer=self.request.user)
        ended = self._ended(written, Look(app_row=run.app_row))
        return self._done(self.subject.receipt(written, after), ended)

    def _finish(self, run: Run, look: Look) -> HttpResponse:
        """Writes what was confirmed, says so with the receipt of the workers, and goes back."""
        site, request = self.admin.admin_site, self.request

        def require_rights(reached: Impact) -> None:
            require_reach(site, request, reached)

        written = commit(look, finish=self.subject.log, require_rights=require_rights)
        receipt = self.subject.receipt(written, look)
        # Not again what an approval has shown: nothing is changed yet.
        is_told = any(isinstance(done, Changed) for done in written) and not self.subject.is_danger
        notes: list[str] = []
        if is_told:
            notes += look.notes
            # With links to what a person may do next, as on the page.
            if isinstance(self.admin, ActionAdmin):
                notes += self.admin.notes_before(request, look)
            notes += _rule_notes(run, look.changed)
        return self._done(receipt, [*notes, *self._ended(written, look)])

    def _ended(self, written: Written, look: Look) -> list[SafeString]:
        """Returns what waits and will not run because of what was written."""
        site, done = self.admin.admin_site, replace(look, changed=())
        ends = ended_actions(site, self.request, done, written=written)
        return [waiting_line(site, waiting) for waiting in ends if waiting.will_not_run]

    def _done(self, receipt: Receipt, notes: Sequence[str] = ()) -> HttpResponse:
        admin, request = self.admin, self.request
        if receipt.unchanged:
            admin.message_user(request, receipt.unchanged, messages.INFO)
        if receipt.text:
            undo = receipt.undo_url, receipt.undo_label or say("Undo").local
            admin.report_applied(
                request,
                receipt.text,
                asks_all=self.subject.waits_for_workers,
                undo=undo,
                links=receipt.links,
            )
        for note in notes:
            admin.message_user(request, note, messages.WARNING)
        return HttpResponseRedirect(self.subject.back_url(is_done=True))

    # What the page shows.

    def _page(self, run: Run | None, look: Look | None) -> HttpResponse:
        request, subject, admin = self.request, self.subject, self.admin
        versions = subject.versions
        version = None if versions is None else ",".join(versions)
        needs_reason = conf.require_reason and subject.needs_reason
        changed = () if look is None else look.changed
        context: dict[str, Any] = {
            "subtitle": None,
            "form": subject.form,
            "media": admin.media + subject.form.media,
            "is_edited": self.is_edited,
            "problems": self.problems,
            "look": look,
            "seal": "" if run is None or look is None else self._seal(run, look),
            "cannot": not self.may_write or self.cannot_wait,
            "version": request.POST.get(_VERSION) if self.is_edited else version,
            "reason": posted_reason(request),
            "needs_reason": needs_reason,
            "focus": self._focus(look, needs_reason=needs_reason),
            "is_danger": subject.is_danger or subject.is_urgent,
            "back": subject.back_url(),
            "later": self.later,
            "only_takes": bool(changed) and all(map(only_takes, changed)),
            "notes": [*self._typed_problems(), *subject.notes(look)],
            **subject.words(run if look is not None else None),
        }
        context["button"] = self.later.button(context["button"])
        if run is not None and look is not None:
            context["notes"] = [*context["notes"], *_rule_notes(run, look.changed)]
            context["tables"] = subject.tables(look)
            self._add_colleagues(context, run, look)
        if look is None and subject.is_danger:
            context["cannot"] = True
        return admin.template_page(request, "flagstaff/question.html", context)

    def _typed_problems(self) -> Iterator[str]:
        """Yields why what is typed is not possible, before the button is pressed.

        Not what is still empty, or not yet written in the rows of an editor.
        """
        if not self.is_edited:
            return
        for errors in self.subject.form.errors.as_data().values():
            texts = [" ".join(error.messages) for error in errors if error.code not in _UNFINISHED]
            if texts:
                yield say("Not possible: {why}", why=" ".join(texts)).local

    def _add_colleagues(self, context: dict[str, Any], run: Run, look: Look) -> None:
        """Adds who may approve it, as a note if somebody has to, or else beside the button."""
        if self._needs_approval(run, look):
            text = say("Another user has to approve this before it is done.").local
            context["notes"] += [text, self._colleagues(run, look)]
            context["button"] = self.later.request_button()
        elif self.later.is_possible and not run.action.runs_always(run.arguments):
            context["colleagues"] = self._colleagues(run, look)
            context["request_button"] = self.later.request_button()

    def _focus(self, look: Look | None, *, needs_reason: bool) -> str:
        """Returns what a person does next: type a time, a reason or a text, or press the button."""
        if look is None or self.is_edited:
            return ""
        if self.later.is_required and self.later.at is None:
            return "time"
        if needs_reason and not posted_reason(self.request):
            return "reason"
        return "typed" if look.asks and look.typed else "button"


def _rule_notes(run: Run, changed: Sequence[Changed]) -> list[str]:
    """Returns what is to know of new rules or conditions: what they name, and what does not exist.

    Also of a flag that browsers may read from now on.
    """
    arguments = run.arguments
    if not arguments.keys() & {RULES, CONDITIONS, "client_side"}:
        return []
    notes = rule_notes(arguments.get(RULES, arguments.get(CONDITIONS, [])))
    rows = [change.after.row for change in changed if change.after and change.after.row]
    return [*notes, *(sentence(note) for row in rows for note in notes_of(row))]
