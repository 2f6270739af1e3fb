"""A project that has flagstaff among its apps and sets nothing, run as its users run it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["PROJECT", "command", "run", "surroundings"]

PROJECT = Path(__file__).resolve().parent / "users_project"
TOOLS = PROJECT.parent.parent


def command(*arguments: str) -> list[str]:
    """What is typed after "python", in an interpreter that forgives nothing."""
    return [sys.executable, "-X", "dev", "-W", "error", *arguments]


def surroundings(database: str | None, **variables: str) -> dict[str, str]:
    """The environment variables: on SQLite where there is no address of a database."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    address = {} if database is None else {"DATABASE_URL": database}
    return kept | address | {"PYTHONPATH": str(TOOLS)} | variables


def run(database: str | None, *arguments: str, **variables: str) -> str:
    """Run a command to its end, and give back what it said."""
    result = subprocess.run(
        command(*arguments),
        cwd=PROJECT,
        env=surroundings(database, **variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=50,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout
