"""The time from a commit to the new result in another process, and to a bare LISTEN client.

    python -m benches.latency         (beside a DATABASE_URL; `make bench` runs all)

Both run in their own processes and see the same changes. The worker calls `flag_enabled`
constantly; the bare client waits in psycopg for the notification, which says that there is a
change, not what it is. The clock starts when COMMIT is sent. CLOCK_MONOTONIC is the same in
all processes.
"""

from __future__ import annotations

import json
import logging
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import quantiles
from typing import IO, Any

import psycopg

from benches._project import MEMBERS, ROOT, add_members, set_up

NOTIFIED, POLLED = 500, 100
POLL_INTERVAL = 0.2
#: A flag, and the two statements that change its result for the first user in turn.
FLAG = (
    "everyone",
    "UPDATE flagstaff_featureflag SET enabled = false WHERE key = 'everyone'",
    "UPDATE flagstaff_featureflag SET enabled = true WHERE key = 'everyone'",
)
MEMBERSHIP = (
    "rule_group",
    "DELETE FROM auth_user_groups WHERE user_id = (SELECT min(id) FROM auth_user)",
    """
    INSERT INTO auth_user_groups (user_id, group_id)
    SELECT min(auth_user.id), auth_group.id FROM auth_user, auth_group GROUP BY auth_group.id
    """,
)
_Watched = tuple[str, str, str]


def main() -> None:
    """Measures and prints."""
    set_up()
    with follower("results", FLAG[0], LISTEN=True) as worker, follower("notifications") as bare:
        evaluated, notified = measure(NOTIFIED, 0.025, 0.05, [worker, bare], FLAG)
    print(f"{NOTIFIED} changes, milliseconds from COMMIT")
    show("psycopg is notified", notified)
    show("another process returns it", evaluated, notified)
    with follower("results", FLAG[0], LISTEN=False, POLL_INTERVAL=POLL_INTERVAL) as worker:
        # Uniform over one interval, because the next poll is one interval after the last change.
        [polled] = measure(POLLED, 0, POLL_INTERVAL, [worker], FLAG)
    print(f"\n{POLLED} changes without LISTEN, polls {POLL_INTERVAL * 1000:.0f} ms apart")
    show("another process returns it", polled)
    for members in (0, MEMBERS):
        add_members(members)
        with follower("results", MEMBERSHIP[0], LISTEN=True) as worker:
            [joined] = measure(NOTIFIED, 0.025, 0.05, [worker], MEMBERSHIP)
        print(f"\n{NOTIFIED} changes of the members of a group of {members + 100:,}")
        show("another process returns it", joined, evaluated)


def measure(
    changes: int, shortest: float, longest: float, followers: list[IO[str]], watched: _Watched
) -> list[list[float]]:
    """Returns the milliseconds from each COMMIT until each follower had the change.

    Random pauses of these lengths separate the changes.
    """
    taken: list[list[float]] = [[] for _ in followers]
    with psycopg.connect(os.environ["DATABASE_URL"]) as session:
        for change in range(changes):
            time.sleep(random.uniform(shortest, longest))  # noqa: S311 (no secret)
            session.execute(watched[1 + change % 2])
            sent = time.monotonic_ns()
            session.commit()
            for mine, follower in zip(taken, followers, strict=True):
                mine.append((int(follower.readline()) - sent) / 1e6)
    return taken


def show(name: str, figures: list[float], base: list[float] | None = None) -> None:
    """Prints a line of figures, and their ratio to those of the base."""
    p50, p99 = median_and_p99(figures)
    line = f"  {name:24} p50 {p50:7.2f}   p99 {p99:7.2f}   max {max(figures):7.2f}"
    if base:
        base50, base99 = median_and_p99(base)
        line += f"   ratio {p50 / base50:.1f}, {p99 / base99:.1f}"
    print(line)


def median_and_p99(figures: list[float]) -> tuple[float, float]:
    """Returns the median and the 99th percentile."""
    marks = quantiles(figures, n=100)
    return marks[49], marks[98]


@contextmanager
def follower(what: str, key: str = "", **flagstaff: Any) -> Iterator[IO[str]]:
    """Runs a process that prints the time of each change; it is ready when this is entered."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benches.latency", what, key, json.dumps(flagstaff)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout  # noqa: S101 (for the type checker)
    try:
        process.stdout.readline()
        yield process.stdout
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def results(key: str, flagstaff: dict[str, Any]) -> None:
    """Evaluates until the result changes, and prints when it did."""
    import django
    from django.conf import settings

    # The figures are the only output.
    logging.getLogger("flagstaff").addHandler(logging.NullHandler())
    django.setup()
    settings.FLAGSTAFF = flagstaff
    from django.contrib.auth import get_user_model

    from flagstaff import flag_enabled, ready

    user: Any = get_user_model().objects.order_by("pk").first()
    result = ready(10) and flag_enabled(key, user)
    print("ready", flush=True)
    while True:
        while flag_enabled(key, user) is result:
            pass
        print(time.monotonic_ns(), flush=True)
        result = not result


def notifications(_key: str, _flagstaff: dict[str, Any]) -> None:
    """Prints when each notification arrived."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as session:
        session.execute("LISTEN flagstaff_v1")
        print("ready", flush=True)
        for _ in session.notifies():
            print(time.monotonic_ns(), flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run = {"results": results, "notifications": notifications}[sys.argv[1]]
        run(sys.argv[2], json.loads(sys.argv[3]))
    else:
        main()
