"""Steps of an adoption that all tests share."""

from __future__ import annotations

import re
from typing import Any

from tests.system.adoption.project import Project

__all__ = ["adopt_with_data", "assert_no_messages", "passing_tests"]


def adopt_with_data(project: Project, users: int = 50) -> tuple[dict[str, Any], dict[str, Any]]:
    """Creates data, adopts flagstaff, and checks that every result is unchanged.

    Returns the output of the survey before and after.
    """
    project.manage("migrate", "--verbosity=0")
    project.script("seed", users)
    before = project.script("survey")
    project.adopt()
    project.manage("migrate", "--verbosity=0")
    after = project.script("survey")
    assert differences(before["found"], after["found"]) == []
    return before, after


def passing_tests(project: Project) -> int:
    """Runs the project's own tests, and returns their number. All must pass."""
    [count] = re.findall(r"^Ran (\d+) tests.*\n\nOK$", project.manage("test"), re.MULTILINE)
    return int(count)


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Returns the names of the results that differ."""
    return [name for name in before if before[name] != after[name]]


def assert_no_messages(project: Project, alias: str = "default") -> None:
    """Asserts that no migration is missing and that no system check reports anything."""
    assert "No changes detected" in project.manage("makemigrations", "--check")
    output = project.manage("check", "--database", alias)
    assert output == "System check identified no issues (0 silenced).\n", output
