"""Plans for tests: what has happened to them, what workers have measured for them, their pages."""

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from functools import cache
from hashlib import sha256
from typing import Any

from django.db import connection, transaction
from django.test import Client

from flagstaff._core import REGISTERS
from flagstaff.models import FeatureFlag
from flagstaff.rollouts.driver import PlanReport, run_plans
from flagstaff.rollouts.models import ClockTimestamp, DriverRun, Plan, PlanEvent, SignalCount, State
from flagstaff.rollouts.transitions import enter_step
from tests.support.admin_pages import act
from tests.support.reports import register_worker
from tests.support.screen import Screen
from tools.limits import seconds

PLANS = "/admin/flagstaff_rollouts/plan/"
KEY = "new_checkout"
STEPS = ["5:1h", "25:1h", "100:1h"]
#: With these, a rule can grant the flag.
RULES = [{"name": "all", "conditions": [], "rollout_percent": 100}]
# The worker that has seen the users.
_PID = 99
#: How long a test waits for what workers count.
TIMEOUT = 10.0

Query = Callable[..., Any]


def make_flag(key: str = KEY, **fields: Any) -> FeatureFlag:
    """An enabled flag for no user."""
    return FeatureFlag.objects.create(key=key, **{"enabled": True, "rollout_percent": 0, **fields})


def drive_recently(**ago: float) -> None:
    """Writes that run-jobs has run so long ago, or just now."""
    DriverRun.objects.update_or_create(
        pk=1, defaults={"last_run_at": ClockTimestamp() - timedelta(**ago)}
    )


def run_plan() -> PlanReport:
    """Runs the driver once, and returns its report of the only plan."""
    [report] = run_plans()
    assert report.error is None
    return report


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
    plan_events = PlanEvent.objects.filter(plan=plan_of(key)).order_by("id")
    return [*plan_events.values_list("kind", flat=True)]


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
    # Hundreds of rows for each step: the ORM takes ten times as long.
    _execute(
        "INSERT INTO flagstaff_rollouts_seenregister (run_id, inside, left_out, register, rank) "
        "SELECT %s, %s, %s, * FROM unnest(%s::smallint[], %s::smallint[])",
        [run_id, inside, left_out, *_registers(inside=inside, users=users)],
    )
    if left_out:
        return
    SignalCount.objects.create(run_id=run_id, inside=inside, kind="r", count=users)


@cache
def _registers(*, inside: bool, users: int) -> tuple[str, str]:
    """The numbers of the registers of so many users, and their ranks, as arrays of PostgreSQL."""
    ranks: dict[int, int] = {}
    for number in range(users):
        digest = int.from_bytes(sha256(f"{inside} {number}".encode()).digest()[:8], "big")
        register, rest = digest % REGISTERS, digest // REGISTERS
        rank = 53 - rest.bit_length()
        ranks[register] = max(rank, ranks.get(register, 0))
    return _array(ranks.keys()), _array(ranks.values())


def _array(numbers: Iterable[int]) -> str:
    return "{" + ",".join(map(str, numbers)) + "}"


