"""The soak test: repeated faults, while workers must evaluate flags correctly.

    python -m tools.soak [FAULT...]       all faults or these; SOAK_MINUTES=30 sets the duration

Prints a line per minute and a table at the end. The exit status is 1 if any check failed.
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
from tools.soak.environment import Environment, environment
from tools.soak.fault_log import GRACE, FaultLog
from tools.soak.faults import Faults
from tools.soak.measures import Worker
from tools.soak.project import POLL_INTERVAL
from tools.soak.writer import Writer

CYCLE = 20.0
MINUTE = 60.0
# The limits: megabytes per hour, and seconds.
GROWTH = 1.0
STALENESS = POLL_INTERVAL + 5


class Soak:
    """One run."""

    def __init__(self, env: Environment, writer: Writer, wanted: list[str]) -> None:
        self.env = env
        self.writer = writer
        self.fault_log = FaultLog()
        faults = Faults(env, writer, self.fault_log).all()
        self.faults = {name: faults[name] for name in wanted or faults}
        self.started = time.monotonic()
        self.made: Counter[str] = Counter()
        self.failures: list[str] = []
        self.staleness: list[float] = []
        self.slowest: dict[str, float] = {}
        self.evaluations = [0] * len(env.workers)
        self.beats = [0] * len(env.workers)
        self.figures = [Worker(worker.process.pid) for worker in env.workers]
        self.checks = 0

    def run(self, minutes: float) -> None:
        """Runs the faults one after the other, and checks everything after each."""
        ends, reported = self.started + minutes * MINUTE, self.started
        names: list[str] = []
        for cycle in count(1):
            if time.monotonic() >= ends:
                return
            # Each fault once, then all again in another order.
            names = names or random.sample([*self.faults], len(self.faults))
            name = names.pop()
            self.faults[name]()
            self.made[name] += 1
            self.check(name)
            self.collect()
            if time.monotonic() - reported >= MINUTE:
                reported = time.monotonic()
                self.report()
            time.sleep(max(0.0, self.started + cycle * CYCLE - time.monotonic()))

    def check(self, fault: str) -> None:
        """Compares each worker with the database, while nothing writes."""
        with self.writer.paused():
            started = time.monotonic()
            expected = truth(self.env)
            for number, worker in enumerate(self.env.workers):
                self.checks += 1
                while wrong := differences(expected, self.state(worker, expected)):
                    if time.monotonic() - started > GRACE:
                        status = worker.ask("drain")["status"]
                        self.fail(f"worker {number} after {fault}: {wrong[:3]}; {status}")
                        break
                    time.sleep(0.05)
            took = time.monotonic() - started
            self.slowest[fault] = max(took, self.slowest.get(fault, 0.0))
            self.check_connections(fault)
            for figures in self.figures:
                figures.measure(time.monotonic())

    def state(self, worker: Any, expected: dict[str, Any]) -> Any:
        """Returns the worker's results, also for deleted values."""
        deleted = [f"value_{number}" for number in range(1, 20)]
        return worker.ask("state", sorted({*expected["values"], *deleted}))

    def check_connections(self, fault: str) -> None:
        """Checks that each worker has one connection, once the server has closed lost ones."""
        started = time.monotonic()
        while len(backends := self.env.backends()) != len(self.env.workers):
            if time.monotonic() - started > GRACE:
                self.fail(f"{len(backends)} connections after {fault}")
                return
            time.sleep(0.05)

    def collect(self) -> None:
        """Checks what the workers have recorded since the last call."""
        for number, worker in enumerate(self.env.workers):
            recorded = worker.ask("drain")
            self.evaluations[number] = recorded["evaluations"]
            for at, what in recorded["errors"]:
                if not (what.startswith("pair") and self.fault_log.without_tokens.has_changed(at)):
                    self.fail(f"worker {number}: {what}")
            for at, beat in recorded["samples"]:
                self.check_sample(number, at, beat)

    def check_sample(self, number: int, at: float, beat: int) -> None:
        """Measures the staleness: how long the worker could have had a newer beat."""
        if beat < self.beats[number] and not self.fault_log.rewound.covers(at, GRACE):
            self.fail(f"worker {number}: beat {beat} after {self.beats[number]}")
        self.beats[number] = beat
        since = self.writer.unseen_since(beat)
        if self.fault_log.outage.covers(at):
            return
        ended = max(self.fault_log.outage.last_end(at), self.fault_log.rewound.last_end(at))
        stale_since = at if since is None else max(since, ended)
        self.staleness.append(max(0.0, at - stale_since))

    def fail(self, what: str) -> None:
        """Records a failed check."""
        self.failures.append(what)
        if len(self.failures) <= 100:  # noqa: PLR2004 (the first failures are enough)
            print(f"{self.minutes:6.1f} min  FAILED  {what}", flush=True)

    @property
    def minutes(self) -> float:
        """The duration so far."""
        return (time.monotonic() - self.started) / MINUTE

    def report(self) -> None:
        """Prints a line with the present figures."""
        print(
            f"{self.minutes:6.1f} min  {sum(self.made.values())} faults, {self.checks} checks, "
            f"{len(self.failures)} failed, {sum(self.evaluations):,} evaluations, "
            f"staleness p99.9 {self.stale:.2f} s, "
            f"memory {' '.join(f'{worker.memory[-1]:.1f}' for worker in self.figures)} MB, "
            f"threads {[worker.threads[-1] for worker in self.figures]}, "
            f"files {[worker.files[-1] for worker in self.figures]}",
            flush=True,
        )

    @property
    def stale(self) -> float:
        """The staleness that one sample in a thousand exceeds."""
        ordered = sorted(self.staleness)
        return ordered[int(len(ordered) * 0.999)] if ordered else 0.0

    def check_end(self, left: int, statuses: list[int]) -> None:
        """Runs the checks that are only possible at the end."""
        for number, worker in enumerate(self.figures):
            if worker.growth is not None and worker.growth >= GROWTH:
                self.fail(f"worker {number} grows by {worker.growth:.1f} MB an hour")
            for what, numbers in (("threads", worker.threads), ("files", worker.files)):
                if len({*numbers[1:]}) > 1:
                    self.fail(f"worker {number} had {sorted({*numbers})} {what}")
        if self.stale > STALENESS:
            self.fail(f"staleness p99.9 is {self.stale:.1f} s")
        if left:
            self.fail(f"{left} connections are left")
        if any(statuses):
            self.fail(f"the workers ended with {statuses}")

    def table(self) -> None:
        """Prints all figures."""
        print(f"\n{'fault':24}{'times':>6}  slowest recovery")
        for name, times in sorted(self.made.items()):
            print(f"{name:24}{times:>6}  {self.slowest[name]:.2f} s")
        print()
        for number, worker in enumerate(self.figures):
            grown = "too short to say" if worker.growth is None else f"{worker.growth:+.2f} MB/h"
            print(
                f"worker {number}  {self.evaluations[number]:>12,} evaluations  "
                f"{worker.memory[-1]:6.1f} MB, {grown}  "
                f"{worker.threads[-1]} threads  {worker.files[-1]} files"
            )
        ordered = sorted(self.staleness)
        middle = ordered[len(ordered) // 2] if ordered else 0.0
        print(
            f"staleness p50 {middle:.2f} s, p99.9 {self.stale:.2f} s, "
            f"worst {max(ordered, default=0):.2f} s, of {len(ordered):,} samples\n"
            f"{self.minutes:.1f} minutes, {self.checks} checks, {len(self.failures)} failed"
        )


def main() -> int:
    """Runs the soak test, and returns the exit status."""
    minutes = float(os.environ.get("SOAK_MINUTES") or 30)
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, lambda signum, _frame: sys.exit(128 + signum))
    with environment() as env:
        with Writer(env) as writer:
            soak = Soak(env, writer, sys.argv[1:])
            print(f"server {env.server.pid}, workers {[f.pid for f in soak.figures]}", flush=True)
            soak.run(minutes)
        statuses = [worker.end() for worker in env.workers]
        soak.check_end(len(env.backends()), statuses)
        soak.table()
    return 1 if soak.failures else 0


if __name__ == "__main__":
    sys.exit(main())
