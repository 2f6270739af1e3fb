"""Projects of users, run through their own commands."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.python_processes import STRICT, run_to_end

TOOLS = Path(__file__).resolve().parent.parent.parent
PROJECTS = TOOLS / "tests" / "system" / "projects"


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
    return run_in(PROJECTS / project, surroundings(database, **variables), *arguments)


def run_in(folder: Path, environment: dict[str, str], *arguments: str, status: int = 0) -> str:
    """Runs Python strictly in a folder, and returns its output. It must exit with this status."""
    command = [*STRICT, *arguments]
    ran = run_to_end(command, cwd=folder, env=environment, errors_as_output=True)
    assert ran.returncode == status, ran.stdout
    return ran.stdout
