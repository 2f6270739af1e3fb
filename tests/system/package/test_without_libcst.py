"""`manage.py flags references` in a process that has no LibCST."""

from __future__ import annotations

import subprocess
import sys

import pytest

COMMAND = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "libcst":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", *sys.argv[1:]])
"""
MESSAGE = 'LibCST is not installed; run: pip install "django-flagstaff[cleanup]"'


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", COMMAND, "flags", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("option", [(), ("--result", "a=on"), ("--result", "a=on", "--diff")])
def test_references_without_libcst_says_what_to_install(option: tuple[str, ...]) -> None:
    ran = run("references", "--path", "docs", *option)
    assert (ran.returncode, ran.stdout, ran.stderr) == (2, "", f"CommandError: {MESSAGE}\n")


def test_references_without_libcst_as_json_says_what_to_install() -> None:
    ran = run("references", "--path", "docs", "--json")
    assert ran.returncode == 2
    assert '"status": 2' in ran.stderr
    assert "LibCST is not installed" in ran.stderr


def test_help_without_libcst_works() -> None:
    ran = run("references", "--help")
    assert (ran.returncode, ran.stderr) == (0, "")
