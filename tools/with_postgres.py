"""Runs a command with a PostgreSQL server: `python -m tools.with_postgres COMMAND...`.

The command gets its address in DATABASE_URL. If that is already set, no server is started.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import FrameType

from tools.lifeline import ends_with_parent
from tools.postgres import Postgres


def main() -> int:
    """Runs the command given as arguments, and returns its exit status."""
    command = sys.argv[1:]
    if not command:
        sys.exit(__doc__)
    if os.environ.get("DATABASE_URL"):
        os.execvp(command[0], command)  # noqa: S606 (the purpose of this tool)
    # Exit cleanly, also before the command runs.
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, lambda signum, _frame: sys.exit(128 + signum))
    with Postgres() as server:
        return run(command, os.environ | {"DATABASE_URL": server.url})


def run(command: list[str], environment: dict[str, str]) -> int:
    """Runs `command` to its end, and passes signals on to it."""
    child = subprocess.Popen(
        command,
        env=environment,
        preexec_fn=ends_with_parent(signal.SIGTERM),  # noqa: PLW1509 (only calls prctl)
    )

    def pass_on(signum: int, _frame: FrameType | None) -> None:
        # On Ctrl-C, the terminal signals the child itself.
        if signum != signal.SIGINT:
            child.send_signal(signum)

    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, pass_on)
    status = child.wait()
    # The exit status that a shell uses for a signal.
    return 128 - status if status < 0 else status


if __name__ == "__main__":
    sys.exit(main())
