"""A worker in a process of its own, which runs as in production, not under a test runner."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, final

from psycopg.conninfo import make_conninfo

from tests.support.python_processes import ROOT, PythonProcess
from tools.limits import SERVER, seconds

#: Commands of a worker of `database`.
NEW_CHECKOUT: list[Any] = ["flag_enabled", "new_checkout"]
GATEWAY: list[Any] = ["get_value", "gateway"]


def address(url: str, database: str) -> str:
    """The address of another database on the same server, in the form of DATABASE_URL."""
    return make_conninfo(url, dbname=database)


def calling(function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """The command of a worker that calls a function of a module, by its name."""
    return ["call", f"{function.__module__}.{function.__qualname__}", *arguments]


@contextmanager
def suspended(*workers: Worker) -> Iterator[None]:
    """Stops the processes, and lets them go on after the block."""
    try:
        for worker in workers:
            os.kill(worker.pid, signal.SIGSTOP)
            stat = Path(f"/proc/{worker.pid}/stat")
            while not stat.read_text().rpartition(") ")[2].startswith("T"):
                time.sleep(0.001)
        yield
    finally:
        for worker in workers:
            os.kill(worker.pid, signal.SIGCONT)


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
        environment = {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": project}
        read_commands, write_commands = os.pipe()
        read_results, write_results = os.pipe()
        with os.fdopen(read_commands) as stdin, os.fdopen(write_results, "w") as stdout:
            self._process = PythonProcess(
                ["-W", "error", "-m", "tests.support.worker_process"],
                cwd=ROOT,
                env=os.environ | environment | {"FLAGSTAFF": json.dumps(flagstaff)},
                files=[stdin, stdout, self._errors],
            )
        self._commands = os.fdopen(write_commands, "w")
        self._results = os.fdopen(read_results)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, _kind: object, error: object, _traceback: object) -> None:
        status, errors = self.end()
        assert error is not None or (status, errors) == (0, "")

    @property
    def pid(self) -> int:
        return self._process.pid

    def loaded(self) -> Worker:
        """Waits for the first load, and returns the worker."""
        assert self.ask("ready", seconds(SERVER)) is True, self.ask("status")
        return self

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Calls a function of a module in the process, and returns its result."""
        return self.ask(*calling(function, *arguments))

    def ask(self, name: str, *arguments: Any) -> Any:
        """Runs a command of `tests.support.worker_process`, and returns its result."""
        self.send(name, *arguments)
        return self.receive()

    def send(self, name: str, *arguments: Any) -> None:
        """Sends a command, and does not wait for its result."""
        self._commands.write(json.dumps([name, *arguments]) + "\n")
        self._commands.flush()

    def receive(self) -> Any:
        """Returns the result of the last command."""
        line = self._results.readline()
        assert line, f"the worker has ended: {self.end()}"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def sees(self, command: list[Any], expected: Any, *, within: float) -> float:
        """Waits until the command has this result, and returns the seconds that it took.

        `within` is in seconds of a quiet machine.
        """
        took = self.ask("until", command, expected, within)
        if took is None:
            result, status = self.ask(*command), self.ask("status")
            message = f"{command}: {result!r} after {within} s, not {expected!r}; {status}"
            raise AssertionError(message)
        return float(took)

    def end(self, by: signal.Signals | None = None) -> tuple[int, str]:
        """Ends the process, and returns its exit status and its standard error."""
        if by is not None:
            self._process.send_signal(by)
        with suppress(BrokenPipeError):
            self._commands.close()
        try:
            status = self._process.wait(seconds(SERVER))
        finally:
            self._process.kill()
            self._results.close()
        return status, self._read_errors()

    def _read_errors(self) -> str:
        if self._errors.closed:
            return ""
        with self._errors as errors:
            errors.seek(0)
            return errors.read()


@contextmanager
def killed_worker(url: str, **flagstaff: Any) -> Iterator[Worker]:
    """A worker whose process is killed during the test."""
    worker = Worker(url, **flagstaff)
    try:
        yield worker
    finally:
        ended = worker.end()
    assert ended == (-signal.SIGKILL, "")
