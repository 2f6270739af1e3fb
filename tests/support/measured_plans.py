"""Plans that measure, written by SQL, and what workers have counted for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tools.limits import seconds

Query = Callable[..., Any]
KEY = "new_checkout"
TIMEOUT = 10.0


def start_run(query: Query, state: str = "running", limits: str = '{"2": 0}') -> int:
    """Begins a run of a plan, with a latency guard of this limit. Returns its id."""
    (plan,) = query(
        "INSERT INTO flagstaff_rollouts_plan (flag_pk, key, state, steps, guards, required_users, "
        "latency_limits, salt, seen_flag, reason, trip_reason, actor, "
        "ignore_releases, guarded_until) SELECT id::text, key, %s, '[]', '[]', 1000, %s::jsonb, "
        "'\\x00', '', '', '', '', false, now() + interval '5 min' "
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
    while (found := counted(query, *of)) != expected:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
