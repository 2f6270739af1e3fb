"""The settings dict FLAGSTAFF: a typed property for each name, read from Django at each use."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, cast

from django.apps import apps
from django.conf import settings
from django.db import connections, router
from django.db.models import Model

from flagstaff._connection.aliases import is_one_database
from flagstaff.conf.receivers import Receiver, fault_of, is_address, receivers_of
from flagstaff.exceptions import ConfigurationError

__all__ = ["Conf", "Problem", "UnknownKey", "conf"]

UnknownKey = Literal["ignore", "warn", "raise"]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the settings, and how to mend it."""

    message: str
    hint: str
    unknown_name: bool = False

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}"


@dataclass(frozen=True)
class _Rule:
    default: Any
    expected: str
    accepts: Callable[[Any], bool]
    #: What is wrong with a value, and what is expected, where the value itself may not be shown.
    fault: Callable[[Any], tuple[str, str] | None] | None = None


def _seconds(default: float, low: float, high: float) -> _Rule:
    return _Rule(
        default,
        f"seconds from {low:g} to {high:g}",
        lambda value: _is_number(value) and low <= value <= high,
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_alias(value: object) -> bool:
    return value is None or value in list(connections)


def _is_model(value: object) -> bool:
    if not isinstance(value, str) or value.count(".") != 1:
        return False
    # Before the models are loaded only the form of the label can be judged.
    return not apps.models_ready or _installed(value) is not None


def _is_site(value: object) -> bool:
    return value is None or (is_address(value) and not set("?#@") & set(value))


def _installed(label: str) -> type[Model] | None:
    try:
        return apps.get_model(label)
    except (LookupError, ValueError):
        return None


_HOUR = 3600
_WEEK = 7 * 86_400
_LARGEST_POOL = 16

_RULES: dict[str, _Rule] = {
    "DATABASE": _Rule(None, "an alias in DATABASES, or None", _is_alias),
    "FLAG_MODEL": _Rule("flagstaff.FeatureFlag", 'an installed "app_label.Model"', _is_model),
    "VALUE_MODEL": _Rule("flagstaff.KeyValueStore", 'an installed "app_label.Model"', _is_model),
    "LISTEN": _Rule(
        default=True,
        expected="True or False",
        accepts=lambda value: isinstance(value, bool),
    ),
    "POLL_INTERVAL": _seconds(5.0, 0.1, 3600),
    "MAX_STALENESS": _seconds(300.0, 1, _WEEK),
    "STARTUP_TIMEOUT": _seconds(1.0, 0, 60),
    "POOL_SIZE": _Rule(
        default=2,
        expected=f"a whole number from 1 to {_LARGEST_POOL}",
        accepts=lambda value: type(value) is int and 1 <= value <= _LARGEST_POOL,
    ),
    "USAGE_INTERVAL": _Rule(
        default=60.0,
        expected="seconds from 1 to 3600, or 0",
        accepts=lambda value: _is_number(value) and (value == 0 or 1 <= value <= _HOUR),
    ),
    "UNKNOWN_KEY": _Rule(
        default="ignore",
        expected='"ignore", "warn" or "raise"',
        accepts=lambda value: value in ("ignore", "warn", "raise"),
    ),
    "WEBHOOKS": _Rule(
        default={},
        expected="a dict of receivers",
        accepts=lambda value: fault_of(value) is None,
        fault=fault_of,
    ),
    "SITE_URL": _Rule(
        None, "the address of your site such as https://shop.example, or None", _is_site
    ),
}


class Conf:
    """The settings as they are now; reading one that is not usable raises ConfigurationError."""

    @property
    def database(self) -> str:
        """The alias to write flags with, and to ask where there is no memory to answer from.

        It is where the router writes the flag model, if DATABASE leads to the same data: as a
        role that may only read, or to a replica.
        """
        named = cast("str | None", self._read("DATABASE"))
        written = router.db_for_write(self.flag_model)
        return written if named is None or is_one_database(written, named) else named

    @property
    def engine_database(self) -> str:
        """The alias that the engine connects with: DATABASE, or where the router writes."""
        named = cast("str | None", self._read("DATABASE"))
        return named or router.db_for_write(self.flag_model)

    @property
    def flag_model(self) -> type[Model]:
        """The model of the flags. Defaults to flagstaff.FeatureFlag."""
        return apps.get_model(self._read("FLAG_MODEL"))

    @property
    def value_model(self) -> type[Model]:
        """The model of the values. Defaults to flagstaff.KeyValueStore."""
        return apps.get_model(self._read("VALUE_MODEL"))

    @property
    def listen(self) -> bool:
        """Whether changes are listened for between polls. Defaults to True."""
        return cast("bool", self._read("LISTEN"))

    @property
    def poll_interval(self) -> float:
        """Seconds between two looks at the tokens. Defaults to 5."""
        return float(self._read("POLL_INTERVAL"))

    @property
    def max_staleness(self) -> float:
        """Seconds without news after which status() raises its alarm. Defaults to 300."""
        return float(self._read("MAX_STALENESS"))

    @property
    def startup_timeout(self) -> float:
        """Seconds that the first question of a process waits for the flags. Defaults to 1."""
        return float(self._read("STARTUP_TIMEOUT"))

    @property
    def pool_size(self) -> int:
        """How many short links a process may open at once. Defaults to 2."""
        return cast("int", self._read("POOL_SIZE"))

    @property
    def usage_interval(self) -> float:
        """Seconds between two flushes of what was asked, 0 for never. Defaults to 60."""
        return float(self._read("USAGE_INTERVAL"))

    @property
    def unknown_key(self) -> UnknownKey:
        """What a question about a missing key does beside its default. Defaults to "ignore"."""
        return cast("UnknownKey", self._read("UNKNOWN_KEY"))

    @property
    def webhooks(self) -> tuple[Receiver, ...]:
        """Who is told of changes. Defaults to nobody."""
        return receivers_of(self._read("WEBHOOKS"))

    @property
    def site_url(self) -> str | None:
        """Where this site is, for links in messages. Defaults to None: they have no link."""
        return cast("str | None", self._read("SITE_URL"))

    def problems(self) -> list[Problem]:
        """Everything that is wrong with the settings, for a system check."""
        given = self._given()
        if not isinstance(given, Mapping):
            return [_not_a_dict(given)]
        unknown = [_unknown(name) for name in given if name not in _RULES]
        bad = [
            _bad(name, given[name])
            for name, rule in _RULES.items()
            if name in given and not _accepts(rule, given[name])
        ]
        return unknown + bad

    def _read(self, name: str) -> Any:
        given = self._given()
        if not isinstance(given, Mapping):
            raise ConfigurationError(str(_not_a_dict(given)))
        for other in given:
            if other not in _RULES:
                raise ConfigurationError(str(_unknown(other)))
        rule = _RULES[name]
        value = given.get(name, rule.default)
        if not _accepts(rule, value):
            raise ConfigurationError(str(_bad(name, value)))
        return value

    def _given(self) -> object:
        return getattr(settings, "FLAGSTAFF", {})


def _accepts(rule: _Rule, value: object) -> bool:
    try:
        return rule.accepts(value)
    except TypeError:  # an unhashable value where one of a few words is expected
        return False


def _not_a_dict(given: object) -> Problem:
    return Problem(
        f"FLAGSTAFF is a {type(given).__name__}",
        f'write a dict such as FLAGSTAFF = {{"POLL_INTERVAL": {_RULES["POLL_INTERVAL"].default}}}',
    )


def _unknown(name: object) -> Problem:
    near = get_close_matches(str(name).upper(), _RULES, n=1, cutoff=0.5)
    hint = f'did you mean "{near[0]}"?' if near else f"known are {', '.join(_RULES)}"
    return Problem(f"FLAGSTAFF has no setting {name!r}", hint, unknown_name=True)


def _bad(name: str, value: object) -> Problem:
    rule = _RULES[name]
    fault = rule.fault and rule.fault(value)
    if fault:
        return Problem(f'FLAGSTAFF["{name}"]{fault[0]}', fault[1])
    return Problem(f'FLAGSTAFF["{name}"] is {value!r}', f"expected {rule.expected}")


conf = Conf()
