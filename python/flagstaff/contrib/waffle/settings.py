"""The setting FLAGSTAFF["WAFFLE"], checked and typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Literal, TypeAlias

from django.core.signals import setting_changed
from django.utils import timezone

from flagstaff._words.times import aware
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError
from flagstaff.validators import is_valid_flag_key

#: The three models of waffle.
WaffleKind: TypeAlias = Literal["flag", "switch", "sample"]
WAFFLE_KINDS: tuple[WaffleKind, ...] = ("flag", "switch", "sample")

_UNITS = {"visitors": "visitor", "users": "user"}
_EXPECTED = {
    "KEYS": 'a dict of keys by kind and name, such as {"switch:checkout": "checkout.switch"}',
    "PERCENT_OF": '"visitors", "users", or a dict of these by the names of flags',
    "FIELDS": 'a dict of attributes by the columns of your model, such as {"teams": "team_id"}',
    "COOKIES_UNTIL": 'a day such as "2027-01-05", or None',
}


@dataclass(frozen=True)
class WaffleSettings:
    """How rows of waffle become flags, and what their evaluations read."""

    #: The keys of names that cannot be keys, by "kind:name".
    keys: Mapping[str, str] = field(default_factory=dict)
    #: The bucketing unit of percentages, and those of single flags by name.
    unit: str = "visitor"
    units: Mapping[str, str] = field(default_factory=dict)
    #: The attributes that rules read in place of columns of the project's flag model.
    fields: Mapping[str, str] = field(default_factory=dict)
    #: The last day on which a cookie of waffle decides in place of the bucket.
    cookies_until: date | None = None

    @property
    def keeps_cookies(self) -> bool:
        """Whether a cookie of waffle decides today in place of the percentage of a flag."""
        return self.cookies_until is not None and today() <= self.cookies_until

    def unit_of(self, name: str) -> str:
        """Returns the bucketing unit of the percentage of a flag of waffle."""
        return self.units.get(name, self.unit)


def today() -> date:
    """Returns the day in TIME_ZONE, whichever time zone a request has activated."""
    return aware(timezone.now()).astimezone(timezone.get_default_timezone()).date()


@lru_cache(maxsize=1)
def waffle_settings() -> WaffleSettings:
    """Returns the settings. Raises ConfigurationError that names the one that is not valid."""
    given = conf.waffle
    for name in given:
        if name not in _EXPECTED:
            known = ", ".join(_EXPECTED)
            text = f'FLAGSTAFF["WAFFLE"] has no setting {name!r}; known settings: {known}'
            raise ConfigurationError(text)
    units = given.get("PERCENT_OF", "visitors")
    by_name = units if isinstance(units, Mapping) else {}
    return WaffleSettings(
        keys=_keys(given.get("KEYS", {})),
        unit=_unit("visitors" if by_name is units else units),
        units={str(name): _unit(unit) for name, unit in by_name.items()},
        fields=_texts("FIELDS", given.get("FIELDS", {})),
        cookies_until=_day(given.get("COOKIES_UNTIL")),
    )


def _forget(*, setting: str, **_: object) -> None:
    if setting == "FLAGSTAFF":
        waffle_settings.cache_clear()


setting_changed.connect(_forget, dispatch_uid="flagstaff.contrib.waffle.settings")


def _wrong(name: str, value: object) -> ConfigurationError:
    text = f'FLAGSTAFF["WAFFLE"]["{name}"] is {value!r}; expected {_EXPECTED[name]}'
    return ConfigurationError(text)


def _day(value: object) -> date | None:
    if value is None or type(value) is date:
        return value
    if not isinstance(value, str):
        raise _wrong("COOKIES_UNTIL", value)
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise _wrong("COOKIES_UNTIL", value) from error


def _unit(value: object) -> str:
    if not isinstance(value, str) or value not in _UNITS:
        raise _wrong("PERCENT_OF", value)
    return _UNITS[value]


def _texts(name: str, value: object) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise _wrong(name, value)
    if not all(isinstance(text, str) for pair in value.items() for text in pair):
        raise _wrong(name, value)
    return dict(value)


def _keys(value: object) -> Mapping[str, str]:
    keys = _texts("KEYS", value)
    for place, key in keys.items():
        kind, _, name = place.partition(":")
        if kind not in WAFFLE_KINDS or not name or not is_valid_flag_key(key):
            raise _wrong("KEYS", value)
    return keys
