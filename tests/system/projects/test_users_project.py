"""The tests of a user's project, and those of docs/testing.md in it, pass on all databases."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import psycopg
import pytest

from tests.support.pages import code_of
from tests.support.projects import PROJECTS, Project
from tests.support.sessions import within
from tests.support.workers import address
from tools.postgres import Postgres

PARALLEL = ("test", "--parallel=2")
FILES = ("bakery/tests.py", "bakery/pytest_tests.py")
BLOCKS = code_of("testing.md", "python")
LEFTOVERS = """
    SELECT datname FROM pg_database WHERE datname LIKE 'test_%'
    UNION ALL SELECT application_name FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
bakery = partial(
    Project, copied=PROJECTS / "users_project", apps=["flagstaff", "bakery"], urls="bakery.urls"
)


def count_tests(output: str) -> int:
    """Returns the number of tests in a runner's output."""
    [count] = re.findall(r"^Ran (\d+) tests|(\d+) passed", output, re.MULTILINE)
    return int(max(count))


@pytest.fixture
def project(tmp_path: Path, module_postgres_server: Postgres) -> Project:
    return bakery(tmp_path, address(module_postgres_server.url, "postgres"))


@pytest.mark.parametrize("runner", ["manage.py test", "pytest", "pytest --nomigrations"])
def test_project_tests_pass_on_postgresql_without_leftovers(
    runner: str, project: Project, module_postgres_server: Postgres
) -> None:
    with psycopg.connect(module_postgres_server.url, autocommit=True) as session:
        if runner == "manage.py test":
            output = project.manage(*PARALLEL)
        else:
            output = project.pytest(*FILES, *runner.split()[1:])
        assert count_tests(output) >= 25
        # A backend ends some time after its connection.
        assert within(2, lambda: session.execute(LEFTOVERS).fetchall() == [])


def test_project_tests_pass_on_sqlite_in_memory(tmp_path: Path) -> None:
    assert count_tests(bakery(tmp_path, None).manage("test")) >= 25


# Parallel processes have a copy of the file each.
def test_project_tests_pass_on_sqlite_file(tmp_path: Path) -> None:
    file = tmp_path / "files" / "test.sqlite3"
    file.parent.mkdir()
    project = bakery(tmp_path / "project", None)
    assert count_tests(project.manage(*PARALLEL, TEST_FILE=str(file))) >= 25
    assert list(file.parent.iterdir()) == []


def write_blocks(project: Project, *leave_out: str) -> list[str]:
    """Writes each block of the page without one of these texts to a file."""
    for number, block in enumerate(BLOCKS):
        if not any(text in block for text in leave_out):
            project.write(f"blocks/test_{number}.py", block)
    return [str(file) for file in (project.folder / "blocks").iterdir()]


def test_all_blocks_pass(project: Project) -> None:
    output = project.pytest("--import-mode=importlib", *write_blocks(project))
    assert count_tests(output) == sum(len(re.findall(r"def test_", block)) for block in BLOCKS)


def test_blocks_without_engine_and_history_need_no_postgres(tmp_path: Path) -> None:
    project = bakery(tmp_path, None)
    files = write_blocks(project, "live_engine", "changes")
    assert len(files) == len(BLOCKS) - 2
    project.pytest("--import-mode=importlib", *files)
