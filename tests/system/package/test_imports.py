"""New processes import the public names of `flagstaff`, without settings and without connecting."""

from __future__ import annotations

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
