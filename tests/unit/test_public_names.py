"""The public names of `flagstaff`: when they can be imported, and their documentation."""

from __future__ import annotations

import inspect
import pydoc
from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import pytest

import flagstaff
from tests.conftest import RunIsolated

# Before the project's settings are known.
UNSET = {"DJANGO_SETTINGS_MODULE": ""}


def test_main_functions_are_public() -> None:
    expected = {"flag_enabled", "get_value", "explain", "status", "ready", "aready", "refresh"}
    assert expected <= set(flagstaff.__all__)


def test_public_names_are_sorted() -> None:
    assert flagstaff.__all__ == sorted(flagstaff.__all__)


@pytest.mark.parametrize("name", ["flagstaff", "flagstaff.rollouts", "flagstaff.experiments"])
def test_lazy_name_is_not_the_name_of_a_module(name: str) -> None:
    package = import_module(name)
    # The import of a module would replace the function.
    modules = {module.name for module in iter_modules(package.__path__)}
    assert not modules & set(package.__all__)


@pytest.mark.parametrize("name", flagstaff.__all__)
def test_name_can_be_imported_without_settings(name: str, run_isolated: RunIsolated) -> None:
    script = f"from flagstaff import {name}; print(callable({name}))"
    assert run_isolated(script, **UNSET) == "True\n"


def test_star_import_has_all_names(run_isolated: RunIsolated) -> None:
    script = """
from flagstaff import *
import flagstaff
print(set(flagstaff.__all__) - set(dir()))
"""
    assert run_isolated(script, **UNSET) == "set()\n"


def test_name_is_cached_after_the_first_use() -> None:
    assert flagstaff.flag_enabled is vars(flagstaff)["flag_enabled"]


def test_unknown_name_raises_attribute_error() -> None:
    with pytest.raises(AttributeError) as error:
        _ = flagstaff.flag_enabeld
    assert str(error.value) == "module 'flagstaff' has no attribute 'flag_enabeld'"


@pytest.mark.parametrize("module", ["flagstaff", "flagstaff.pytest_plugin"])
def test_import_does_not_load_django_or_the_extension(
    module: str, run_isolated: RunIsolated
) -> None:
    script = f"""
import sys, {module}
print([name for name in ("django", "flagstaff._core") if name in sys.modules])
"""
    assert run_isolated(script, **UNSET) == "[]\n"


def test_import_of_all_names_does_not_connect(run_isolated: RunIsolated) -> None:
    script = """
import sys, threading
calls = []
sys.addaudithook(lambda event, _: calls.append(event) if event == "socket.connect" else None)
from flagstaff import *
print(calls, threading.active_count(), status().mode)
"""
    settings = {"DJANGO_SETTINGS_MODULE": "tests.support.settings"}
    assert run_isolated(script, **settings) == "[] 1 idle\n"


@pytest.mark.parametrize(
    ("function", "signature"),
    [
        (flagstaff.flag_enabled, "(key, user=None, *, default=False, context=None)"),
        (flagstaff.get_value, "(key, default=None)"),
    ],
)
def test_signature_is_available(function: Callable[..., Any], signature: str) -> None:
    assert str(inspect.signature(function)) == signature


@pytest.mark.parametrize("name", flagstaff.__all__)
def test_docstring_begins_with_a_sentence(name: str) -> None:
    function = getattr(flagstaff, name)
    summary, *_ = str(inspect.getdoc(function)).splitlines()
    assert summary.endswith(".")
    assert summary in pydoc.render_doc(function)


def test_docstring_of_flag_enabled_has_user_types_and_errors() -> None:
    text = str(inspect.getdoc(flagstaff.flag_enabled))
    for part in ("request.user", "int, str or uuid.UUID", "TypeError", "UnknownFlagError"):
        assert part in text
