"""The setting FLAGSTAFF["WAFFLE"], checked and typed, and the keys of waffle's names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any, Literal, TypeAlias, TypeVar

from django.core.signals import setting_changed
from django.utils import timezone

from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError
from flagstaff.validators import is_valid_flag_key

#: The three models of waffle.
WaffleKind: TypeAlias = Literal["flag", "switch", "sample"]
WAFFLE_KINDS: tuple[WaffleKind, ...] = ("flag", "switch", "sample")

_T = TypeVar("_T")
_UNITS = {"visitors": "visitor", "users": "user"}
_EXPECTED = {
    "KEYS": 'a dict of keys by kind and name, such as {"switch:checkout": "checkout.switch"}',
    "PERCENT_OF": '"visitors" or "users"',
    "COOKIES_UNTIL": 'a day such as "2027-01-05", or None',
}


@dataclass(frozen=True)
class WaffleSettings:
    """How rows of waffle become flags, and whether evaluations read waffle's cookies."""

    #: The keys of names that cannot be keys, by "kind:name".
    keys: Mapping[str, str]
    #: The bucketing unit of percentages.
    unit: str
    #: The last day on which a cookie of waffle decides in place of the bucket.
    cookies_until: date | None

    @property
    def keeps_cookies(self) -> bool:
        """Whether a cookie of waffle decides today in place of the percentage of a flag."""
        # The day in TIME_ZONE, whichever time zone a request has activated.
        today = timezone.now().astimezone(timezone.get_default_timezone()).date()
        return self.cookies_until is not None and today <= self.cookies_until


@lru_cache(maxsize=1)
def waffle_settings() -> WaffleSettings:
    """Returns the settings. Raises ConfigurationError that names the one that is not valid."""
    given = conf.waffle
    if unknown := sorted(map(str, given.keys() - _EXPECTED)):
        known = ", ".join(_EXPECTED)
        text = f'FLAGSTAFF["WAFFLE"] has no setting {unknown[0]!r}; known settings: {known}'
        raise ConfigurationError(text)
    return WaffleSettings(
        _read("KEYS", given.get("KEYS", {}), _keys),
        _read("PERCENT_OF", given.get("PERCENT_OF", "visitors"), _UNITS.__getitem__),
        _read("COOKIES_UNTIL", given.get("COOKIES_UNTIL"), _day),
    )


def _read(name: str, value: Any, read: Callable[[Any], _T]) -> _T:
    try:
        return read(value)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        text = f'FLAGSTAFF["WAFFLE"]["{name}"] is {value!r}; expected {_EXPECTED[name]}'
        raise ConfigurationError(text) from error


def _keys(value: dict[str, str]) -> dict[str, str]:
    for place, key in value.items():
        kind, _, name = place.partition(":")
        if kind not in WAFFLE_KINDS or not name or not is_valid_flag_key(key):
            raise ValueError(place)
    return value


def _day(value: Any) -> date | None:
    return value if value is None or type(value) is date else date.fromisoformat(value)


def key_of(kind: WaffleKind, name: str) -> str:
    """Returns the key of what waffle knows by a name: that of KEYS, or the name.

    In a name that is no key, each character that a key cannot have becomes "_".
    """
    return waffle_settings().keys.get(f"{kind}:{name}") or _as_key(str(name))


@lru_cache(maxsize=10_000)
def _as_key(name: str) -> str:
    if is_valid_flag_key(name):
        return name
    # The first letter makes a single "-" valid, which may not begin a key.
    key = "".join(letter if is_valid_flag_key(f"a{letter}") else "_" for letter in name)
    return f"_{key[1:]}" if key.startswith("-") else key


def _forget(*, setting: str, **_: object) -> None:
    if setting == "FLAGSTAFF":
        waffle_settings.cache_clear()


setting_changed.connect(_forget, dispatch_uid="flagstaff.contrib.waffle")
