"""Reads from the database what happens to a rollout plan, while it runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, final

import psycopg

from flagstaff.rollouts.guards import parse_guards
from flagstaff.rollouts.hyperloglog import cardinality, share_error
from flagstaff.rollouts.results import GuardCounts, StepEvidence
from flagstaff.rollouts.steps import parse_step, parse_steps
from flagstaff.rollouts.verdict import judge

__all__ = ["Event", "PlanRow", "PlanWatch", "Seen"]

_PAUSE = 0.1
_PLAN = """
    SELECT id, run_id, step, steps, guards, required_users FROM flagstaff_rollouts_plan
    ORDER BY id DESC LIMIT 1
"""
_EVENTS = """
    SELECT id, at, kind, message, figures FROM flagstaff_rollouts_planevent
    WHERE id > %s ORDER BY id
"""
_SET_VALUE = """
    UPDATE flagstaff_keyvaluestore SET value = %s::jsonb WHERE key = %s
    RETURNING clock_timestamp()
"""
_RANKS = """
    SELECT inside, rank, count(*) FROM flagstaff_rollouts_seenregister WHERE run_id = %s
    AND NOT left_out GROUP BY inside, rank
"""
_FAILED = """
    SELECT inside, count(*) FROM flagstaff_rollouts_failedunit WHERE run_id = %s AND guard = 0
    AND is_counted GROUP BY inside
"""
_DRIVER = "SELECT last_run_at, clock_timestamp() FROM flagstaff_rollouts_driverrun"


@dataclass(frozen=True)
class Seen:
    """What is counted in the present step: estimated users, and those whose requests failed."""

    inside: float = 0.0
    outside: float = 0.0
    failed_inside: int = 0
    failed_outside: int = 0

    def __str__(self) -> str:
        return (
            f"inside: {self.failed_inside} of {self.inside:.0f} users failed; "
            f"outside: {self.failed_outside} of {self.outside:.0f}"
        )


@dataclass(frozen=True)
class PlanRow:
    """The columns of a plan that say what it does and how it decides."""

    id: int
    run_id: int | None
    step: int | None
    steps: list[str]
    guards: list[str]
    required_users: int


@dataclass(frozen=True)
class Event:
    """An event of the plan."""

    at: datetime
    kind: str
    text: str
    figures: dict[str, Any]
    #: The present rollout of the step, and the counts before the event.
    percent: int | None
    seen: Seen


@final
class PlanWatch:
    """Follows the newest plan of a database. Notes when its counts are enough for a trip."""

    def __init__(self, url: str) -> None:
        self._session = psycopg.connect(url, autocommit=True)
        self._last_event = 0
        #: When the counts were enough, by the database's clock, and the driver's runs since then.
        self.allowed_at: datetime | None = None
        self._runs: set[datetime] = set()

    def __enter__(self) -> PlanWatch:
        return self

    def __exit__(
        self,
        of_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._session.close()

    @property
    def runs(self) -> int:
        """The runs of the driver that began after the counts were enough for a trip."""
        return len(self._runs)

    def plan(self) -> PlanRow | None:
        """Returns the newest plan, or None."""
        row = self._session.execute(_PLAN).fetchone()
        return PlanRow(*row) if row else None

    def plan_id(self) -> int | None:
        """Returns the primary key of the newest plan, or None."""
        plan = self.plan()
        return None if plan is None else plan.id

    def set_value(self, key: str, value: int) -> datetime:
        """Changes a value of the shop with SQL, and returns the time by the database's clock."""
        row = self._session.execute(_SET_VALUE, [str(value), key]).fetchone()
        if row is None:
            raise LookupError(f"there is no value {key}")
        at: datetime = row[0]
        return at

    def driver_has_run(self) -> bool:
        """Whether the driver has run."""
        return self._session.execute(_DRIVER).fetchone() is not None

    def follow(self, seconds: float) -> Iterator[Event | Seen]:
        """Yields each event, and the counts whenever they have changed, until the time is over."""
        deadline = time.monotonic() + seconds
        shown = Seen()
        while time.monotonic() < deadline:
            plan = self.plan()
            if plan is not None:
                seen = self.seen(plan.run_id)
                self._judge(plan, seen)
                if plan.run_id and seen != shown:
                    shown = seen
                    yield seen
                yield from self._events(plan, shown)
            time.sleep(_PAUSE)

    def seen(self, run: int | None) -> Seen:
        """Returns what is counted in a run."""
        ranks: dict[bool, dict[int, int]] = {False: {}, True: {}}
        for inside, rank, count in self._session.execute(_RANKS, [run]):
            ranks[inside][rank] = count
        failed: dict[bool, int] = dict(self._session.execute(_FAILED, [run]).fetchall())
        return Seen(
            inside=cardinality(ranks[True]),
            outside=cardinality(ranks[False]),
            failed_inside=failed.get(True, 0),
            failed_outside=failed.get(False, 0),
        )

    def _events(self, plan: PlanRow, seen: Seen) -> Iterator[Event]:
        percent = None if plan.step is None else parse_step(plan.steps[plan.step]).percent
        for row in self._session.execute(_EVENTS, [self._last_event]).fetchall():
            self._last_event, at, kind, text, figures = row
            yield Event(at, kind, text, figures, percent, seen)

    def _judge(self, plan: PlanRow, seen: Seen) -> None:
        """Notes the time at which the counts are enough, and the driver's runs after it."""
        last_run, now = self._session.execute(_DRIVER).fetchone() or (None, None)
        if self.allowed_at and last_run and last_run > self.allowed_at:
            self._runs.add(last_run)
        if self.allowed_at or plan.step is None:
            return
        evidence = StepEvidence(
            users_inside=seen.inside,
            users_outside=seen.outside,
            theta_error=share_error(seen.inside, seen.outside),
            failed={0: GuardCounts(seen.failed_inside, seen.failed_outside)},
            # The brake and the guard of errors do not look at them.
            requests=(0, 0),
        )
        guards, steps = parse_guards(plan.guards), parse_steps(plan.steps)
        if judge(steps, plan.step, guards, evidence, plan.required_users).trip:
            self.allowed_at = now
