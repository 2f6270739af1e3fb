"""Everything that can go wrong, again and again, beside workers that must answer all the while.

    python -m tools.soak [FAULT...]       all faults or these; SOAK_MINUTES=30 says for how long

Prints a line a minute and a table at the end. The exit status is 1 where anything was not as it
has to be.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections import Counter
from itertools import count
from typing import Any

from tools.soak.checker import differences, truth
from tools.soak.faults import Faults
from tools.soak.heart import Heart
from tools.soak.journal import GRACE, StatusLog
from tools.soak.measures import Worker
from tools.soak.project import POLL_INTERVAL
from tools.soak.stage import Stage, staged

CYCLE = 20.0
MINUTE = 60.0
# What may be at the most.
GROWTH = 1.0
STALENESS = POLL_INTERVAL + 5


class Soak:
    """One run."""

    def __init__(self, stage: Stage, heart: Heart, wanted: list[str]) -> None:
        self.stage = stage
        self.heart = heart
        self.status_log = StatusLog()
        faults = Faults(stage, heart, self.status_log).all()
        self.faults = {name: faults[name] for name in wanted or faults}
        self.begun = time.monotonic()
        self.made: Counter[str] = Counter()
        self.failures: list[str] = []
        self.staleness: list[float] = []
        self.slowest: dict[str, float] = {}
        self.asked = [0] * len(stage.workers)
        self.beats = [0] * len(stage.workers)
        self.figures = [Worker(worker.process.pid) for worker in stage.workers]
        self.checks = 0

    def run(self, minutes: float) -> None:
        """One fault after the other, and a look at everything after each."""
        ends, reported = self.begun + minutes * MINUTE, self.begun
        names: list[str] = []
        for cycle in count(1):
            if time.monotonic() >= ends:
                return
            # Each fault once, then each again in another order.
            names = names or random.sample([*self.faults], len(self.faults))
            name = names.pop()
            self.faults[name]()
            self.made[name] += 1
            self.check(name)
            self.look()
            if time.monotonic() - reported >= MINUTE:
                reported = time.monotonic()
                self.report()
            time.sleep(max(0.0, self.begun + cycle * CYCLE - time.monotonic()))

    def check(self, fault: str) -> None:
        """Compare each worker with the database, when nobody writes."""
        with self.heart.paused():
            healed = time.monotonic()
            expected = truth(self.stage)
            for number, worker in enumerate(self.stage.workers):
                self.checks += 1
                while wrong := differences(expected, self.state(worker, expected)):
                    if time.monotonic() - healed > GRACE:
                        status = worker.ask("drain")["status"]
                        self.fail(f"worker {number} after {fault}: {wrong[:3]}; {status}")
                        break
                    time.sleep(0.05)
            took = time.monotonic() - healed
            self.slowest[fault] = max(took, self.slowest.get(fault, 0.0))
            self.check_connections(fault)
            for figures in self.figures:
                figures.measure(time.monotonic())

    def state(self, worker: Any, expected: dict[str, Any]) -> Any:
        """What the worker answers, about what should be gone too."""
        gone = [f"value_{number}" for number in range(1, 20)]
        return worker.ask("state", sorted({*expected["values"], *gone}))

    def check_connections(self, fault: str) -> None:
        """Each worker has one, as soon as those that were lost are cleared away."""
        waited = time.monotonic()
        while len(found := self.stage.backends()) != len(self.stage.workers):
            if time.monotonic() - waited > GRACE:
                self.fail(f"{len(found)} connections after {fault}")
                return
            time.sleep(0.05)

    def look(self) -> None:
        """Judge what the workers noted since the last look."""
        for number, worker in enumerate(self.stage.workers):
            noted = worker.ask("drain")
            self.asked[number] = noted["asked"]
            for moment, what in noted["wrongs"]:
                if not (what.startswith("pair") and self.status_log.untold.has_turned(moment)):
                    self.fail(f"worker {number}: {what}")
            for moment, beat in noted["samples"]:
                self.judge(number, moment, beat)

    def judge(self, number: int, moment: float, beat: int) -> None:
        """How long the worker could have known better."""
        if beat < self.beats[number] and not self.status_log.rewound.covers(moment, GRACE):
            self.fail(f"worker {number}: beat {beat} after {self.beats[number]}")
        self.beats[number] = beat
        since = self.heart.unseen_since(beat)
        if self.status_log.outage.covers(moment):
            return
        ended = max(
            self.status_log.outage.last_end(moment), self.status_log.rewound.last_end(moment)
        )
        known = moment if since is None else max(since, ended)
        self.staleness.append(max(0.0, moment - known))

    def fail(self, what: str) -> None:
        """Note what is not as it has to be."""
        self.failures.append(what)
        if len(self.failures) <= 100:  # noqa: PLR2004 (the first of them say it all)
            print(f"{self.minutes:6.1f} min  WRONG  {what}", flush=True)

    @property
    def minutes(self) -> float:
        """How long it has been going."""
        return (time.monotonic() - self.begun) / MINUTE

    def report(self) -> None:
        """A line on how it goes."""
        print(
            f"{self.minutes:6.1f} min  {sum(self.made.values())} faults, {self.checks} checks, "
            f"{len(self.failures)} wrong, {sum(self.asked):,} questions, "
            f"staleness p99.9 {self.stale:.2f} s, "
            f"memory {' '.join(f'{worker.memory[-1]:.1f}' for worker in self.figures)} MB, "
            f"threads {[worker.threads[-1] for worker in self.figures]}, "
            f"files {[worker.files[-1] for worker in self.figures]}",
            flush=True,
        )

    @property
    def stale(self) -> float:
        """The staleness that one moment in a thousand exceeds."""
        ordered = sorted(self.staleness)
        return ordered[int(len(ordered) * 0.999)] if ordered else 0.0

    def judge_all(self, left: int, statuses: list[int]) -> None:
        """What can only be said at the end."""
        for number, worker in enumerate(self.figures):
            if worker.growth is not None and worker.growth >= GROWTH:
                self.fail(f"worker {number} grows by {worker.growth:.1f} MB an hour")
            for what, found in (("threads", worker.threads), ("files", worker.files)):
                if len({*found[1:]}) > 1:
                    self.fail(f"worker {number} had {sorted({*found})} {what}")
        if self.stale > STALENESS:
            self.fail(f"staleness p99.9 is {self.stale:.1f} s")
        if left:
            self.fail(f"{left} connections are left")
        if any(statuses):
            self.fail(f"the workers ended with {statuses}")

    def table(self) -> None:
        """All figures."""
        print(f"\n{'fault':24}{'times':>6}  slowest to be right again")
        for name, times in sorted(self.made.items()):
            print(f"{name:24}{times:>6}  {self.slowest[name]:.2f} s")
        print()
        for number, worker in enumerate(self.figures):
            grown = "too short to say" if worker.growth is None else f"{worker.growth:+.2f} MB/h"
            print(
                f"worker {number}  {self.asked[number]:>12,} questions  "
                f"{worker.memory[-1]:6.1f} MB, {grown}  "
                f"{worker.threads[-1]} threads  {worker.files[-1]} files"
            )
        ordered = sorted(self.staleness)
        middle = ordered[len(ordered) // 2] if ordered else 0.0
        print(
            f"staleness p50 {middle:.2f} s, p99.9 {self.stale:.2f} s, "
            f"worst {max(ordered, default=0):.2f} s, of {len(ordered):,} samples\n"
            f"{self.minutes:.1f} minutes, {self.checks} checks, {len(self.failures)} wrong"
        )


def main() -> int:
    """Run, and say how it removed."""
    minutes = float(os.environ.get("SOAK_MINUTES") or 30)
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, lambda signum, _frame: sys.exit(128 + signum))
    with staged() as stage:
        with Heart(stage) as heart:
            soak = Soak(stage, heart, sys.argv[1:])
            print(f"server {stage.server.pid}, workers {[f.pid for f in soak.figures]}", flush=True)
            soak.run(minutes)
        statuses = [worker.end() for worker in stage.workers]
        soak.judge_all(len(stage.backends()), statuses)
        soak.table()
    return 1 if soak.failures else 0


if __name__ == "__main__":
    sys.exit(main())
