"""The page of an undo: what it writes, who has it afterwards, what it asks, and what was done."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._tables.flag_states import FlagState, state_summary
from flagstaff._words.text import local_list, local_number, localized, quoted, some
from flagstaff._words.times import local_time_text
from flagstaff.actions.rights import right_of
from flagstaff.admin.base_admin import SAVE_TIMEOUT, BaseAdmin
from flagstaff.admin.changes.filters import KIND_LABELS
from flagstaff.admin.confirmation import (
    CONFIRMED,
    MAX_TEXT,
    PreviewRow,
    answer_problems,
    describe_changed,
    describe_events,
    parse_version,
    posted_version,
)
from flagstaff.admin.flag.parts.app_panels import rows_of_change
from flagstaff.admin.links import (
    UNDO,
    admin_of,
    back_url,
    changes_url,
    history_url,
    page_url,
    undo_url,
)
from flagstaff.admin.menu import page_title
from flagstaff.admin.part import AdminOfParts
from flagstaff.admin.rights import may, may_see
from flagstaff.admin.segment_uses import require_reach, segment_rows, visible_refusal
from flagstaff.admin.views import environment_context, posted_reason
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.changes.changed import Changed
from flagstaff.changes.consequence import (
    consequence_of,
    effect_texts,
    impact_text,
    text_for_many,
    text_to_type,
)
from flagstaff.changes.impact import impact, reached
from flagstaff.changes.locking import read_rows
from flagstaff.changes.row_states import Impact
from flagstaff.changes.undo import (
    RowId,
    Undone,
    entries_after,
    entries_of_transaction,
    entries_of_versions,
    preview_undo,
    undo,
)
from flagstaff.conf import conf
from flagstaff.exceptions import ConflictError, FlagstaffError
from flagstaff.history.describe import describe_change
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Change, Event, events
from flagstaff.history.user_names import may_see_users, names_of_users

#: The parameters of the URL: the version to restore; with "undo=all", any version of a transaction.
RESTORE, TRANSACTION, ALL = "restore", "transaction", "all"
# The largest number of events of a readable page.
_MAX_EVENTS = 200
# The events of one row that are described, and the newer changes that a message lists.
_MAX_DESCRIBED = 10


@dataclass(frozen=True)
class _Line:
    """What is undone of one row."""

    kind: str
    key: str
    url: str
    change: str
    writes: str
    problems: Sequence[str]
    #: How many users have it.
    now: str
    after: str


@dataclass(frozen=True)
class _Preview:
    """What an undo would do."""

    rows: Sequence[Undone]
    impact: Impact
    #: What a person has to type; empty for nothing.
    typed: str
    #: Why nothing can be undone.
    refusals: Sequence[str]
    #: The page is the question.
    asks = True

    @property
    def written(self) -> list[Undone]:
        """The rows that are written."""
        return [one for one in self.rows if one.written]

    @property
    def deleted(self) -> list[str]:
        """The keys of the rows that are deleted."""
        return [one.key for one in self.written if one.after.row is None]

    @property
    def conflicts(self) -> set[int]:
        """The entries that cannot be undone."""
        return {entry for row in self.rows for one in row.conflicts for entry in one.entries}

    @property
    def is_possible(self) -> bool:
        """Whether all of it can be undone."""
        return bool(self.written) and not self.conflicts and not self.refusals

    @property
    def seal(self) -> str:
        """A text that differs if something else is undone, or if it means something else."""
        uses = [str(use.key) for use in self.impact.uses]
        rows = [(one.kind.value, one.pk, one.version, one.entries) for one in self.rows]
        text = json.dumps([rows, uses, self.typed, consequence_of(self.impact)])
        return sha256(text.encode()).hexdigest()


class UndoRequest:
    """A request to the page of an undo: of chosen changes, of a transaction, or of a restore."""

    def __init__(self, admin: BaseAdmin, request: HttpRequest) -> None:
        self.admin, self.site, self.request = admin, admin.admin_site, request
        self.is_restore = RESTORE in request.GET
        self.problems: list[str] = []

    def answer(self) -> HttpResponse:
        """Returns the page, or undoes what it has confirmed. A GET locks and writes nothing."""
        try:
            entries = self._entries()
            self._require_view(entries)
            preview = self._preview(entries)
            if self.request.method == "POST" and self._is_confirmed(preview):
                try:
                    return self._done(preview, self._write(entries, preview))
                except ConflictError:
                    preview = self._preview(entries)
                    self._say_what_is_newer(preview)
        except FlagstaffError as error:
            text = _("Not undone: %(why)s") % {
                "why": visible_refusal(self.site, self.request, error)
            }
            self.admin.message_user(self.request, text, messages.ERROR)
            return HttpResponseRedirect(self._back_url(()))
        return self._page(preview, entries)

    # What is undone.

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

    def _preview(self, entries: Sequence[Change]) -> _Preview:
        """Returns what the undo would do. Raises PermissionDenied without the rights for it.

        To undo a creation is to delete, a deletion to add.
        """
        rows = preview_undo(entries)
        written = [(one, changed) for one in rows if (changed := one.written)]
        for one, changed in written:
            row = one.after.row if one.before.row is None else one.before.row
            if not may(self.site, self.request, right_of(one.kind, changed), row):
                raise PermissionDenied
        sides = [one.before for one, _changed in written], [one.after for one, _changed in written]
        refusals = []
        try:
            require_reach(self.site, self.request, reached(*sides))
        except FlagstaffError as error:
            text = _("This cannot be undone: %(why)s")
            refusals.append(text % {"why": localized(error.message)})
        found = impact(*sides, viewer=self.request.user)
        is_deletion = any(one.after.row is None for one, _changed in written)
        keys = [one.key for one, _changed in written]
        is_several = len(keys) > 1 or (keys and is_deletion)
        typed = text_for_many(keys) if is_several else text_to_type(found)
        return _Preview(rows, found, typed, refusals)

    # What is asked.

    def _needs_reason(self, preview: _Preview) -> bool:
        """Nothing delays an undo that only turns flags off."""
        changes = [one.changed for one in preview.written]
        turns_off = all(one and one.new == {"enabled": False} for one in changes)
        return conf.require_reason and not turns_off

    def _is_confirmed(self, preview: _Preview) -> bool:
        """Whether the page has asked, and a person has confirmed what is known now."""
        posted, typed = self.request.POST, preview.typed
        if CONFIRMED not in posted or not preview.is_possible:
            return False
        if posted[CONFIRMED] != preview.seal:
            self._say_what_is_newer(preview)
            # It was typed for another question.
            typed = ""
        needs_reason = self._needs_reason(preview)
        self.problems += answer_problems(self.request, typed, needs_reason=needs_reason)
        return not self.problems

    def _say_what_is_newer(self, preview: _Preview) -> None:
        """Adds a problem: what others have changed since the page was shown."""
        ids = {one.id for one in preview.rows}
        newer = Change.objects.filter(id__gt=posted_version(self.request) or 0)
        newer = newer.filter(object_pk__in=[pk for _kind, pk in ids])
        newest = newer.short().newest()[:_MAX_DESCRIBED]
        found = [*events(one for one in newest if _id_of(one) in ids)]
        texts = describe_events(self.request, found)
        self.problems += [
            _("This has changed since the page was shown. Press the button again."),
            *(f"{one.key}: {text}" for one, text in zip(found, texts, strict=True)),
        ]

    # The page.

    def _page(self, preview: _Preview, entries: Sequence[Change]) -> HttpResponse:
        found = [*events(entries)]
        title = page_title("changes")
        rows = [one.before.row or one.after.row for one in preview.rows]
        only = rows[0] if len(rows) == 1 else None
        versions = [one.version for one in preview.rows]
        label = self._label(preview, len(found))
        context = {
            **environment_context(),
            "title": label,
            "subtitle": None,
            "original": only,
            "subject": only.key if only else "",
            "crumbs": [(changes_url(self.site, {}), title)],
            "back": self._back_url(preview.rows),
            "problems": [*self.problems, *preview.refusals],
            "notes": [*self._notes(preview)],
            "lines": [*self._lines(preview, found)],
            "tables": [
                (self._rows_of_apps(preview), _("Field")),
                (segment_rows(self.site, self.request, preview.impact), capfirst(_("used by"))),
            ],
            "preview": preview,
            "cannot": not preview.is_possible,
            "others": self._without_conflicts(preview, found),
            "version": str(max(versions)) if versions else None,
            "reason": posted_reason(self.request),
            "needs_reason": self._needs_reason(preview),
            "is_danger": bool(preview.deleted),
            "button": label,
        }
        return self.admin.template_page(self.request, "flagstaff/undo.html", context)

    def _label(self, preview: _Preview, count: int) -> str:
        if self.is_restore:
            return _("Restore")
        if len(preview.rows) == 1 and preview.written and preview.rows[0].before.row is None:
            return _("Bring back")
        label = ngettext("Undo %(count)s change", "Undo %(count)s changes", count)
        return label % {"count": local_number(count)}

    def _notes(self, preview: _Preview) -> Iterator[str]:
        if self.is_restore:
            version = parse_version(self.request.GET[RESTORE])
            at = Change.objects.values_list("at", flat=True).get(pk=version)
            text = _("All changes after that of %(time)s are undone.")
            yield text % {"time": local_time_text(at)}
        if not preview.written and not preview.conflicts:
            yield _("There is nothing to undo.")
        if preview.conflicts:
            yield _("Nothing can be undone, because some of these changes cannot be.")
        elif len(preview.rows) > 1:
            yield _("All of these changes are undone, or none.")
        if keys := preview.deleted:
            text = ngettext(
                "This deletes %(keys)s.", "This deletes %(count)s rows: %(keys)s.", len(keys)
            )
            shown = local_list(map(quoted, keys))
            yield text % {"count": local_number(len(keys)), "keys": shown}
        for one in preview.written:
            if state := _created_state(one.changed):
                text = _("%(key)s afterwards: %(state)s")
                yield text % {"key": quoted(one.key), "state": state}
        if names := sorted({name for one in preview.rows for name in one.ignored}):
            text = _("The tables no longer have these columns, which are left out: %(names)s.")
            yield text % {"names": local_list(names)}
        if text := impact_text(preview.impact):
            yield text

    def _lines(self, preview: _Preview, found: Sequence[Event]) -> Iterator[_Line]:
        """Yields a line for each row."""
        names = names_of_users(found) if may_see_users(self.request.user) else None
        for one in preview.rows:
            of_row = [event for event in found if (Kind(event.kind), event.object_pk) == one.id]
            described = (describe_change(event, names, limit=MAX_TEXT) for event in of_row)
            row = one.after.row or one.before.row
            effect = preview.impact.get((one.kind, row.key if row else one.key))
            now, after = ("", "") if effect is None else effect_texts(effect, one.kind)
            yield _Line(
                kind=str(KIND_LABELS[one.kind]),
                key=one.key,
                url=history_url(self.site, one.kind, one.key),
                change=localized(some(described, _MAX_DESCRIBED, separator="; ")),
                writes=self._writes(one),
                problems=[
                    visible_refusal(self.site, self.request, conflict.error)
                    for conflict in one.conflicts
                ],
                now=now,
                after=after,
            )

    def _rows_of_apps(self, preview: _Preview) -> list[PreviewRow]:
        """Returns what becomes of the rollout plans of flags whose users change."""
        admin = admin_of(self.site, conf.flag_model)
        changed = (one.before.row for one in preview.written if one.after.row)
        flags = [row for row in changed if row and (Kind.FLAG, row.key) in preview.impact]
        if not flags or not isinstance(admin, AdminOfParts):
            return []
        found = rows_of_change(admin, flags)
        return [
            replace(line, field=f"{flag.key}: {line.field}")
            for flag in flags
            for line in found[str(flag.pk)]
        ]

    def _writes(self, one: Undone) -> str:
        if one.written is None:
            return "" if one.conflicts else _("nothing: it already has its earlier state")
        if one.after.row is None:
            return _("deletes it")
        if one.before.row is None:
            text = _("creates it again, as it was before")
        else:
            text = describe_changed(self.request, one.written, limit=MAX_TEXT)
        return text + skipped_text(one.written.missing)

    def _without_conflicts(self, preview: _Preview, found: Sequence[Event]) -> str:
        """The page that leaves out what cannot be undone; "" if that is nothing or everything."""
        others = [one.version for one in found if one.version not in preview.conflicts]
        if not preview.conflicts or self.is_restore or len(others) > _MAX_EVENTS:
            return ""
        return undo_url(self.site, others, back_url(self.request))

    def _back_url(self, rows: Sequence[Undone], *, is_done: bool = False) -> str:
        """The page that the person came from: else of the only row, or of the changes."""
        if url := back_url(self.request):
            return url
        only = rows[0] if len(rows) == 1 else None
        if only is None or admin_of(self.site, only.kind.model) is None:
            return changes_url(self.site, {})
        row = only.after.row if is_done else only.before.row
        if row is None:
            return page_url(self.site, only.kind.model, "changelist")
        return page_url(self.site, only.kind.model, "change", row.pk)

    # What was done.

    def _write(self, entries: Sequence[Change], preview: _Preview) -> Mapping[RowId, Changed]:
        expect = {one.id: one.version for one in preview.rows}
        with transaction.atomic(using=conf.database):
            done = undo(entries, expect=expect)
            written = {one.id: changed for one in done if (changed := one.written)}
            for row_id, row in read_rows(written, lock=False).items():
                if (admin := admin_of(self.site, row_id[0].model)) is not None:
                    admin.log_change(self.request, row, self._undone_text(written[row_id]))
        return written

    def _done(self, preview: _Preview, written: Mapping[RowId, Changed]) -> HttpResponse:
        """Says what was undone, with a link that undoes it. Waits for the workers."""
        changes = [*written.values()]
        if len(changes) == 1:
            text = self._undone_text(changes[0])
        else:
            keys = local_list(quoted(changed.key) for changed in changes)
            text = _("Undone: %(keys)s.") % {"keys": keys}
        text += skipped_text({pk for changed in changes for pk in changed.missing})
        sentences = " ".join(filter(None, (text, impact_text(preview.impact))))
        versions = [changed.version for changed in changes if changed.version]
        url = undo_url(self.site, versions)
        if len(versions) > _MAX_EVENTS:
            url = changes_url(self.site, {TRANSACTION: versions[0], UNDO: ALL})
        self.admin.report_applied(self.request, sentences, timeout=SAVE_TIMEOUT, undo_url=url)
        return HttpResponseRedirect(self._back_url(preview.rows, is_done=True))

    def _undone_text(self, changed: Changed) -> str:
        key = {"key": changed.key}
        if changed.new is None:
            return _("“%(key)s” was deleted.") % key
        if changed.old is None:
            text = _("“%(key)s” was created again, as it was before.") % key
            return " ".join(filter(None, (text, _created_state(changed))))
        text = _("“%(key)s” was restored: %(change)s.")
        if not self.is_restore:
            text = _("The change of “%(key)s” was undone: %(change)s.")
        return text % {**key, "change": describe_changed(self.request, changed)}


def _id_of(entry: Change) -> RowId:
    return entry.kind, entry.object_pk


def skipped_text(missing: Collection[object]) -> str:
    """Returns the sentence about users who no longer exist, after a space; empty without any."""
    if not (count := len(missing)):
        return ""
    text = ngettext(
        "%(count)s user no longer exists and was skipped.",
        "%(count)s users no longer exist and were skipped.",
        count,
    )
    return f" {text % {'count': local_number(count)}}"


def _created_state(changed: Changed | None) -> str:
    """Which users have a flag that is created again; empty for another change."""
    new = None if changed is None or changed.old is not None else changed.new
    if new is None or "rollout_percent" not in new:
        return ""
    return state_summary(FlagState.of_fields(new), len(new.get(ALLOWED, ())))
