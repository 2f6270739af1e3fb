"""A PostgreSQL of our own: nothing to install, up in half a second, gone when we are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import final

from tools.child import Child
from tools.ports import LOOPBACK, free_port
from tools.postgres_account import hand_over, open_directory, remove_directory
from tools.postgres_binaries import programs

VERSION_VARIABLE = "FLAGSTAFF_POSTGRES"
DEFAULT_VERSION = 18

# Nothing here has to survive a power cut, and containers have little shared memory.
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "dynamic_shared_memory_type": "mmap",
    "shared_buffers": "32MB",
    "unix_socket_directories": "",
}


class PostgresError(RuntimeError):
    """The server did not do what it was asked to."""


@final
class Postgres(Child):
    """One server on a free port of the loopback, as a direct child of this process.

    As a context manager it starts and, at the end, stops. Its data stay only in a `directory` that
    it was given. Start it from the main thread: with the thread that started it, it ends.
    """

    # Open transactions are rolled back, clients are told.
    FAREWELL = signal.SIGINT
    PATIENCE = 20.0

    def __init__(
        self,
        directory: Path | None = None,
        *,
        version: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.version = version or int(os.environ.get(VERSION_VARIABLE, DEFAULT_VERSION))
        self.programs = programs(self.version)
        self.port = free_port()
        self._settings = SETTINGS | dict(settings or {})
        self._is_temporary = directory is None
        self._directory = (directory or open_directory()).absolute()
        self._data = self._directory / "data"
        super().__init__(self._directory / "log")

    @property
    def url(self) -> str:
        """The address of the database `postgres`, as its owner, who needs no password."""
        return f"postgres://postgres@{LOOPBACK}:{self.port}/postgres"

    @property
    def pid(self) -> int:
        """The process that accepts connections."""
        if self._process is None:
            raise PostgresError("the server is not running")
        return self._process.pid

    def start(self) -> None:
        """Return when the server takes connections. The first start makes its cluster."""
        if self._process is not None and self._process.poll() is None:
            raise PostgresError(f"the server runs already, as process {self.pid}")
        if not (self._data / "PG_VERSION").exists():
            self._make_cluster()
        self._wait_for_predecessor()
        options = [f"--{name}={value}" for name, value in self._settings.items()]
        where = ["-D", str(self._data), "-h", LOOPBACK, "-p", str(self.port)]
        self._process = self._spawn(self.programs / "postgres", *where, *options)
        self._wait_until_ready(self._process)

    def kill(self) -> None:
        """End the server as a kernel out of memory would. The next start recovers."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """Stop, and delete the data of a server that was not given a directory."""
        self.stop()
        if self._is_temporary:
            remove_directory(self._directory)

    def _make_cluster(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        # The server's account has to pass through here, whatever our umask is.
        self._directory.chmod(0o755)
        remove_directory(self._data)
        self._data.mkdir(mode=0o700)
        hand_over(self._data)
        locale = "C" if sys.platform == "darwin" else "C.UTF-8"
        what = ["--username=postgres", "--auth=trust", "--encoding=UTF8", f"--locale={locale}"]
        initdb = self.programs / "initdb"
        status = self._spawn(initdb, "--pgdata", str(self._data), "--no-sync", *what).wait()
        if status != 0:
            remove_directory(self._data)
            raise PostgresError(self._failure("initdb failed"))

    def _wait_for_predecessor(self) -> None:
        """Let a server finish whose parent was killed: until then it holds the data directory."""
        deadline = time.monotonic() + self.PATIENCE
        while self._lock_holder_lives() and time.monotonic() < deadline:
            time.sleep(0.02)

    def _lock_holder_lives(self) -> bool:
        try:
            os.kill(int(self._lock_file()[0]), 0)
        except PermissionError:
            return True
        except (IndexError, ValueError, ProcessLookupError):
            return False
        return True

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self.PATIENCE
        while process.poll() is None and time.monotonic() < deadline:
            # A killed server leaves a file that still says ready, so the pid has to be ours.
            lines = self._lock_file()
            if lines[:1] == [str(process.pid)] and lines[7:8] == ["ready"]:
                return
            time.sleep(0.005)
        self._end(signal.SIGKILL)
        raise PostgresError(self._failure("the server did not start"))

    def _lock_file(self) -> list[str]:
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [line.strip() for line in lines]
