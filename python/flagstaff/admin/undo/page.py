"""The one page of the admin that undoes: selected events, or everything that a transaction did."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._tables.bucket_units import BUCKET_BY
from flagstaff._tables.flag_states import FlagState, state_summary
from flagstaff._words.text import Text, local_list, local_number, localized, quoted
from flagstaff.actions.rights import right_of
from flagstaff.admin.base_admin import SAVE_TIMEOUT, BaseAdmin
from flagstaff.admin.confirmation import MAX_TEXT, describe_changed, parse_version, problems_of
from flagstaff.admin.links import admin_of, page_url, row_links
from flagstaff.admin.recent_changes.filters import KIND_LABELS
from flagstaff.admin.recent_changes.urls import (
    BACK,
    UNDO_EVENTS,
    UNDO_TRANSACTION,
    list_url,
    transaction_url,
    undo_url,
)
from flagstaff.admin.rights import may, may_see
from flagstaff.admin.segment_uses import require_reach, segment_rows, visible_refusal
from flagstaff.admin.views import VERSION
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.changes.changed import Changed
from flagstaff.changes.consequence import impact_text, text_for_many, text_to_type
from flagstaff.changes.impact import Impact, impact, reached
from flagstaff.changes.locking import read_rows
from flagstaff.changes.undo import (
    RowId,
    Undone,
    entries_of_transaction,
    entries_of_versions,
    preview_undo,
    undo,
)
from flagstaff.conf import conf
from flagstaff.exceptions import ConflictError, FlagstaffError, InvalidChangeError
from flagstaff.history.describe import describe_change
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Change, Event, events
from flagstaff.history.user_names import may_see_users, names_of_users

# The largest number of events of a readable confirmation.
_MAX_EVENTS = 200


@dataclass(frozen=True)
class UndoPreview:
    """What an undo would do, in words."""

    site: AdminSite
    request: HttpRequest
    rows: Sequence[Undone]
    #: The events to undo, by row, each newest first.
    events: dict[RowId, list[Event]]

    @cached_property
    def written(self) -> list[Undone]:
        """The rows that the undo writes."""
        return [one for one in self.rows if one.written]

    @cached_property
    def effect(self) -> Impact:
        """What the undo means for the users. Counts them."""
        return impact(
            [one.before for one in self.written],
            [one.after for one in self.written],
            viewer=self.request.user,
        )

    @property
    def deleted(self) -> list[str]:
        """The keys of the rows that are deleted."""
        return [one.key for one in self.written if one.after.row is None]

    @property
    def text_to_type(self) -> str:
        """What a person has to type: as for one change of a row, or as for several rows."""
        if len(self.written) == 1 and not self.deleted:
            return text_to_type(self.effect)
        return text_for_many([one.key for one in self.written]) if self.written else ""

    @property
    def question(self) -> str:
        """The question, or why there is none."""
        if not any(one.entries for one in self.rows):
            return _("None of these changes can be undone.")
        if not self.written:
            return _("There is nothing to undo.")
        if sum(map(len, self.events.values())) > 1:
            return _(
                "Undo these changes? They are undone in one transaction: all of them, or none."
            )
        [only] = self.written
        text = _("Undo this change of “%(key)s”?")
        if only.before.row is None:
            text = _("Bring back “%(key)s”?")
        return text % {"key": only.key}

    @property
    def label(self) -> str:
        """The label of the button."""
        if len(self.rows) == 1 and self.written and self.rows[0].before.row is None:
            return _("Bring back")
        count = sum(len(self._undone_events(one)) for one in self.written)
        label = ngettext("Undo %(count)s change", "Undo %(count)s changes", count)
        return label % {"count": local_number(count)}

    @property
    def notes(self) -> Iterator[str]:
        """What is easily missed among other rows."""
        if keys := self.deleted:
            text = ngettext(
                "This deletes %(keys)s.", "This deletes %(count)s rows: %(keys)s.", len(keys)
            )
            quoted_keys = local_list(map(quoted, keys))
            yield text % {"count": local_number(len(keys)), "keys": quoted_keys}
        for one in self.written:
            if state := _created_state(one.changed):
                text = _("%(key)s afterwards: %(state)s")
                yield text % {"key": quoted(one.key), "state": state}
        left_out = sum(len(one.conflicts) for one in self.rows)
        if left_out and self.written:
            text = ngettext(
                "%(count)s change cannot be undone and is left out.",
                "%(count)s changes cannot be undone and are left out.",
                left_out,
            )
            yield text % {"count": local_number(left_out)}
        if names := sorted({name for one in self.rows for name in one.ignored}):
            text = _("The tables no longer have these columns, which are left out: %(names)s.")
            yield text % {"names": local_list(names)}
        if text := impact_text(self.effect):
            yield text

    def lines(self) -> Iterator[dict[str, object]]:
        """Yields a line for what is undone of each row, and one for each conflict."""
        names = None
        if may_see_users(self.request.user):
            names = names_of_users(event for some in self.events.values() for event in some)
        for one in self.rows:
            parts = [(conflict.entries, conflict.error) for conflict in one.conflicts]
            for entries, error in [*([(one.entries, None)] if one.entries else []), *parts]:
                described = (
                    describe_change(event, names, limit=MAX_TEXT)
                    for event in reversed(self.events[one.id])
                    if event.version in entries
                )
                yield {
                    "kind": KIND_LABELS[one.kind],
                    "key": one.key,
                    "change": "; ".join(described),
                    "after": "" if error else _after(self.request, one),
                    "problem": visible_refusal(self.site, self.request, error) if error else "",
                    "is_deletion": not error and bool(one.written) and one.after.row is None,
                }

    def _undone_events(self, one: Undone) -> list[Event]:
        return [event for event in self.events[one.id] if event.version in one.entries]


class UndoPage:
    """The page below the list of recent changes."""

    def __init__(self, admin: BaseAdmin) -> None:
        self._admin = admin
        self._site = admin.admin_site

    def answer(self, request: HttpRequest) -> HttpResponse:
        """Shows what an undo of the events in the URL would do. A confirmed POST undoes them."""
        is_whole = UNDO_TRANSACTION in request.GET
        try:
            entries = _entries(request)
            # Before the rows are compared with the history.
            self._require_view(request, entries)
            preview = UndoPreview(self._site, request, preview_undo(entries), _by_row(entries))
        except FlagstaffError as error:
            text = _("Not undone: %(why)s") % {"why": localized(error.message)}
            self._admin.message_user(request, text, messages.ERROR)
            return HttpResponseRedirect(list_url(self._site, request))
        refusals = self._refusals(request, preview.rows, is_whole=is_whole)
        turns_off = all(
            one.changed and one.changed.new == {"enabled": False} for one in preview.written
        )
        needs_reason = conf.require_reason and not turns_off
        problems = problems_of(request, preview.text_to_type, needs_reason=needs_reason)
        is_possible = bool(preview.written) and not refusals
        # Without a confirmation they are None.
        if problems == [] and is_possible:
            try:
                return self._undo(request, entries, preview, is_whole=is_whole)
            except InvalidChangeError as error:
                refusals = [visible_refusal(self._site, request, error)]
        text = _("This cannot be undone: %(why)s")
        page = {
            **self._page(request, preview),
            "flagstaff_question": "" if refusals else preview.question,
            "flagstaff_needs_reason": needs_reason,
            "flagstaff_problems": [text % {"why": why} for why in refusals] or problems,
            "flagstaff_nothing": not is_possible,
        }
        response = self._admin.confirmation(request, None, page)
        response.template_name = "flagstaff/recent_changes/undo.html"
        return response

    def _page(self, request: HttpRequest, preview: UndoPreview) -> dict[str, object]:
        back_url, crumbs = self._way_back(request)
        posted = {
            UNDO_EVENTS: _undone_entries(preview.rows),
            VERSION: [one.version for one in preview.rows],
        }
        return {
            "title": _("Undo changes"),
            "flagstaff_notes": [*preview.notes],
            "flagstaff_uses": segment_rows(self._site, request, preview.effect),
            "flagstaff_parts": [*preview.lines()],
            # Two fields: Django refuses a POST with a thousand.
            "flagstaff_posted": [(name, ",".join(map(str, ids))) for name, ids in posted.items()],
            "flagstaff_label": preview.label,
            "flagstaff_danger": bool(preview.deleted),
            "flagstaff_typed": preview.text_to_type,
            "flagstaff_back": back_url,
            "flagstaff_crumbs": crumbs,
        }

    def _way_back(self, request: HttpRequest) -> tuple[str, list[tuple[str, str]]]:
        """The URL and the breadcrumbs of the page from which the user came.

        It is the list with its filters, or the history of a row, or the list of a deleted row.
        """
        url = list_url(self._site, request)
        crumbs = [(url, _("Recent changes"))]
        texts = [*request.GET.getlist(UNDO_EVENTS), *request.GET.getlist(UNDO_TRANSACTION)]
        entry = None
        if BACK not in request.GET and len(texts) == 1:
            entries = Change.objects.filter(pk=parse_version(texts[0]))
            entry = entries.only("relation", "object_pk").first()
        if entry is None:
            return url, crumbs
        row_id = entry.kind, entry.object_pk
        row = read_rows([row_id], lock=False).get(row_id)
        if row is None:
            return page_url(self._site, entry.kind.model, "changelist"), crumbs
        url = page_url(self._site, entry.kind.model, "history", row.pk)
        return url, row_links(self._site, row)

    # The rights.

    def _require_view(self, request: HttpRequest, entries: Iterable[Change]) -> None:
        """Raises PermissionDenied unless the user may view all rows."""
        ids = {(entry.kind, entry.object_pk) for entry in entries}
        rows = read_rows(ids, lock=False)
        for row_id in ids:
            model, row = row_id[0].model, rows.get(row_id)
            sees = may_see(self._site, request, model, row_id[1])
            if not sees or (row and not may(self._site, request, "view", row)):
                raise PermissionDenied

    def _refusals(
        self, request: HttpRequest, rows: Sequence[Undone], *, is_whole: bool
    ) -> list[str]:
        """Returns why nothing is undone. Raises PermissionDenied.

        To undo a creation is to delete, a deletion to add.
        """
        _require_write(self._site, request, rows)
        conflicts = [one.error for row in rows for one in row.conflicts] if is_whole else []
        refusals = [visible_refusal(self._site, request, error) for error in conflicts]
        try:
            require_reach(self._site, request, _reached(rows))
        except FlagstaffError as error:
            refusals.append(localized(error.message))
        return refusals

    # The undo.

    def _undo(
        self,
        request: HttpRequest,
        entries: Sequence[Change],
        preview: UndoPreview,
        *,
        is_whole: bool,
    ) -> HttpResponse:
        """Undoes what the page has shown. Any change since then is a conflict."""
        versions, shown = (_posted(request, name) for name in (VERSION, UNDO_EVENTS))
        ids = [one.id for one in preview.rows]
        has_same_rows = len(versions) in {0, len(ids)}
        with transaction.atomic(using=conf.database):
            expect = dict(zip(ids, versions, strict=False)) if has_same_rows else {}
            done = undo(entries, skip_conflicts=not is_whole, expect=expect)
            if not has_same_rows or (versions and shown != _undone_entries(done)):
                text = Text(
                    "the undo would do something else than was shown, because other keys were "
                    "changed since"
                )
                raise ConflictError(text, key=done[0].key)
            # The rights may depend on the rows as they are now.
            _require_write(self._site, request, done)
            require_reach(self._site, request, _reached(done))
        written = {one.id: changed for one in done if (changed := one.written)}
        self._log(request, written)
        self._report(request, [*written.values()], preview)
        return HttpResponseRedirect(self._way_back(request)[0])

    def _log(self, request: HttpRequest, written: dict[RowId, Changed]) -> None:
        """Writes into Django's log of the rows that exist."""
        for row_id, row in read_rows(written, lock=False).items():
            if (admin := admin_of(self._site, row_id[0].model)) is not None:
                admin.log_change(request, row, _undone_text(request, written[row_id]))

    def _report(
        self, request: HttpRequest, written: Sequence[Changed], preview: UndoPreview
    ) -> None:
        """Shows what was undone, with a link that undoes the undo. Waits for the workers."""
        if not written:
            nothing = _("Nothing was changed: there is nothing to undo.")
            self._admin.message_user(request, nothing, messages.WARNING)
            return
        if len(written) == 1:
            text = _undone_text(request, written[0])
        else:
            keys = local_list(quoted(changed.key) for changed in written)
            text = _("Undone: %(keys)s.") % {"keys": keys}
        text += skipped_text({pk for changed in written for pk in changed.missing})
        sentences = " ".join(filter(None, (text, impact_text(preview.effect))))
        versions = [changed.version for changed in written if changed.version]
        url = (
            undo_url(self._site, versions)
            if len(versions) <= _MAX_EVENTS
            else transaction_url(self._site, versions[0])
        )
        self._admin.report_applied(request, sentences, timeout=SAVE_TIMEOUT, undo_url=url)
        if any(changed.old and changed.new and BUCKET_BY in changed.new for changed in written):
            text = _(
                "The new unit reassigned every user. If the flag is on for a percentage, some "
                "users gained it and others lost it."
            )
            self._admin.message_user(request, text, messages.WARNING)


