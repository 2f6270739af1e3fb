"""Plans for tests, and the signals that workers would write for them."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from typing import Any

from django.db import transaction

from flagstaff._core import REGISTERS
from flagstaff.models import FeatureFlag
from flagstaff.rollouts.clock import ClockTimestamp
from flagstaff.rollouts.models import (
    DriverRun,
    FailedUnit,
    Plan,
    PlanEvent,
    SeenRegister,
    SignalCount,
)
from flagstaff.rollouts.transitions import enter_step
from tests.support.reports import register_worker

KEY = "new_checkout"
STEPS = ["5:1h", "25:1h", "100:1h"]
#: With these, a rule can grant the flag.
RULES = [{"name": "all", "conditions": [], "rollout_percent": 100}]


def make_flag(key: str = KEY, **fields: Any) -> FeatureFlag:
    """An enabled flag for no user."""
    return FeatureFlag.objects.create(key=key, **{"enabled": True, "rollout_percent": 0, **fields})


def drive_recently(**ago: float) -> None:
    """Writes that run-jobs has run so long ago, or just now."""
    DriverRun.objects.update_or_create(
        pk=1, defaults={"last_run_at": ClockTimestamp() - timedelta(**ago)}
    )


def plan_of(key: str = KEY) -> Plan:
    """The newest plan of a flag."""
    return Plan.objects.filter(key=key).latest("id")


def run_of(key: str = KEY) -> int:
    """The run that the workers count for."""
    run_id = plan_of(key).run_id
    assert run_id is not None
    return run_id


def rollout(key: str = KEY) -> int:
    """The present rollout of a flag."""
    return FeatureFlag.objects.get(key=key).rollout_percent


def events(key: str = KEY) -> list[str]:
    """The kinds of the events of a plan, oldest first."""
    found = PlanEvent.objects.filter(plan=plan_of(key)).order_by("id")
    return [*found.values_list("kind", flat=True)]


def end_dwell_time(key: str = KEY) -> None:
    """Makes the present step due."""
    Plan.objects.filter(key=key).update(due_at=ClockTimestamp() - timedelta(seconds=1))


def go_to(percent: int, key: str = KEY) -> Plan:
    """Lets the plan enter the step with this percentage, as the driver does."""
    with transaction.atomic():
        plan = plan_of(key)
        index = [step.percent for step in plan.read_steps()].index(percent)
        enter_step(plan, index)
    return plan


def leave_unguarded() -> None:
    """Makes the running plans unguarded, as if run-jobs had not run for a while."""
    Plan.objects.update(guarded_until=ClockTimestamp() - timedelta(seconds=1))


def see(run_id: int, *, inside: bool, users: int, left_out: bool = False) -> None:
    """Writes the requests of so many users, as workers count them, or as users left out."""
    ranks: dict[int, int] = {}
    for number in range(users):
        digest = int.from_bytes(sha256(f"{inside} {number}".encode()).digest()[:8], "big")
        register, rest = digest % REGISTERS, digest // REGISTERS
        rank = 53 - rest.bit_length()
        ranks[register] = max(rank, ranks.get(register, 0))
    SeenRegister.objects.bulk_create(
        SeenRegister(run_id=run_id, inside=inside, left_out=left_out, register=register, rank=rank)
        for register, rank in ranks.items()
    )
    if left_out:
        return
    SignalCount.objects.create(run_id=run_id, inside=inside, kind="r", count=users)


def see_enough(key: str = KEY) -> None:
    """Writes enough users without a failure for the present step to pass."""
    run_id = run_of(key)
    see(run_id, inside=True, users=1200)
    see(run_id, inside=False, users=2000)


def pass_step(key: str = KEY) -> None:
    """Makes the present step due, with enough users for it to pass."""
    see_enough(key)
    end_dwell_time(key)


def fail(run_id: int, *, inside: bool, users: int, guard: int = 0) -> None:
    """Writes the first failures of so many users."""
    first = 0 if inside else 1_000_000
    FailedUnit.objects.bulk_create(
        FailedUnit(run_id=run_id, guard=guard, inside=inside, unit=first + number)
        for number in range(users)
    )


def harm(key: str = KEY) -> None:
    """Writes enough users, of whom many fail inside and few outside."""
    see_enough(key)
    fail(run_of(key), inside=True, users=300)
    fail(run_of(key), inside=False, users=20)


def add_worker(*, last_seen: timedelta, pid: int = 1, stopped: bool = False) -> None:
    """Writes a worker that flushes every second and was last seen so long ago."""
    ago = last_seen.total_seconds()
    register_worker("measurements", pid=pid, interval=1, seconds_ago=ago, stopped=stopped)
