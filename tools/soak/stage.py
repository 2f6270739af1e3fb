"""Where it all happens: a server, a link to it, a database with flags, and four workers."""

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
from psycopg.conninfo import make_conninfo

from tools.lifeline import ends_with_parent
from tools.ports import LOOPBACK
from tools.postgres import Postgres
from tools.postgres_account import open_directory, remove_directory
from tools.soak.project import DATABASE, ROLE
from tools.soak.proxy import Proxy

ROOT = Path(__file__).resolve().parent.parent.parent
WORKERS = 4
TABLES = (
    "flagstaff_featureflag",
    "flagstaff_featureflag_allowed_users",
    "flagstaff_keyvaluestore",
)
# Workers need a password, we do not.
LOG_INS = f"host {DATABASE} {ROLE} all scram-sha-256\nhost all all all trust\n"
FILL = """
    INSERT INTO auth_user (id, username, password, first_name, last_name, email,
        is_superuser, is_staff, is_active, date_joined)
    SELECT number, 'user_' || number, '', '', '', '', false, false, true, now()
    FROM generate_series(1, 50) AS number;
    INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent) VALUES
        ('steady', true, 100), ('nobody', false, 100), ('pair', true, 0);
    INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent)
    SELECT 'flag_' || number, true, number FROM generate_series(1, 100) AS number;
    INSERT INTO flagstaff_keyvaluestore (key, value)
    VALUES ('steady', '"as ever"'), ('left', '0'), ('right', '0'), ('beat', '0');
"""


class Worker:
    """One process that asks."""

    def __init__(self, port: int, passfile: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tools.soak.worker", str(port), str(passfile)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # A Ctrl-C in the terminal is for us: the workers end when their input does.
            start_new_session=True,
            preexec_fn=ends_with_parent(signal.SIGKILL),  # noqa: PLW1509 (it only calls prctl)
        )

    def hear(self) -> Any:
        """The next line."""
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            raise RuntimeError(f"worker {self.process.pid} has ended: {self.process.wait()}")
        return json.loads(line)

    def ask(self, *command: Any) -> Any:
        """The answer to a command of `tools.soak.worker`."""
        if self.process.stdin:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
        return self.hear()

    def end(self) -> int:
        """Let it end by itself; its exit status."""
        if self.process.stdin:
            self.process.stdin.close()
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return -1


class Stage:
    """All that takes part."""

    def __init__(self, server: Postgres, proxy: Proxy, place: Path) -> None:
        self.server = server
        self.proxy = proxy
        self.passfile = place / "passwords"
        self.dump = place / "dump"
        self.workers: list[Worker] = []

    @property
    def url(self) -> str:
        """The database, without the proxy and as the server's owner."""
        return make_conninfo(self.server.url, dbname=DATABASE, connect_timeout=5)

    def connect(self) -> psycopg.Connection[Any]:
        """A session that bypasses the proxy, each statement a transaction."""
        return psycopg.connect(self.url, autocommit=True, application_name="soak")

    def rows(self, query: str) -> list[Any]:
        """What a query gives, over a session of its own."""
        with self.connect() as session:
            return session.execute(query.encode()).fetchall()

    def run(self, *statements: str) -> None:
        """Run statements in one transaction."""
        with self.connect() as session, session.transaction():
            for statement in statements:
                session.execute(statement.encode())

    def new_password(self) -> str:
        """Change the workers' password. They cannot log in until `tell_password`."""
        password = secrets.token_hex()
        with psycopg.connect(self.server.url, autocommit=True) as session:
            session.execute(f"ALTER ROLE {ROLE} PASSWORD '{password}'".encode())
        return password

    def tell_password(self, password: str) -> None:
        """Write the password where the workers look for it, in one step."""
        fresh = self.passfile.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(f"*:*:*:{ROLE}:{password}\n")
        fresh.replace(self.passfile)

    def back_up(self) -> None:
        """Keep our tables as they are now."""
        self._run_program("pg_dump", "--format=custom", "--table=flagstaff_*")

    def restore(self) -> None:
        """Put back what was kept, tokens too."""
        self._run_program("pg_restore", "--clean", "--if-exists", "--single-transaction")

    def _run_program(self, name: str, *arguments: str) -> None:
        kept = ["--file" if name == "pg_dump" else "--", str(self.dump)]
        command = [str(self.server.programs / name), *arguments, f"--dbname={self.url}", *kept]
        subprocess.run(command, check=True)

    def backends(self) -> list[int]:
        """The processes of the server that serve the workers."""
        query = f"SELECT pid FROM pg_stat_activity WHERE usename = '{ROLE}' ORDER BY pid"  # noqa: S608
        return [pid for (pid,) in self.rows(query)]


@contextmanager
def staged() -> Iterator[Stage]:
    """A stage with a filled database, and its workers when they have loaded it."""
    place = open_directory()
    with ExitStack() as stack:
        stack.callback(remove_directory, place)
        log_ins = place / "log-ins"
        log_ins.write_text(LOG_INS)
        # What was committed must be there after a crash, or the workers would know too much.
        settings = {"hba_file": str(log_ins), "synchronous_commit": "on"}
        server = stack.enter_context(Postgres(settings=settings))
        proxy = stack.enter_context(Proxy(server.port))
        stage = Stage(server, proxy, place)
        _make_database(stage)
        try:
            stage.workers.extend(Worker(proxy.port, stage.passfile) for _ in range(WORKERS))
            for worker in stage.workers:
                worker.hear()
            yield stage
        finally:
            for worker in stage.workers:
                worker.end()


def _make_database(stage: Stage) -> None:
    with psycopg.connect(stage.server.url, autocommit=True) as session:
        session.execute(f"CREATE ROLE {ROLE} LOGIN".encode())
        session.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE}".encode())
    stage.tell_password(stage.new_password())
    subprocess.run(
        [sys.executable, "-m", "tools.soak.project", str(stage.server.port), str(stage.passfile)],
        cwd=ROOT,
        env=os.environ | {"PGHOST": LOOPBACK},
        check=True,
    )
    stage.run(FILL)
