"""What the page of an undo shows: each row before and after, and the effect on the users."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._tables.flag_states import FlagState, state_summary
from flagstaff._words.lists import local_list
from flagstaff._words.local_formats import local_number, quoted
from flagstaff._words.message import localized
from flagstaff.admin.confirmation import MAX_TEXT, describe_changed
from flagstaff.admin.history.texts import skipped_text
from flagstaff.admin.links import admin_of
from flagstaff.admin.recent_changes.filters import KIND_LABELS
from flagstaff.admin.recent_changes.urls import restore_url
from flagstaff.admin.segment.plan import visible_refusal
from flagstaff.changes import Changed, UndoneEvents
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.changes.change_plan import ChangePlan, plan_change, plan_segment_changes
from flagstaff.changes.planned import text_for_many
from flagstaff.changes.undoing.plan import RowPlan, UndoPlan
from flagstaff.history import Event
from flagstaff.history.describe import Names, describe_change
from flagstaff.history.kinds import Kind
from flagstaff.history.reading import read_events
from flagstaff.history.user_names import may_see_users, names_of_users
from flagstaff.history.versions import all_entries


@dataclass(frozen=True)
class Line:
    """A row of the page."""

    kind: str
    key: str
    change: str
    after: str
    problem: str
    is_deletion: bool
    #: The page that restores the state before the change, if that is the way on.
    restore_url: str


@dataclass(frozen=True)
class UndoPreview:
    """The plan of an undo, in words."""

    plan: UndoPlan
    #: All events belong to a transaction, which is undone as a whole.
    is_whole: bool

    @cached_property
    def possible(self) -> list[UndoneEvents]:
        """The events that can be undone."""
        return [undone for undone in self.plan.events if undone.changed is not None]

    @property
    def count(self) -> int:
        """The number of events that are undone with a write."""
        return _count(undone for undone in self.possible if _is_written(undone.changed))

    @property
    def deletes(self) -> bool:
        """Whether a row is deleted."""
        return any(_deletes(undone) for undone in self.possible)

    @property
    def turns_off(self) -> bool:
        """Whether flags are disabled and nothing else happens, which never needs a reason."""
        return all(changed.new == {"enabled": False} for _kind, changed in self.plan.written)

    def refusals(self, site: AdminSite, request: HttpRequest) -> list[str]:
        """Why nothing is undone; empty if something may be."""
        if self.plan.refusal is not None:
            return [visible_refusal(site, request, self.plan.refusal.message)]
        if not self.is_whole:
            return []
        return [
            localized(undone.problem) for undone in self.plan.events if undone.error is not None
        ]

    @cached_property
    def effect(self) -> ChangePlan | None:
        """The effect on users, of a single flag or of all segments. Counts the users."""
        rows = [row for row in self.plan.rows if row.changed is not None]
        if len(rows) == 1 and rows[0].item.kind is Kind.FLAG and rows[0].written is not None:
            return plan_change(Kind.FLAG, rows[0].item.row, rows[0].written)
        return plan_segment_changes(self.plan.effects)

    @property
    def text_to_type(self) -> str:
        """What a person has to type: as for one change of a row, or as for several rows."""
        if len(self.possible) == 1 and not self.deletes:
            return "" if self.effect is None else self.effect.text_to_type
        return text_for_many([undone.key for undone in self.possible]) if self.possible else ""

    @property
    def question(self) -> str:
        """The question, or why there is none."""
        if not self.possible:
            return _("None of these changes can be undone.")
        if not self.plan.written:
            return _("There is nothing to undo.")
        if len(self.plan.events) > 1:
            return _(
                "Undo these changes? They are undone in one transaction: all of them, or none."
            )
        [only] = self.possible
        is_back = _brings_back(only)
        text = _("Bring back “%(key)s”?") if is_back else _("Undo this change of “%(key)s”?")
        return text % {"key": only.key}

    @property
    def label(self) -> str:
        """The label of the button."""
        if [_brings_back(undone) for undone in self.plan.events] == [True]:
            return _("Bring back")
        label = ngettext("Undo %(count)s change", "Undo %(count)s changes", self.count)
        return label % {"count": local_number(self.count)}

    @property
    def notes(self) -> list[str]:
        """What is easily missed among other rows."""
        blocked = _count(self.plan.events) - _count(self.possible)
        # Without a possible one, the question says it.
        is_partly = blocked and self.possible and not self.is_whole
        return [
            *_deletion_notes(self.possible),
            *_state_notes(self.possible),
            *([_blocked_text(blocked)] if is_partly else []),
        ]

    def lines(self, site: AdminSite, request: HttpRequest) -> list[Line]:
        """A line for the events of each row. A query for each kind, and one for the users."""
        events = _events(self.plan.rows)
        names = None
        if may_see_users(request.user):
            names = names_of_users(event for some in events.values() for event in some)
        return [
            Line(
                str(KIND_LABELS[undone.kind]),
                undone.key,
                _described(undone, events[undone.kind, undone.pk], names),
                "" if undone.changed is None else _after(request, undone.changed),
                localized(undone.problem),
                _deletes(undone),
                _restore_url(site, request, row, undone),
            )
            for row in self.plan.rows
            for undone in row.results
        ]


def undone_state(changed: Changed | None) -> str:
    """Returns which users have a flag that is created again; empty for another change."""
    new = None if changed is None or changed.old is not None else changed.new
    if new is None or "rollout_percent" not in new:
        return ""
    return state_summary(FlagState.of_fields(new), len(new.get(ALLOWED, ())))


def _events(rows: Iterable[RowPlan]) -> dict[tuple[Kind, str], list[Event]]:
    """The events of the rows from the first to the last version that is to be undone."""
    pks: dict[Kind, list[str]] = defaultdict(list)
    bounds = []
    for row in rows:
        pks[row.item.kind].append(row.item.pk)
        bounds += [bound for undone in row.results for event in undone.events for bound in event]
    events: dict[tuple[Kind, str], list[Event]] = defaultdict(list)
    for kind, some in pks.items():
        entries = all_entries().filter(
            relation__in=kind.relations, object_pk__in=some, id__range=(min(bounds), max(bounds))
        )
        for event in read_events(kind, entries, shorten=True):
            events[kind, event.object_pk].append(event)
    return events


def _described(undone: UndoneEvents, events: Sequence[Event], names: Names | None) -> str:
    """What was changed, oldest first."""
    changed = [
        event
        for event in reversed(events)
        if any(first <= event.version <= last for first, last in undone.events)
    ]
    return "; ".join(describe_change(event, names, limit=MAX_TEXT) for event in changed)


def _restore_url(site: AdminSite, request: HttpRequest, row: RowPlan, undone: UndoneEvents) -> str:
    admin = admin_of(site, undone.kind.model)
    if undone.restore_to is None or row.item.row is None or admin is None:
        return ""
    may_change = admin.has_change_permission(request, row.item.row)
    return restore_url(site, undone.kind, undone.pk, undone.restore_to) if may_change else ""


def _after(request: HttpRequest, changed: Changed) -> str:
    if changed.new is None:
        return _("will be deleted")
    if not changed.written:
        return _("will not change: it already has its earlier state")
    if changed.old is None:
        return _("will be created again, as it was before") + skipped_text(changed.missing)
    text = describe_changed(request, changed, limit=MAX_TEXT)
    return text + skipped_text(changed.missing)


def _is_written(changed: Changed | None) -> bool:
    return changed is not None and changed.written


def _deletes(undone: UndoneEvents) -> bool:
    return undone.changed is not None and undone.changed.written and undone.changed.new is None


def _brings_back(undone: UndoneEvents) -> bool:
    return undone.changed is not None and undone.changed.written and undone.changed.old is None


def _count(undone_events: Iterable[UndoneEvents]) -> int:
    return sum(len(undone.events) for undone in undone_events)


def _deletion_notes(possible: Sequence[UndoneEvents]) -> list[str]:
    """To undo a creation is to delete."""
    keys = [undone.key for undone in possible if _deletes(undone)]
    if not keys:
        return []
    text = ngettext("This deletes %(keys)s.", "This deletes %(count)s rows: %(keys)s.", len(keys))
    quoted_keys = local_list(map(quoted, keys))
    return [text % {"count": local_number(len(keys)), "keys": quoted_keys}]


def _state_notes(possible: Sequence[UndoneEvents]) -> list[str]:
    """Which users have the flags that are created again."""
    states = [
        (undone.key, undone_state(undone.changed))
        for undone in possible
        if undone.kind is Kind.FLAG
    ]
    text = _("%(key)s afterwards: %(state)s")
    return [text % {"key": quoted(key), "state": state} for key, state in states if state]


def _blocked_text(count: int) -> str:
    text = ngettext(
        "%(count)s change cannot be undone and is left out.",
        "%(count)s changes cannot be undone and are left out.",
        count,
    )
    return text % {"count": local_number(count)}
