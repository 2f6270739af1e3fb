"""A server of somebody else's make, run as its users run it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, final

from tests.sessions import within
from tools.lifeline import ends_with_parent
from tools.ports import LOOPBACK, free_port

__all__ = ["Server", "program"]

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 20.0
FRESH = 1.0
SETTINGS = "tests.faults.served.settings"


def program(name: str) -> str:
    """The path of a program beside this Python."""
    path = Path(sys.executable).parent / name
    assert path.exists(), f"{name} is missing; install what is in requirements-faults.txt"
    return str(path)


def _path() -> list[str]:
    return list(filter(None, [os.environ.get("PYTHONPATH")]))


@final
class Server:
    """A process that serves, with its children, on a free port; "{port}" in its command is that.

    As a context manager it is told to stop at the end, and must do so in order.
    """

    def __init__(self, *command: str, database: str, **variables: str) -> None:
        self.port = free_port()
        self._said = ""
        self._log = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            [part.format(port=self.port) for part in command],
            cwd=ROOT,
            env=os.environ
            | {"DATABASE_URL": database, "DJANGO_SETTINGS_MODULE": SETTINGS}
            | {"PYTHONPATH": os.pathsep.join([str(ROOT), *_path()]), "PYTHONUNBUFFERED": "1"}
            | variables,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            # A terminal's Ctrl-C goes to all of them, and only to them.
            start_new_session=True,
            preexec_fn=ends_with_parent(signal.SIGTERM),  # noqa: PLW1509 (it only calls prctl)
        )

    def __enter__(self) -> Server:
        return self

    def __exit__(self, _kind: object, error: object, _traceback: object) -> None:
        if self._log.closed:
            return
        status = self.end(signal.SIGTERM)
        assert error is not None or status == 0, self.log()

    @property
    def pid(self) -> int:
        return self._process.pid

    def log(self) -> str:
        """All that the server and its children have written."""
        if not self._log.closed:
            self._log.seek(0)
            self._said = self._log.read()
        return self._said

    def get(self, path: str = "/") -> dict[str, Any]:
        """What one of the processes answers, over a connection of its own."""
        connection = HTTPConnection(LOOPBACK, self.port, timeout=5)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            response = connection.getresponse()
            body = response.read()
            assert response.status == 200, f"{response.status}: {body!r}\n{self.log()}"
            return dict(json.loads(body))
        finally:
            connection.close()

    def try_to_get(self) -> dict[str, Any]:
        """What one of the processes answers; nothing where there is none, or it ends just then."""
        assert self._process.poll() is None, self.log()
        try:
            return self.get()
        except (OSError, HTTPException, ValueError):
            return {}

    def wait(self) -> None:
        """Return when it takes requests."""
        assert within(PATIENCE, self.try_to_get), self.log()

    def from_each(self, count: int, path: str = "/") -> dict[int, dict[str, Any]]:
        """The first answers of as many processes, by their ids."""
        found: dict[int, dict[str, Any]] = {}

        def all_have_answered() -> bool:
            answer = self.get(path)
            found.setdefault(answer["pid"], answer)
            return len(found) == count

        assert within(PATIENCE, all_have_answered), f"only {sorted(found)}\n{self.log()}"
        return found

    def each_says(self, count: int, gateway: str) -> bool:
        """Whether as many processes come to say so, and nobody says otherwise after a second."""
        changed, agreed, late = time.monotonic(), set(), []

        def all_agree() -> bool:
            asked = time.monotonic()
            answer = self.get()
            if answer["gateway"] == gateway:
                agreed.add(answer["pid"])
            elif asked > changed + FRESH:
                late.append(answer)
            return len(agreed) == count

        return within(PATIENCE, all_agree) and not late

    def send(self, signum: signal.Signals, *, to_all: bool = False) -> None:
        """Signal the server, or its children too, as a terminal does."""
        (os.killpg if to_all else os.kill)(self.pid, signum)

    def end(self, by: signal.Signals, *, to_all: bool = False) -> int:
        """Tell it to stop; its exit status. What is left after a while is killed."""
        if self._process.poll() is None:
            self.send(by, to_all=to_all)
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still there after {PATIENCE} s\n{self.log()}") from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
            self.log()
            self._log.close()

    def until_logged(self, pattern: str, *, times: int = 1) -> None:
        """Return when lines like this have been written so often."""
        enough = lambda: len(re.findall(pattern, self.log())) >= times  # noqa: E731
        assert within(PATIENCE, enough), self.log()
