"""The setting FLAGSTAFF["WAFFLE"], checked and typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Literal, TypeAlias

from django.conf import settings
from django.core.signals import setting_changed

from flagstaff._words.times import today
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError
from flagstaff.validators import is_valid_flag_key

#: The three models of waffle.
WaffleKind: TypeAlias = Literal["flag", "switch", "sample"]
WAFFLE_KINDS: tuple[WaffleKind, ...] = ("flag", "switch", "sample")

_KEEP = "KEEP_COOKIES_UNTIL"
_UNITS = {"visitors": "visitor", "users": "user"}
_EXPECTED = {
    "SERVE": 'True, False, or a list of names and patterns, such as ["checkout", "beta_*"]',
    "PERCENT": '"bucket" or "cookie"',
    _KEEP: 'a day such as "2027-01-05", or None',
    "MIRROR": "True or False",
    "SHADOW": "a share from 0 to 1",
    "KEYS": 'a dict of keys by kind and name, such as {"switch:checkout": "checkout.switch"}',
    "PERCENT_OF": '"visitors", "users", or a dict of these by the names of flags',
    "FIELDS": 'a dict of attributes by the columns of your model, such as {"teams": "team_id"}',
}


@dataclass(frozen=True)
class WaffleSettings:
    """How flagstaff and waffle work side by side."""

    #: Which flags, switches and samples flagstaff evaluates: all, none, or patterns of names.
    serve: bool | tuple[str, ...] = False
    #: What decides where the own percentage of a flag does: our bucket, or waffle's cookie.
    percent: Literal["bucket", "cookie"] = "bucket"
    #: The last day on which a cookie of waffle decides in place of the bucket.
    keep_cookies_until: date | None = None
    #: Whether changes of waffle's rows are written here, too.
    mirror: bool = True
    #: The share of the evaluations by waffle that are compared, from 0 to 1.
    shadow: float = 1.0
    #: The keys of names that cannot be keys, by "kind:name".
    keys: Mapping[str, str] = field(default_factory=dict)
    #: The bucketing unit of percentages, and those of single flags by name.
    unit: str = "visitor"
    units: Mapping[str, str] = field(default_factory=dict)
    #: The attributes that rules read in place of columns of the project's flag model.
    fields: Mapping[str, str] = field(default_factory=dict)

    def serves(self, name: str) -> bool:
        """Whether flagstaff evaluates the flag, switch or sample of this name."""
        if isinstance(self.serve, bool):
            return self.serve
        return _matches(name, self.serve)

    @property
    def keeps_cookies(self) -> bool:
        """Whether a cookie of waffle decides today where the percentage of a flag does."""
        until = self.keep_cookies_until
        return self.percent == "cookie" or (until is not None and today() <= until)

    def unit_of(self, name: str) -> str:
        """Returns the bucketing unit of the percentage of a flag of waffle."""
        return self.units.get(name, self.unit)


_DEFAULTS = {
    "COOKIE": "dwf_%s",
    "TEST_COOKIE": "dwft_%s",
    "MAX_AGE": 30 * 86_400,
    "SECURE": True,
    "OVERRIDE": False,
    "FLAG_DEFAULT": False,
    "SWITCH_DEFAULT": False,
    "SAMPLE_DEFAULT": False,
}


def setting_of_waffle(name: str) -> Any:
    """Returns a setting of waffle, such as "COOKIE", also where waffle is not installed."""
    return getattr(settings, f"WAFFLE_{name}", _DEFAULTS[name])


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
        serve=_serve(given.get("SERVE", False)),
        percent=_one_of("PERCENT", given.get("PERCENT", "bucket"), ("bucket", "cookie")),
        keep_cookies_until=_day(given.get(_KEEP)),
        mirror=_one_of("MIRROR", given.get("MIRROR", True), (True, False)),
        shadow=_share(given.get("SHADOW", 1.0)),
        keys=_keys(given.get("KEYS", {})),
        unit=_unit("visitors" if by_name is units else units),
        units={str(name): _unit(unit) for name, unit in by_name.items()},
        fields=_texts("FIELDS", given.get("FIELDS", {})),
    )


@lru_cache(maxsize=10_000)
def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _forget(*, setting: str, **_: object) -> None:
    if setting == "FLAGSTAFF":
        waffle_settings.cache_clear()


setting_changed.connect(_forget, dispatch_uid="flagstaff.compat.settings")


def _wrong(name: str, value: object) -> ConfigurationError:
    text = f'FLAGSTAFF["WAFFLE"]["{name}"] is {value!r}; expected {_EXPECTED[name]}'
    return ConfigurationError(text)


def _serve(value: object) -> bool | tuple[str, ...]:
    if isinstance(value, bool):
        return value
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        return tuple(value)
    raise _wrong("SERVE", value)


def _one_of(name: str, value: Any, accepted: tuple[Any, ...]) -> Any:
    if type(value) not in {type(one) for one in accepted} or value not in accepted:
        raise _wrong(name, value)
    return value


def _day(value: object) -> date | None:
    if value is None or type(value) is date:
        return value
    try:
        return date.fromisoformat(value) if isinstance(value, str) else _refuse(value)
    except ValueError as error:
        raise _wrong(_KEEP, value) from error


def _refuse(value: object) -> date:
    raise _wrong(_KEEP, value)


def _share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise _wrong("SHADOW", value)
    return float(value)


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
