"""New processes import the public names of `flagstaff`, and work without LibCST."""

from __future__ import annotations

import subprocess
import sys

import pytest

import flagstaff
from tests.conftest import RunIsolated

# Before the project's settings are known.
UNSET = {"DJANGO_SETTINGS_MODULE": ""}


@pytest.mark.parametrize("name", flagstaff.__all__)
def test_name_can_be_imported_without_settings(name: str, run_isolated: RunIsolated) -> None:
    script = f"from flagstaff import {name}; print(callable({name}))"
    assert run_isolated(script, **UNSET) == "True\n"


def test_star_import_has_all_names_and_does_not_connect(run_isolated: RunIsolated) -> None:
    script = """
import sys, threading
calls = []
sys.addaudithook(lambda event, _: calls.append(event) if event == "socket.connect" else None)
from flagstaff import *
import flagstaff
print(set(flagstaff.__all__) - set(dir()))
if sys.argv[1:]:
    print(calls, threading.active_count(), status().mode)
"""
    assert run_isolated(script, **UNSET) == "set()\n"
    settings = {"DJANGO_SETTINGS_MODULE": "tests.support.settings"}
    assert run_isolated(script, "connects", **settings) == "set()\n[] 1 idle\n"


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


def test_references_without_libcst_says_what_to_install() -> None:
    for option in ((), ("--result", "a=on"), ("--result", "a=on", "--diff")):
        ran = run("references", "--path", "docs", *option)
        assert (ran.returncode, ran.stdout, ran.stderr) == (2, "", f"CommandError: {MESSAGE}\n")
    ran = run("references", "--path", "docs", "--json")
    assert ran.returncode == 2
    assert '"status": 2' in ran.stderr
    assert "LibCST is not installed" in ran.stderr
    ran = run("references", "--help")
    assert (ran.returncode, ran.stderr) == (0, "")
