"""A server as a child of this process: what a PostgreSQL and a pooler have in common."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from tools.closing import Closing
from tools.lifeline import ends_with_parent
from tools.postgres_account import server_account


class Child(Closing):
    """A program that serves until it is told to end, and writes to `log` what it has to say.

    With the thread that started it, it ends.
    """

    #: By which it ends in order.
    FAREWELL = signal.SIGTERM
    #: The longest wait for it, in seconds.
    PATIENCE = 10.0

    def __init__(self, log: Path) -> None:
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    def stop(self) -> None:
        """End it in order: its clients are told."""
        self._end(self.FAREWELL)

    def restart(self) -> None:
        """Stop and start, on the same port."""
        self.stop()
        self.start()

    def _spawn(self, program: Path, *arguments: str) -> subprocess.Popen[bytes]:
        account = server_account()
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                # None of our own PG* variables, and messages that we can read.
                env={"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath},
                # A Ctrl-C in the terminal is for us: we stop the server when its clients have gone.
                start_new_session=True,
                user=account and account.pw_uid,
                group=account and account.pw_gid,
                extra_groups=account and [],
                preexec_fn=ends_with_parent(self.FAREWELL),  # noqa: PLW1509 - it only calls prctl
            )

    def _end(self, by: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(by)
        try:
            self._process.wait(self.PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _failure(self, what: str) -> str:
        """What went wrong, with the last that it said."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join([f"{what}:", *lines[-10:]])
