"""A user's project in a folder of its own, run through its own commands.

Its settings are those of `tests.support.base_settings` and what a test adds.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.python_processes import ROOT, STRICT, run_to_end

PROJECTS = ROOT / "tests" / "system" / "projects"
#: Lines of settings: waffle with its middleware and its tags for Jinja2.
WAFFLE = """
INSTALLED_APPS += ["waffle"]
MIDDLEWARE += ["waffle.middleware.WaffleMiddleware"]
TEMPLATES.append({
    "BACKEND": "django.template.backends.jinja2.Jinja2",
    "APP_DIRS": True,
    "OPTIONS": {"extensions": ["waffle.jinja.WaffleExtension"]},
})
"""
#: Lines of settings: flagstaff in the place of waffle.
STAND_IN = """
from flagstaff.contrib.waffle import install
install()
INSTALLED_APPS += ["flagstaff", "flagstaff.contrib.waffle"]
"""
_MANAGE = """
import sys
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""


class Project:
    """A project that can also be a copy of a folder. Without a database, it is on SQLite.

    `settings` are lines of Python below all others, and `files` the texts of more files.
    """

    def __init__(  # noqa: PLR0913 (what makes projects different)
        self,
        folder: Path,
        database: str | None,
        *,
        copied: Path | None = None,
        apps: Sequence[str] = (),
        middleware: Sequence[str] = (),
        urls: str = "",
        settings: str = "",
        files: Mapping[str, str] | None = None,
    ) -> None:
        self.folder, self._database = folder, database
        if copied is not None:
            leave_out = shutil.ignore_patterns("__pycache__")
            shutil.copytree(copied, folder, ignore=leave_out, dirs_exist_ok=True)
        lines = [
            "from tests.support.base_settings import *",
            f"INSTALLED_APPS += {[*apps]}",
            f"MIDDLEWARE += {[*middleware]}",
            f"ROOT_URLCONF = {urls or 'urls'!r}",
            'TEMPLATES[0]["DIRS"] = ["."]',
        ]
        texts = {"manage.py": _MANAGE, "urls.py": "urlpatterns = []\n"}
        texts["settings.py"] = "\n".join([*lines, settings, ""])
        for name, text in (texts | {**(files or {})}).items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def read(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")

    def append(self, text: str, name: str = "settings.py") -> None:
        """Adds lines to the settings, or to another file."""
        self.write(name, self.read(name) + text)

    def replace(self, name: str, old: str, new: str) -> None:
        """Replaces a text in a file."""
        text = self.read(name)
        assert old in text
        self.write(name, text.replace(old, new))

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of its processes: few of those of the tests."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        if self._database is not None:
            kept["DATABASE_URL"] = self._database
        path = [str(self.folder), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        return kept | {"PYTHONPATH": os.pathsep.join(path), "DJANGO_SETTINGS_MODULE": "settings"}

    def python(self, *arguments: str, status: int = 0, text: str = "", **variables: str) -> str:
        """Runs Python strictly, and returns its output. It must exit with this status."""
        ran = run_to_end(
            [*STRICT, *arguments],
            cwd=self.folder,
            env=self.environment | variables,
            text=text,
            errors_as_output=True,
        )
        assert ran.returncode == status, ran.stdout
        return ran.stdout

    def manage(self, *arguments: str, status: int = 0, **variables: str) -> str:
        """Returns the output of a command."""
        return self.python("manage.py", *arguments, status=status, **variables)

    def run(self, code: str, *, status: int = 0, **variables: str) -> str:
        """Runs code in a shell of the project, and returns its output."""
        shell = ("shell", "--no-imports", "-c", code)
        return self.manage(*shell, status=status, **variables)

    def printed(self, code: str, **variables: str) -> Any:
        """Returns the JSON on the last line that code prints."""
        return json.loads(self.run(code, status=0, **variables).splitlines()[-1])

    def pytest(self, *arguments: str, **variables: str) -> str:
        """Returns the output of pytest, whose tests must pass."""
        options = ("-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider")
        return self.python(*options, *arguments, status=0, **variables)
