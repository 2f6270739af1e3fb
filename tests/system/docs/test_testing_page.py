"""The tests in docs/testing.md pass in a project."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.pages import code_of
from tests.support.projects import run
from tests.support.workers import address
from tools.postgres import Postgres

BLOCKS = code_of("testing.md", "python")
COMMAND = ["-m", "pytest", "-p", "no:cacheprovider", "-c", "pytest.ini", "--import-mode=importlib"]


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
    assert int(passed) == sum(len(re.findall(r"def test_", block)) for block in BLOCKS) + 1
    assert "failed" not in said


def test_blocks_without_engine_and_history_need_no_postgres(files: list[str]) -> None:
    others = [
        file
        for file, block in zip(files, BLOCKS, strict=True)
        if "live_engine" not in block and "changes" not in block
    ]
    assert len(others) == len(files) - 2
    assert "failed" not in run(None, *COMMAND, *others)
