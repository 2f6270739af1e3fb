"""From the commit of a change to the answer of another process, beside a bare LISTEN client.

Both are processes of their own and see the same changes in the same moments. The worker asks
`flag_enabled` without a rest, as users do between them; the bare client waits in psycopg for the
notification, which says that there is a change, not what it is. Their clocks are one:
CLOCK_MONOTONIC is the same in all processes.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import quantiles
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent
if __package__ != "benches":
    sys.path[:0] = [str(ROOT)]

import psycopg  # noqa: E402 (the path comes first)

from benches._project import set_up  # noqa: E402

TOLD, POLLED = 500, 100
POLL_INTERVAL = 0.2
SWITCH = "UPDATE flagstaff_featureflag SET enabled = %s WHERE key = 'everyone'"


def main() -> None:
    set_up()
    flags: dict[str, Any] = {"LISTEN": True}
    with follower("answers", flags) as worker, follower("notifications") as bare:
        found = measure(TOLD, 0.025, [worker, bare])
    print(f"commit to answer of another process, {TOLD} changes, milliseconds")
    report("LISTEN of psycopg, woken", bare_figures := found[1])
    report("flagstaff, answer changed", found[0], bare_figures)
    flags = {"LISTEN": False, "POLL_INTERVAL": POLL_INTERVAL}
    with follower("answers", flags) as worker:
        [polled] = measure(POLLED, POLL_INTERVAL, [worker])
    print(f"\nthe same without LISTEN, {POLLED} changes, a poll each {POLL_INTERVAL * 1000:.0f} ms")
    report("flagstaff, answer changed", polled)


def measure(changes: int, pause: float, followers: list[IO[str]]) -> list[list[float]]:
    """How long after each commit each follower had it, in milliseconds."""
    taken: list[list[float]] = [[] for _ in followers]
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as session:
        for change in range(changes):
            # Out of step with polls, and with the gap between two loads.
            time.sleep(random.uniform(1, 2) * pause)
            session.execute(SWITCH, [change % 2 == 1])
            committed = time.monotonic_ns()
            for mine, follower in zip(taken, followers, strict=True):
                mine.append((int(follower.readline()) - committed) / 1e6)
    return taken


def report(name: str, figures: list[float], floor: list[float] | None = None) -> None:
    marks = quantiles(figures, n=100)
    p50, p99 = marks[49], marks[98]
    line = f"  {name:26} p50 {p50:7.2f}   p99 {p99:7.2f}   max {max(figures):7.2f}"
    if floor:
        marks = quantiles(floor, n=100)
        line += f"   ratio {p50 / marks[49]:.1f} and {p99 / marks[98]:.1f}"
    print(line)


@contextmanager
def follower(what: str, flagstaff: dict[str, Any] | None = None) -> Iterator[IO[str]]:
    """A process that prints a moment for each change; ready when this is entered."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benches.latency", what, json.dumps(flagstaff)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    try:
        process.stdout.readline()
        yield process.stdout
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def answers(flagstaff: dict[str, Any]) -> None:
    """Ask until the answer changes, and print when it did."""
    import django  # noqa: PLC0415
    from django.conf import settings  # noqa: PLC0415

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    settings.FLAGSTAFF = flagstaff
    from flagstaff import flag_enabled, ready  # noqa: PLC0415

    answer = ready(10) and flag_enabled("everyone")
    print("ready", flush=True)
    while True:
        while flag_enabled("everyone") is answer:
            pass
        print(time.monotonic_ns(), flush=True)
        answer = not answer


def notifications(_flagstaff: None) -> None:
    """Print when each notification came."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as session:
        session.execute("LISTEN flagstaff_v1")
        print("ready", flush=True)
        for _ in session.notifies():
            print(time.monotonic_ns(), flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        {"answers": answers, "notifications": notifications}[sys.argv[1]](json.loads(sys.argv[2]))
    else:
        main()
