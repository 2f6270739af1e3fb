"""The one page of the admin that undoes: selected events, or everything that a transaction did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _

from flagstaff._tables.bucket_units import BUCKET_BY
from flagstaff._words.text import local_list, localized, quoted
from flagstaff.admin.base_admin import SAVE_TIMEOUT
from flagstaff.admin.confirmation import parse_version, problems_of
from flagstaff.admin.flag.form.inputs import reassigned_text
from flagstaff.admin.links import admin_of, page_url, row_links
from flagstaff.admin.plain_page import PlainPageAdmin
from flagstaff.admin.recent_changes.urls import (
    BACK,
    UNDO_EVENTS,
    UNDO_TRANSACTION,
    list_url,
    transaction_url,
    undo_url,
)
from flagstaff.admin.segment.plan import segment_rows
from flagstaff.admin.undo.permissions import may_write, require_release, write_of
from flagstaff.admin.undo.preview import UndoPreview, change_texts, skipped_text, undone_state
from flagstaff.admin.views import VERSION
from flagstaff.changes.changed import Changed
from flagstaff.changes.consequence import impact_text
from flagstaff.changes.locking import read_rows
from flagstaff.changes.past import RowId
from flagstaff.changes.undoing import as_shown, preview_undo, undo_selected
from flagstaff.changes.undoing.plan import UndoPlan
from flagstaff.changes.undoing.selection import RowEvents, select_transaction, select_versions
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import all_entries
from flagstaff.models import RecentChange

# The largest number of events of a readable confirmation.
_MAX_EVENTS = 200


class UndoPage:
    """The page below the list of recent changes."""

    def __init__(self, admin: PlainPageAdmin) -> None:
        self._admin = admin
        self._site = admin.admin_site

    def answer(self, request: HttpRequest) -> HttpResponse:
        """Shows what an undo of the events in the URL would do. A confirmed POST undoes them."""
        is_whole = UNDO_TRANSACTION in request.GET
        try:
            selected = _selected(request)
            plan = preview_undo(selected, whole=is_whole)
        except FlagstaffError as error:
            text = _("Not undone: %(why)s") % {"why": localized(error.message)}
            self._admin.message_user(request, text, messages.ERROR)
            return HttpResponseRedirect(list_url(self._site, request))
        preview = UndoPreview(self._site, request, plan, is_whole)
        self._require_rows(request, plan)
        needs_reason = conf.require_reason and not preview.turns_off
        problems = problems_of(request, preview.text_to_type, needs_reason=needs_reason)
        is_possible = bool(plan.written) and not preview.refusals
        # Without a confirmation they are None.
        if problems == [] and is_possible:
            return self._undo(request, selected, preview)
        text = _("This cannot be undone: %(why)s")
        page = {
            **self._page(request, preview),
            "flagstaff_question": "" if preview.refusals else preview.question,
            "flagstaff_needs_reason": needs_reason,
            "flagstaff_problems": [text % {"why": why} for why in preview.refusals] or problems,
            "flagstaff_nothing": not is_possible,
        }
        response = self._admin.confirmation(request, RecentChange(), page)
        response.template_name = "flagstaff/recent_changes/undo.html"
        return response

    def _page(self, request: HttpRequest, preview: UndoPreview) -> dict[str, object]:
        posted = {UNDO_EVENTS: sorted(preview.plan.undone), VERSION: preview.plan.versions}
        back_url, crumbs = self._way_back(request)
        return {
            "title": _("Undo changes"),
            "flagstaff_notes": [*preview.notes],
            "flagstaff_uses": segment_rows(self._site, request, preview.effect),
            "flagstaff_parts": preview.lines(),
            # Two fields: Django refuses a POST with a thousand.
            "flagstaff_posted": [(name, ",".join(map(str, some))) for name, some in posted.items()],
            "flagstaff_label": preview.label,
            "flagstaff_danger": preview.deletes,
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
            entries = all_entries().filter(pk=parse_version(texts[0]))
            entry = entries.only("relation", "object_pk").first()
        if entry is None:
            return url, crumbs
        row_id = RowId(Kind.of(entry.relation), entry.object_pk)
        row = read_rows([row_id], lock=False).get(row_id)
        if row is None:
            return page_url(self._site, row_id.kind.model, "changelist"), crumbs
        url = page_url(self._site, row_id.kind.model, "history", row.pk)
        return url, row_links(self._site, row)

    # The rights.

    def _require_rows(self, request: HttpRequest, plan: UndoPlan) -> None:
        """Raises PermissionDenied. To undo a creation is to delete, a deletion to add."""
        for row_plan in plan.rows:
            admin, row = admin_of(self._site, row_plan.item.kind.model), row_plan.item.row
            if admin is None or not admin.has_view_permission(request, row):
                raise PermissionDenied
            if row_plan.written and not may_write(admin, request, write_of(row_plan.written), row):
                raise PermissionDenied

    # The undo.

    def _undo(
        self, request: HttpRequest, selected: Sequence[RowEvents], preview: UndoPreview
    ) -> HttpResponse:
        """Undoes what the page has shown. Any change since then is a conflict."""
        versions, undone = (_posted(request, name) for name in (VERSION, UNDO_EVENTS))
        effects: list[tuple[Kind, Changed]] = []

        def check(plan: UndoPlan) -> None:
            if versions:
                as_shown(versions, undone)(plan)
            self._require_rows(request, plan)
            effects[:] = plan.effects
            require_release(self._site, request, effects)

        with transaction.atomic(using=conf.database):
            done = undo_selected(
                selected,
                whole=preview.is_whole,
                skip_conflicts=not preview.is_whole,
                check=check,
                refused=preview.plan.refused,
            )
            # Again: the rights may depend on the row that was created.
            require_release(self._site, request, effects)
        written = {
            RowId(undone.kind, undone.pk): undone.changed
            for undone in done
            if undone.changed is not None and undone.changed.written
        }
        self._log(request, written)
        self._report(request, [*written.values()], preview)
        return HttpResponseRedirect(self._way_back(request)[0])

    def _log(self, request: HttpRequest, written: Mapping[RowId, Changed]) -> None:
        """Writes into Django's log of the rows that exist."""
        for (kind, pk), row in read_rows(written, lock=False).items():
            if (admin := admin_of(self._site, kind.model)) is not None:
                text = _undone_text(request, written[RowId(kind, pk)])
                admin.log_change(request, row, text)

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
            self._admin.message_user(request, reassigned_text(), messages.WARNING)


def _selected(request: HttpRequest) -> list[RowEvents]:
    """Raises Http404, and FlagstaffError if the history has no such version."""
    if UNDO_TRANSACTION in request.GET:
        return select_transaction(parse_version(request.GET[UNDO_TRANSACTION]))
    versions = {parse_version(text) for text in request.GET.getlist(UNDO_EVENTS)}
    if len(versions) > _MAX_EVENTS:
        raise FlagstaffError(
            "choose at most {count} changes at once, and the others afterwards", count=_MAX_EVENTS
        )
    return select_versions(versions)


def _posted(request: HttpRequest, name: str) -> list[int]:
    text = request.POST.get(name)
    return [parse_version(version) for version in text.split(",")] if text else []


def _undone_text(request: HttpRequest, changed: Changed) -> str:
    if changed.new is None:
        return _("“%(key)s” was deleted.") % {"key": changed.key}
    if changed.old is None:
        text = _("“%(key)s” was created again, as it was before.") % {"key": changed.key}
        return " ".join(filter(None, (text, undone_state(changed))))
    return _("The change of “%(key)s” was undone: %(change)s.") % change_texts(request, changed)
