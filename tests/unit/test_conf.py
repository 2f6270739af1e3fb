from email.message import Message
from types import MappingProxyType
from typing import Any

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from pytest_django import Settings

from flagstaff._engine import lifecycle
from flagstaff.conf import (
    SETTINGS,
    AttributeSources,
    Environment,
    ObjectSource,
    all_settings,
    conf,
    packaged_documentation,
)
from flagstaff.contrib.ofrep.settings import KEYS
from flagstaff.exceptions import ConfigurationError
from flagstaff.models import FeatureFlag, KeyValueStore

NAMES = f"{', '.join(all_settings())}; an optional app adds its own if it is in INSTALLED_APPS"


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
    assert (conf.startup_timeout, conf.pool_size, conf.pool_idle) == (1.0, 2, 0.0)
    assert conf.unknown_key == "ignore"
    assert (conf.visitor_cookie, conf.visitor_cookie_name) == (True, "flagstaff_visitor")
    assert (conf.visitor_cookie_age, conf.visitor_cookie_domain) == (31_536_000, None)
    assert conf.environment is None
    assert (conf.require_reason, conf.read_only) == (False, False)


#: A value of each setting that is not its default.
OTHERS: dict[str, object] = {
    "ALLOW_FORCE_ON": True,
    "DATABASE": "default",
    "REPORT_DATABASE": "default",
    "REGION": "eu",
    "REGIONS": ["eu"],
    "FLAG_MODEL": "flagstaff.Segment",
    "VALUE_MODEL": "flagstaff.Segment",
    "LISTEN": False,
    "POLL_INTERVAL": 7,
    "MAX_STALENESS": 7,
    "STARTUP_TIMEOUT": 7,
    "POOL_SIZE": 7,
    "POOL_IDLE": 7,
    "USAGE_INTERVAL": 7,
    "MEASURE_INTERVAL": 7,
    "RELEASE": "v42",
    "NEW_VISITORS_PER_HOUR": 7,
    "STALE_DAYS": 7,
    "HISTORY_DAYS": 7,
    "USAGE_DAYS": 7,
    "EXPOSURE_DAYS": 7,
    "METRICS": {"orders": "shop.metrics.orders"},
    "EXCLUDED_UNITS": {"visitor": "shop.metrics.bots"},
    "UNKNOWN_KEY": "raise",
    "ALLOWED_KEYS": ["new_checkout"],
    "ATTRIBUTES": ["email"],
    "VISITOR_COOKIE": False,
    "VISITOR_COOKIE_NAME": "visitor",
    "VISITOR_COOKIE_AGE": 77,
    "VISITOR_COOKIE_DOMAIN": ".shop.example",
    "SITE_URL": "https://shop.example",
    "DOCS_URL": "https://docs.example",
    "ENVIRONMENT": {"name": "Test"},
    "REQUIRE_REASON": True,
    "REQUIRE_ACTOR": True,
    "APPROVAL": "most",
    "READ_ONLY": True,
}


