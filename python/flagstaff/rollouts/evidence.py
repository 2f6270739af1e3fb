"""Reads what the workers have counted in a run.

With CLIENT_ADDRESS, the users who count are the first ones of their networks, whatever their side
and whether they fail; of these users, a failing one counts if it is the first one of its network.
Without harm none of this depends on the side. So given the users who count, a failing one is inside
with probability theta, as without a limit, and the test keeps its 5 %.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import Count, Max, Q, Sum

from flagstaff._engine.reports import LostWorker, lost_workers
from flagstaff.conf import conf
from flagstaff.rollouts.hyperloglog import cardinality, share_error
from flagstaff.rollouts.models import FailedUnit, SeenRegister, SignalCount, StepRun
from flagstaff.rollouts.results import SPARE_NETWORKS, GuardCounts, StepEvidence
from flagstaff.rollouts.settings import CLIENT_ADDRESS

# A worker that is back within this time was only cut off from the database.
_RETURN = timedelta(minutes=10)


class _Sides(NamedTuple):
    """A number outside and inside the rollout."""

    outside: float
    inside: float


def read_evidence(run: StepRun, now: datetime) -> StepEvidence:
    """Returns what the workers have counted in a run until now.

    Makes four queries, and one more if users were left out.
    """
    users, left_out = _users(run)
    counts = _counts(run)
    requests = counts[SignalCount.Kind.REQUESTS]
    return StepEvidence(
        users_inside=users.inside,
        users_outside=users.outside,
        theta_error=share_error(users.inside, users.outside),
        failed=_failed(run),
        requests=(int(requests.outside), int(requests.inside)),
        lost_workers=len(_lost_workers(run, now)),
        dropped=int(sum(counts[SignalCount.Kind.DROPPED])),
        left_out=left_out,
        spare=SPARE_NETWORKS if CLIENT_ADDRESS.current() else 0,
    )


def has_lost_for_good(run: StepRun, now: datetime) -> bool:
    """Whether all workers that were lost during the run have been for ten minutes.

    Then the run will never be complete, and a new one can be.
    """
    lost = _lost_workers(run, now)
    return bool(lost) and all(worker.expected_by < now - _RETURN for worker in lost)


def _lost_workers(run: StepRun, now: datetime) -> tuple[LostWorker, ...]:
    # A worker that was lost before the run has no part in its counts.
    return lost_workers("measurements", since=run.started_at, now=now)


def _users(run: StepRun) -> tuple[_Sides, float]:
    """Returns the users who count, and the number of those who were only left out."""
    registers: dict[bool, dict[int, int]] = {False: {}, True: {}}
    of_run = SeenRegister.objects.using(conf.database).filter(run=run)
    left_out = False
    ranks = of_run.values_list("left_out", "inside", "rank").annotate(count=Count("id"))
    for is_left_out, inside, rank, count in ranks:
        left_out = left_out or is_left_out
        if not is_left_out:
            registers[inside][rank] = count
    users = _Sides(cardinality(registers[False]), cardinality(registers[True]))
    if not left_out:
        return users, 0.0
    # A user may count in one worker and be left out in another one.
    everybody = of_run.values_list("inside", "register").annotate(highest=Max("rank"))
    merged = {side: Counter[int]() for side in registers}
    for inside, _, highest in everybody:
        merged[inside][highest] += 1
    return users, max(sum(map(cardinality, merged.values())) - sum(users), 0.0)


def _counts(run: StepRun) -> dict[str, _Sides]:
    """Returns the requests and the dropped counts, by kind."""
    kinds = (SignalCount.Kind.REQUESTS, SignalCount.Kind.DROPPED)
    of_run = SignalCount.objects.using(conf.database).filter(run=run, kind__in=kinds)
    totals = of_run.values_list("kind", "inside").annotate(total=Sum("count"))
    found = {(kind, inside): total for kind, inside, total in totals}
    return {kind: _Sides(found.get((kind, False), 0), found.get((kind, True), 0)) for kind in kinds}


def _failed(run: StepRun) -> dict[int, GuardCounts]:
    of_run = FailedUnit.objects.using(conf.database).filter(run=run)
    counted, inside = Q(is_counted=True), Q(is_counted=True, inside=True)
    numbers = of_run.values_list("guard").annotate(
        failed_inside=Count("id", filter=inside),
        failed_outside=Count("id", filter=counted & Q(inside=False)),
        left_out=Count("id", filter=~counted),
        visitors=Count("id", filter=inside & Q(is_new__isnull=False)),
        new_visitors=Count("id", filter=inside & Q(is_new=True)),
    )
    return {guard: GuardCounts(*counts) for guard, *counts in numbers}
