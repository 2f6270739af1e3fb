"""New processes import the public names of `flagstaff`, without settings and without connecting."""

from __future__ import annotations

from tests.conftest import RunIsolated

# Before the project's settings are known.
UNSET = {"DJANGO_SETTINGS_MODULE": ""}


def test_each_name_can_be_the_first_import_without_settings(run_isolated: RunIsolated) -> None:
    script = """
import os, flagstaff
for name in flagstaff.__all__:
    if os.fork() == 0:
        os._exit(not callable(getattr(flagstaff, name)))
    if os.wait()[1]:
        print(name)
"""
    assert run_isolated(script, **UNSET) == ""


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
