"""The settings of FLAGSTAFF: their names, their defaults and the values that they accept."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import connections
from django.db.models import Model

from flagstaff.conf.attribute_sources import is_path
from flagstaff.conf.attribute_sources import problem_of as problem_of_attributes
from flagstaff.conf.environment import problem_of as problem_of_environment
from flagstaff.conf.ofrep import problem_of as problem_of_ofrep
from flagstaff.conf.receivers import is_url, problem_of

_HOUR = 3600
_WEEK = 7 * 86_400
_MAX_POOL_SIZE = 16
_YEAR = 365 * 86_400
MAX_STALE_DAYS = 3650
_MAX_KEPT_DAYS = 36_500
# Browsers keep no cookie for longer.
_MAX_COOKIE_AGE = 400 * 86_400
_MAX_VISITORS = 1_000_000_000
_COOKIE_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_COOKIE_DOMAIN = re.compile(r"[A-Za-z0-9.-]+")


@dataclass(frozen=True)
class Rule:
    """The default of a setting, and the values that it accepts."""

    default: object
    #: What is accepted, in words.
    expected: str
    is_valid: Callable[[Any], bool]
    #: For a value that may not be shown: returns the problem, and what is expected.
    problem_of: Callable[[object], tuple[str, str] | None] | None = None
    #: Whether the engine reads it at its start, so that it cannot change while the engine runs.
    #: All others are read at each use, or again when Django signals a change of the settings.
    fixed: bool = False

    def accepts(self, value: object) -> bool:
        """Whether the setting can have this value."""
        try:
            return self.is_valid(value)
        except TypeError:  # an unhashable value where one of a few words is expected
            return False


def _seconds(default: float, *, low: float, high: float, fixed: bool = True) -> Rule:
    return Rule(
        default,
        f"a number of seconds from {low:g} to {high:g}",
        lambda value: _is_number(value) and low <= value <= high,
        fixed=fixed,
    )


def _days() -> Rule:
    return Rule(
        None,
        f"a whole number of days from 1 to {_MAX_KEPT_DAYS}, or None to delete nothing",
        lambda value: value is None or (type(value) is int and 1 <= value <= _MAX_KEPT_DAYS),
    )


def _function(example: str) -> Rule:
    return Rule(
        None,
        f'the path of a function (request), such as "{example}", or None',
        lambda value: value is None or is_path(value),
    )


def _flag(*, default: bool, fixed: bool = False) -> Rule:
    return Rule(default, "True or False", lambda value: isinstance(value, bool), fixed=fixed)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_alias(value: object) -> bool:
    return value is None or value in list(connections)


def _is_model(value: object) -> bool:
    if not isinstance(value, str) or value.count(".") != 1:
        return False
    # Before the models are loaded only the form of the label can be checked.
    return not apps.models_ready or _installed_model(value) is not None


def _is_site_url(value: object) -> bool:
    return value is None or (is_url(value) and not set("?#@") & set(value))


def _is_dict_of_paths(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    return all(isinstance(key, str) and is_path(path) for key, path in value.items())


def _is_text_of(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _installed_model(label: str) -> type[Model] | None:
    try:
        return apps.get_model(label)
    except (LookupError, ValueError):
        return None


RULES: dict[str, Rule] = {
    "DATABASE": Rule(
        default=None,
        expected="an alias in DATABASES, or None",
        is_valid=_is_alias,
        fixed=True,
    ),
    "FLAG_MODEL": Rule(
        default="flagstaff.FeatureFlag",
        expected='the label of an installed model, such as "shop.Flag"',
        is_valid=_is_model,
        fixed=True,
    ),
    "VALUE_MODEL": Rule(
        default="flagstaff.KeyValueStore",
        expected='the label of an installed model, such as "shop.Value"',
        is_valid=_is_model,
        fixed=True,
    ),
    "LISTEN": _flag(default=True, fixed=True),
    "POLL_INTERVAL": _seconds(default=5.0, low=0.1, high=_HOUR),
    "MAX_STALENESS": _seconds(default=300.0, low=1, high=_WEEK),
    "STARTUP_TIMEOUT": _seconds(default=1.0, low=0, high=60, fixed=False),
    "POOL_SIZE": Rule(
        default=2,
        expected=f"a whole number from 1 to {_MAX_POOL_SIZE}",
        is_valid=lambda value: type(value) is int and 1 <= value <= _MAX_POOL_SIZE,
        fixed=True,
    ),
    "POOL_IDLE": _seconds(default=0.0, low=0, high=_HOUR),
    "USAGE_INTERVAL": Rule(
        default=60.0,
        expected=f"a number of seconds from 1 to {_HOUR}, or 0 to turn usage off",
        is_valid=lambda value: _is_number(value) and (value == 0 or 1 <= value <= _HOUR),
        fixed=True,
    ),
    "MEASURE_INTERVAL": _seconds(default=5.0, low=0.1, high=60),
    "CLIENT_ADDRESS": _function("shop.network.client"),
    "STALE_DAYS": Rule(
        default=30,
        expected=f"a whole number of days from 1 to {MAX_STALE_DAYS}",
        is_valid=lambda value: type(value) is int and 1 <= value <= MAX_STALE_DAYS,
    ),
    "HISTORY_DAYS": _days(),
    "USAGE_DAYS": _days(),
    "EXPOSURE_DAYS": _days(),
    "METRICS": Rule(
        default={},
        expected='a dict of dotted paths by name, such as {"orders": "shop.metrics.orders"}',
        is_valid=_is_dict_of_paths,
    ),
    "EXCLUDED_UNITS": Rule(
        default={},
        expected='a dict of dotted paths by unit, such as {"visitor": "shop.metrics.bots"}',
        is_valid=_is_dict_of_paths,
    ),
    "IS_CRAWLER": _function("flagstaff.crawlers.is_crawler"),
    "NEW_VISITORS_PER_HOUR": Rule(
        default=50_000,
        expected=f"a whole number from 1 to {_MAX_VISITORS:,}",
        is_valid=lambda value: type(value) is int and 1 <= value <= _MAX_VISITORS,
        fixed=True,
    ),
    "UNKNOWN_KEY": Rule(
        default="ignore",
        expected='"ignore", "warn" or "raise"',
        is_valid=lambda value: value in ("ignore", "warn", "raise"),
    ),
    "ATTRIBUTES": Rule(
        default=(),
        expected="a list of columns of the user model, or the path of a function",
        is_valid=lambda value: problem_of_attributes(value) is None,
        problem_of=problem_of_attributes,
    ),
    "VISITOR_COOKIE": Rule(
        default=True,
        expected='True, False, or the path of a function (request), such as "shop.consent.given"',
        is_valid=lambda value: isinstance(value, bool) or is_path(value),
    ),
    "VISITOR_COOKIE_NAME": Rule(
        default="flagstaff_visitor",
        expected="the name of a cookie: letters, digits, and signs such as - and _",
        is_valid=lambda value: _is_text_of(_COOKIE_NAME, value),
    ),
    "VISITOR_COOKIE_AGE": Rule(
        default=_YEAR,
        expected=f"a whole number of seconds from 60 to {_MAX_COOKIE_AGE}, which is 400 days",
        is_valid=lambda value: type(value) is int and 60 <= value <= _MAX_COOKIE_AGE,  # noqa: PLR2004
    ),
    "VISITOR_COOKIE_DOMAIN": Rule(
        default=None,
        expected='the domain of a cookie, such as ".shop.example", or None',
        is_valid=lambda value: value is None or _is_text_of(_COOKIE_DOMAIN, value),
    ),
    "WEBHOOKS": Rule(
        default={},
        expected="a dict of receivers",
        is_valid=lambda value: problem_of(value) is None,
        problem_of=problem_of,
    ),
    "SITE_URL": Rule(
        default=None,
        expected="the URL of your site, such as https://shop.example, or None",
        is_valid=_is_site_url,
    ),
    "DOCS_URL": Rule(
        default=None,
        expected="the URL of a site with the documentation, or None",
        is_valid=_is_site_url,
    ),
    "ENVIRONMENT": Rule(
        default=None,
        expected="a dict, or None",
        is_valid=lambda value: problem_of_environment(value) is None,
        problem_of=problem_of_environment,
    ),
    "REQUIRE_REASON": _flag(default=False),
    "READ_ONLY": _flag(default=False),
    "OFREP": Rule(
        default={},
        expected="a dict",
        is_valid=lambda value: problem_of_ofrep(value) is None,
        problem_of=problem_of_ofrep,
    ),
    # The app flagstaff.contrib.waffle checks what is in it.
    "WAFFLE": Rule(
        default={},
        expected="a dict of settings for the app flagstaff.contrib.waffle",
        is_valid=lambda value: isinstance(value, dict),
    ),
}
