"""Each public function that takes a key is known to the search for references."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Iterator
from importlib import import_module

import flagstaff
from flagstaff.cleanup.references.functions import BY_NAME

# What gets a key, but no key of the code: events, exceptions, and files.
_NOT_SEARCHED = {
    "flagstaff.changes.Changed",
    "flagstaff.changes.UndoneEvents",
    "flagstaff.exceptions.ConflictError",
    "flagstaff.history.Event",
    "flagstaff.serialization.Step",
    "flagstaff.serialization.export",
    "flagstaff.validators.validate_flag_key",
}


def _public_functions() -> Iterator[str]:
    """Yields the public functions and classes with a parameter "key"."""
    for module in pkgutil.iter_modules(flagstaff.__path__, "flagstaff."):
        if module.name.rpartition(".")[2].startswith("_"):
            continue
        try:
            found = import_module(module.name)
        except ImportError:
            continue  # It needs an extra that is not installed.
        for name in getattr(found, "__all__", ()):
            if callable(one := getattr(found, name)) and _takes_key(one):
                yield f"{module.name}.{name}"


def _takes_key(function: Callable[..., object]) -> bool:
    try:
        return not {"key", "keys"}.isdisjoint(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return False


def test_public_function_with_a_key_is_searched() -> None:
    assert {*_public_functions()} - {*BY_NAME} == _NOT_SEARCHED
