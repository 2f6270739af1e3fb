"""From the commit of a change to the answer of another process, beside a bare LISTEN client.

    python -m benches.latency         (beside a DATABASE_URL; `make bench` runs all)

Both are processes of their own and see the same changes at the same moments. The worker asks
`flag_enabled` without a rest, as users do between them; the bare client waits in psycopg for the
notification, which says that there is a change, not what it is. The clock starts when COMMIT is
sent. It is one clock: CLOCK_MONOTONIC is the same in all processes.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
    """Measure and print."""
    set_up()
    with follower("answers", LISTEN=True) as worker, follower("notifications") as bare:
        told, notified = measure(TOLD, 0.025, 0.05, [worker, bare])
    print(f"{TOLD} changes, milliseconds from COMMIT")
    show("psycopg is notified", notified)
    show("another process answers", told, notified)
    with follower("answers", LISTEN=False, POLL_INTERVAL=POLL_INTERVAL) as worker:
        # Uniform over an interval, because the next poll is due one after the last change was seen.
        [polled] = measure(POLLED, 0, POLL_INTERVAL, [worker])
    print(f"\n{POLLED} changes without LISTEN, polls {POLL_INTERVAL * 1000:.0f} ms apart")
    show("another process answers", polled)


def measure(
    changes: int, shortest: float, longest: float, followers: list[IO[str]]
) -> list[list[float]]:
    """How long after each COMMIT each follower had the change, in milliseconds.

    Between the changes are pauses of these lengths, out of step with anything else.
    """
    taken: list[list[float]] = [[] for _ in followers]
    with psycopg.connect(os.environ["DATABASE_URL"]) as session:
        for change in range(changes):
            time.sleep(random.uniform(shortest, longest))  # noqa: S311 (no secret)
            session.execute(SWITCH, [change % 2 == 1])
            sent = time.monotonic_ns()
            session.commit()
            for mine, follower in zip(taken, followers, strict=True):
                mine.append((int(follower.readline()) - sent) / 1e6)
    return taken


def show(name: str, figures: list[float], base: list[float] | None = None) -> None:
    """Print a line of figures, and what they are of those of the base."""
    p50, p99 = median_and_p99(figures)
    line = f"  {name:24} p50 {p50:7.2f}   p99 {p99:7.2f}   max {max(figures):7.2f}"
    if base:
        base50, base99 = median_and_p99(base)
        line += f"   ratio {p50 / base50:.1f}, {p99 / base99:.1f}"
    print(line)


def median_and_p99(figures: list[float]) -> tuple[float, float]:
    """Half of the figures are below the first, one in a hundred is above the second."""
    marks = quantiles(figures, n=100)
    return marks[49], marks[98]


@contextmanager
def follower(what: str, **flagstaff: Any) -> Iterator[IO[str]]:
    """A process that prints a moment for each change; ready when this is entered."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benches.latency", what, json.dumps(flagstaff)],
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


def notifications(_flagstaff: dict[str, Any]) -> None:
    """Print when each notification added."""
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
