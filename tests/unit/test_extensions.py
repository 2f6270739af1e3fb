import math
import re
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps

from flagstaff import _core, extensions, flag_enabled
from flagstaff._engine.lifecycle import HOOKS
from flagstaff.admin.parts import PAGES
from flagstaff.cli.main import VERBS_OF_APPS
from flagstaff.extensions import Hook
from tests.conftest import ROOT

HOOKS_OF_APPS: list[Hook[Any]] = [
    PAGES,
    VERBS_OF_APPS,
    *(hook for hook in vars(extensions).values() if type(hook) is Hook),
]


def test_each_hook_of_an_app_is_known_and_its_object_exists() -> None:
    tables = [getattr(app, "flagstaff_hooks", {}) for app in apps.get_app_configs()]
    used = {name for table in tables for name in table}
    assert used == {hook.name for hook in HOOKS_OF_APPS}
    assert [len(list(hook)) for hook in HOOKS_OF_APPS] == [
        sum(hook.name in table for table in tables) for hook in HOOKS_OF_APPS
    ]


def test_hook_has_the_objects_of_the_installed_apps_in_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for label, path in {"sessions": "math.pi", "admin": "math.e"}.items():
        table = {"constant": path}
        monkeypatch.setattr(apps.get_app_config(label), "flagstaff_hooks", table, raising=False)
    assert list(Hook("constant")) == [math.e, math.pi]


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
