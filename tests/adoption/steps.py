"""The adoption of a project that has been in use: what every variant of it must show."""

from __future__ import annotations

import re
from typing import Any

from tests.adoption.project import Project

__all__ = ["adopt_in_use", "assert_no_complaint", "green_tests"]


def adopt_in_use(project: Project, people: int = 50) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fill the project, adopt flagstaff, and compare: every answer is what it was.

    Returns what was surveyed before and after.
    """
    project.manage("migrate", "--verbosity=0")
    project.script("seed", people)
    before = project.script("survey")
    project.adopt()
    project.manage("migrate", "--verbosity=0")
    after = project.script("survey")
    assert differences(before["found"], after["found"]) == []
    return before, after


def green_tests(project: Project) -> int:
    """How many tests of the project's own there are, all of them green."""
    [count] = re.findall(r"^Ran (\d+) tests.*\n\nOK$", project.manage("test"), re.MULTILINE)
    return int(count)


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The names of what is answered otherwise."""
    return [name for name in before if before[name] != after[name]]


def assert_no_complaint(project: Project, alias: str = "default") -> None:
    """Neither the models nor the database leave anything to be done."""
    assert "No changes detected" in project.manage("makemigrations", "--check")
    said = project.manage("check", "--database", alias)
    assert said == "System check identified no issues (0 silenced).\n", said
