"""The setting FLAGSTAFF["WAFFLE"]."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from django.core.checks import run_checks

from flagstaff.compat.names import key_of
from flagstaff.compat.settings import WaffleSettings, waffle_settings
from flagstaff.exceptions import ConfigurationError


def use(settings: Any, **options: object) -> None:
    settings.FLAGSTAFF = {"WAFFLE": options}


def test_setting_has_defaults(settings: Any) -> None:
    use(settings)
    assert waffle_settings() == WaffleSettings()
    assert WaffleSettings().serve is False


def test_valid_settings_are_typed(settings: Any) -> None:
    use(
        settings,
        SERVE=["beta_*"],
        KEEP_COOKIES_UNTIL="2027-01-05",
        PERCENT_OF={"search": "users"},
        SHADOW=0,
    )
    found = waffle_settings()
    assert (found.serve, found.keep_cookies_until) == (("beta_*",), date(2027, 1, 5))
    assert (found.unit_of("search"), found.unit_of("other")) == ("user", "visitor")
    assert [found.serves(name) for name in ("beta_search", "search")] == [True, False]


@pytest.mark.parametrize(
    "options",
    [
        {"SERVES": True},
        {"SERVE": "search"},
        {"SERVE": [1]},
        {"PERCENT": "cookies"},
        {"PERCENT": True},
        {"KEEP_COOKIES_UNTIL": "soon"},
        {"KEEP_COOKIES_UNTIL": 2027},
        {"MIRROR": "yes"},
        {"MIRROR": 1},
        {"SHADOW": 2},
        {"SHADOW": True},
        {"KEYS": {"search": "a"}},
        {"KEYS": {"switch:search": "a b"}},
        {"KEYS": ["switch:search"]},
        {"PERCENT_OF": "groups"},
        {"PERCENT_OF": {"search": "groups"}},
        {"FIELDS": {"teams": 1}},
        {"FIELDS": "teams"},
    ],
)
def test_invalid_setting_is_an_error_of_the_checks(
    settings: Any, options: dict[str, object]
) -> None:
    settings.FLAGSTAFF = {"WAFFLE": options}
    [message] = run_checks(tags=["flagstaff"])
    assert message.id == "flagstaff.E052"
    assert str(next(iter(options))) in message.msg
    with pytest.raises(ConfigurationError):
        waffle_settings()


@pytest.mark.parametrize(
    ("name", "key"),
    [("search", "search"), ("new search!", "new_search_"), ("-x", "_x"), ("ä:b", "ä_b")],
)
def test_name_that_is_no_key_has_a_similar_one(settings: Any, name: str, key: str) -> None:
    use(settings)
    assert key_of("flag", name) == key


def test_key_of_the_setting_precedes_the_name(settings: Any) -> None:
    use(settings, KEYS={"switch:search": "search.switch"})
    assert key_of("switch", "search") == "search.switch"
    assert key_of("flag", "search") == "search"
