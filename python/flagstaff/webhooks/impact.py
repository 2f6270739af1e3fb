"""The impact of an event: how many users gained or lost the flag, or got another value."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import TypedDict

from flagstaff._core import monotonic
from flagstaff._engine.impact import impact_of_change
from flagstaff._engine.segment_impact import impact_of_segments
from flagstaff._engine.status_log import logger
from flagstaff._engine.value_impact import ValueImpact, impact_of_value_change
from flagstaff._tables.bucket_units import BUCKET_BY, USER
from flagstaff._tables.flag_states import FlagState
from flagstaff._tables.model_fields import column_of, find_field, segment_model
from flagstaff._tables.optional_fields import RULES, flag_model, value_rule_fields
from flagstaff._tables.rows import Fields
from flagstaff._tables.value_states import ValueState
from flagstaff.changes.segment_plan import rules_using
from flagstaff.conf import conf
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Change, Event

_FIELDS = ("enabled", "rollout_percent")
_CONDITIONS = "conditions"
_RULED = (RULES, BUCKET_BY)
# Seconds to count one event, and all events of a run. Messages beyond them have no impact.
_EVENT_TIMEOUT, _RUN_TIMEOUT = 3.0, 5.0


class _FlagCounts(TypedDict):
    users: int
    gain: int
    lose: int


class ImpactCounts(_FlagCounts, total=False):
    """How many users there are, and how many of them gained or lost the flag."""

    #: How many of them got another value; missing for a flag.
    other_value: int


class ImpactCounter:
    """Counts each event of a run once for all receivers, within a time limit for the run."""

    def __init__(self) -> None:
        self._seconds_left = _RUN_TIMEOUT
        self._counted: dict[int, ImpactCounts | None] = {}
        self._lock = Lock()

    def count(self, event: Event, entry_ids: Sequence[int]) -> ImpactCounts | None:
        """Returns the impact of an event, with the allowed users of now.

        None if the event changed nothing that decides about results, if it changed the bucketing
        unit, which reassigns every user, if it is about a secret value, or if the count failed: a
        message is never delayed or dropped for its impact.
        """
        if not _has_impact(event):
            return None
        with self._lock:
            if event.version not in self._counted and self._seconds_left > 0:
                started = monotonic()
                timeout = min(_EVENT_TIMEOUT, self._seconds_left)
                self._counted[event.version] = _count(event, entry_ids, timeout)
                self._seconds_left -= monotonic() - started
            return self._counted.get(event.version)


def _has_impact(event: Event) -> bool:
    changed = {one.field for one in event.differences}
    if event.kind == Kind.SEGMENT.value:
        return event.action != "delete" and _CONDITIONS in changed
    if event.kind == Kind.VALUE.value:
        is_reassigned = BUCKET_BY in changed
        return event.action == "change" and not is_reassigned and bool(changed & {"value", RULES})
    return (
        event.action != "delete"
        and not (event.action == "change" and BUCKET_BY in changed)
        and not changed.isdisjoint({*_FIELDS, *flag_model().fields.keys() & {RULES}})
    )


def _count(event: Event, entry_ids: Sequence[int], timeout: float) -> ImpactCounts | None:
    try:
        if event.kind == Kind.SEGMENT.value:
            return _count_segment(event.key, entry_ids, timeout)
        if event.kind == Kind.VALUE.value:
            return _count_value(event.key, entry_ids, timeout)
        before, after = _states(entry_ids)
        found = impact_of_change(event.key, before, after, timeout=timeout)
        if not found.is_exact:
            return None
    # The message matters more than its impact, whatever the error is.
    except Exception as error:  # noqa: BLE001
        logger.info("the impact of a change was not counted: %s", type(error).__name__)
        return None
    return {"users": found.users, "gain": found.gain, "lose": found.lose}


def _count_segment(key: str, entry_ids: Sequence[int], timeout: float) -> ImpactCounts | None:
    """Counts the different users who gain or lose something, or get another value, as of now."""
    column = column_of(segment_model(), _CONDITIONS)
    entries = Change.objects.filter(id__in=entry_ids, relation=Kind.SEGMENT.row_relation)
    rows = list(entries.order_by("id").values_list("old", "new"))
    before, after = ((row or {}).get(column) for row in (rows[0][0], rows[-1][1]))
    found = impact_of_segments({key: (before, after)}, rules_using(key), timeout=timeout)
    if found.users is None or None in found.counts:
        return None
    counts: ImpactCounts = {
        "users": found.users,
        "gain": len(found.gained),
        "lose": len(found.lost),
    }
    if any(isinstance(one, ValueImpact) for one in found.counts):
        counts["other_value"] = len(found.revalued)
    return counts


def _count_value(key: str, entry_ids: Sequence[int], timeout: float) -> ImpactCounts | None:
    """Counts the users who get another value; None for a secret one, which has no history."""
    entries = Change.objects.filter(id__in=entry_ids, relation=Kind.VALUE.row_relation)
    rows = list(entries.order_by("id").values_list("old", "new"))
    before, after = rows[0][0], rows[-1][1]
    secret = find_field(conf.value_model, "secret")
    if secret and any(row.get(str(secret.column)) for row in (before, after)):
        return None
    states = _value_state(before), _value_state(after)
    found = impact_of_value_change(key, *states, timeout=timeout)
    if not found.is_exact:
        return None
    return {"users": found.users, "gain": 0, "lose": 0, "other_value": found.changed}


def _value_state(row: Fields) -> ValueState:
    fields = value_rule_fields(conf.value_model)
    rules, unit = (row.get(str(fields[name].column)) if fields else None for name in _RULED)
    value = row[column_of(conf.value_model, "value")]
    unit = USER if unit is None else unit
    return ValueState(value, [] if rules is None else rules, unit)


def _states(entry_ids: Sequence[int]) -> tuple[FlagState, FlagState]:
    """Returns the states before and after these entries."""
    entries = Change.objects.filter(id__in=entry_ids, relation=Kind.FLAG.row_relation)
    rows = list(entries.order_by("id").values_list("old", "new"))
    return _state(rows[0][0]), _state(rows[-1][1])


def _state(row: Fields | None) -> FlagState:
    if row is None:
        return FlagState(enabled=False, rollout_percent=0)
    columns = {name: column_of(conf.flag_model, name) for name in _FIELDS}
    fields = {name: row[column] for name, column in columns.items()}
    optional = {one.name: row.get(str(one.column)) for one in flag_model().fields.values()}
    return FlagState.of_fields({**optional, **fields})
