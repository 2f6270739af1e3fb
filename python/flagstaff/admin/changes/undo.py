"""The page of an undo: the page of an action, for rows of all kinds, also deleted ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.text import capfirst

from flagstaff._tables.rows import Kind
from flagstaff._text import MAX_VALUE, local_list, quoted, say
from flagstaff._text.times import local_time_text
from flagstaff.actions import Action
from flagstaff.actions.commit import look_at_undo
from flagstaff.actions.table import (
    Line,
    Look,
    Run,
    Written,
    after_deletion,
    own_default_notes,
    right_of,
)
from flagstaff.admin.action_page import ActionAdmin, ActionPage, ArgumentForm, Receipt
from flagstaff.admin.base_admin import BaseAdmin
from flagstaff.admin.links import (
    ALL,
    RESTORE,
    TRANSACTION,
    UNDO,
    WITHOUT,
    back_url,
    changes_url,
    history_url,
    page_title,
    page_url,
    undo_url,
)
from flagstaff.admin.looks import (
    deleted_texts,
    describe_changed,
    lines_of_change,
    lines_of_flags,
    lines_of_rows,
    newer_texts,
    parse_version,
    rule_lines,
    summary_of,
    text_for_log,
    use_rows,
)
from flagstaff.admin.rights import admin_of, denied, may, may_see, visible_refusal
from flagstaff.admin.waiting_parts import ended_actions, ended_since, waiting_line
from flagstaff.admin.words import KIND_LABELS
from flagstaff.changes.consequence import text_for_many, text_to_type
from flagstaff.changes.fields import Changed
from flagstaff.changes.locking import read_rows
from flagstaff.changes.undo import (
    RowId,
    Undone,
    entries_after,
    entries_of_transaction,
    entries_of_versions,
    preview_undo,
    undo_event,
)
from flagstaff.exceptions import FlagstaffError
from flagstaff.history.describe import describe_value
from flagstaff.history.log import Change, events, remaining, undone_by
from flagstaff.models import WaitingAction
from flagstaff.validators import is_secret

# The largest number of events of a readable page.
_MAX_EVENTS = 200
# What an undo deletes, in the order of the page.
_DELETIONS = {
    Kind.FLAG: say("This deletes the flag {keys}.", "This deletes {count} flags: {keys}."),
    Kind.VALUE: say("This deletes the value {keys}.", "This deletes {count} values: {keys}."),
    Kind.SEGMENT: say("This deletes the segment {keys}.", "This deletes {count} segments: {keys}."),
}
_STAYS_ENDED = say("This will not run after the undo either:")
# For rows of all kinds, so no table of actions has it.
_UNDO = Action(Kind.FLAG, "undo", "", "", undo_event, (), say("Undo").lazy, can_wait=False)


def undo_page(admin: BaseAdmin, request: HttpRequest) -> HttpResponse:
    """Answers a request to the page. A version that does not exist is a message."""
    site = admin.admin_site
    try:
        return ActionPage(admin, request, UndoSubject(site, request)).answer()
    except FlagstaffError as error:
        text = say("Not undone: {why}", why=visible_refusal(site, request, error)).local
        admin.message_user(request, text, messages.ERROR)
        return HttpResponseRedirect(back_url(request) or changes_url(site, {}))


class UndoSubject:
    """An undo: of chosen changes, of a transaction, or of all after a version, to restore it."""

    is_urgent = is_danger = waits_for_workers = can_wait = can_end = False
    again: WaitingAction | None = None

    def __init__(self, site: AdminSite, request: HttpRequest) -> None:
        """Raises FlagstaffError if there is no such version, PermissionDenied, and Http404."""
        self.site, self.request = site, request
        self.form = ArgumentForm({})
        self.is_restore = RESTORE in request.GET
        self.without = request.GET.getlist(WITHOUT)
        self.entries = self._entries()
        self._require_view(self.entries)
        self.events = [*events(self.entries)]
        # Before it is written: afterwards, all were undone.
        undone = undone_by(self.entries) if len(self.events) > 1 else {}
        #: Those that it takes back.
        self.remaining = remaining(self.events, undone) or self.events
        self._preview()
        # Nothing delays an undo that only turns flags off.
        changed = [undone.changed for undone in self.undone if undone.changed is not None]
        self.needs_reason = any(change.new != {"enabled": False} for change in changed)
        self.is_danger = bool(self._deleted())

    # What is undone.

    def _preview(self) -> None:
        self.undone = preview_undo(self.entries, without=self.without, skip_conflicts=True)
        present = [
            (row, str(undone.version))
            for undone in self.undone
            if (row := undone.before.row or undone.after.row)
        ]
        self.rows = [row for row, _version in present]
        self.versions: list[str] | None = [version for _row, version in present]

    def _entries(self) -> Sequence[Change]:
        """The entries to undo. Raises Http404, and FlagstaffError if there is no such version."""
        query = self.request.GET
        if self.is_restore:
            version = parse_version(query[RESTORE])
            [entry, *_others] = entries_of_versions([version])
            # A refusal names the row.
            self._require_view([entry])
            row = read_rows([_id_of(entry)], lock=False).get(_id_of(entry))
            return entries_after(entry.kind, row.key if row else entry.key, version)
        if query.getlist(UNDO) == [ALL]:
            return entries_of_transaction(parse_version(query.get(TRANSACTION)))
        versions = {parse_version(text) for text in query.getlist(UNDO)}
        if len(versions) > _MAX_EVENTS:
            raise FlagstaffError(
                "choose at most {count} changes at once, and the others afterwards",
                count=_MAX_EVENTS,
            )
        return entries_of_versions(versions)

    def _require_view(self, entries: Sequence[Change]) -> None:
        """Raises PermissionDenied unless the user may view all rows."""
        ids = {*map(_id_of, entries)}
        rows = read_rows(ids, lock=False)
        for kind, pk in ids:
            row = rows.get((kind, pk))
            sees = may_see(self.site, self.request, kind.model, pk)
            if not sees or (row and not may(self.site, self.request, "view", row)):
                raise denied(self.request, "view", row or kind.model)

    def run(self) -> Run:
        """The undo. Other rows or entries are another question."""
        rows = [(undone.kind.value, undone.pk, undone.entries) for undone in self.undone]
        keys = [undone.key for undone in self.undone]
        return Run(_UNDO, keys, [], {"rows": rows})

    def look(self, run: Run, at: datetime | None) -> Look | None:
        """What the undo would do; None if it is not possible, which the form then says.

        Raises PermissionDenied without the rights for it. To undo a creation is to delete, a
        deletion to add.
        """
        written = [(undone, changed) for undone in self.undone if (changed := undone.written)]
        rows = [undone.before.row or undone.after.row for undone, _changed in written]
        for row, (_undone, changed) in zip(rows, written, strict=True):
            right = right_of(changed)
            if not may(self.site, self.request, right, row):
                raise denied(self.request, right, row)
        conflicts = [undone.problem for undone in self.undone if undone.problem]
        for problem in conflicts:
            why = visible_refusal(self.site, self.request, problem)
            self.form.add_error(None, say("Cannot be undone: {why}.", why=why).local)
        if not (written or conflicts):
            self.form.add_error(None, say("There is nothing to undo.").local)
        if conflicts or not written:
            return None
        keys = [undone.key for undone, _changed in written]
        is_several = len(keys) > 1 or any(change.new is None for _undone, change in written)
        look = look_at_undo(
            self.entries,
            self.undone,
            without=self.without,
            skip_conflicts=True,
            viewer=self.request.user,
        )
        typed = text_for_many(keys) if is_several else text_to_type(look.impact)
        return replace(look, asks=True, typed=typed, rows=rows)

    def newer_texts(self, shown: Sequence[str]) -> Iterator[str]:
        """Yields which rows have changed since the page was shown, and by whom."""
        self._preview()
        yield from newer_texts(self.request, self.rows, shown, self.versions)

    # What the page says.

    def words(self, run: Run | None) -> Mapping[str, Any]:
        """The heading, and how many changes the button undoes."""
        keys = {undone.key for undone in self.undone}
        key, title = next(iter(keys)) if len(keys) == 1 else "", self._title()
        return {
            "title": title,
            "button": title,
            "subject": key,
            "original": key or None,
            "crumbs": [(changes_url(self.site, {}), page_title("changes"))],
            "cannot": run is None,
        }

    def _title(self) -> str:
        if self.is_restore:
            return say("Restore").local
        if len(self.undone) == 1 and self.undone[0].written and not self.undone[0].before.row:
            return say("Bring back").local
        count = len(self.remaining)
        return say("Undo {count} change", "Undo {count} changes", count=count).local

    def _deleted(self) -> list[Undone]:
        """What deletes a row."""
        return [undone for undone in self.undone if undone.written and undone.after.row is None]

    def _advice(self) -> Iterator[str]:
        """Yields what to do if the undo is not possible."""
        if unfit := {name for undone in self.undone for name in undone.unfit}:
            query = self.request.GET.copy()
            query.setlist(WITHOUT, [*self.without, *sorted(unfit)])
            text = say("Leave out {fields}", fields=local_list(sorted(unfit))).local
            yield format_html('<a href="?{}">{}</a>', query.urlencode(), text)
        refused = {entry for undone in self.undone if undone.problem for entry in undone.entries}
        others = [event.version for event in self.events if event.version not in refused]
        if not refused or self.is_restore:
            return
        if not others:
            row = self.undone[0].before.row or self.undone[0].after.row
            if len(self.undone) == 1 and row is not None:
                url = history_url(self.site, self.undone[0].kind, row.key)
                text = say("Restore an earlier state").local
                yield format_html('<a href="{}">{}</a>', url, text)
            return
        yield say("Nothing can be undone, because some of these changes cannot be.").local
        if len(others) <= _MAX_EVENTS:
            url = undo_url(self.site, others, back_url(self.request))
            text = say("Leave out what cannot be undone").local
            yield format_html('<a href="{}">{}</a>', url, text)

    def notes(self, look: Look | None) -> list[str]:
        """How much is undone, what is deleted, what is left out, and who gains and loses.

        Where it is not possible, what to do instead.
        """
        if look is None:
            return [*self._advice()]
        notes = list[str]()
        if self.is_restore:
            version = parse_version(self.request.GET[RESTORE])
            at = Change.objects.values_list("at", flat=True).get(pk=version)
            text = say("All changes after that of {time} are undone.")
            notes.append(say(text, time=local_time_text(at)).local)
        if len(self.undone) > 1:
            notes.append(say("All of these changes are undone, or none.").local)
        for kind, text in _DELETIONS.items():
            if keys := [undone.key for undone in self._deleted() if undone.kind is kind]:
                shown = local_list(map(quoted, keys))
                notes.append(say(text, count=len(keys), keys=shown).local)
        notes += filter(None, [_left_out_text(look.changed), look.users_text()])
        if look.impact:
            deleted = (undone for undone in self._deleted() if undone.kind is not Kind.SEGMENT)
            notes += own_default_notes(undone.before.row for undone in deleted)
        notes += self._waiting_notes(look)
        for kind in {undone.kind for undone in self.undone}:
            admin = admin_of(self.site, kind.model)
            # Of a segment, what it means for flags that are off.
            if isinstance(admin, ActionAdmin):
                notes += admin.notes_before(self.request, look)
        return notes

    def _waiting_notes(self, look: Look) -> Iterator[str]:
        """Yields which actions the undo ends, and which it does not bring back."""
        for waiting in ended_actions(self.site, self.request, look):
            # What the changes have ended that are undone now.
            text = _STAYS_ENDED if waiting.never_runs else say("After the undo, this will not run:")
            yield format_html("{} {}", text.local, waiting_line(self.site, waiting))
        rows = [(undone.kind, undone.key) for undone in self.undone]
        since = min(event.at for event in self.events)
        ended, more = ended_since(self.site, self.request, rows, since)
        for waiting in ended:
            line = waiting_line(self.site, waiting)
            yield format_html("{} {}", _STAYS_ENDED.local, line)
        if more:
            yield say(
                "After the undo, {count} more action will not run either.",
                "After the undo, {count} more actions will not run either.",
                count=more,
            ).local

    def tables(self, look: Look) -> Sequence[tuple[Sequence[Line], object]]:
        """A line for each field of a single row, or for each of several rows."""
        flags = [
            undone.after.row
            for undone in self.undone
            if undone.kind is Kind.FLAG and undone.after.row
        ]
        more = lines_of_flags(self.request, flags, look.impact)
        lines = {undone.id: self._lines_of(undone) for undone in self.undone}
        for pk, of_flag in more.items():
            lines[Kind.FLAG, pk] += of_flag
        uses = use_rows(self.site, self.request, look.impact), capfirst(say("used by").local)
        if len(self.undone) == 1:
            return [(lines[self.undone[0].id], say("Field").local), uses]
        rows = [
            (undone.key, undone.before, undone.after, lines[undone.id]) for undone in self.undone
        ]
        shown = []
        for undone, line in zip(self.undone, lines_of_rows(rows, look.impact), strict=True):
            url = history_url(self.site, undone.kind, undone.key)
            label = "" if undone.kind is Kind.FLAG else f" ({KIND_LABELS[undone.kind]})"
            link = format_html(
                '<a class="flagstaff-key" href="{}">{}</a>{}', url, undone.key, label
            )
            shown.append(replace(line, field=link))
        return [(shown, say("Key").local), uses]

    def _lines_of(self, undone: Undone) -> list[Line]:
        if undone.written is None:
            return [Line(undone.key, "", say("nothing: it already has its earlier state").local)]
        if undone.before.row and undone.after.row:
            return lines_of_change(self.request, undone.written)
        is_created, row = undone.before.row is None, undone.before.row or undone.after.row
        if undone.kind is Kind.VALUE:
            value = describe_value(row.value, secret=is_secret(row), limit=MAX_VALUE)
            gone = after_deletion(row)
            now, after = (gone, value) if is_created else (value, gone)
        elif is_created:
            now, after = "", say("created again, as it was before").local
        else:
            now = summary_of(row) if undone.kind is Kind.FLAG else ""
            after = after_deletion(row)
        return [Line(undone.key, now, after), *rule_lines(undone.written)]

    def back_url(self, *, is_done: bool = False) -> str:
        """The page that the person came from: else of the only row, or of the changes."""
        if url := back_url(self.request):
            return url
        only = self.undone[0] if len(self.undone) == 1 else None
        if only is None or admin_of(self.site, only.kind.model) is None:
            return changes_url(self.site, {})
        row = only.after.row if is_done else only.before.row
        if row is None:
            return page_url(self.site, only.kind.model, "changelist")
        return page_url(self.site, only.kind.model, "change", row.pk)

    # What was done.

    def log(self, written: Written) -> None:
        """Adds what was undone to Django's log; not of rows that are gone."""
        for change in _changes(written):
            row = change.after.row if change.after else None
            # That of the kind, which a project may have replaced.
            if row is not None and (admin := admin_of(self.site, change.kind.model)):
                text = self._undone_text(change, text_for_log)
                admin.log_change(self.request, row, text)

    def receipt(self, written: Written, look: Look | None) -> Receipt:
        """What was undone, and how to undo that."""
        changes = _changes(written)
        text = say("{count} change of {keys} was undone.", "{count} changes of {keys} were undone.")
        keys = local_list(quoted(changed.key) for changed in changes)
        sentences = [say(text, count=len(self.remaining), keys=keys).local]
        if len(changes) == 1:
            [change] = changes
            sentences = [self._undone_text(change)]
            if change.old is None and change.kind is Kind.FLAG and change.after:
                sentences.append(summary_of(change.after.row))
        # Nobody has what is deleted.
        is_gone = all(change.new is None for change in changes)
        users = "" if look is None or is_gone else look.users_text()
        sentences += [_left_out_text(changes), users]
        versions = [changed.version for changed in changes if changed.version]
        url = undo_url(self.site, versions)
        if len(versions) > _MAX_EVENTS:
            url = changes_url(self.site, {TRANSACTION: versions[0], UNDO: ALL})
        return Receipt(" ".join(filter(None, sentences)), url)

    def _undone_text(
        self,
        changed: Changed,
        describe: Callable[[HttpRequest, Changed], str] = describe_changed,
    ) -> str:
        key = changed.key
        if changed.new is None:
            return " ".join(deleted_texts(changed.kind, [key]))
        if changed.old is None:
            return say("“{key}” was created again, as it was before.", key=key).local
        text = say("“{key}” was restored: {change}.")
        # By its primary key: one of the changes may have renamed it.
        row = changed.after and changed.after.row
        row_id = changed.kind.value, str(row and row.pk)
        count = sum((event.kind, event.object_pk) == row_id for event in self.remaining)
        if not self.is_restore:
            text = say(
                "The change of “{key}” was undone: {change}.",
                "{count} changes of “{key}” were undone: {change}.",
            )
        values = {"key": key, "change": describe(self.request, changed)}
        return say(text, count=count, **values).local


def _changes(written: Written) -> list[Changed]:
    return [change for change in cast("Sequence[Changed]", written) if change.written]


def _id_of(entry: Change) -> RowId:
    return entry.kind, entry.object_pk


def _left_out_text(changes: Collection[Changed]) -> str:
    """Returns the sentences about columns and users that are left out; empty without any."""
    columns = {name for changed in changes for name in changed.left_out}
    shown = say("Left out: {fields}.", fields=local_list(sorted(columns))).local if columns else ""
    count = len({pk for changed in changes for pk in changed.missing})
    skipped = (
        say(
            "{count} user no longer exists and was skipped.",
            "{count} users no longer exist and were skipped.",
            count=count,
        ).local
        if count
        else ""
    )
    return " ".join(filter(None, (shown, skipped)))
