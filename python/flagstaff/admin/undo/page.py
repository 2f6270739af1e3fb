"""The one page of the admin that undoes: selected events, or everything that a transaction did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _

from flagstaff._tables.bucket_units import BUCKET_BY
from flagstaff._words.lists import local_list
from flagstaff._words.local_formats import local_number, quoted
from flagstaff._words.message import localized
from flagstaff.admin.confirmation import parse_version, problems_of
from flagstaff.admin.flag.form.bucket_unit import reassigned_text
from flagstaff.admin.history.texts import change_texts, skipped_text
from flagstaff.admin.links import admin_of, page_url
from flagstaff.admin.recent_changes.urls import (
    BACK,
    UNDO_EVENTS,
    UNDO_TRANSACTION,
    transaction_url,
    undo_url,
)
from flagstaff.admin.reports import SAVE_TIMEOUT
from flagstaff.admin.segment.plan import segment_rows
from flagstaff.admin.undo.permissions import may_write, require_release, write_of
from flagstaff.admin.undo.preview import UndoPreview, undone_state
from flagstaff.admin.views import VERSION
from flagstaff.changes import Changed, UndoneEvents
from flagstaff.changes.change_plan import plan_text
from flagstaff.changes.locking import read_rows
from flagstaff.changes.past import RowId
from flagstaff.changes.undoing import as_shown
from flagstaff.changes.undoing.plan import UndoPlan
from flagstaff.changes.undoing.selection import RowEvents, select_transaction, select_versions
from flagstaff.changes.undoing.writing import preview_undo, undo_selected
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import all_entries
from flagstaff.models import RecentChange

if TYPE_CHECKING:
    from flagstaff.admin.recent_changes.page import RecentChangesAdmin

# The largest number of events of a readable confirmation.
_MAX_EVENTS = 200


class UndoPage:
    """The page below the list of recent changes."""

    def __init__(self, admin: RecentChangesAdmin) -> None:
        self._admin = admin
        self._site = admin.admin_site

    def answer(self, request: HttpRequest) -> HttpResponse:
        """Shows what an undo of the events in the URL would do. A confirmed POST undoes them."""
        is_whole = UNDO_TRANSACTION in request.GET
        try:
            selected = self._selected(request)
            preview = UndoPreview(preview_undo(selected, whole=is_whole), is_whole)
        except FlagstaffError as error:
            return self._refused(request, localized(error.message))
        refusals = self._refusals(request, preview)
        needs_reason = conf.require_reason and not preview.turns_off
        problems = problems_of(request, preview.text_to_type, needs_reason=needs_reason)
        is_confirmed = request.method == "POST" and problems is not None and not problems
        if is_confirmed and preview.plan.written and not refusals:
            return self._undo(request, selected, preview)
        page = {
            **self._page(request, preview),
            "flagstaff_needs_reason": needs_reason,
            "flagstaff_problems": problems,
        }
        if refusals:
            text = _("This cannot be undone: %(why)s")
            page["flagstaff_problems"] = [text % {"why": why} for why in refusals]
            page["flagstaff_question"] = ""
        if refusals or not preview.plan.written:
            page["flagstaff_nothing"] = True
        response = self._admin.confirmation(request, RecentChange(), page)
        response.template_name = "flagstaff/recent_changes/undo.html"
        return response

    def _selected(self, request: HttpRequest) -> list[RowEvents]:
        """Raises Http404, and FlagstaffError if the history has no such version."""
        if UNDO_TRANSACTION in request.GET:
            return select_transaction(parse_version(request.GET[UNDO_TRANSACTION]))
        versions = {parse_version(text) for text in request.GET.getlist(UNDO_EVENTS)}
        if len(versions) > _MAX_EVENTS:
            text = _("choose at most %(count)s changes at once")
            raise FlagstaffError(text % {"count": local_number(_MAX_EVENTS)})
        return select_versions(versions)

    def _refused(self, request: HttpRequest, why: str) -> HttpResponse:
        self._admin.message_user(request, _("Not undone: %(why)s") % {"why": why}, messages.ERROR)
        return HttpResponseRedirect(list_url(self._site, request))

    def _page(self, request: HttpRequest, preview: UndoPreview) -> dict[str, object]:
        note = plan_text(preview.effect)
        posted = {UNDO_EVENTS: sorted(preview.plan.undone), VERSION: preview.plan.versions}
        return {
            "title": _("Undo changes"),
            "flagstaff_question": preview.question,
            "flagstaff_notes": [*preview.notes, *([note] if note else [])],
            "flagstaff_uses": segment_rows(self._site, request, preview.effect),
            "flagstaff_parts": preview.lines(self._site, request),
            # Two fields: Django refuses a POST with a thousand.
            "flagstaff_posted": [(name, ",".join(map(str, some))) for name, some in posted.items()],
            "flagstaff_version": None,
            "flagstaff_button": "_undo",
            "flagstaff_target": "1",
            "flagstaff_label": preview.label,
            "flagstaff_danger": preview.deletes,
            "flagstaff_typed": preview.text_to_type,
            "flagstaff_back": self._back_url(request),
            "flagstaff_list": list_url(self._site, request),
        }

    # The rights.

    def _refusals(self, request: HttpRequest, preview: UndoPreview) -> list[str]:
        """Why nothing is undone, or which flags the user may not release. PermissionDenied."""
        self._require_rows(request, preview.plan)
        refusals = preview.refusals(self._site, request)
        try:
            require_release(self._site, request, preview.plan.effects)
        except FlagstaffError as error:
            refusals.append(localized(error.message))
        return refusals

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
        check = as_shown(versions, undone) if versions else None

        effects: list[tuple[Kind, Changed]] = []

        def require(plan: UndoPlan) -> None:
            if check is not None:
                check(plan)
            self._require_rows(request, plan)
            effects[:] = plan.effects
            require_release(self._site, request, effects)

        with transaction.atomic(using=conf.database):
            done = undo_selected(
                selected,
                whole=preview.is_whole,
                skip_conflicts=not preview.is_whole,
                check=require,
                refused=preview.plan.refused,
            )
            # Again: the rights may depend on the row that was created.
            require_release(self._site, request, effects)
        self._log(request, done)
        self._report(request, done, preview)
        return HttpResponseRedirect(self._back_url(request))

    def _log(self, request: HttpRequest, done: Sequence[UndoneEvents]) -> None:
        """Writes into Django's log of the rows that exist."""
        rows = read_rows(((undone.kind, undone.pk) for undone in done), lock=False)
        for undone in done:
            admin, row = (
                admin_of(self._site, undone.kind.model),
                rows.get((undone.kind, undone.pk)),
            )
            if admin is None or row is None or undone.changed is None or not undone.changed.written:
                continue
            admin.log_change(request, row, _undone_text(request, undone.changed))

    def _report(
        self, request: HttpRequest, done: Sequence[UndoneEvents], preview: UndoPreview
    ) -> None:
        """Shows what was undone, with a link that undoes the undo. Waits for the workers."""
        written = [changed for _kind, changed in _written(done)]
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
        sentences = " ".join(filter(None, (text, plan_text(preview.effect))))
        url = _undo_url(self._site, [changed.version for changed in written if changed.version])
        self._admin.report_applied(request, sentences, timeout=SAVE_TIMEOUT, undo_url=url)
        if any(changed.old and changed.new and BUCKET_BY in changed.new for changed in written):
            self._admin.message_user(request, reassigned_text(), messages.WARNING)

    # The links.

    def _back_url(self, request: HttpRequest) -> str:
        """The list with its filters, or the history of a row, if the user came from there."""
        row = None if BACK in request.GET else _row_of(request)
        admin = None if row is None else admin_of(self._site, row.kind.model)
        if row is None or admin is None or not admin.has_view_permission(request):
            return list_url(self._site, request)
        if read_rows([row], lock=False):
            return page_url(self._site, row.kind.model, "history", row.pk)
        return page_url(self._site, row.kind.model, "changelist")


