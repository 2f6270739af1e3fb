"""The environment of the soak test: a server, a proxy, a database with flags, and workers."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.support.proxy import Proxy
from tools.lifeline import ends_with_parent
from tools.ports import LOOPBACK
from tools.postgres import Postgres
from tools.postgres_account import open_directory, remove_directory
from tools.soak.project import DATABASE, ROLE

ROOT = Path(__file__).resolve().parent.parent.parent
WORKERS = 4
TABLES = (
    "flagstaff_featureflag",
    "flagstaff_featureflag_allowed_users",
    "flagstaff_keyvaluestore",
)
# pg_hba.conf: workers need a password, the soak test does not.
HBA_RULES = f"host {DATABASE} {ROLE} all scram-sha-256\nhost all all all trust\n"
FILL = """
    INSERT INTO auth_user (id, username, password, first_name, last_name, email,
        is_superuser, is_staff, is_active, date_joined)
    SELECT number, 'user_' || number, '', '', '', '', false, false, true, now()
    FROM generate_series(1, 50) AS number;
    INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent) VALUES
        ('steady', true, 100), ('disabled', false, 100), ('pair', true, 0);
    INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent)
    SELECT 'flag_' || number, true, number FROM generate_series(1, 100) AS number;
    INSERT INTO flagstaff_keyvaluestore (key, value)
    VALUES ('steady', '"constant"'), ('left', '0'), ('right', '0'), ('beat', '0');
"""


class Worker:
    """A process that evaluates flags."""

    def __init__(self, port: str, passfile: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tools.soak.worker", port, str(passfile)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C only reaches the soak test; the workers end with their standard input.
            start_new_session=True,
            preexec_fn=ends_with_parent(signal.SIGKILL),  # noqa: PLW1509 (only calls prctl)
        )

    def receive(self) -> Any:
        """Returns the next line of output."""
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            raise RuntimeError(f"worker {self.process.pid} has ended: {self.process.wait()}")
        return json.loads(line)

    def ask(self, *command: Any) -> Any:
        """Runs a command of `tools.soak.worker`, and returns its result."""
        if self.process.stdin:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
        return self.receive()

    def end(self) -> int:
        """Ends the process, and returns its exit status."""
        if self.process.stdin:
            self.process.stdin.close()
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return -1


class Environment:
    """The parts of the soak test."""

    def __init__(self, server: Postgres, proxy: Proxy, place: Path) -> None:
        self.server = server
        self.proxy = proxy
        self.passfile = place / "passwords"
        self.dump = place / "dump"
        self.workers: list[Worker] = []

    @property
    def url(self) -> str:
        """The address of the database, without the proxy and as the server's owner."""
        return make_conninfo(self.server.url, dbname=DATABASE, connect_timeout=5)

    def connect(self) -> psycopg.Connection[Any]:
        """Opens an autocommit session that bypasses the proxy."""
        return psycopg.connect(self.url, autocommit=True, application_name="soak")

    def rows(self, query: str) -> list[Any]:
        """Returns the rows of a query, over a new session."""
        with self.connect() as session:
            return session.execute(query.encode()).fetchall()

    def run(self, *statements: str) -> None:
        """Runs statements in one transaction."""
        with self.connect() as session, session.transaction():
            for statement in statements:
                session.execute(statement.encode())

    def new_password(self) -> str:
        """Changes the workers' password. They cannot log in until `publish_password`."""
        password = secrets.token_hex()
        with psycopg.connect(self.server.url, autocommit=True) as session:
            session.execute(f"ALTER ROLE {ROLE} PASSWORD '{password}'".encode())
        return password

    def publish_password(self, password: str) -> None:
        """Writes the password file of the workers atomically."""
        fresh = self.passfile.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(f"*:*:*:{ROLE}:{password}\n")
        fresh.replace(self.passfile)

    def back_up(self) -> None:
        """Dumps flagstaff's tables."""
        self._run_program("pg_dump", "--format=custom", "--table=flagstaff_*")

    def restore(self) -> None:
        """Restores the dump, including tokens."""
        self._run_program("pg_restore", "--clean", "--if-exists", "--single-transaction")

    def _run_program(self, name: str, *arguments: str) -> None:
        file = ["--file" if name == "pg_dump" else "--", str(self.dump)]
        command = [str(self.server.programs / name), *arguments, f"--dbname={self.url}", *file]
        subprocess.run(command, check=True)

    def backends(self) -> list[int]:
        """Returns the process ids of the workers' backends."""
        query = f"SELECT pid FROM pg_stat_activity WHERE usename = '{ROLE}' ORDER BY pid"  # noqa: S608
        return [pid for (pid,) in self.rows(query)]


@contextmanager
def environment() -> Iterator[Environment]:
    """Yields an environment with a filled database, after its workers have loaded it."""
    place = open_directory()
    with ExitStack() as stack:
        stack.callback(remove_directory, place)
        rules = place / "pg_hba.conf"
        rules.write_text(HBA_RULES)
        # Commits must survive a crash, or workers would have changes that the server has lost.
        settings = {"hba_file": str(rules), "synchronous_commit": "on"}
        server = stack.enter_context(Postgres(settings=settings))
        proxy = stack.enter_context(Proxy(server.url))
        env = Environment(server, proxy, place)
        _create_database(env)
        try:
            port = str(conninfo_to_dict(proxy.url)["port"])
            env.workers.extend(Worker(port, env.passfile) for _ in range(WORKERS))
            for worker in env.workers:
                worker.receive()
            yield env
        finally:
            for worker in env.workers:
                worker.end()


def _create_database(env: Environment) -> None:
    with psycopg.connect(env.server.url, autocommit=True) as session:
        session.execute(f"CREATE ROLE {ROLE} LOGIN".encode())
        session.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE}".encode())
    env.publish_password(env.new_password())
    subprocess.run(
        [sys.executable, "-m", "tools.soak.project", str(env.server.port), str(env.passfile)],
        cwd=ROOT,
        env=os.environ | {"PGHOST": LOOPBACK},
        check=True,
    )
    env.run(FILL)
