"""Projects of users, run through their own commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tools.limits import CHILD, seconds

TOOLS = Path(__file__).resolve().parent.parent.parent
PROJECTS = TOOLS / "tests" / "system" / "projects"


def command(*arguments: str) -> list[str]:
    """The command line of a strict interpreter with these arguments."""
    return [sys.executable, "-W", "error", *arguments]


def surroundings(database: str | None, **variables: str) -> dict[str, str]:
    """The environment variables; without the address of a database, the project uses SQLite."""
    inherited = {
        name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")
    }
    address = {} if database is None else {"DATABASE_URL": database}
    path = os.pathsep.join(filter(None, [str(TOOLS), os.environ.get("PYTHONPATH")]))
    return inherited | address | {"PYTHONPATH": path} | variables


def run(
    database: str | None, *arguments: str, project: str = "users_project", **variables: str
) -> str:
    """Runs a command in a project, and returns its output."""
    result = subprocess.run(
        command(*arguments),
        cwd=PROJECTS / project,
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
