"""The setting FLAGSTAFF["WAFFLE"]."""

from datetime import date, datetime
from datetime import timezone as fixed_timezone
from typing import Any

import pytest
from django.utils import timezone

from flagstaff.conf import SettingError
from flagstaff.contrib.waffle.settings import WaffleSettings, key_of, waffle_settings
from tests.support.check_messages import check_messages


def use(settings: Any, **options: object) -> None:
    settings.FLAGSTAFF = {"WAFFLE": options}


def test_setting_has_defaults_and_its_options_are_typed(settings: Any) -> None:
    use(settings)
    assert waffle_settings() == WaffleSettings({}, "visitor", None)
    assert not waffle_settings().keeps_cookies
    use(settings, COOKIES_UNTIL="2027-01-05", PERCENT_OF="users")
    assert waffle_settings() == WaffleSettings({}, "user", date(2027, 1, 5))


@pytest.mark.parametrize(
    "options",
    [
        {"SERVE": True},
        {"COOKIES_UNTIL": "soon"},
        {"COOKIES_UNTIL": 2027},
        {"KEYS": {"search": "a"}},
        {"KEYS": {"switch:search": "a b"}},
        {"KEYS": {1: "a"}},
        {"KEYS": ["switch:search"]},
        {"PERCENT_OF": "groups"},
        {"PERCENT_OF": ["users"]},
        {1: "a"},
        ["KEYS"],
    ],
)
def test_invalid_setting_is_an_error_of_the_checks(settings: Any, options: object) -> None:
    settings.FLAGSTAFF = {"WAFFLE": options}
    [message] = check_messages("flagstaff")
    assert message.id == "flagstaff.E001"
    assert message.msg == f'FLAGSTAFF["WAFFLE"] is {options!r}'
    with pytest.raises(SettingError):
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


@pytest.mark.parametrize("use_tz", [True, False])
def test_last_day_is_found_with_and_without_time_zones(use_tz: bool, settings: Any) -> None:
    settings.USE_TZ = use_tz
    for day, keeps in {"9999-12-31": True, "2000-01-01": False}.items():
        use(settings, COOKIES_UNTIL=day)
        assert waffle_settings().keeps_cookies is keeps


@pytest.mark.parametrize("zone", ["Pacific/Auckland", "Pacific/Honolulu"])
def test_time_zone_of_a_request_does_not_move_the_last_day(
    zone: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TIME_ZONE = "UTC"
    use(settings, COOKIES_UNTIL="2027-01-05")
    times = {"2027-01-05T23:59": True, "2027-01-06T00:01": False}
    for text, keeps in times.items():
        now = datetime.fromisoformat(text).replace(tzinfo=fixed_timezone.utc)
        monkeypatch.setattr(timezone, "now", lambda now=now: now)
        with timezone.override(zone):
            assert waffle_settings().keeps_cookies is keeps
