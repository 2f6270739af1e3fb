"""The page that undoes selected events: the state of each after the undo, and conflicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._tables.rows import all_rows
from flagstaff._tables.states import FlagState, state_summary
from flagstaff._words.lists import join_some
from flagstaff._words.local_formats import local_number
from flagstaff._words.message import localized
from flagstaff.admin.confirmation import (
    MAX_TEXT,
    ConfirmationMixin,
    describe_changed,
    parse_version,
    problems_of,
)
from flagstaff.admin.history_texts import skipped_text, undone_text
from flagstaff.admin.links import admin_of, page_url
from flagstaff.admin.recent_changes.filters import KIND_LABELS
from flagstaff.admin.recent_changes.urls import BACK, UNDO_EVENTS
from flagstaff.admin.release_rights import require_release
from flagstaff.admin.reports import ReportMixin
from flagstaff.admin.undo_permissions import may_write, write_of
from flagstaff.admin.undoing_together import effect_of, refusal_context, report_undone
from flagstaff.changes import Changed, UndoneEvents, preview_undo_events, undo_events
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.changes.change_plan import ChangePlan, plan_change, plan_segment_changes
from flagstaff.changes.planned import text_for_many
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError
from flagstaff.history.describe import and_more, describe_change, quoted
from flagstaff.history.kinds import Kind
from flagstaff.history.reading import events_of
from flagstaff.history.user_names import may_see_users, names_of_users
from flagstaff.models import RecentChange

if TYPE_CHECKING:
    _Admin = ModelAdmin[RecentChange]
else:
    _Admin = object

# An undo reads the newer history of each row.
_MAX_EVENTS = 200
_BUTTON = "_undo_events"


@dataclass(frozen=True)
class _Line:
    """A row of the page."""

    kind: str
    key: str
    change: str
    after: str
    problem: str
    is_deletion: bool


class UndoingMixin(ConfirmationMixin, ReportMixin, _Admin):
    """Put it before ModelAdmin."""

    def undo_page(self, request: HttpRequest) -> HttpResponse:
        """Shows what an undo of the events in the URL would do. A POST undoes them."""
        versions = {parse_version(text) for text in request.GET.getlist(UNDO_EVENTS)}
        if len(versions) > _MAX_EVENTS:
            text = _("Not undone: choose at most %(count)s changes at once.")
            count = local_number(_MAX_EVENTS)
            self.message_user(request, text % {"count": count}, messages.ERROR)
            return HttpResponseRedirect(self._list_url(request))
        try:
            undone = preview_undo_events(versions)
        except FlagstaffError as error:
            return self._refused(request, error)
        possible = [one for one in undone if one.changed is not None]
        why = self._why_not(request, undone)
        plan = _plan(possible)
        typed = _text_to_type(possible, plan)
        problems = problems_of(request, typed)
        is_confirmed = problems is not None and not problems
        if request.method == "POST" and is_confirmed and possible and not why:
            shown = {parse_version(text) for text in request.POST.getlist(UNDO_EVENTS)}
            if shown <= {version for one in possible for version in one.versions}:
                return self._undo(request, possible, shown)
            problems = [_("Not undone: there has been another change since you opened the page.")]
        context = {**refusal_context(why, problems), "flagstaff_typed": typed}
        return self._ask(request, undone, plan, context)

    def _refused(self, request: HttpRequest, error: FlagstaffError) -> HttpResponse:
        text = _("Not undone: %(why)s") % {"why": localized(error.message)}
        self.message_user(request, text, messages.ERROR)
        return HttpResponseRedirect(self._list_url(request))

    def _undo(
        self, request: HttpRequest, possible: Sequence[UndoneEvents], shown: set[int]
    ) -> HttpResponse:
        """Undoes what the page has shown as possible. A conflict since then refuses all."""
        versions = shown or {version for one in possible for version in one.versions}
        with transaction.atomic(using=conf.database):
            done = undo_events(versions)
            self._require(request, done)
        for one in done:
            self._log(request, one)
        changed = [one.changed for one in done if one.changed is not None and one.changed.written]
        text = _undone_text(request, changed[0]) if len(changed) == 1 else ""
        report_undone(self, request, changed, text)
        return HttpResponseRedirect(self._list_url(request))

    def _ask(
        self,
        request: HttpRequest,
        undone: Sequence[UndoneEvents],
        plan: ChangePlan | None,
        context: Mapping[str, object],
    ) -> HttpResponse:
        possible = [one for one in undone if one.changed is not None]
        count = _count(one for one in possible if _writes([one]))
        blocked = _count(undone) - _count(possible)
        label = ngettext("Undo %(count)s change", "Undo %(count)s changes", count)
        if [_brings_back(one) for one in undone] == [True]:
            label = _("Bring back")
        notes, uses = effect_of(self.admin_site, request, plan)
        page = {
            "title": _("Undo changes"),
            "flagstaff_parent": "admin/base_site.html",
            "flagstaff_question": _question(undone, possible),
            "flagstaff_notes": [
                *_deletion_notes(possible),
                *_state_notes(possible),
                *notes,
                *([_blocked_text(blocked)] if blocked else []),
            ],
            "flagstaff_uses": uses,
            "flagstaff_parts": [_line(request, one) for one in undone],
            "flagstaff_posted": [
                (UNDO_EVENTS, str(version)) for one in possible for version in one.versions
            ],
            "flagstaff_version": None,
            "flagstaff_button": _BUTTON,
            "flagstaff_target": "1",
            "flagstaff_label": label % {"count": local_number(count)},
            "flagstaff_danger": any(_deletes(one) for one in possible),
            "flagstaff_back": self._list_url(request),
            **context,
        }
        if not _writes(possible):
            page["flagstaff_nothing"] = True
        response = self.confirmation(request, RecentChange(), page)
        response.template_name = "flagstaff/recent_changes/undo.html"
        return response

    def _why_not(self, request: HttpRequest, undone: Sequence[UndoneEvents]) -> str:
        """Which flags the user may not release; empty without any. Raises PermissionDenied."""
        try:
            self._require(request, undone)
        except FlagstaffError as error:
            return localized(error.message)
        return ""

    def _require(self, request: HttpRequest, undone: Sequence[UndoneEvents]) -> None:
        """Raises as `require_release`. To undo a creation is to delete, a deletion to add."""
        for one in undone:
            admin = admin_of(self.admin_site, one.kind.model)
            if admin is None or not admin.has_view_permission(request):
                raise PermissionDenied
            row = all_rows(one.kind.model).filter(pk=one.pk).first()
            if one.changed is None or not one.changed.written:
                continue
            if not may_write(admin, request, write_of(one.changed), row):
                raise PermissionDenied
        require_release(self.admin_site, request, _written(undone))

    def _log(self, request: HttpRequest, one: UndoneEvents) -> None:
        """Writes into Django's log of the row, if it exists."""
        admin = admin_of(self.admin_site, one.kind.model)
        row = all_rows(one.kind.model).filter(pk=one.pk).first()
        changed = one.changed
        if admin is not None and row is not None and changed is not None and changed.written:
            admin.log_change(request, row, _undone_text(request, changed))

    def _list_url(self, request: HttpRequest) -> str:
        """The list with the filters that it had."""
        back = request.GET.get(BACK, "")
        url = page_url(self.admin_site, RecentChange, "changelist")
        return f"{url}?{back}" if back else url


