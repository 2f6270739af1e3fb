"""Python processes of the test project, or of a project with other settings."""

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, final

from tools.limits import CHILD, SERVER, seconds

ROOT = Path(__file__).resolve().parent.parent.parent
# Threads of a test start processes, too.
_starting = threading.Lock()
#: Options with which a warning is an error.
STRICT = ("-W", "error")


def environment(database: str, **variables: str) -> dict[str, str]:
    """Returns the environment variables of a project at this database."""
    project = {"DATABASE_URL": database, "DJANGO_SETTINGS_MODULE": "tests.support.settings"}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return os.environ | project | {"PYTHONPATH": path} | variables


def end_patiently() -> None:
    """Gives the last report of this process the second of a quiet machine."""
    from flagstaff._engine import lifecycle

    lifecycle._SHUTDOWN_TIMEOUT = seconds(lifecycle._SHUTDOWN_TIMEOUT)


def count_patiently() -> None:
    """Gives each count of users in this process a minute for each second that a page waits."""
    from flagstaff.changes import impact

    limited = impact.limited
    setattr(impact, "limited", lambda seconds: limited(60 * seconds))  # noqa: B010 (for mypy)


@final
class PythonProcess:
    """A Python process with these arguments: like `subprocess.Popen`, with three open files.

    It is forked from a process that has imported other packages, which saves most of the start. Its
    arguments may be `-c code`, `-m module` or a file, also after `-W error`. Variables that Python
    reads at its start, such as PYTHONIOENCODING, have no effect. It ends with this process.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        files: Sequence[IO[Any]],
    ) -> None:
        reading, writing = os.pipe()
        message = {"arguments": [*arguments], "cwd": str(cwd), "environment": dict(env)}
        opened = [*(file.fileno() for file in files), writing]
        line = json.dumps(message).encode() + b"\n"
        try:
            with _starting:
                sent = socket.send_fds(_fork_server(), [line], opened)
                _fork_server().sendall(line[sent:])
        finally:
            os.close(writing)
        self._report = os.fdopen(reading)
        self.pid = int(self._report.readline())
        self.returncode: int | None = None

    def wait(self, limit: float) -> int:
        """Returns the exit status, that of a signal as a negative number.

        Raises TimeoutExpired after so many seconds.
        """
        if self.returncode is None:
            if not select.select([self._report], [], [], limit)[0]:
                raise subprocess.TimeoutExpired(["python"], limit)
            self.returncode = int(self._report.readline())
            self._report.close()
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Sends a signal; does nothing after the end."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Ends it at once, and waits for that; does nothing after the end."""
        if self.returncode is None:
            self.send_signal(signal.SIGKILL)
            self.wait(seconds(SERVER))


@cache
def _fork_server() -> socket.socket:
    """Starts the fork server of this process, and returns the socket to it."""
    ours, theirs = socket.socketpair()
    unwanted = {"DJANGO_SETTINGS_MODULE", "PYTHONPATH"}
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "support" / "fork_server.py")],
        env={name: value for name, value in os.environ.items() if name not in unwanted},
        # It ends when the other end is closed.
        stdin=theirs.fileno(),
    )
    theirs.close()

    def stop() -> None:
        ours.close()
        process.wait()

    atexit.register(stop)
    return ours


def run_to_end(
    arguments: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    text: str = "",
    errors_as_output: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Runs a Python process with this input to its end, for a minute of a quiet machine at most.

    Its errors may be a part of its output, in their order.
    """
    with (
        TemporaryFile("w+") as standard_input,
        TemporaryFile("w+") as out,
        TemporaryFile("w+") as errors,
    ):
        standard_input.write(text)
        standard_input.seek(0)
        files = [standard_input, out, out if errors_as_output else errors]
        process = PythonProcess(arguments, cwd=cwd, env=env, files=files)
        try:
            status = process.wait(seconds(CHILD))
        finally:
            process.kill()
        out.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess([*arguments], status, out.read(), errors.read())


def run_python(
    database: str, *arguments: str, text: str = "", status: int = 0, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs Python with these arguments to its end. It must exit with this status."""
    ran = run_to_end(arguments, cwd=ROOT, env=environment(database, **variables), text=text)
    assert ran.returncode == status, ran.stdout + ran.stderr
    return ran
