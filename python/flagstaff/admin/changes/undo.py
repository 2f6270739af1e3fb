"""The page of an undo: the page of an action, for rows of all kinds, also deleted ones."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.text import capfirst

from flagstaff._tables.database import db
from flagstaff._text import local_list, quoted, say
from flagstaff._text.times import local_time_text
from flagstaff.actions import Action
from flagstaff.actions.rights import right_of
from flagstaff.admin.base_admin import BaseAdmin
from flagstaff.admin.confirmation import (
    PreviewRow,
    describe_changed,
    parse_version,
    preview_rows,
    segment_rows,
)
from flagstaff.admin.flag.state import lines_of_flags, summary_of
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
from flagstaff.admin.question import ActionRequest, Preview, Written, joined_row
from flagstaff.admin.rights import admin_of, may, may_see, require_reach, visible_refusal
from flagstaff.admin.words import KIND_LABELS
from flagstaff.changes.changed import Changed
from flagstaff.changes.consequence import (
    Consequence,
    consequence_of,
    impact_text,
    text_for_many,
    text_to_type,
)
from flagstaff.changes.impact import impact_of_changes
from flagstaff.changes.locking import read_rows
from flagstaff.changes.undo import (
    RowId,
    Undone,
    entries_after,
    entries_of_transaction,
    entries_of_versions,
    preview_undo,
    undo,
    undo_event,
)
from flagstaff.exceptions import FlagstaffError, InvalidChangeError
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Change, Event, events
from flagstaff.waiting.prospect import Prospect

# The largest number of events of a readable page.
_MAX_EVENTS = 200
# For rows of all kinds, so no table of actions has it.
_UNDO = Action(Kind.FLAG, "undo", "", "", undo_event, (), say("Undo").lazy, may_wait=False)


def undo_page(admin: BaseAdmin, request: HttpRequest) -> HttpResponse:
    """Answers a request to the page. A version that does not exist is a message."""
    try:
        return UndoRequest(admin, request).answer()
    except FlagstaffError as error:
        site = admin.admin_site
        text = say("Not undone: {why}", why=visible_refusal(site, request, error)).local
        admin.message_user(request, text, messages.ERROR)
        return HttpResponseRedirect(back_url(request) or changes_url(site, {}))


class UndoRequest(ActionRequest):
    """A request to the page of an undo: of chosen changes, of a transaction, or of a restore."""

    #: What is undone: entries, events, and what becomes of each row.
    entries: Sequence[Change]
    events: Sequence[Event]
    undone: Sequence[Undone]

    def __init__(self, admin: BaseAdmin, request: HttpRequest) -> None:
        """Raises FlagstaffError if there is no such version, PermissionDenied, and Http404."""
        self.is_restore = RESTORE in request.GET
        self._without = request.GET.getlist(WITHOUT)
        super().__init__(admin, request, _UNDO, [])

    # What is undone.

    def _newest(self, rows: Sequence[Any]) -> list[Any]:
        self.entries = self._entries()
        self._require_view(self.entries)
        self.events = [*events(self.entries)]
        self.undone = preview_undo(self.entries, without=self._without)
        present = [
            (row, undone)
            for undone in self.undone
            if (row := undone.before.row or undone.after.row)
        ]
        self.versions = [str(undone.version) for _row, undone in present]
        return [row for row, _undone in present]

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
                raise PermissionDenied

    def _form(self) -> forms.Form:
        return forms.Form({})

    def _preview(self) -> Preview | None:
        """Returns what the undo would do; None if it is not possible, which the form then says.

        Raises PermissionDenied without the rights for it. To undo a creation is to delete, a
        deletion to add.
        """
        written = [(undone, changed) for undone in self.undone if (changed := undone.written)]
        for undone, changed in written:
            row = undone.before.row or undone.after.row
            if not may(self.site, self.request, right_of(changed), row):
                raise PermissionDenied
        self.form.is_valid()
        conflicts = [undone.problem for undone in self.undone if undone.problem]
        for problem in conflicts:
            why = visible_refusal(self.site, self.request, problem)
            self.form.add_error(None, say("Cannot be undone: {why}.", why=why).local)
        if not (written or conflicts):
            self.form.add_error(None, say("There is nothing to undo.").local)
        if conflicts or not written:
            return None
        changes = [changed for _undone, changed in written]
        impact = impact_of_changes(changes, viewer=self.request.user)
        try:
            require_reach(self.site, self.request, impact)
        except FlagstaffError as error:
            self._refuse(error)
            return None
        keys = [undone.key for undone, _changed in written]
        is_several = len(keys) > 1 or any(change.new is None for change in changes)
        typed = text_for_many(keys) if is_several else text_to_type(impact)
        # Other rows, entries or uses are another question.
        rows = [(undone.kind.value, undone.pk, undone.entries) for undone in self.undone]
        seal = {"rows": rows, "uses": [use.key for use in impact.uses]}
        return Preview(seal, changes, impact, typed=typed)

    # What is asked.

    def _needs_reason(self, preview: Preview | None) -> bool:
        """Nothing delays an undo that only turns flags off."""
        changed = preview.changed if preview else []
        return any(change.new != {"enabled": False} for change in changed)

    def _context(self, preview: Preview | None) -> dict[str, Any]:
        title = self._title()
        return {
            "notes": [*self._advice()],
            **super()._context(preview),
            "title": title,
            "button": title,
            "cannot": preview is None,
            "is_danger": bool(self._deleted()),
        }

    def _title(self) -> str:
        if self.is_restore:
            return say("Restore").local
        if len(self.undone) == 1 and self.undone[0].written and not self.undone[0].before.row:
            return say("Bring back").local
        count = len(self.events)
        return say("Undo {count} change", "Undo {count} changes", count=count).local

    def _subject(self) -> str:
        return str(self.row.key) if self.row else ""

    def _crumbs(self) -> list[tuple[str, str]]:
        return [(changes_url(self.site, {}), page_title("changes"))]

    def _deleted(self) -> list[str]:
        """The keys of the rows that are deleted."""
        return [undone.key for undone in self.undone if undone.written and undone.after.row is None]

    def _advice(self) -> Iterator[str]:
        """Yields what to do if the undo is not possible."""
        if unfit := {name for undone in self.undone for name in undone.unfit}:
            query = self.request.GET.copy()
            query.setlist(WITHOUT, [*self._without, *sorted(unfit)])
            text = say("Leave out {fields}", fields=local_list(sorted(unfit))).local
            yield format_html('<a href="?{}">{}</a>', query.urlencode(), text)
        refused = {entry for undone in self.undone if undone.problem for entry in undone.entries}
        others = [event.version for event in self.events if event.version not in refused]
        if not refused or self.is_restore:
            return
        if not others:
            if self.row is not None:
                url = history_url(self.site, self._kind_of(self.row), self.row.key)
                text = say("Restore an earlier state").local
                yield format_html('<a href="{}">{}</a>', url, text)
            return
        yield say("Nothing can be undone, because some of these changes cannot be.").local
        if len(others) <= _MAX_EVENTS:
            url = undo_url(self.site, others, back_url(self.request))
            text = say("Leave out what cannot be undone").local
            yield format_html('<a href="{}">{}</a>', url, text)

    def _notes_before(self, preview: Preview) -> list[str]:
        return [*self._notes_of(preview)]

    def _notes_after(self, preview: Preview) -> Sequence[str]:
        return ()

    def _notes_of(self, preview: Preview) -> Iterator[str]:
        if self.is_restore:
            version = parse_version(self.request.GET[RESTORE])
            at = Change.objects.values_list("at", flat=True).get(pk=version)
            text = say("All changes after that of {time} are undone.", time=local_time_text(at))
            yield text.local
        if len(self.undone) > 1:
            yield say("All of these changes are undone, or none.").local
        if keys := self._deleted():
            text = say("This deletes {keys}.", "This deletes {count} rows: {keys}.")
            shown = local_list(map(quoted, keys))
            yield say(text, count=len(keys), keys=shown).local
        yield from filter(None, [_left_out_text(preview.changed), impact_text(preview.impact)])

    def _tables(self, preview: Preview) -> list[tuple[Sequence[PreviewRow], object]]:
        """A line for each field of a single row, or for each of several rows."""
        flags = [
            undone.after.row
            for undone in self.undone
            if undone.kind is Kind.FLAG and undone.after.row
        ]
        more = lines_of_flags(self.request, flags, preview.impact)
        lines = {undone.id: self._lines_of(undone) for undone in self.undone}
        for pk, of_flag in more.items():
            lines[Kind.FLAG, pk] += of_flag
        uses = segment_rows(self.site, self.request, preview.impact), capfirst(say("used by").local)
        if len(self.undone) == 1:
            return [(lines[self.undone[0].id], say("Field").local), uses]
        rows = []
        for undone in self.undone:
            url = history_url(self.site, undone.kind, undone.key)
            label = "" if undone.kind is Kind.FLAG else f" ({KIND_LABELS[undone.kind]})"
            link = format_html(
                '<a class="flagstaff-key" href="{}">{}</a>{}', url, undone.key, label
            )
            rows.append(replace(joined_row(undone.key, lines[undone.id]), field=link))
        return [(rows, say("Key").local), uses]

    def _lines_of(self, undone: Undone) -> list[PreviewRow]:
        if undone.written is None:
            return [
                PreviewRow(undone.key, "", say("nothing: it already has its earlier state").local)
            ]
        if undone.before.row is None:
            return [PreviewRow(undone.key, "", say("created again, as it was before").local)]
        if undone.after.row is None:
            summary = summary_of(undone.before.row) if undone.kind is Kind.FLAG else ""
            return [PreviewRow(undone.key, summary, say("deleted").local)]
        return preview_rows(self.request, undone.before.row, undone.written)

    def _back_url(self, *, is_done: bool = False) -> str:
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

    def _prospect(self, preview: Preview) -> Prospect | None:
        """Nothing delays an undo that gives nobody anything."""
        gives = consequence_of(preview.impact) >= Consequence.MORE
        return super()._prospect(preview) if gives else None

    def _ask(self, prospect: Prospect, *, approval: bool) -> HttpResponse:
        """An undo cannot wait: what it undoes may be another change then."""
        raise InvalidChangeError(
            "this needs an approval, and an undo cannot wait; request what it does as an action of "
            "its own"
        )

    # What was done.

    def _write(self, preview: Preview) -> Written:
        """Undoes all of it."""
        expect = {undone.id: undone.version for undone in self.undone}
        with db.atomic():
            done = undo(self.entries, without=self._without, expect=expect)
            written = {undone.id: changed for undone in done if (changed := undone.written)}
            rows = read_rows(written, lock=False)
            for row_id, row in rows.items():
                # That of the kind, which a project may have replaced.
                if (admin := admin_of(self.site, row_id[0].model)) is not None:
                    admin.log_change(self.request, row, self._undone_text(written[row_id]))
        changes = [*written.values()]
        keys = local_list(quoted(changed.key) for changed in changes)
        sentences = [say("Undone: {keys}.", keys=keys).local]
        if len(changes) == 1:
            sentences = [self._undone_text(changes[0])]
            if changes[0].old is None:
                [((kind, _pk), row)] = rows.items()
                sentences.append(summary_of(row) if kind is Kind.FLAG else "")
        sentences += [_left_out_text(changes), impact_text(preview.impact)]
        versions = [changed.version for changed in changes if changed.version]
        url = undo_url(self.site, versions)
        if len(versions) > _MAX_EVENTS:
            url = changes_url(self.site, {TRANSACTION: versions[0], UNDO: ALL})
        return Written(" ".join(filter(None, sentences)), url)

    def _undone_text(self, changed: Changed) -> str:
        key = changed.key
        if changed.new is None:
            return say("“{key}” was deleted.", key=key).local
        if changed.old is None:
            return say("“{key}” was created again, as it was before.", key=key).local
        text = say("“{key}” was restored: {change}.")
        if not self.is_restore:
            text = say("The change of “{key}” was undone: {change}.")
        return say(text, key=key, change=describe_changed(self.request, changed)).local


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
