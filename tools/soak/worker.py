"""A worker of the soak test: evaluates flags constantly, and reports what it saw on request.

    python -m tools.soak.worker PORT PASSFILE

It has one Python thread, so that the engine's threads can be counted. Each line of the input is a
command, whose result is a line of output. The process ends with its input.
"""

from __future__ import annotations

import json
import select
import sys
import time
from collections.abc import Callable
from typing import Any

from tools.soak.project import set_up

EVALUATIONS_PER_SECOND = 5_000
USERS = range(1, 51)
TICK = 0.01
SAMPLE = 0.1
# No value is negative.
MISSING = -1


class Evaluator:
    """Evaluates at a constant rate, and checks results that never change."""

    def __init__(self) -> None:
        import flagstaff  # noqa: PLC0415 (not before the settings)

        self.flagstaff = flagstaff
        self.evaluations = 0
        self.started = time.monotonic()
        self.errors: list[tuple[float, str]] = []
        self.samples: list[tuple[float, int]] = []
        self.sampled = 0.0
        flagstaff.ready(30)

    def run_due(self) -> None:
        """Runs the evaluations that are due by now."""
        now = time.monotonic()
        due = int((now - self.started) * EVALUATIONS_PER_SECOND) - self.evaluations
        # Five evaluations per turn. After a stall of the machine, missed ones are dropped.
        for turn in range(min(due // 5, 1_000)):
            self.turn(turn, now)
        self.evaluations += max(0, due)
        if now - self.sampled >= SAMPLE:
            self.sampled = now
            self.sample(now)

    def turn(self, turn: int, now: float) -> None:
        """Evaluates flags and values that never change."""
        flagstaff, user = self.flagstaff, USERS[turn % len(USERS)]
        try:
            results = (
                flagstaff.flag_enabled("steady", user),
                flagstaff.flag_enabled("steady", None),
                flagstaff.flag_enabled("disabled", user),
                flagstaff.get_value("steady", MISSING),
                flagstaff.flag_enabled("no such flag", user, default=True),
            )
        except Exception as error:  # noqa: BLE001 (none may be raised)
            self.fail(now, repr(error))
            return
        if results != (True, True, False, "constant", True):
            self.fail(now, f"returned {results}")

    def sample(self, now: float) -> None:
        """Records the newest beat, and checks that one snapshot is consistent."""
        current = self.flagstaff.snapshot()
        left, right = (current.get_value(key, MISSING) for key in ("left", "right"))
        rollout = current.explain("pair", 1)["rollout_percent"]
        if not left == right == rollout:
            self.fail(now, f"pair: {left}, {right} and {rollout} in one snapshot")
        self.samples.append((now, current.get_value("beat", MISSING)))

    def fail(self, now: float, what: str) -> None:
        # The first failures are enough.
        if len(self.errors) < 1_000:  # noqa: PLR2004
            self.errors.append((now, what))

    def state(self, values: list[str]) -> dict[str, Any]:
        """Returns the users of each flag, and these values, from one snapshot."""
        current = self.flagstaff.snapshot()
        flags: dict[str, list[int]] = {}
        for user in USERS:
            for key, enabled in current.all_flags(user).items():
                flags.setdefault(key, []).extend([user] if enabled else [])
        stored = {key: current.get_value(key, MISSING) for key in values}
        values_found = {key: value for key, value in stored.items() if value != MISSING}
        return {"flags": flags, "values": values_found}

    def drain(self) -> dict[str, Any]:
        """Returns what was recorded since the last call."""
        recorded = {
            "samples": self.samples,
            "errors": self.errors,
            "evaluations": self.evaluations,
        }
        self.samples, self.errors = [], []
        return recorded | {"status": self.flagstaff.status().as_dict()}


def main() -> None:
    """Evaluates, and runs commands, until the input ends."""
    set_up(*sys.argv[1:3])
    evaluator = Evaluator()
    commands: dict[str, Callable[..., Any]] = {"state": evaluator.state, "drain": evaluator.drain}
    print(json.dumps("ready"), flush=True)
    while True:
        evaluator.run_due()
        if not select.select([sys.stdin], [], [], TICK)[0]:
            continue
        line = sys.stdin.readline()
        if not line:
            return
        name, *arguments = json.loads(line)
        print(json.dumps(commands[name](*arguments)), flush=True)


if __name__ == "__main__":
    main()