def change_texts(request: HttpRequest, changed: Changed) -> dict[str, str]:
    """Returns the key and the description of a change, for a sentence."""
    return {"key": changed.key, "change": describe_changed(request, changed)}


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


def _entries(request: HttpRequest) -> Sequence[Change]:
    """The entries to undo. Raises Http404, and FlagstaffError if there is no such version."""
    if UNDO_TRANSACTION in request.GET:
        return entries_of_transaction(parse_version(request.GET[UNDO_TRANSACTION]))
    versions = {parse_version(text) for text in request.GET.getlist(UNDO_EVENTS)}
    if len(versions) > _MAX_EVENTS:
        raise FlagstaffError(
            "choose at most {count} changes at once, and the others afterwards", count=_MAX_EVENTS
        )
    return entries_of_versions(versions)


def _by_row(entries: Iterable[Change]) -> dict[RowId, list[Event]]:
    """The events of these entries, which are those of whole events, by row."""
    by_row: dict[RowId, list[Event]] = {}
    for event in events(entries):
        by_row.setdefault((Kind(event.kind), event.object_pk), []).append(event)
    return by_row


def _posted(request: HttpRequest, name: str) -> list[int]:
    text = request.POST.get(name)
    return [parse_version(version) for version in text.split(",")] if text else []


