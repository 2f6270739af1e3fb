"""A temporary PostgreSQL server that needs no installation."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import final

from tools.child import Child, ServerError
from tools.limits import seconds
from tools.ports import LOOPBACK, free_port
from tools.postgres_account import give_to_postgres, open_directory, remove_directory
from tools.postgres_binaries import programs

VERSION_VARIABLE = "FLAGSTAFF_POSTGRES"
DEFAULT_VERSION = 18

# The data need not survive a power cut, and containers have little shared memory.
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "dynamic_shared_memory_type": "mmap",
    "shared_buffers": "32MB",
    "unix_socket_directories": "",
}


_BACKENDS_ARE_LEFT = "pre-existing shared memory block"
_PORT_IS_TAKEN = "Address already in use"


@final
class Postgres(Child):
    """A server on a free port of the loopback, as a direct child of this process.

    As a context manager it starts and stops. Its data remain only in a given `directory`. It ends
    with the thread that started it, so start it from the main thread.
    """

    # A fast shutdown: rolls back open transactions, and sends clients an error.
    STOP_SIGNAL = signal.SIGINT
    TIMEOUT = 20.0

    def __init__(
        self,
        directory: Path | None = None,
        *,
        version: int | None = None,
        settings: Mapping[str, str] | None = None,
        template: Path | None = None,
    ) -> None:
        """Takes the data directory of a stopped server as `template`, which a new one copies."""
        self.version = version or int(os.environ.get(VERSION_VARIABLE, DEFAULT_VERSION))
        self.programs = programs(self.version)
        self.port = free_port()
        self._has_served = False
        self._settings = SETTINGS | dict(settings or {})
        self._template = template
        self._is_temporary = directory is None
        self._directory = (directory or open_directory()).absolute()
        self._data = self._directory / "data"
        super().__init__(self._directory / "log")

    @property
    def url(self) -> str:
        """The address of the database `postgres`, as its owner, without a password."""
        return f"postgres://postgres@{LOOPBACK}:{self.port}/postgres"

    def start(self) -> None:
        """Starts the server, and returns when it accepts connections. Creates the cluster first."""
        self._refuse_a_second_start()
        if not (self._data / "PG_VERSION").exists():
            self._make_cluster()
        self._wait_for_predecessor()
        options = [f"--{name}={value}" for name, value in self._settings.items()]
        deadline = time.monotonic() + seconds(self.TIMEOUT)
        while True:
            where = ["-D", str(self._data), "-h", LOOPBACK, "-p", str(self.port)]
            self._process = self._spawn(self.programs / "postgres", *where, *options)
            try:
                self._wait_until_ready(self._process)
            except ServerError as error:
                problem = str(error)
                is_taken = _PORT_IS_TAKEN in problem and not self._has_served
                # On a busy machine the backends of a killed server end later than the server.
                if time.monotonic() > deadline or not (is_taken or _BACKENDS_ARE_LEFT in problem):
                    raise
                # Another process has got the port meanwhile. A server with clients keeps its own.
                if is_taken:
                    self.port = free_port()
            else:
                self._has_served = True
                return

    def kill(self) -> None:
        """Kills the server by SIGKILL. The next start runs crash recovery."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """Stops the server, and deletes its data unless a directory was given."""
        self.stop()
        if self._is_temporary:
            remove_directory(self._directory)

    def _make_cluster(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        # The server's account must be able to enter it, with any umask.
        self._directory.chmod(0o755)
        remove_directory(self._data)
        if self._template is not None:
            # Unlike shutil, cp keeps the owner, which is the account of the server.
            subprocess.run(["cp", "-a", self._template, self._data], check=True)  # noqa: S607
            return
        self._data.mkdir(mode=0o700)
        give_to_postgres(self._data)
        locale = "C" if sys.platform == "darwin" else "C.UTF-8"
        what = ["--username=postgres", "--auth=trust", "--encoding=UTF8", f"--locale={locale}"]
        initdb = self.programs / "initdb"
        status = self._spawn(initdb, "--pgdata", str(self._data), "--no-sync", *what).wait()
        if status != 0:
            remove_directory(self._data)
            raise self._failure("initdb failed")

    def _wait_for_predecessor(self) -> None:
        """Waits for a previous server, whose parent was killed, to release the data directory."""
        deadline = time.monotonic() + seconds(self.TIMEOUT)
        while self._is_locked() and time.monotonic() < deadline:
            time.sleep(0.02)

    def _is_locked(self) -> bool:
        try:
            os.kill(int(self._lock_file()[0]), 0)
        except PermissionError:
            return True
        except (IndexError, ValueError, ProcessLookupError):
            return False
        return True

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + seconds(self.TIMEOUT)
        while process.poll() is None and time.monotonic() < deadline:
            # A killed server leaves a file with status "ready", so the pid has to match.
            lines = self._lock_file()
            if lines[:1] == [str(process.pid)] and lines[7:8] == ["ready"]:
                return
            time.sleep(0.005)
        self._end(signal.SIGKILL)
        raise self._failure("the server did not start")

    def _lock_file(self) -> list[str]:
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [line.strip() for line in lines]
