"""A database without the tables: commands work, and evaluations return the default."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import urlopen

import psycopg
import pytest

from tests.support.projects import PROJECTS, run, surroundings
from tests.support.python_processes import STRICT
from tests.support.workers import Worker
from tools.limits import SERVER, seconds
from tools.ports import LOOPBACK, free_port

NEW_CHECKOUT = ["flag_enabled", "new_checkout"]


@contextmanager
def serving(database: str) -> Iterator[str]:
    """The URL of `manage.py runserver`."""
    port = free_port()
    # Django leaves its socket to the last thread that ends, which warns after the interrupt.
    python = [sys.executable, *STRICT, "-W", "ignore:unclosed:ResourceWarning"]
    server = subprocess.Popen(
        [*python, "manage.py", "runserver", "--noreload", f"{LOOPBACK}:{port}"],
        cwd=PROJECTS / "users_project",
        env=surroundings(database),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while server.poll() is None and not listens(port):
            time.sleep(0.01)
        yield f"http://{LOOPBACK}:{port}"
    finally:
        server.send_signal(signal.SIGINT)
        _, errors = server.communicate(timeout=seconds(SERVER))
    assert server.returncode == 0, errors
    assert "Traceback" not in errors


def page(address: str) -> str:
    with urlopen(address) as response:
        return str(response.read().decode())


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


@pytest.mark.parametrize(
    "arguments",
    [["check"], ["check", "--database", "default"], ["makemigrations", "--check"], ["migrate"]],
    ids=" ".join,
)
def test_command_works_on_an_empty_database(arguments: list[str], empty_database: str) -> None:
    run(empty_database, "manage.py", *arguments)


def test_runserver_works_on_an_empty_database(empty_database: str) -> None:
    with serving(empty_database) as address:
        assert page(f"{address}/checkout/") == "old checkout, paid through stripe"


def test_evaluation_on_an_empty_database_returns_the_default_with_one_warning(
    empty_database: str,
) -> None:
    with Worker(empty_database, STARTUP_TIMEOUT=30) as worker:
        assert worker.ask("flag_enabled", "new_checkout", None, True) is True
        assert worker.ask("get_value", "gateway", "none") == "none"
        assert worker.ask("survey", "new_checkout", 10_000) == []
        [[level, message]] = worker.ask("logged")
        assert level == "WARNING"
        assert message == (
            "flags are not loaded yet, so evaluations return their default: "
            'load: a table or column is missing, run "manage.py migrate" (SQLSTATE 42P01)'
        )


def test_worker_loads_soon_after_the_migration(empty_database: str) -> None:
    with Worker(empty_database) as worker:
        assert worker.ask(*NEW_CHECKOUT) is False
        # After some failures the back-off is long.
        worker.sees(["failed", 6], True, within=20)
        worker.ask("migrate")
        worker.ask("create_enabled_flag", "new_checkout")
        worker.sees(NEW_CHECKOUT, True, within=6)
        worker.sees(["mode"], "live", within=5)


def test_project_without_rollout_plans_works_unchanged(empty_database: str) -> None:
    def manage(*arguments: str) -> str:
        return run(empty_database, "manage.py", *arguments)

    manage("migrate", "--verbosity", "0")
    assert manage("check", "--database", "default") == (
        "System check identified no issues (0 silenced).\n"
    )
    assert manage("flags", "run-jobs") == ("no job was due\n")
    assert " plan " not in manage("flags", "--help")
    with psycopg.connect(empty_database) as session:
        tables = session.execute("SELECT relname FROM pg_class WHERE relname LIKE '%rollouts%'")
        assert tables.fetchall() == []
