"""The article's project in a temporary folder, where it can adopt flagstaff and run."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Any

from tests.support.projects import TOOLS, command, surroundings

__all__ = ["ADOPTED", "Patch", "Project", "adoption"]

HERE = Path(__file__).resolve().parent
ARTICLE, ADOPTED = HERE / "article", HERE / "adopted"


@dataclass(frozen=True)
class Patch:
    """The changes of an adoption, as a unified diff."""

    text: str

    def added(self) -> list[str]:
        return self._lines("+")

    def removed(self) -> list[str]:
        return self._lines("-")

    def _lines(self, sign: str) -> list[str]:
        lines = self.text.splitlines()
        return [line[1:] for line in lines if line[:1] == sign and line[:3] != sign * 3]


def adoption() -> Patch:
    """Returns the difference between the article's project and the one that uses flagstaff."""
    files = sorted(ADOPTED.rglob("*.py"))
    return Patch("".join(_difference(file.relative_to(ADOPTED)) for file in files))


def _difference(name: Path) -> str:
    before = (ARTICLE / name).read_text() if (ARTICLE / name).exists() else ""
    after = (ADOPTED / name).read_text()
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    return "".join(unified_diff(old, new, f"a/{name}", f"b/{name}", n=1))


class Project:
    """A copy of the article's project, on SQLite if `database` is None.

    `settings` are lines of Python that follow the project's own settings.
    """

    def __init__(self, folder: Path, database: str | None, settings: str = "") -> None:
        self.folder = folder
        self._database = database
        shutil.copytree(ARTICLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
        self.write("config/local_settings.py", f"from config.settings import *\n\n{settings}\n")

    def write(self, name: str, text: str) -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def append(self, name: str, text: str) -> None:
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.write(text)

    def adopt(self) -> None:
        """Applies the changes of the adoption."""
        shutil.copytree(ADOPTED, self.folder, dirs_exist_ok=True)

    def manage(self, *arguments: str, fails: bool = False) -> str:
        """Returns the output of a manage.py command."""
        return self._run("manage.py", *arguments, fails=fails)

    def script(self, name: str, *arguments: object) -> Any:
        """Returns the JSON on the last line that a script of `scripts/` prints."""
        script = str(HERE / "scripts" / f"{name}.py")
        printed = self._run(script, *map(str, arguments))
        return json.loads(printed.splitlines()[-1])

    def _run(self, *arguments: str, fails: bool = False) -> str:
        result = subprocess.run(
            command(*arguments),
            cwd=self.folder,
            env=surroundings(
                self._database,
                DJANGO_SETTINGS_MODULE="config.local_settings",
                PYTHONPATH=f"{self.folder}:{TOOLS}",
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=50,
            check=False,
        )
        assert (result.returncode != 0) == fails, result.stdout
        return result.stdout