def _undone_entries(rows: Iterable[Undone]) -> list[int]:
    return sorted(entry for one in rows for entry in one.entries)


def _reached(rows: Iterable[Undone]) -> Impact:
    written = [one for one in rows if one.written]
    return reached([one.before for one in written], [one.after for one in written])


def _require_write(site: AdminSite, request: HttpRequest, rows: Iterable[Undone]) -> None:
    """Raises PermissionDenied unless the user may write each row. They may be viewed."""
    for one in rows:
        row = one.after.row if one.before.row is None else one.before.row
        changed = one.written
        if changed is not None and not may(site, request, right_of(one.kind, changed), row):
            raise PermissionDenied


def _created_state(changed: Changed | None) -> str:
    """Which users have a flag that is created again; empty for another change."""
    new = None if changed is None or changed.old is not None else changed.new
    if new is None or "rollout_percent" not in new:
        return ""
    return state_summary(FlagState.of_fields(new), len(new.get(ALLOWED, ())))


def _after(request: HttpRequest, one: Undone) -> str:
    if one.written is None:
        return _("will not change: it already has its earlier state")
    if one.after.row is None:
        return _("will be deleted")
    if one.before.row is None:
        text = _("will be created again, as it was before")
    else:
        text = describe_changed(request, one.written, limit=MAX_TEXT)
    return text + skipped_text(one.written.missing)


def _undone_text(request: HttpRequest, changed: Changed) -> str:
    if changed.new is None:
        return _("“%(key)s” was deleted.") % {"key": changed.key}
    if changed.old is None:
        text = _("“%(key)s” was created again, as it was before.") % {"key": changed.key}
        return " ".join(filter(None, (text, _created_state(changed))))
    return _("The change of “%(key)s” was undone: %(change)s.") % change_texts(request, changed)
