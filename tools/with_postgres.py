"""Run a command beside a PostgreSQL: `python -m tools.with_postgres COMMAND...`.

The command finds its server in DATABASE_URL. If that is given already, nothing is started.
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
    """Run the command of our arguments and return its exit status."""
    command = sys.argv[1:]
    if not command:
        sys.exit(__doc__)
    if os.environ.get("DATABASE_URL"):
        os.execvp(command[0], command)  # noqa: S606 - the command is ours to run
    # A polite end, before the command runs too, leaves nothing behind.
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, lambda signum, _frame: sys.exit(128 + signum))
    with Postgres() as server:
        return run(command, os.environ | {"DATABASE_URL": server.url})


def run(command: list[str], environment: dict[str, str]) -> int:
    """Run `command` to its end, however politely we are asked to stop first."""
    child = subprocess.Popen(
        command,
        env=environment,
        preexec_fn=ends_with_parent(signal.SIGTERM),  # noqa: PLW1509 - it only calls prctl
    )

    def pass_on(signum: int, _frame: FrameType | None) -> None:
        # The terminal sends its Ctrl-C to the child as well.
        if signum != signal.SIGINT:
            child.send_signal(signum)

    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, pass_on)
    status = child.wait()
    # A shell's way of saying which signal it was.
    return 128 - status if status < 0 else status


if __name__ == "__main__":
    sys.exit(main())
