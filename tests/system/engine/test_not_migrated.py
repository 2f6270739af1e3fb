"""A database without the tables: commands work, and evaluations return the default."""

import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psycopg
import pytest

from tests.support.projects import PROJECTS, Project
from tests.support.python_processes import STRICT
from tests.support.sessions import within
from tests.support.workers import NEW_CHECKOUT, Worker
from tools.limits import SERVER, seconds
from tools.ports import LOOPBACK, free_port


@pytest.fixture
def project(tmp_path: Path, empty_database: str) -> Project:
    copied, apps = PROJECTS / "users_project", ["flagstaff", "bakery"]
    return Project(tmp_path, empty_database, copied=copied, apps=apps, urls="bakery.urls")


@pytest.mark.parametrize(
    "arguments",
    [["check"], ["check", "--database", "default"], ["makemigrations", "--check"], ["migrate"]],
    ids=" ".join,
)
def test_command_works_on_an_empty_database(arguments: list[str], project: Project) -> None:
    project.manage(*arguments)


def test_runserver_works_on_an_empty_database(project: Project) -> None:
    address = f"{LOOPBACK}:{free_port()}"
    # Django leaves its socket to the last thread that ends, which warns after the interrupt.
    python = [sys.executable, *STRICT, "-W", "ignore:unclosed:ResourceWarning"]
    server = subprocess.Popen(
        [*python, "manage.py", "runserver", "--noreload", address],
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    responses: list[str] = []

    def responds() -> bool:
        assert server.poll() is None, server.communicate()
        with suppress(URLError), urlopen(f"http://{address}/checkout/") as response:
            responses.append(response.read().decode())
        return bool(responses)

    try:
        assert within(SERVER, responds)
    finally:
        server.send_signal(signal.SIGINT)
        _, errors = server.communicate(timeout=seconds(SERVER))
    assert responses == ["old checkout, paid through stripe"]
    assert server.returncode == 0, errors
    assert "Traceback" not in errors


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


def test_project_without_rollout_plans_works_unchanged(
    project: Project, empty_database: str
) -> None:
    project.manage("migrate", "--verbosity", "0")
    assert project.manage("check", "--database", "default") == (
        "System check identified no issues (0 silenced).\n"
    )
    assert project.manage("flags", "run-jobs") == ("no job was due\n")
    assert " plan " not in project.manage("flags", "--help")
    with psycopg.connect(empty_database) as session:
        tables = session.execute("SELECT relname FROM pg_class WHERE relname LIKE '%rollouts%'")
        assert tables.fetchall() == []
