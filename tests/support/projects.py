"""Projects of users, run through their own commands."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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


MANAGE = """
import os
import sys
from django.core.management import execute_from_command_line
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
execute_from_command_line(sys.argv)
"""


class FolderProject:
    """A project whose files a test writes into a folder, among them `settings.py`."""

    def __init__(self, folder: Path, database: str, files: Mapping[str, str]) -> None:
        self.folder, self._database = folder, database
        for name, text in {"manage.py": MANAGE, **files}.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def replace(self, name: str, old: str, new: str) -> None:
        """Replaces a text in a file."""
        text = (self.folder / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def prepend(self, text: str) -> None:
        """Adds lines at the top of the settings."""
        self.write("settings.py", text + (self.folder / "settings.py").read_text())

    def append(self, text: str) -> None:
        """Adds lines to the settings."""
        with (self.folder / "settings.py").open("a") as file:
            file.write(text)

    def manage(self, *arguments: str, status: int = 0) -> str:
        """Returns the output of a command."""
        environment = surroundings(self._database, PYTHONPATH=f"{self.folder}:{TOOLS}")
        return run_in(self.folder, environment, "manage.py", *arguments, status=status)

    def run(self, code: str, *, status: int = 0) -> str:
        """Runs code in a shell of the project, and returns its output."""
        return self.manage("shell", "--no-imports", "-c", code, status=status)

    def printed(self, code: str) -> Any:
        """Returns the JSON on the last line that code prints."""
        return json.loads(self.run(code).splitlines()[-1])
