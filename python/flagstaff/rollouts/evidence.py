"""Reads what the workers have counted in a run, and calls the guards that are functions.

With CLIENT_ADDRESS, the users who count are the first ones of their networks, whatever their side
and whether they fail; of these users, a failing one counts if it is the first one of its network.
Without harm none of this depends on the side. So given the users who count, a failing one is inside
with probability theta, as without a limit, and the test keeps its 5 %.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue
from threading import Lock, Thread

from django.db import connections
from django.db.models import Count, Max, Q
from django.utils.module_loading import import_string

from flagstaff._tables.database import db
from flagstaff._text import Sentence, say, some, storable
from flagstaff._workers.register import LostWorker, live_releases, lost_workers
from flagstaff.rollouts.models import FailedUnit, Plan, SeenRegister, SignalCount, StepRun
from flagstaff.rollouts.requests import CLIENT_ADDRESS
from flagstaff.rollouts.statistics import cardinality, share_error
from flagstaff.rollouts.steps_and_guards import (
    FUNCTION,
    SPARE_NETWORKS,
    Guard,
    GuardCounts,
    StepEvidence,
    StepVerdict,
    Tenth,
)
from flagstaff.rollouts.verdict import judge

# A worker that is back within this time was only cut off from the database.
_RETURN = timedelta(minutes=10)
_SIDES = (False, True)


def verdict_of(plan: Plan, run: StepRun) -> StepVerdict:
    """Returns what a run of a step shows until its end, or until now.

    Makes up to seven queries.
    """
    steps, guards, users = plan.read_steps(), plan.read_guards(), plan.required_users
    evidence = read_evidence(run, run.ended_at or plan.now)
    return judge(steps, run.step or 0, guards, evidence, users, run.number, plan.compare)


def read_evidence(run: StepRun, now: datetime) -> StepEvidence:
    """Returns what the workers have counted in a run until now.

    Makes up to six queries.
    """
    (outside, inside), left_out = _users(run)
    of_run = db.rows(SignalCount).filter(run=run)
    counts = [*of_run.values_list("kind", "number", "tenth", "inside", "count")]
    requests, dropped = (
        [sum(row[-1] for row in counts if (row[0], row[3]) == (kind, side)) for side in _SIDES]
        for kind in (SignalCount.Kind.REQUESTS, SignalCount.Kind.DROPPED)
    )
    return StepEvidence(
        users_inside=inside,
        users_outside=outside,
        theta_error=share_error(inside, outside),
        failed=_failed(run, counts),
        requests=(requests[0], requests[1]),
        lost_workers=len(_lost_workers(run, now)),
        has_workers=run.ended_at is not None or live_releases("measurements") is not None,
        dropped=sum(dropped),
        left_out=left_out,
        spare=SPARE_NETWORKS if CLIENT_ADDRESS.current() else 0,
        began_at=run.started_at,
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


def _users(run: StepRun) -> tuple[list[float], float]:
    """Returns the users outside and inside who count, and how many were only left out."""
    of_run = db.rows(SeenRegister).filter(run=run)
    ranks = [*of_run.values_list("left_out", "inside", "rank").annotate(count=Count("id"))]
    users = [
        cardinality({rank: count for out, inside, rank, count in ranks if (out, inside) == key})
        for key in ((False, False), (False, True))
    ]
    if not any(out for out, *_ in ranks):
        return users, 0.0
    # A user may count in one worker and be left out in another one.
    everybody = of_run.values_list("inside", "register").annotate(highest=Max("rank"))
    merged: tuple[Counter[int], Counter[int]] = Counter(), Counter()
    for inside, _, highest in everybody:
        merged[inside][highest] += 1
    return users, max(sum(map(cardinality, merged)) - sum(users), 0.0)


def _failed(
    run: StepRun, counts: Sequence[tuple[str, int, int, bool, int]]
) -> dict[int, GuardCounts]:
    """Returns what failed each guard. `counts` are the rows of SignalCount."""
    tenths: defaultdict[int, defaultdict[int, Tenth]] = defaultdict(lambda: defaultdict(Tenth))
    for kind, guard, tenth, is_inside, count in counts:
        sides = (0, count) if is_inside else (count, 0)
        if kind == SignalCount.Kind.AT_RISK:
            tenths[guard][tenth] += Tenth(at_risk=sides)
        elif kind == SignalCount.Kind.FAILED:
            tenths[guard][tenth] += Tenth(failed=sides)
    of_run = db.rows(FailedUnit).filter(run=run)
    counted, counted_inside = Q(is_counted=True), Q(is_counted=True, inside=True)
    numbers = of_run.values_list("guard", "tenth").annotate(
        failed_inside=Count("id", filter=counted_inside),
        failed_outside=Count("id", filter=counted & Q(inside=False)),
        left_out=Count("id", filter=~counted),
        visitors=Count("id", filter=counted_inside & Q(is_new__isnull=False)),
        new_visitors=Count("id", filter=counted_inside & Q(is_new=True)),
    )
    sums: defaultdict[int, list[int]] = defaultdict(lambda: [0] * 5)
    for guard, tenth, *counts_of_tenth in numbers:
        inside, outside, *_ = counts_of_tenth
        tenths[guard][tenth] += Tenth(users=(outside, inside))
        sums[guard] = [*map(sum, zip(sums[guard], counts_of_tenth, strict=True))]
    by_guard = {}
    for guard, of_guard in tenths.items():
        inside, outside, left_out, visitors, new = sums[guard]
        by_guard[guard] = GuardCounts(inside, outside, left_out, visitors, new, dict(of_guard))
    return by_guard


# Whether the workers run other builds than those that a run began with.
#
# A run has the releases of the workers that measured when it began. Workers without a release
# always count and are in no set, so nothing is ever left unmeasured. A rolling deploy is {A},
# {A, B}, {B}: two new runs, of which the last one is about B alone. A release that was in an
# earlier set and comes back starts nothing, so a service that comes and goes costs one new run, not
# one each time.


def present_releases() -> list[str] | None:
    """Returns the releases of the workers that measure now; None if none does. One query."""
    releases = live_releases("measurements")
    return None if releases is None else sorted(releases)


def release_change(plan: Plan, run: StepRun) -> Sentence | None:
    """Returns why the evidence of a run is about other builds, or None. Up to three queries.

    A run that began before any worker measured is given the present releases.
    """
    if plan.ignore_releases or not (present := present_releases()):
        return None
    if run.releases is None:
        run.releases = present
        run.save(using=db.alias, update_fields=["releases"])
        return None
    runs = db.rows(StepRun).filter(plan_id=plan.pk)
    known_releases = {
        release
        for releases in runs.values_list("releases", flat=True)
        for release in releases or ()
    }
    if appeared := set(present) - known_releases:
        return say("a new release appeared: {releases}", releases=some(sorted(appeared)))
    if gone := set(run.releases) - set(present):
        return say("a release has gone: {releases}", releases=some(sorted(gone)))
    return None


#: A guard that takes longer holds its plan. The other plans wait for it.
MAX_SECONDS: float = 30

_MAX_TEXT = 500


@dataclass(frozen=True)
class GuardOutcome:
    """What a function guard returned."""

    guard: Guard
    #: None: it raised an exception, or returned something else than True, False or a text.
    fine: bool | None
    why: str


def has_functions(plan: Plan) -> bool:
    """Whether a plan has function guards."""
    return any(guard.kind == FUNCTION for guard in plan.read_guards())


def call_guards(plan: Plan) -> tuple[GuardOutcome, ...]:
    """Calls the function guards of a plan, each with the plan. Blocks up to 30 s for each.

    To be called outside of a transaction, so that a slow function does not keep people's changes
    of the plan or of the flag waiting.
    """
    guards = plan.read_guards()
    return tuple(_call(guard, plan) for guard in guards if guard.kind == FUNCTION)


def _call(guard: Guard, plan: Plan) -> GuardOutcome:
    path = guard.path or ""

    def call() -> object:
        return import_string(path)(plan)

    try:
        returned = call_with_timeout(f"{plan.pk} {path}", call, MAX_SECONDS)
    except GuardTimeoutError:
        why = say(
            "{path} did not return within {seconds} s; make it faster",
            path=path,
            seconds=MAX_SECONDS,
        )
        return GuardOutcome(guard, None, why)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 (sys.exit would end the driver of all plans)
        # Only the type: the message may quote data.
        why = say("{path} raised {type}; repair it", path=path, type=type(error).__name__)
        return GuardOutcome(guard, None, why)
    if returned is True:
        return GuardOutcome(guard, fine=True, why="")
    if returned is False:
        return GuardOutcome(guard, fine=False, why=say("{path} returned False", path=path))
    if isinstance(returned, str):
        text = storable(str.strip(returned)[:_MAX_TEXT])
        why = say("{path}: {returned}", path=path, returned=text)
        return GuardOutcome(guard, fine=False, why=why if text else path)
    why = say(
        "{path} returned {type}; return True, False or a text",
        path=path,
        type=type(returned).__name__,
    )
    return GuardOutcome(guard, None, why)


# Calls a function of the project in a thread of its own, so that it cannot stop the driver.

_lock = Lock()
#: The threads of functions that did not return in time, by name.
_late: dict[str, Thread] = {}


class GuardTimeoutError(Exception):
    """The function has not returned yet."""


def call_with_timeout(name: str, function: Callable[[], object], seconds: float) -> object:
    """Returns what a function returns, or raises what it raises, also SystemExit.

    Calls it in a thread with database connections of its own, so it may leave a transaction open.
    Blocks for at most `seconds`, and then raises GuardTimeoutError. The thread is not stopped, and
    until it ends, further calls with this name raise GuardTimeoutError at once.
    """
    with _lock:
        if (late := _late.pop(name, None)) is not None and late.is_alive():
            _late[name] = late
            raise GuardTimeoutError
    ended: SimpleQueue[tuple[object, BaseException | None]] = SimpleQueue()

    def run() -> None:
        try:
            ended.put((function(), None))
        except BaseException as error:  # noqa: BLE001 (raised again in the thread of the caller)
            ended.put((None, error))
        finally:
            connections.close_all()

    thread = Thread(target=copy_context().run, args=(run,), name="flagstaff-guard", daemon=True)
    thread.start()
    try:
        returned, error = ended.get(timeout=seconds)
    except Empty:
        with _lock:
            _late[name] = thread
        raise GuardTimeoutError from None
    thread.join(seconds)
    if error is not None:
        raise error
    return returned