@pytest.mark.parametrize("name", SETTINGS)
def test_setting_follows_a_change_or_refuses_it_while_the_engine_runs(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, changed = getattr(conf, name.lower()), with_settings(**{name: OTHERS[name]})
    with changed:
        after = getattr(conf, name.lower())
    assert getattr(conf, name.lower()) == before
    assert after != before or name in ("DATABASE", "REPORT_DATABASE")
    monkeypatch.setattr(lifecycle._process, "fixed_settings", conf.fixed())
    if not SETTINGS[name].fixed:
        with changed:
            assert getattr(conf, name.lower()) == after
        return
    with pytest.raises(ConfigurationError) as error, changed:
        pass
    assert str(error.value) == (
        f'FLAGSTAFF["{name}"] cannot change while the engine runs, which reads it at its start; '
        "set it before live_engine()"
    )
    assert getattr(conf, name.lower()) == before


def test_setting_of_an_app_is_unknown_without_the_app() -> None:
    apps = [app for app in settings.INSTALLED_APPS if app != "flagstaff.contrib.ofrep"]
    with with_settings(OFREP_KEYS={}):
        assert KEYS.current() == {}
        with override_settings(INSTALLED_APPS=apps), pytest.raises(ConfigurationError) as error:
            conf.fixed()
    assert str(error.value).startswith("FLAGSTAFF has no setting 'OFREP_KEYS'; ")


def test_database_is_that_of_the_setting_or_where_the_router_writes_flags() -> None:
    with override_settings(DATABASE_ROUTERS=[OtherDatabase()]):
        assert conf.database == "flags"
        with with_settings(DATABASE="default"):
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
    with override_settings(FLAGSTAFF={name: 1}), pytest.raises(ConfigurationError) as error:
        conf.fixed()
    assert str(error.value) == f"FLAGSTAFF has no setting {name!r}; {hint}"


SECONDS = "a number of seconds from"
KEPT = "a whole number of days from 1 to 36500, or None to delete nothing"
SITE_URL = "the URL of your site, such as https://shop.example, or None"
VISITOR_COOKIE = 'True, False, or the path of a function (request), such as "shop.consent.given"'
CLIENT_ADDRESS = 'the path of a function (request), such as "shop.network.client", or None'
COOKIE_NAME = "the name of a cookie: letters, digits, and signs such as - and _"
COOKIE_DOMAIN = 'the domain of a cookie, such as ".shop.example", or None'
LABEL = 'the label of an installed model, such as "shop.'
ATTRIBUTES = (
    'a list of columns of the user model, such as ["country", "plan"], the path of one '
    'function (user, request), such as "shop.flags.attributes", and dicts such as '
    '{"name": "organizations", "model": "shop.Organization"}; '
    "built in are is_authenticated, is_staff, is_superuser, groups and visitor"
)
COLORS = ("grey", "green", "blue", "purple", "orange", "red")
ENVIRONMENT = (
    'None, or a dict such as {"name": "Production", "color": "red", "production": True}; '
    f"colors: {', '.join(COLORS)}; a name has at most 40 characters"
)
INVALID_ENVIRONMENTS = [
    *("Production", ["Production"], True, {}, {"name": "a", 1: "red"}),
    *({"name": name} for name in ("", "  ", 1, "x" * 41, "a\nb")),
    *({"name": "a", "color": color} for color in ("#ff0000", None, ["red"])),
    *({"name": "a", "production": production} for production in (1, "yes")),
    {"name": "a", "colour": "red"},
]
APPROVAL = (
    'None, "always", "more" (if users gain something), "most" (if afterwards more than half of the '
    "users have it), or the path of a function (action, rows, consequence), such as "
    '"shop.flags.needs_approval"'
)
# The invalid values of a setting, and what is expected.
INVALID: list[tuple[str, list[object], str]] = [
    ("DATABASE", ["nowhere", []], "an alias in DATABASES, or None"),
    ("FLAG_MODEL", ["FeatureFlag", "common.FeatureFlag"], f'{LABEL}Flag"'),
    ("VALUE_MODEL", [None], f'{LABEL}Value"'),
    *(
        (name, ["yes", 1, None], "True or False")
        for name in ("LISTEN", "REQUIRE_REASON", "REQUIRE_ACTOR")
    ),
    ("READ_ONLY", ["yes", 1, None], "True or False"),
    ("APPROVAL", ["never", True, "MOST"], APPROVAL),
    ("POLL_INTERVAL", [0.01, True, float("nan")], f"{SECONDS} 0.1 to 3,600"),
    ("STALE_DAYS", [0, 1.5], "a whole number of days from 1 to 3,650"),
    ("HISTORY_DAYS", [0, 1.5, True], KEPT),
    ("USAGE_DAYS", [-1], KEPT),
    ("EXPOSURE_DAYS", [36_501], KEPT),
    ("NEW_VISITORS_PER_HOUR", [0, 1.5], "a whole number from 1 to 1,000,000,000"),
    ("MAX_STALENESS", [0], f"{SECONDS} 1 to 604,800"),
    ("STARTUP_TIMEOUT", [-1, "1"], f"{SECONDS} 0 to 60"),
    ("POOL_SIZE", [0, 2.0], "a whole number from 1 to 16"),
    ("POOL_IDLE", [-1, "15", True], f"{SECONDS} 0 to 3,600"),
    ("USAGE_INTERVAL", [0.01, -1, True], "0, or a number of seconds from 1 to 3,600"),
    ("UNKNOWN_KEY", ["shout", {}], '"ignore", "warn" or "raise"'),
    ("CLIENT_ADDRESS", [True, "address"], CLIENT_ADDRESS),
    (
        "ATTRIBUTES",
        [
            {"country": "DE"},
            *([{"name": name, "model": "shop.Team"}] for name in ("groups", "two words", 1)),
            *([{"name": "teams", **source}] for source in ({}, {"model": "Team"})),
            [{"name": "teams", "model": "shop.Team", "field": "slug"}],
            *(["first name"], "", ["is_staff"], ["groups"], ["visitor"], ["shop.a", "shop.b"]),
        ],
        ATTRIBUTES,
    ),
    ("ENVIRONMENT", INVALID_ENVIRONMENTS, ENVIRONMENT),
    ("VISITOR_COOKIE", ["yes", None, "shop.consent given"], VISITOR_COOKIE),
    ("VISITOR_COOKIE_NAME", ["", "my visitor", "visitor="], COOKIE_NAME),
    ("VISITOR_COOKIE_AGE", [59, 34_560_001, True], f"{SECONDS} 60 to 34,560,000"),
    ("VISITOR_COOKIE_DOMAIN", ["", "https://shop.example"], COOKIE_DOMAIN),
    ("DOCS_URL", ["docs.example", 1], "the URL of a site with the documentation, or None"),
    ("SITE_URL", ["shop.example", "https://shop.example/?a=b"], SITE_URL),
]


@pytest.mark.parametrize(("name", "values", "expected"), INVALID)
def test_invalid_value_is_rejected_with_the_expected_values(
    name: str, values: list[object], expected: str
) -> None:
    for value in values:
        with with_settings(**{name: value}), pytest.raises(ConfigurationError) as error:
            all_settings()[name].current()
        assert str(error.value) == f'FLAGSTAFF["{name}"] is {value!r}; expected {expected}'


def test_settings_that_are_not_a_dict_are_rejected() -> None:
    message = 'FLAGSTAFF is a list; write a dict such as FLAGSTAFF = {"POLL_INTERVAL": 5.0}'
    with override_settings(FLAGSTAFF=["LISTEN"]):
        assert [str(problem) for problem in conf.problems()] == [message]
        with pytest.raises(ConfigurationError) as error:
            assert conf.listen
    assert str(error.value) == message


def test_system_checks_report_every_problem() -> None:
    with with_settings(POOL=3, POOL_SIZE=0, LISTEN=None):
        messages = sorted((str(check.id), check.msg, check.hint) for check in run_checks())
        with pytest.raises(ImproperlyConfigured):
            assert conf.pool_size
    assert messages == [
        ("flagstaff.E001", "FLAGSTAFF has no setting 'POOL'", 'did you mean "POOL_SIZE"?'),
        ("flagstaff.E001", 'FLAGSTAFF["LISTEN"] is None', "expected True or False"),
        ("flagstaff.E001", 'FLAGSTAFF["POOL_SIZE"] is 0', "expected a whole number from 1 to 16"),
    ]


def test_attributes_are_columns_objects_and_a_callable() -> None:
    with with_settings(ATTRIBUTES=["country", "shop.flags.attributes", "plan"]):
        path = "shop.flags.attributes"
        assert conf.attributes == AttributeSources(("country", "plan"), path, {})
    with with_settings(ATTRIBUTES="country"):
        assert conf.attributes == AttributeSources(("country",), None, {})
    teams = {"model": "shop.Team", "label": "slug", "path": "memberships__team"}
    with with_settings(ATTRIBUTES=["country", {"name": "teams", **teams}]):
        objects = {"teams": ObjectSource(**teams)}
        assert conf.attributes == AttributeSources(("country",), None, objects)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"name": "Staging"}, Environment("Staging", "grey", production=False)),
        (
            {"name": "Production", "color": "red", "production": True},
            Environment("Production", "red", production=True),
        ),
        ({"name": "Übung 2", "color": "green"}, Environment("Übung 2", "green")),
        (MappingProxyType({"name": "x" * 40}), Environment("x" * 40)),
        *(({"name": "Staging", "color": color}, Environment("Staging", color)) for color in COLORS),
    ],
)
def test_environment_is_read(environment: Any, expected: Environment) -> None:
    with with_settings(ENVIRONMENT=environment):
        assert conf.problems() == []
        assert conf.environment == expected


@pytest.mark.parametrize(
    ("documentation", "linked"),
    [
        ("https://docs.example/0.1/", "https://docs.example/0.1/"),
        ("https://django-flagstaff.invalid/docs/0.1/", None),
        (None, None),
    ],
)
def test_docs_url_is_that_of_the_package_unless_it_is_a_placeholder(
    documentation: str | None, linked: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged = Message()
    if documentation:
        packaged["Project-URL"] = f"Documentation, {documentation}"
    monkeypatch.setattr("flagstaff.conf.metadata", lambda _name: packaged)
    packaged_documentation.cache_clear()
    try:
        assert conf.docs_url == linked
        with with_settings(DOCS_URL="https://intranet.example/"):
            assert conf.docs_url == "https://intranet.example/"
    finally:
        packaged_documentation.cache_clear()
