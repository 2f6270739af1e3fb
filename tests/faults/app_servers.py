"""Application servers and task queues, started as their users start them."""

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
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, final

from tests.support.python_processes import ROOT, environment
from tests.support.sessions import within
from tools.lifeline import ends_with_parent
from tools.limits import seconds
from tools.ports import LOOPBACK, free_port

TIMEOUT = 40.0
# Seconds after which every worker must have a change.
FRESH = 1.0
SETTINGS = "tests.faults.served.settings"
#: The workers of these servers, which serve `tests.faults.served`.
WORKERS = 2
GUNICORN = [
    # Without keep-alive each request goes to any free worker.
    *("--bind=127.0.0.1:{port}", f"--workers={WORKERS}", "--keep-alive=0"),
    # gunicorn recommends temporary files in memory for containers.
    *("--worker-tmp-dir=/dev/shm", "--no-control-socket", "tests.faults.served.wsgi"),
]
UWSGI_WITHOUT_THREADS = [
    *("--http-socket=127.0.0.1:{port}", "--master", f"--processes={WORKERS}", "--need-app"),
    *("--single-interpreter", "--disable-logging"),
    # --die-on-term would kill workers during their last request.
    "--hook-master-start=unix_signal:15 gracefully_kill_them_all",
    *("--worker-reload-mercy=5", f"--chdir={ROOT}", "--module=tests.faults.served.wsgi"),
]
UWSGI = [*UWSGI_WITHOUT_THREADS, "--enable-threads"]
UVICORN = [
    *("--host=127.0.0.1", "--port={port}", f"--workers={WORKERS}", "--no-access-log"),
    "tests.faults.served.asgi:application",
]
#: Runs the tasks of `tests.faults.served.tasks`, whose folder is in CELERY_FOLDER.
CELERY = [
    *("celery", "--app=tests.faults.served.tasks", "worker", "--pool=prefork"),
    *(f"--concurrency={WORKERS}", "--loglevel=INFO"),
    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
]


def _program(name: str) -> str:
    """The path of a program beside this Python."""
    path = Path(sys.executable).parent / name
    assert path.exists(), f"{name} is missing; install what is in requirements-faults.txt"
    return str(path)


class Browser:
    """A browser that keeps its cookies. Any process of the server may get a request."""

    def __init__(self, port: int, timeout: float = 20) -> None:
        self.port, self.timeout = port, timeout
        self.cookies: dict[str, str] = {}

    def send(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Returns the status and the content of a response, over a new connection."""
        connection = HTTPConnection(LOOPBACK, self.port, timeout=seconds(self.timeout))
        headers = {"Connection": "close"}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={text}" for name, text in self.cookies.items())
        content: Any = None
        if body is not None:
            headers["Content-Type"], content = "application/json", json.dumps(body)
        try:
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        for text in response.headers.get_all("Set-Cookie", []):
            for name, cookie in SimpleCookie(text).items():
                self.cookies[name] = cookie.value
                if cookie["max-age"] == "0":
                    del self.cookies[name]
        is_json = response.getheader("Content-Type") == "application/json"
        return response.status, json.loads(content) if is_json else content

    def get(self, path: str = "/") -> dict[str, Any]:
        """Returns the document of a page."""
        status, document = self.send("GET", path)
        assert status == 200, (status, document)
        return dict(document)


@final
class AppServer:
    """A server process with its children. "{port}" in its command stands for a free port.

    As a context manager it stops the server at the end, which must exit with status 0.
    """

    def __init__(self, *command: str, database: str, **variables: str) -> None:
        self.port = free_port()
        self._text = ""
        self._log = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            [part.format(port=self.port) for part in command],
            cwd=ROOT,
            env=environment(database, DJANGO_SETTINGS_MODULE=SETTINGS, PYTHONUNBUFFERED="1")
            | variables,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            # Ctrl-C in the terminal of the tests must not reach them.
            start_new_session=True,
            preexec_fn=ends_with_parent(signal.SIGTERM),  # noqa: PLW1509 (only calls prctl)
        )

    def __enter__(self) -> AppServer:
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
        """Returns all output of the server and its children."""
        if not self._log.closed:
            self._log.seek(0)
            self._text = self._log.read()
        return self._text

    def get(self, path: str = "/") -> dict[str, Any]:
        """Returns the response of one process, to a browser without cookies."""
        try:
            return Browser(self.port, timeout=5).get(path)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()}") from None

    def get_or_empty(self, path: str = "/") -> dict[str, Any]:
        """Returns the response of one process, or an empty dict if the request fails."""
        assert self._process.poll() is None, self.log()
        try:
            return self.get(path)
        except (OSError, HTTPException, ValueError):
            return {}

    def wait(self, path: str = "/") -> None:
        """Waits until the server responds."""
        assert within(TIMEOUT, lambda: self.get_or_empty(path)), self.log()

    def get_from_each(self, count: int, path: str = "/") -> dict[int, dict[str, Any]]:
        """Returns the first response of each of `count` processes, by process id."""
        responses: dict[int, dict[str, Any]] = {}

        def all_have_responded() -> bool:
            response = self.get(path)
            responses.setdefault(response["pid"], response)
            return len(responses) == count

        assert within(TIMEOUT, all_have_responded), f"only {sorted(responses)}\n{self.log()}"
        return responses

    def all_have_value(self, count: int, gateway: str) -> bool:
        """Whether `count` processes return the value, and none an old one after FRESH seconds."""
        changed, fresh, late = time.monotonic(), set(), []

        def all_are_fresh() -> bool:
            requested = time.monotonic()
            response = self.get()
            if response["gateway"] == gateway:
                fresh.add(response["pid"])
            elif requested > changed + seconds(FRESH):
                late.append(response)
            return len(fresh) == count

        return within(TIMEOUT, all_are_fresh) and not late

    def send(self, signum: signal.Signals, *, to_all: bool = False) -> None:
        """Signals the server, or all its processes, as a terminal does."""
        (os.killpg if to_all else os.kill)(self.pid, signum)

    def end(
        self, by: signal.Signals, *, to_all: bool = False, may_hang: bool = False
    ) -> int | None:
        """Stops the server and returns its exit status. Kills what remains after TIMEOUT.

        Returns None for a server that may hang and does.
        """
        if self._process.poll() is None:
            self.send(by, to_all=to_all)
        try:
            return self._process.wait(seconds(TIMEOUT))
        except subprocess.TimeoutExpired:
            if may_hang:
                return None
            raise AssertionError(f"still running after {TIMEOUT} s\n{self.log()}") from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
            self.log()
            self._log.close()

    def wait_for_log(self, pattern: str, *, times: int = 1) -> None:
        """Waits until the pattern matches the output this many times."""
        enough = lambda: len(re.findall(pattern, self.log())) >= times  # noqa: E731
        assert within(TIMEOUT, enough), self.log()


def served(command: list[str], database: str, **variables: str) -> AppServer:
    """Returns the server of a command whose program is beside this Python."""
    first, *options = command
    if first == "uwsgi":
        variables["VIRTUAL_ENV"] = str(Path(_program(first)).parent.parent)
    return AppServer(_program(first), *options, database=database, **variables)
