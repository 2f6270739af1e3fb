"""The hooks: the functions of the package that the extension calls."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from flagstaff import _core, flag_enabled
from flagstaff._engine.lifecycle import HOOKS
from tests.conftest import ROOT


@pytest.mark.django_db
def test_later_hooks_change_nothing() -> None:
    def fail(*_arguments: object) -> Any:
        raise AssertionError("a later hook was called")

    hooks: dict[str, Any] = dict.fromkeys(vars(HOOKS), fail)
    flag_enabled("new_checkout")
    _core.install(SimpleNamespace(**{**hooks, "request_context": dict}))
    assert flag_enabled("new_checkout", context={"country": "DE"}) is False


def test_extension_names_no_function_of_the_package() -> None:
    texts = [path.read_text() for path in (ROOT / "src").rglob("*.rs")]
    named = {name for text in texts for name in re.findall(r'"(flagstaff\.\w+[.\w]*)"', text)}
    # The classes of exceptions and texts, and the module that installs the hooks.
    assert named <= {"flagstaff._core", "flagstaff._engine.lifecycle", "flagstaff._text"}
