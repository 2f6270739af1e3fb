"""The setting WAFFLE, and the keys of waffle's names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from django.core.signals import setting_changed
from django.utils import timezone

from flagstaff.conf import Setting, SettingError
from flagstaff.validators import is_valid_flag_key

#: The three models of waffle.
WaffleKind: TypeAlias = Literal["flag", "switch", "sample"]
WAFFLE_KINDS: tuple[WaffleKind, ...] = ("flag", "switch", "sample")

_UNITS = {"visitors": "visitor", "users": "user"}
_EXPECTED = (
    'expected a dict such as {"KEYS": {"switch:checkout": "checkout.switch"}, "PERCENT_OF": '
    '"visitors" or "users", "COOKIES_UNTIL": "2027-01-05"}'
)


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


def settings_of(value: Any) -> WaffleSettings:
    """Returns what WAFFLE contains. Raises SettingError."""
    try:
        return _settings_of(**{name.lower(): option for name, option in value.items()})
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise SettingError(f'FLAGSTAFF["WAFFLE"] is {value!r}', _EXPECTED) from error


def _settings_of(
    keys: Any = MappingProxyType({}), percent_of: Any = "visitors", cookies_until: Any = None
) -> WaffleSettings:
    for place, key in keys.items():
        kind, _, name = place.partition(":")
        if kind not in WAFFLE_KINDS or not name or not is_valid_flag_key(key):
            raise ValueError(place)
    is_day = cookies_until is None or type(cookies_until) is date
    day = cookies_until if is_day else date.fromisoformat(cookies_until)
    return WaffleSettings(keys, _UNITS[percent_of], day)


WAFFLE = Setting("The stand-in for django-waffle", {}, "a dict", convert=settings_of, name="WAFFLE")
SETTINGS = (WAFFLE,)


@lru_cache(maxsize=1)
def waffle_settings() -> WaffleSettings:
    """Returns the settings. Raises SettingError."""
    return WAFFLE.current()


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
