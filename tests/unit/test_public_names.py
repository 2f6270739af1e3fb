"""What `flagstaff` is from outside: the names, when they can be had, and what help says."""

from __future__ import annotations

import inspect
import pydoc
from collections.abc import Callable
from typing import Any

import pytest

import flagstaff
from tests.conftest import RunIsolated

# A project has chosen no settings yet.
UNSET = {"DJANGO_SETTINGS_MODULE": ""}


def test_first_names_are_there() -> None:
    first = {"flag_enabled", "get_value", "explain", "status", "ready", "aready", "refresh"}
    assert first <= set(flagstaff.__all__)


def test_names_stand_in_order() -> None:
    assert flagstaff.__all__ == sorted(flagstaff.__all__)


@pytest.mark.parametrize("name", flagstaff.__all__)
def test_name_can_be_imported_before_the_settings_are_chosen(
    name: str, run_isolated: RunIsolated
) -> None:
    script = f"from flagstaff import {name}; print(callable({name}))"
    assert run_isolated(script, **UNSET) == "True\n"


def test_star_imports_all_names(run_isolated: RunIsolated) -> None:
    script = """
from flagstaff import *
import flagstaff
print(set(flagstaff.__all__) - set(dir()))
"""
    assert run_isolated(script, **UNSET) == "set()\n"


def test_name_is_looked_up_once() -> None:
    assert flagstaff.flag_enabled is vars(flagstaff)["flag_enabled"]


def test_name_that_is_not_there_is_told_as_python_tells_it() -> None:
    with pytest.raises(AttributeError) as error:
        _ = flagstaff.flag_enabeld
    assert str(error.value) == "module 'flagstaff' has no attribute 'flag_enabeld'"


@pytest.mark.parametrize("module", ["flagstaff", "flagstaff.pytest_plugin"])
def test_import_brings_neither_django_nor_the_extension(
    module: str, run_isolated: RunIsolated
) -> None:
    script = f"""
import sys, {module}
print([name for name in ("django", "flagstaff._core") if name in sys.modules])
"""
    assert run_isolated(script, **UNSET) == "[]\n"


def test_import_of_everything_connects_to_nothing(run_isolated: RunIsolated) -> None:
    script = """
import sys, threading
calls = []
sys.addaudithook(lambda event, _: calls.append(event) if event == "socket.connect" else None)
from flagstaff import *
print(calls, threading.active_count(), status().mode)
"""
    settings = {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    assert run_isolated(script, **settings) == "[] 1 idle\n"


@pytest.mark.parametrize(
    ("function", "signature"),
    [
        (flagstaff.flag_enabled, "(key, user=None, *, default=False)"),
        (flagstaff.get_value, "(key, default=None)"),
    ],
)
def test_signature_can_be_read(function: Callable[..., Any], signature: str) -> None:
    assert str(inspect.signature(function)) == signature


@pytest.mark.parametrize("name", flagstaff.__all__)
def test_help_says_in_a_sentence_what_a_name_does(name: str) -> None:
    function = getattr(flagstaff, name)
    summary, *_ = str(inspect.getdoc(function)).splitlines()
    assert summary.endswith(".")
    assert summary in pydoc.render_doc(function)


def test_help_says_who_may_ask_and_what_is_raised() -> None:
    said = str(inspect.getdoc(flagstaff.flag_enabled))
    for what in ("request.user", "int, str or uuid.UUID", "TypeError", "UnknownFlagError"):
        assert what in said
