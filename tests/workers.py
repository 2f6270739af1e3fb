"""A second process to ask: a worker as it serves, not under a test runner."""

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

__all__ = ["Worker", "address"]

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 10.0


def address(url: str, database: str) -> str:
    """Where another database of the same server is, in the form that DATABASE_URL takes."""
    return make_conninfo(url, dbname=database)


@final
class Worker:
    """A process of its own that answers from the database at `url`, with these settings.

    Nothing is waited for by sleeping: `sees` has the worker ask itself each millisecond. As a
    context manager it ends the process, which must have had nothing to complain about.
    """

    def __init__(self, url: str, *, project: str = "tests.settings", **flagstaff: Any) -> None:
        self._errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            [sys.executable, "-X", "dev", "-W", "error", "-m", "tests.worker_process"],
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
            preexec_fn=ends_with_parent(signal.SIGKILL),  # noqa: PLW1509 (it only calls prctl)
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, _kind: object, error: object, _traceback: object) -> None:
        status, complaints = self.end()
        assert error is not None or (status, complaints) == (0, "")

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, name: str, *arguments: Any) -> Any:
        """The answer to one of the commands of `tests.worker_process`."""
        self.tell(name, *arguments)
        return self.hear()

    def tell(self, name: str, *arguments: Any) -> None:
        """Give a command, and do not wait for its answer."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps([name, *arguments]) + "\n")
        self._process.stdin.flush()

    def hear(self) -> Any:
        """The answer to the last command."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, f"the worker has ended: {self.end()}"
        found = json.loads(line)
        assert "error" not in found, found["error"]
        return found["answer"]

    def sees(self, question: list[Any], answer: Any, *, within: float) -> float:
        """Wait until the worker answers so; the seconds that it took."""
        took = self.ask("until", question, answer, within)
        if took is None:
            found, status = self.ask(*question), self.ask("status")
            message = f"{question}: {found!r} after {within} s, not {answer!r}; {status}"
            raise AssertionError(message)
        return float(took)

    def end(self, by: signal.Signals | None = None) -> tuple[int, str]:
        """Let the process end; its exit status, and what it wrote to its standard error."""
        if by is not None:
            self._process.send_signal(by)
        assert self._process.stdin
        assert self._process.stdout
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            status = self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()
        return status, self._complaints()

    def _complaints(self) -> str:
        if self._errors.closed:
            return ""
        with self._errors as errors:
            errors.seek(0)
            return errors.read()
