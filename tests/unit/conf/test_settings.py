from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from pytest_django import Settings

from flagstaff.conf import conf
from flagstaff.conf.attribute_sources import AttributeSources
from flagstaff.exceptions import ConfigurationError
from flagstaff.models import FeatureFlag, KeyValueStore

NAMES = (
    "DATABASE, FLAG_MODEL, VALUE_MODEL, LISTEN, POLL_INTERVAL, MAX_STALENESS, STARTUP_TIMEOUT, "
    "POOL_SIZE, USAGE_INTERVAL, MEASURE_INTERVAL, STALE_DAYS, METRICS, "
    "EXCLUDED_UNITS, UNKNOWN_KEY, ATTRIBUTES, VISITOR_COOKIE, VISITOR_COOKIE_NAME, "
    "VISITOR_COOKIE_AGE, VISITOR_COOKIE_DOMAIN, WEBHOOKS, SITE_URL, ENVIRONMENT, "
    "REQUIRE_REASON, READ_ONLY"
)


def with_settings(**settings: object) -> override_settings:
    return override_settings(FLAGSTAFF=settings)


class OtherDatabase:
    def db_for_write(self, model: object, **hints: object) -> str | None:
        return "flags" if model is FeatureFlag else None


def test_settings_without_flagstaff_have_defaults(settings: Settings) -> None:
    del settings.FLAGSTAFF
    assert conf.problems() == []
    assert conf.database == "default"
    assert (conf.flag_model, conf.value_model) == (FeatureFlag, KeyValueStore)
    assert (conf.listen, conf.poll_interval, conf.max_staleness) == (True, 5.0, 300.0)
    assert (conf.startup_timeout, conf.pool_size, conf.unknown_key) == (1.0, 2, "ignore")
    assert (conf.visitor_cookie, conf.visitor_cookie_name) == (True, "flagstaff_visitor")
    assert (conf.visitor_cookie_age, conf.visitor_cookie_domain) == (31_536_000, None)


def test_setting_is_read_at_each_use() -> None:
    with with_settings(POLL_INTERVAL=1, LISTEN=False):
        assert (conf.poll_interval, conf.listen) == (1.0, False)
    assert (conf.poll_interval, conf.listen) == (5.0, True)


def test_database_without_a_setting_is_where_the_router_writes_flags() -> None:
    with override_settings(DATABASE_ROUTERS=[OtherDatabase()]):
        assert conf.database == "flags"


def test_database_setting_overrides_the_router() -> None:
    with override_settings(DATABASE_ROUTERS=[OtherDatabase()], FLAGSTAFF={"DATABASE": "default"}):
        assert conf.database == "default"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("POLL_INTERVALL", 'did you mean "POLL_INTERVAL"?'),
        ("listen", 'did you mean "LISTEN"?'),
        ("COLOUR", f"known settings: {NAMES}"),
        (7, f"known settings: {NAMES}"),
    ],
)
def test_unknown_name_is_rejected_with_the_most_similar_name(name: Any, hint: str) -> None:
    with (
        override_settings(FLAGSTAFF={name: 1}),
        pytest.raises(ConfigurationError) as error,
    ):
        assert conf.listen
    assert str(error.value) == f"FLAGSTAFF has no setting {name!r}; {hint}"


SECONDS = "expected a number of seconds from"
SITE_URL = "the URL of your site, such as https://shop.example, or None"
VISITOR_COOKIE = 'True, False, or the path of a function (request), such as "shop.consent.given"'
COOKIE_NAME = "the name of a cookie: letters, digits, and signs such as - and _"
COOKIE_AGE = "a whole number of seconds from 60 to 34560000, which is 400 days"
COOKIE_DOMAIN = 'the domain of a cookie, such as ".shop.example", or None'
INVALID: list[tuple[str, object, str]] = [
    ("DATABASE", "nowhere", "expected an alias in DATABASES, or None"),
    ("DATABASE", [], "expected an alias in DATABASES, or None"),
    ("FLAG_MODEL", "FeatureFlag", 'expected the label of an installed model, such as "shop.Flag"'),
    (
        "FLAG_MODEL",
        "common.FeatureFlag",
        'expected the label of an installed model, such as "shop.Flag"',
    ),
    ("VALUE_MODEL", None, 'expected the label of an installed model, such as "shop.Value"'),
    ("LISTEN", "yes", "expected True or False"),
    ("LISTEN", 1, "expected True or False"),
    ("POLL_INTERVAL", 0.01, f"{SECONDS} 0.1 to 3600"),
    ("STALE_DAYS", 0, "expected a whole number of days from 1 to 3650"),
    ("STALE_DAYS", 1.5, "expected a whole number of days from 1 to 3650"),
    ("POLL_INTERVAL", True, f"{SECONDS} 0.1 to 3600"),
    ("POLL_INTERVAL", float("nan"), f"{SECONDS} 0.1 to 3600"),
    ("MAX_STALENESS", 0, f"{SECONDS} 1 to 604800"),
    ("STARTUP_TIMEOUT", -1, f"{SECONDS} 0 to 60"),
    ("STARTUP_TIMEOUT", "1", f"{SECONDS} 0 to 60"),
    ("POOL_SIZE", 0, "expected a whole number from 1 to 16"),
    ("POOL_SIZE", 2.0, "expected a whole number from 1 to 16"),
    ("UNKNOWN_KEY", "shout", 'expected "ignore", "warn" or "raise"'),
    ("VISITOR_COOKIE", "yes", f"expected {VISITOR_COOKIE}"),
    ("VISITOR_COOKIE", None, f"expected {VISITOR_COOKIE}"),
    ("VISITOR_COOKIE", "shop.consent given", f"expected {VISITOR_COOKIE}"),
    ("VISITOR_COOKIE_NAME", "", f"expected {COOKIE_NAME}"),
    ("VISITOR_COOKIE_NAME", "my visitor", f"expected {COOKIE_NAME}"),
    ("VISITOR_COOKIE_NAME", "visitor=", f"expected {COOKIE_NAME}"),
    ("VISITOR_COOKIE_AGE", 59, f"expected {COOKIE_AGE}"),
    ("VISITOR_COOKIE_AGE", 34_560_001, f"expected {COOKIE_AGE}"),
    ("VISITOR_COOKIE_AGE", 3600.0, f"expected {COOKIE_AGE}"),
    ("VISITOR_COOKIE_AGE", True, f"expected {COOKIE_AGE}"),
    ("VISITOR_COOKIE_DOMAIN", "", f"expected {COOKIE_DOMAIN}"),
    ("VISITOR_COOKIE_DOMAIN", "https://shop.example", f"expected {COOKIE_DOMAIN}"),
    ("SITE_URL", "shop.example", f"expected {SITE_URL}"),
    ("SITE_URL", "https://shop.example/?a=b", f"expected {SITE_URL}"),
    ("UNKNOWN_KEY", {}, 'expected "ignore", "warn" or "raise"'),
]


