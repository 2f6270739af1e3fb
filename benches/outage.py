"""The latency of an evaluation while the server is down, as a ratio to the same one before.

    python -m benches.outage          (starts its own server; `make bench` runs all)

Evaluations and digests alternate, so that other load on the machine affects both.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
if __package__ != "benches":
    sys.path[:0] = [str(ROOT)]

from benches._project import set_up  # noqa: E402 (the path comes first)
from benches.latency import median_and_p99  # noqa: E402
from tools.postgres import Postgres  # noqa: E402

ROUNDS, EVALUATIONS = 40, 5_000


def main() -> None:
    """Measures and prints."""
    with Postgres() as server:
        os.environ["DATABASE_URL"] = server.url
        set_up()
        from django.db import connection  # noqa: PLC0415 (after set-up)

        from flagstaff import flag_enabled, ready, status  # noqa: PLC0415

        def evaluate() -> bool:
            return flag_enabled("flag_1", 42)

        connection.close()
        ready(10)
        before = relative_latency(evaluate)
        server.stop()
        while status().mode != "down":
            time.sleep(0.01)
        during = relative_latency(evaluate)
    print("p99 of an evaluation, relative to the p99 of a digest")
    print(f"  server up {before:.2f}   down {during:.2f}   ratio {during / before:.2f}")


def relative_latency(evaluate: Callable[[], bool]) -> float:
    """Returns the p99 of an evaluation over the p99 of a digest, as median of the rounds."""
    return median(_ratio(evaluate) for _ in range(ROUNDS))


def _ratio(evaluate: Callable[[], bool]) -> float:
    clock = time.perf_counter_ns
    evaluated: list[float] = []
    digested: list[float] = []
    for _ in range(EVALUATIONS):
        started = clock()
        evaluate()
        between = clock()
        sha256(b"new_checkout").hexdigest()
        digested.append(clock() - between)
        evaluated.append(between - started)
    return median_and_p99(evaluated)[1] / median_and_p99(digested)[1]


if __name__ == "__main__":
    main()
