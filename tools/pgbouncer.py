"""A temporary PgBouncer in front of a PostgreSQL server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import final

import psycopg

from tools.child import Child
from tools.limits import seconds
from tools.ports import LOOPBACK, free_port
from tools.postgres_account import give_to_postgres, open_directory, remove_directory

USERS = {"postgres": ""}

SETTINGS = {
    "pool_mode": "transaction",
    "auth_type": "trust",
    "admin_users": "postgres",
    "listen_addr": LOOPBACK,
    "unix_socket_dir": "",
    "default_pool_size": "4",
    "max_client_conn": "200",
    # Reconnects quickly to a server that was unreachable.
    "server_login_retry": "0.1",
}


@final
class PgBouncer(Child):
    """A pooler on a free port of the loopback, as a direct child of this process.

    `port` is that of the server behind it; `users` may log in, each with a password or "". As a
    context manager it starts and stops. It ends with the thread that started it, so start it from
    the main thread.
    """

    def __init__(
        self,
        port: int,
        *,
        users: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._program = _program()
        self.port = free_port()
        self._directory = open_directory()
        self._write("users", "".join(f'"{u}" "{p}"\n' for u, p in (users or USERS).items()))
        own = {"listen_port": str(self.port), "auth_file": str(self._directory / "users")}
        self._settings = SETTINGS | own | dict(settings or {})
        self._write_settings(port)
        super().__init__(self._directory / "log")

    def start(self) -> None:
        """Starts the pooler, and returns when it accepts connections."""
        self._refuse_a_second_start()
        settings = str(self._directory / "pgbouncer.ini")
        self._process = self._spawn(self._program, settings)
        self._wait_until_ready(self._process)

    def close(self) -> None:
        """Stops the pooler, and deletes its files."""
        self.stop()
        remove_directory(self._directory)

    def lead_to(self, port: int) -> None:
        """Leads to another server from now on, with new connections to it."""
        self._write_settings(port)
        admin = f"host={LOOPBACK} port={self.port} user=postgres dbname=pgbouncer"
        with psycopg.connect(admin, autocommit=True) as session:
            # Its console understands simple queries only.
            psycopg.ClientCursor(session).execute("RELOAD")

    def _write_settings(self, port: int) -> None:
        lines = ["[databases]", f"* = host={LOOPBACK} port={port}", "[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in self._settings.items()]
        self._write("pgbouncer.ini", "\n".join([*lines, ""]))

    def _write(self, name: str, text: str) -> None:
        path = self._directory / name
        path.touch(mode=0o600)
        path.write_text(text)
        give_to_postgres(path)

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + seconds(self.TIMEOUT)
        while process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex((LOOPBACK, self.port)) == 0:
                    return
            time.sleep(0.005)
        self.stop()
        raise self._failure("the pooler did not start")


def _program() -> Path:
    # Distributions install it in a folder that is only on root's PATH.
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if program is None:
        raise LookupError(
            "pgbouncer was not found: install it, for example with `apt install pgbouncer`"
        )
    return Path(program)
