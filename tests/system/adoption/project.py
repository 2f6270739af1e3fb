"""The article's project in a temporary folder, where it can adopt flagstaff and run."""

from __future__ import annotations

import json
import shutil
from difflib import ndiff
from pathlib import Path
from typing import Any

from tests.support.projects import TOOLS, run_in, surroundings

HERE = Path(__file__).resolve().parent
ARTICLE, ADOPTED = HERE / "article", HERE / "adopted"
MODELS = """FLAGSTAFF = {
    "FLAG_MODEL": "common.FeatureFlag",
    "VALUE_MODEL": "common.KeyValueStore",
}

"""


def adopted_files() -> dict[str, str]:
    """Returns the new and changed files of the project that uses flagstaff."""
    settings = (ARTICLE / "config" / "settings.py").read_text()
    for before, new in [('    "common",', '    "flagstaff",\n'), ("DEFAULT_AUTO_FIELD", MODELS)]:
        settings = settings.replace(before, new + before)
    files = {str(file.relative_to(ADOPTED)): file.read_text() for file in ADOPTED.rglob("*.py")}
    return {"config/settings.py": settings, **files}


def adoption() -> tuple[list[str], list[str]]:
    """Returns the lines that the adoption adds to the article's project, and those it removes."""
    lines: dict[str, list[str]] = {"+ ": [], "- ": []}
    for name, text in adopted_files().items():
        old = (ARTICLE / name).read_text() if (ARTICLE / name).exists() else ""
        for line in ndiff(old.splitlines(), text.splitlines()):
            lines.get(line[:2], []).append(line[2:])
    return lines["+ "], lines["- "]


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
        """Applies the changes of the adoption, and makes the migration of the inherited fields."""
        triggers = {one for one in adopted_files() if "/migrations/" in one}
        for name in adopted_files().keys() - triggers:
            self.write(name, adopted_files()[name])
        self.manage("makemigrations", "common", "--name=inherit", "--verbosity=0")
        for name in triggers:
            self.write(name, adopted_files()[name])

    def manage(self, *arguments: str, fails: bool = False) -> str:
        """Returns the output of a manage.py command."""
        return self._run("manage.py", *arguments, fails=fails)

    def script(self, name: str, *arguments: object) -> Any:
        """Returns the JSON on the last line that a script of `scripts/` prints."""
        script = str(HERE / "scripts" / f"{name}.py")
        printed = self._run(script, *map(str, arguments))
        return json.loads(printed.splitlines()[-1])

    def _run(self, *arguments: str, fails: bool = False) -> str:
        environment = surroundings(
            self._database,
            DJANGO_SETTINGS_MODULE="config.local_settings",
            PYTHONPATH=f"{self.folder}:{TOOLS}",
        )
        return run_in(self.folder, environment, *arguments, status=int(fails))
