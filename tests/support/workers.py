"""A worker in a process of its own, which runs as in production, not under a test runner."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, final

from psycopg.conninfo import make_conninfo

from tools.lifeline import ends_with_parent
from tools.limits import SERVER, seconds

ROOT = Path(__file__).resolve().parent.parent.parent


def address(url: str, database: str) -> str:
    """The address of another database on the same server, in the form of DATABASE_URL."""
    return make_conninfo(url, dbname=database)


@final
class Worker:
    """A process that evaluates flags of the database at `url`, with these settings.

    Tests do not wait by sleeping: `sees` makes the worker check a result every millisecond. As a
    context manager it ends the process, which must have written nothing to standard error.
    """

    def __init__(
        self, url: str, *, project: str = "tests.support.settings", **flagstaff: Any
    ) -> None:
        self._errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.support.worker_process"],
            cwd=ROOT,
            env=os.environ
            | {
                "DATABASE_URL": url,
                "DJANGO_SETTINGS_MODULE": project,
                "FLAGSTAFF": json.dumps(flagstaff),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            preexec_fn=ends_with_parent(signal.SIGKILL),  # noqa: PLW1509 (only calls prctl)
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, _kind: object, error: object, _traceback: object) -> None:
        status, errors = self.end()
        assert error is not None or (status, errors) == (0, "")

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, name: str, *arguments: Any) -> Any:
        """Runs a command of `tests.support.worker_process`, and returns its result."""
        self.send(name, *arguments)
        return self.receive()

    def send(self, name: str, *arguments: Any) -> None:
        """Sends a command, and does not wait for its result."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps([name, *arguments]) + "\n")
        self._process.stdin.flush()

    def receive(self) -> Any:
        """Returns the result of the last command."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, f"the worker has ended: {self.end()}"
        found = json.loads(line)
        assert "error" not in found, found["error"]
        return found["result"]

    def sees(self, command: list[Any], expected: Any, *, within: float) -> float:
        """Waits until the command has this result, and returns the seconds that it took.

        `within` is in seconds of a quiet machine.
        """
        took = self.ask("until", command, expected, within)
        if took is None:
            found, status = self.ask(*command), self.ask("status")
            message = f"{command}: {found!r} after {within} s, not {expected!r}; {status}"
            raise AssertionError(message)
        return float(took)

    def end(self, by: signal.Signals | None = None) -> tuple[int, str]:
        """Ends the process, and returns its exit status and its standard error."""
        if by is not None:
            self._process.send_signal(by)
        assert self._process.stdin
        assert self._process.stdout
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            status = self._process.wait(seconds(SERVER))
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()
        return status, self._read_errors()

    def _read_errors(self) -> str:
        if self._errors.closed:
            return ""
        with self._errors as errors:
            errors.seek(0)
            return errors.read()
