"""Steps of an adoption that all tests share."""

from __future__ import annotations

import re
from typing import Any

from tests.system.adoption.project import Project


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
    found = after["found"]
    assert [name for name, result in before["found"].items() if found[name] != result] == []
    return before, after


def passing_tests(project: Project) -> int:
    """Runs the project's own tests, and returns their number. All must pass."""
    [count] = re.findall(r"^Ran (\d+) tests.*\n\nOK$", project.manage("test"), re.MULTILINE)
    return int(count)


def assert_no_messages(project: Project, alias: str = "default") -> None:
    """Asserts that no migration is missing and that no system check reports anything."""
    assert "No changes detected" in project.manage("makemigrations", "--check")
    output = project.manage("check", "--database", alias)
    assert output == "System check identified no issues (0 silenced).\n", output
