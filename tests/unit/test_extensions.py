from __future__ import annotations

import math
from typing import Any

import pytest
from django.apps import apps

from flagstaff import extensions
from flagstaff.admin.app_pages import PAGES
from flagstaff.cli.main import VERBS_OF_APPS
from flagstaff.extensions import Hook

HOOKS: list[Hook[Any]] = [
    PAGES,
    VERBS_OF_APPS,
    *(hook for hook in vars(extensions).values() if type(hook) is Hook),
]


def test_each_hook_of_an_app_is_known_and_its_object_exists() -> None:
    tables = [getattr(app, "flagstaff_hooks", {}) for app in apps.get_app_configs()]
    used = {name for table in tables for name in table}
    assert used == {hook.name for hook in HOOKS}
    assert [len(list(hook)) for hook in HOOKS] == [
        sum(hook.name in table for table in tables) for hook in HOOKS
    ]


def test_hook_has_the_objects_of_the_installed_apps_in_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for label, path in {"sessions": "math.pi", "admin": "math.e"}.items():
        table = {"constant": path}
        monkeypatch.setattr(apps.get_app_config(label), "flagstaff_hooks", table, raising=False)
    assert list(Hook("constant")) == [math.e, math.pi]