def _execute(statement: str, parameters: Sequence[str | int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


def see_enough(key: str = KEY) -> None:
    """Writes enough users without a failure for the present step to pass, and their worker."""
    run_id = run_of(key)
    register_worker("measurements", pid=_PID)
    see(run_id, inside=True, users=1200)
    see(run_id, inside=False, users=2000)


def pass_step(key: str = KEY) -> None:
    """Makes the present step due, with enough users for it to pass."""
    see_enough(key)
    end_dwell_time(key)


def fail(run_id: int, *, inside: bool, users: int, guard: int = 0, tenth: int = 0) -> None:
    """Writes the first failures of so many users, in a tenth of the dwell time."""
    first = 10_000 * tenth + (0 if inside else 1_000_000)
    _execute(
        "INSERT INTO flagstaff_rollouts_failedunit "
        "(run_id, guard, inside, unit, tenth, is_counted) "
        "SELECT %s, %s, %s, unit, %s, true FROM generate_series(%s, %s) AS unit",
        [run_id, guard, inside, tenth, first, first + users - 1],
    )


def harm(key: str = KEY) -> None:
    """Writes enough users, of whom many fail inside and few outside."""
    see_enough(key)
    fail(run_of(key), inside=True, users=300)
    fail(run_of(key), inside=False, users=20)


def trip(key: str = KEY) -> None:
    """Lets the driver roll the plan back, because 300 of 320 failing users are inside."""
    harm(key)
    run_plans()
    assert plan_of(key).state == State.ROLLED_BACK


def add_worker(*, last_seen: timedelta, pid: int = 1, stopped: bool = False) -> None:
    """Writes a worker that flushes every second and was last seen so long ago."""
    ago = last_seen.total_seconds()
    register_worker("measurements", pid=pid, interval=1, seconds_ago=ago, stopped=stopped)


# A plan in the database of other processes, by SQL, and what workers have counted for it.


def start_run(query: Query, state: str = "running", limits: str = '{"2": 0}') -> int:
    """Begins a run of a plan, with a latency guard of this limit. Returns its id."""
    (plan,) = query(
        "INSERT INTO flagstaff_rollouts_plan (flag_pk, key, state, steps, guards, required_users, "
        "latency_limits, salt, seen_flag, reason, trip_reason, actor, "
        "compare, ignore_releases, guarded_until) "
        "SELECT id::text, key, %s, '[]', '[]', 1000, %s::jsonb, "
        "'\\x00', '', '', '', '', '', false, now() + interval '5 min' "
        "FROM flagstaff_featureflag WHERE key = %s RETURNING id",
        state,
        limits,
        KEY,
    )
    (run,) = query(
        "INSERT INTO flagstaff_rollouts_steprun (plan_id, step, percent, number) "
        "VALUES (%s, 0, 33, 1) RETURNING id",
        plan,
    )
    query("UPDATE flagstaff_rollouts_plan SET run_id = %s WHERE id = %s RETURNING id", run, plan)
    return int(run)


def counted(query: Query, run: int, kind: str, number: int = 0) -> tuple[int, int]:
    """What is counted outside and inside of the rollout."""
    outside, inside = query(
        "SELECT coalesce(sum(count) FILTER (WHERE NOT inside), 0)::int, "
        "coalesce(sum(count) FILTER (WHERE inside), 0)::int "
        "FROM flagstaff_rollouts_signalcount WHERE run_id = %s AND kind = %s AND number = %s",
        run,
        kind,
        number,
    )
    return outside, inside


def failed_users(query: Query, run: int, guard: int = 0) -> tuple[int, int]:
    """The users who failed a guard and count, outside and inside of the rollout."""
    outside, inside = query(
        "SELECT count(*) FILTER (WHERE NOT inside), count(*) FILTER (WHERE inside) "
        "FROM flagstaff_rollouts_failedunit WHERE run_id = %s AND guard = %s AND is_counted",
        run,
        guard,
    )
    return outside, inside


def wait_for_count(query: Query, expected: tuple[int, int], *of: Any) -> None:
    """Waits until `counted` returns this."""
    deadline = time.monotonic() + seconds(TIMEOUT)
    while (number := counted(query, *of)) != expected:
        assert time.monotonic() < deadline, number
        time.sleep(0.05)


# Pages.


def plan_url(plan: Plan) -> str:
    return f"{PLANS}{plan.pk}/change/"


def action_url(plan: Plan, name: str) -> str:
    return f"{PLANS}{plan.pk}/{name}/"


def do(client: Client, plan: Plan, name: str, **arguments: str) -> Any:
    """Opens the page of an action, confirms it, and returns the page after it."""
    return act(client, action_url(plan, name), **arguments)


def actions_of(html: str) -> list[str]:
    """Returns the actions that the page of a plan links to."""
    urls = Screen(html).attributes(f'#content-main a[href^="{PLANS}"]', "href")
    names = [url.rstrip("/").rpartition("/")[2] for url in urls]
    return [name for name in names if name != "change"]
