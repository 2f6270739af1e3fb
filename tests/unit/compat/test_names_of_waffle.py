"""While waffle is installed, flagstaff.compat.waffle has the names of waffle itself."""

from __future__ import annotations

from importlib import import_module
from unittest.mock import patch

import pytest
import waffle as installed

from flagstaff.compat import waffle

NAMES = [
    (".decorators", "waffle_flag"),
    (".decorators", "waffle_switch"),
    (".jinja", "WaffleExtension"),
    (".middleware", "WaffleMiddleware"),
    (".mixins", "WaffleFlagMixin"),
    (".mixins", "WaffleSampleMixin"),
    (".mixins", "WaffleSwitchMixin"),
    (".templatetags.waffle_tags", "register"),
    (".testutils", "override_flag"),
    (".testutils", "override_sample"),
    (".testutils", "override_switch"),
    (".urls", "urlpatterns"),
    (".views", "waffle_json"),
    (".views", "wafflejs"),
    ("", "flag_is_active"),
    ("", "get_waffle_flag_model"),
    ("", "get_waffle_sample_model"),
    ("", "get_waffle_switch_model"),
    ("", "sample_is_active"),
    ("", "switch_is_active"),
]


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_name_is_that_of_waffle_while_it_is_installed(module: str, name: str) -> None:
    ours = import_module(f"flagstaff.compat.waffle{module}")
    assert getattr(ours, name) is getattr(import_module(f"waffle{module}"), name)


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_replacement_has_the_same_name(module: str, name: str) -> None:
    replacement = import_module(f"flagstaff.compat.without_waffle{module}")
    assert name in replacement.__all__
    assert getattr(replacement, name)


def test_function_that_is_patched_in_waffle_is_found() -> None:
    with patch.object(installed, "switch_is_active", return_value=True) as patched:
        assert waffle.switch_is_active is patched
    assert waffle.switch_is_active is installed.switch_is_active


def test_unknown_name_is_missing() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'flags_are_active'"):
        _ = waffle.flags_are_active
