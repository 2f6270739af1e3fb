"""A worker under soak: asks without a rest, and says what it saw when it is told to.

    python -m tools.soak.worker PORT PASSFILE

One thread of Python, so that the threads of the engine can be counted. Each line of the input is a
command, answered by a line; the end of the input ends the process as any other ends.
"""

from __future__ import annotations

import json
import select
import sys
import time
from collections.abc import Callable
from typing import Any

from tools.soak.project import set_up

QUESTIONS_PER_SECOND = 5_000
USERS = range(1, 51)
TICK = 0.01
SAMPLE = 0.1
# No value of ours is negative.
MISSING = -1


class Asker:
    """Asks as many questions as are due, and looks at the answers that must always hold."""

    def __init__(self) -> None:
        import flagstaff  # noqa: PLC0415 (not before the settings)

        self.flagstaff = flagstaff
        self.asked = 0
        self.begun = time.monotonic()
        self.wrongs: list[tuple[float, str]] = []
        self.samples: list[tuple[float, int]] = []
        self.sampled = 0.0
        flagstaff.ready(30)

    def ask(self) -> None:
        """Ask what is due by now."""
        now = time.monotonic()
        due = int((now - self.begun) * QUESTIONS_PER_SECOND) - self.asked
        # Five questions a turn. What a stalled machine kept us from asking is not made up for.
        for turn in range(min(due // 5, 1_000)):
            self.turn(turn, now)
        self.asked += max(0, due)
        if now - self.sampled >= SAMPLE:
            self.sampled = now
            self.sample(now)

    def turn(self, turn: int, now: float) -> None:
        """Ask for what nobody ever changes."""
        flagstaff, user = self.flagstaff, USERS[turn % len(USERS)]
        try:
            answers = (
                flagstaff.flag_enabled("steady", user),
                flagstaff.flag_enabled("steady", None),
                flagstaff.flag_enabled("nobody", user),
                flagstaff.get_value("steady", MISSING),
                flagstaff.flag_enabled("no such flag", user, default=True),
            )
        except Exception as error:  # noqa: BLE001 (none may be raised)
            self.wrong(now, repr(error))
            return
        if answers != (True, True, False, "as ever", True):
            self.wrong(now, f"answered {answers}")

    def sample(self, now: float) -> None:
        """Note how new the answers are, and whether those of one moment agree."""
        moment = self.flagstaff.snapshot()
        left, right = (moment.get_value(key, MISSING) for key in ("left", "right"))
        rollout = moment.explain("pair", 1)[4]
        if not left == right == rollout:
            self.wrong(now, f"pair: {left}, {right} and {rollout} at one moment")
        self.samples.append((now, moment.get_value("beat", MISSING)))

    def wrong(self, now: float, what: str) -> None:
        # The first of them say it all.
        if len(self.wrongs) < 1_000:  # noqa: PLR2004
            self.wrongs.append((now, what))

    def state(self, values: list[str]) -> dict[str, Any]:
        """Who has which flag, and these values; all of one moment."""
        moment = self.flagstaff.snapshot()
        flags: dict[str, list[int]] = {}
        for user in USERS:
            for key, answer in moment.all_flags(user).items():
                flags.setdefault(key, []).extend([user] if answer else [])
        found = {key: moment.get_value(key, MISSING) for key in values}
        there = {key: value for key, value in found.items() if value != MISSING}
        return {"flags": flags, "values": there}

    def drain(self) -> dict[str, Any]:
        """What was noted since the last time."""
        noted = {"samples": self.samples, "wrongs": self.wrongs, "asked": self.asked}
        self.samples, self.wrongs = [], []
        return noted | {"status": self.flagstaff.status().as_dict()}


def main() -> None:
    """Ask, and obey, until the input ends."""
    set_up(*sys.argv[1:3])
    asker = Asker()
    commands: dict[str, Callable[..., Any]] = {"state": asker.state, "drain": asker.drain}
    print(json.dumps("ready"), flush=True)
    while True:
        asker.ask()
        if not select.select([sys.stdin], [], [], TICK)[0]:
            continue
        line = sys.stdin.readline()
        if not line:
            return
        name, *arguments = json.loads(line)
        print(json.dumps(commands[name](*arguments)), flush=True)


if __name__ == "__main__":
    main()
