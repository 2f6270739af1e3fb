"""The tests of a user's project, and those of docs/testing.md in it, pass on all databases."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

from tests.support.pages import code_of
from tests.support.projects import run
from tests.support.workers import address
from tools.postgres import Postgres

PARALLEL = ["manage.py", "test", "--parallel=2"]
RUNNERS = {
    "manage.py test --parallel": PARALLEL,
    "pytest": ["-m", "pytest", "-p", "no:cacheprovider"],
    "pytest --nomigrations": ["-m", "pytest", "-p", "no:cacheprovider", "--nomigrations"],
}
BLOCKS = code_of("testing.md", "python")
COMMAND = ["-m", "pytest", "-p", "no:cacheprovider", "-c", "pytest.ini", "--import-mode=importlib"]
LEFTOVERS = """
    SELECT datname FROM pg_database WHERE datname LIKE 'test_%'
    UNION ALL SELECT application_name FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


def count_tests(output: str) -> int:
    """Returns the number of tests in a runner's output."""
    [count] = re.findall(r"^Ran (\d+) tests|(\d+) passed", output, re.MULTILINE)
    return int(max(count))


@pytest.mark.parametrize("command", RUNNERS.values(), ids=RUNNERS)
def test_project_tests_pass_on_postgresql_without_leftovers(
    command: list[str], module_postgres_server: Postgres
) -> None:
    url = module_postgres_server.url
    with psycopg.connect(url, autocommit=True) as session:
        assert count_tests(run(address(url, "postgres"), *command)) > 25
        assert session.execute(LEFTOVERS).fetchall() == []


def test_project_tests_pass_on_sqlite_in_memory() -> None:
    assert count_tests(run(None, "manage.py", "test")) > 25


# Parallel processes have a copy of the file each.
def test_project_tests_pass_on_sqlite_file(tmp_path: Path) -> None:
    file = tmp_path / "test.sqlite3"
    assert count_tests(run(None, *PARALLEL, TEST_FILE=str(file))) > 25
    assert list(tmp_path.iterdir()) == []


# The tests in docs/testing.md.


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Writes each block to a file."""
    names = [tmp_path / f"test_{number}.py" for number in range(len(BLOCKS))]
    for name, block in zip(names, BLOCKS, strict=True):
        name.write_text(block)
    return [str(name) for name in names]


def test_all_blocks_pass(files: list[str], module_postgres_server: Postgres) -> None:
    said = run(address(module_postgres_server.url, "postgres"), *COMMAND, *files)
    [passed] = re.findall(r"(\d+) passed", said)
    assert int(passed) == sum(len(re.findall(r"def test_", block)) for block in BLOCKS)
    assert "failed" not in said


def test_blocks_without_engine_and_history_need_no_postgres(files: list[str]) -> None:
    others = [
        file
        for file, block in zip(files, BLOCKS, strict=True)
        if "live_engine" not in block and "changes" not in block
    ]
    assert len(others) == len(files) - 2
    assert "failed" not in run(None, *COMMAND, *others)