def _line(request: HttpRequest, one: UndoneEvents) -> _Line:
    first, last = one.entries
    found = events_of(one.kind, one.pk, after=first - 1, before=last + 1, shorten=True)
    names = names_of_users(found) if may_see_users(request.user) else None
    change = "; ".join(describe_change(event, names, limit=MAX_TEXT) for event in reversed(found))
    return _Line(
        str(KIND_LABELS[one.kind]),
        one.key,
        change,
        "" if one.changed is None else _after(request, one.changed),
        localized(one.problem),
        _deletes(one),
    )


def _after(request: HttpRequest, changed: Changed) -> str:
    if changed.new is None:
        return _("will be deleted")
    if changed.old is None and changed.written:
        return _("will be created again, as it was before") + skipped_text(changed.missing)
    if not changed.written:
        return _("will not change: it already has its earlier state")
    return describe_changed(request, changed) + skipped_text(changed.missing)


def _undone_text(request: HttpRequest, changed: Changed) -> str:
    if changed.old is None and changed.new is not None:
        text = _("“%(key)s” was created again, as it was before.") % {"key": changed.key}
        return " ".join(filter(None, (text, _state_text(changed))))
    return undone_text(request, changed)


def _deletes(one: UndoneEvents) -> bool:
    return one.changed is not None and one.changed.written and one.changed.new is None


