"""A project with flagstaff installed and default settings, run through its own commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tools.limits import CHILD, seconds

TOOLS = Path(__file__).resolve().parent.parent.parent
PROJECT = TOOLS / "tests" / "system" / "projects" / "users_project"


def command(*arguments: str) -> list[str]:
    """The command line of a strict interpreter with these arguments."""
    return [sys.executable, "-X", "dev", "-W", "error", *arguments]


def surroundings(database: str | None, **variables: str) -> dict[str, str]:
    """The environment variables; without the address of a database, the project uses SQLite."""
    inherited = {
        name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")
    }
    address = {} if database is None else {"DATABASE_URL": database}
    return inherited | address | {"PYTHONPATH": str(TOOLS)} | variables


def run(database: str | None, *arguments: str, **variables: str) -> str:
    """Runs a command, and returns its output."""
    result = subprocess.run(
        command(*arguments),
        cwd=PROJECT,
        env=surroundings(database, **variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds(CHILD),
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout
