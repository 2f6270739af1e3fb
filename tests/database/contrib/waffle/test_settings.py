"""The setting FLAGSTAFF["WAFFLE"]."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from django.core.checks import run_checks

from flagstaff.contrib.waffle.names import key_of
from flagstaff.contrib.waffle.settings import WaffleSettings, waffle_settings
from flagstaff.exceptions import ConfigurationError


def use(settings: Any, **options: object) -> None:
    settings.FLAGSTAFF = {"WAFFLE": options}


def test_setting_has_defaults(settings: Any) -> None:
    use(settings)
    assert waffle_settings() == WaffleSettings()
    assert not WaffleSettings().keeps_cookies


def test_valid_settings_are_typed(settings: Any) -> None:
    use(
        settings,
        COOKIES_UNTIL="2027-01-05",
        PERCENT_OF={"search": "users"},
    )
    found = waffle_settings()
    assert found.cookies_until == date(2027, 1, 5)
    assert (found.unit_of("search"), found.unit_of("other")) == ("user", "visitor")


@pytest.mark.parametrize(
    "options",
    [
        {"SERVE": True},
        {"COOKIES_UNTIL": "soon"},
        {"COOKIES_UNTIL": 2027},
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