def _brings_back(one: UndoneEvents) -> bool:
    changed = one.changed
    return changed is not None and changed.written and changed.old is None


def _plan(possible: Sequence[UndoneEvents]) -> ChangePlan | None:
    """The effect on users, of a single flag or of all segments."""
    written = _written(possible)
    if len(possible) > 1 or not written:
        return plan_segment_changes(written)
    [(kind, changed)] = written
    row = all_rows(kind.model).filter(pk=possible[0].pk).first()
    return plan_change(kind, row, changed)


def _text_to_type(possible: Sequence[UndoneEvents], plan: ChangePlan | None) -> str:
    """What a person has to type: as on the page of one undo, or as for several rows."""
    if len(possible) == 1 and not _deletes(possible[0]):
        return "" if plan is None else plan.text_to_type
    return text_for_many([one.key for one in possible]) if possible else ""


def _written(undone: Iterable[UndoneEvents]) -> list[tuple[Kind, Changed]]:
    pairs = [(one.kind, one.changed) for one in undone]
    return [(kind, changed) for kind, changed in pairs if changed is not None and changed.written]


def _writes(possible: Sequence[UndoneEvents]) -> bool:
    return bool(_written(possible))


def _question(undone: Sequence[UndoneEvents], possible: Sequence[UndoneEvents]) -> str:
    if not possible:
        return _("None of these changes can be undone.")
    if not _writes(possible):
        return _("There is nothing to undo.")
    if len(undone) == 1:
        text = (
            _("Bring back “%(key)s”?")
            if _brings_back(undone[0])
            else _("Undo this change of “%(key)s”?")
        )
        return text % {"key": undone[0].key}
    return _("Undo these changes? They are undone in one transaction: all of them, or none.")


def _count(some: Iterable[UndoneEvents]) -> int:
    return sum(len(one.events) for one in some)


def _deletion_notes(possible: Sequence[UndoneEvents]) -> list[str]:
    """To undo a creation is to delete, which is easily missed among other rows."""
    keys = [one.key for one in possible if _deletes(one)]
    if not keys:
        return []
    text = ngettext("This deletes %(keys)s.", "This deletes %(count)s rows: %(keys)s.", len(keys))
    shown = join_some(map(quoted, keys), more=and_more)
    return [text % {"count": local_number(len(keys)), "keys": shown}]


def _state_notes(possible: Sequence[UndoneEvents]) -> list[str]:
    """Who has the flags that are created again."""
    found = [(one.key, _state_text(one.changed)) for one in possible if one.kind is Kind.FLAG]
    text = _("%(key)s afterwards: %(state)s")
    return [text % {"key": quoted(key), "state": state} for key, state in found if state]


def _state_text(changed: Changed | None) -> str:
    """Which users have a flag that is created again; empty for another change."""
    new = None if changed is None or changed.old is not None else changed.new
    if new is None or "rollout_percent" not in new:
        return ""
    return state_summary(FlagState.of_fields(new), len(new.get(ALLOWED, ())))


def _blocked_text(count: int) -> str:
    text = ngettext(
        "%(count)s change cannot be undone and is left out.",
        "%(count)s changes cannot be undone and are left out.",
        count,
    )
    return text % {"count": local_number(count)}