def list_url(site: AdminSite, request: HttpRequest) -> str:
    """Returns the URL of the list of recent changes, with the filters that it had."""
    back = request.GET.get(BACK, "")
    url = page_url(site, RecentChange, "changelist")
    return f"{url}?{back}" if back else url


def _posted(request: HttpRequest, name: str) -> list[int]:
    text = request.POST.get(name)
    return [parse_version(version) for version in text.split(",")] if text else []


def _row_of(request: HttpRequest) -> RowId | None:
    """The row of the only version in the URL."""
    texts = [*request.GET.getlist(UNDO_EVENTS), *request.GET.getlist(UNDO_TRANSACTION)]
    if len(texts) != 1:
        return None
    row = all_entries().filter(pk=parse_version(texts[0])).values_list("relation", "object_pk")
    return next((RowId(Kind.of(relation), pk) for relation, pk in row), None)


def _undo_url(site: AdminSite, versions: Sequence[int]) -> str:
    """The page that undoes an undo: of many events as the transaction that it was."""
    if len(versions) > _MAX_EVENTS:
        return transaction_url(site, versions[0])
    return undo_url(site, versions)


def _written(done: Sequence[UndoneEvents]) -> list[tuple[Kind, Changed]]:
    pairs = [(undone.kind, undone.changed) for undone in done]
    return [(kind, changed) for kind, changed in pairs if changed is not None and changed.written]


def _undone_text(request: HttpRequest, changed: Changed) -> str:
    if changed.new is None:
        return _("“%(key)s” was deleted.") % {"key": changed.key}
    if changed.old is None:
        text = _("“%(key)s” was created again, as it was before.") % {"key": changed.key}
        return " ".join(filter(None, (text, undone_state(changed))))
    return _("The change of “%(key)s” was undone: %(change)s.") % change_texts(request, changed)