@pytest.mark.parametrize(("name", "value", "expected"), INVALID)
def test_invalid_value_is_rejected_with_the_expected_values(
    name: str, value: object, expected: str
) -> None:
    with with_settings(**{name: value}), pytest.raises(ConfigurationError) as error:
        getattr(conf, name.lower())
    assert str(error.value) == f'FLAGSTAFF["{name}"] is {value!r}; {expected}'


def test_settings_that_are_not_a_dict_are_rejected() -> None:
    message = 'FLAGSTAFF is a list; write a dict such as FLAGSTAFF = {"POLL_INTERVAL": 5.0}'
    with override_settings(FLAGSTAFF=["LISTEN"]):
        assert [str(problem) for problem in conf.problems()] == [message]
        with pytest.raises(ConfigurationError) as error:
            assert conf.listen
    assert str(error.value) == message


def test_invalid_setting_raises_improperly_configured() -> None:
    with with_settings(POOL_SIZE=0), pytest.raises(ImproperlyConfigured):
        assert conf.pool_size


def test_system_checks_report_every_problem() -> None:
    with with_settings(POOL=3, POOL_SIZE=0, LISTEN=None):
        found = sorted((str(check.id), check.msg, check.hint) for check in run_checks())
    assert found == [
        ("flagstaff.E001", "FLAGSTAFF has no setting 'POOL'", 'did you mean "POOL_SIZE"?'),
        ("flagstaff.E002", 'FLAGSTAFF["LISTEN"] is None', "expected True or False"),
        ("flagstaff.E002", 'FLAGSTAFF["POOL_SIZE"] is 0', "expected a whole number from 1 to 16"),
    ]


EXPECTED_ATTRIBUTES = (
    'expected a list of columns of the user model, such as ["country", "plan"], or the path of a '
    'function (user, request), such as "shop.flags.attributes"'
)
INVALID_ATTRIBUTES: dict[str, tuple[object, str, str]] = {
    "a dict": ({"country": "DE"}, "is {'country': 'DE'}", EXPECTED_ATTRIBUTES),
    "no name": (["first name"], "names 'first name'", EXPECTED_ATTRIBUTES),
    "an empty text": ("", "names ''", EXPECTED_ATTRIBUTES),
    "a built-in name": (
        ["is_staff"],
        "names 'is_staff', which is built in",
        "remove it: rules can read it anyway",
    ),
    "the groups": (
        ["groups"],
        "names 'groups', which is built in",
        "remove it: rules can read it anyway",
    ),
    "the visitor": (
        ["visitor"],
        "names 'visitor', which is the id of the browser",
        "remove it; a function can return the column under another name",
    ),
    "two functions": (
        ["shop.a", "shop.b"],
        "names more than one function",
        "call the others from the first one",
    ),
}


@pytest.mark.parametrize(
    ("value", "problem", "hint"), INVALID_ATTRIBUTES.values(), ids=INVALID_ATTRIBUTES
)
def test_invalid_attributes_are_rejected_with_the_problem(
    value: object, problem: str, hint: str
) -> None:
    with with_settings(ATTRIBUTES=value), pytest.raises(ConfigurationError) as error:
        _ = conf.attributes
    assert str(error.value) == f'FLAGSTAFF["ATTRIBUTES"] {problem}; {hint}'


def test_attributes_are_columns_and_a_callable() -> None:
    with with_settings(ATTRIBUTES=["country", "shop.flags.attributes", "plan"]):
        assert conf.attributes == AttributeSources(("country", "plan"), "shop.flags.attributes")
    with with_settings(ATTRIBUTES="country"):
        assert conf.attributes == AttributeSources(("country",), None)
