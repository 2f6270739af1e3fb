"""Reads what the workers have counted in a run."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import Count, Sum

from flagstaff.conf import conf
from flagstaff.rollouts.models import FailedUnit, SeenRegister, SignalCount, SignalWorker, StepRun
from flagstaff.rollouts.results import Evidence, GuardCounts
from flagstaff.rollouts.statistics import cardinality, share_error

__all__ = ["has_lost_for_good", "read_evidence"]

# A worker is lost after so many intervals between two flushes without one.
_INTERVALS = 3
# A worker that is back within this time was only cut off from the database.
_RETURN = timedelta(minutes=10)


class _Sides(NamedTuple):
    """A number outside and inside the rollout."""

    outside: float
    inside: float


def read_evidence(run: StepRun, now: datetime) -> Evidence:
    """Returns what the workers have counted in a run until now. Makes four queries."""
    users = _users(run)
    counts = _counts(run)
    requests = counts[SignalCount.Kind.REQUESTS]
    return Evidence(
        users_inside=users.inside,
        users_outside=users.outside,
        theta_error=share_error(users.inside, users.outside),
        failed=_failed(run),
        requests=(int(requests.outside), int(requests.inside)),
        lost_workers=len(_lost_workers(run, now)),
        dropped=int(sum(counts[SignalCount.Kind.DROPPED])),
    )


def has_lost_for_good(run: StepRun, now: datetime) -> bool:
    """Whether all workers that were lost during the run have been for ten minutes.

    Then the run will never be complete, and a new one can be.
    """
    lost = _lost_workers(run, now)
    return bool(lost) and all(_expected_by(worker) < now - _RETURN for worker in lost)


def _lost_workers(run: StepRun, now: datetime) -> list[SignalWorker]:
    """Returns the workers that stopped during the run without their last report.

    A worker that was lost before the run has no part in its counts.
    """
    running = SignalWorker.objects.using(conf.database).filter(stopped_at=None)
    return [worker for worker in running if run.started_at <= _expected_by(worker) < now]


def _expected_by(worker: SignalWorker) -> datetime:
    """Returns the time at which the next report of a worker is late."""
    return worker.last_seen_at + _INTERVALS * worker.interval


def _users(run: StepRun) -> _Sides:
    registers: dict[bool, dict[int, int]] = {False: {}, True: {}}
    of_run = SeenRegister.objects.using(conf.database).filter(run=run)
    for inside, rank, count in of_run.values_list("inside", "rank").annotate(count=Count("id")):
        registers[inside][rank] = count
    return _Sides(cardinality(registers[False]), cardinality(registers[True]))


def _counts(run: StepRun) -> dict[str, _Sides]:
    """Returns the requests and the dropped counts, by kind."""
    kinds = (SignalCount.Kind.REQUESTS, SignalCount.Kind.DROPPED)
    of_run = SignalCount.objects.using(conf.database).filter(run=run, kind__in=kinds)
    totals = of_run.values_list("kind", "inside").annotate(total=Sum("count"))
    found = {(kind, inside): total for kind, inside, total in totals}
    return {kind: _Sides(found.get((kind, False), 0), found.get((kind, True), 0)) for kind in kinds}


def _failed(run: StepRun) -> dict[int, GuardCounts]:
    sides: dict[int, dict[bool, int]] = defaultdict(dict)
    of_run = FailedUnit.objects.using(conf.database).filter(run=run)
    for guard, inside, count in of_run.values_list("guard", "inside").annotate(n=Count("id")):
        sides[guard][inside] = count
    return {
        guard: GuardCounts(inside=found.get(True, 0), outside=found.get(False, 0))
        for guard, found in sides.items()
    }
