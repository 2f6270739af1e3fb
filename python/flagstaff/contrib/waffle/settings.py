"""The setting WAFFLE, the keys of waffle's names, and waffle's own settings with its models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils import timezone

from flagstaff.conf import Setting, SettingError
from flagstaff.validators import is_valid_flag_key

#: The three models of waffle.
WaffleKind: TypeAlias = Literal["flag", "switch", "sample"]
WAFFLE_KINDS: tuple[WaffleKind, ...] = ("flag", "switch", "sample")

#: The attribute of the rules for waffle's test parameter: "1" or "0".
TEST_ATTRIBUTE = "waffle_test"
#: The attribute of the rule for languages.
LANGUAGE_ATTRIBUTE = "language"
#: The bucketing unit of samples: a new random number for each evaluation.
SAMPLE_UNIT = "waffle_sample"

#: The version of waffle whose place flagstaff takes.
WAFFLE_VERSION = "5.0.0"
#: What waffle's settings are, unless a project has its own.
DEFAULTS: Mapping[str, Any] = {
    "COOKIE": "dwf_%s",
    "TEST_COOKIE": "dwft_%s",
    "SECURE": True,
    "MAX_AGE": 30 * 86_400,
    "CACHE_PREFIX": "waffle:",
    "CACHE_NAME": "default",
    "FLAG_CACHE_KEY": "flag:%s",
    "FLAG_USERS_CACHE_KEY": "flag:%s:users",
    "FLAG_GROUPS_CACHE_KEY": "flag:%s:groups",
    "ALL_FLAGS_CACHE_KEY": "flags:all",
    "SAMPLE_CACHE_KEY": "sample:%s",
    "ALL_SAMPLES_CACHE_KEY": "samples:all",
    "SWITCH_CACHE_KEY": "switch:%s",
    "ALL_SWITCHES_CACHE_KEY": "switches:all",
    "FLAG_DEFAULT": False,
    "SAMPLE_DEFAULT": False,
    "SWITCH_DEFAULT": False,
    "READ_FROM_WRITE_DB": False,
    "CREATE_MISSING_FLAGS": False,
    "CREATE_MISSING_SAMPLES": False,
    "CREATE_MISSING_SWITCHES": False,
    "LOG_MISSING_FLAGS": None,
    "LOG_MISSING_SAMPLES": None,
    "LOG_MISSING_SWITCHES": None,
    "OVERRIDE": False,
    "ENABLE_ADMIN_PAGES": True,
    "FLAG_MODEL": "waffle.Flag",
    "SWITCH_MODEL": "waffle.Switch",
    "SAMPLE_MODEL": "waffle.Sample",
}

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


def get_setting(name: str, default: Any = None) -> Any:
    """Returns a setting of waffle, such as "COOKIE" for WAFFLE_COOKIE."""
    return getattr(settings, f"WAFFLE_{name}", DEFAULTS.get(name, default))


def get_waffle_model(setting_name: str) -> Any:
    """Returns the model of a setting such as "FLAG_MODEL". Raises ImproperlyConfigured."""
    name = get_setting(setting_name)
    try:
        return apps.get_model(name)
    except ValueError as error:
        text = f"WAFFLE_{setting_name} must be of the form 'app_label.model_name'"
        raise ImproperlyConfigured(text) from error
    except LookupError as error:
        text = f"WAFFLE_{setting_name} refers to model {name!r} that has not been installed"
        raise ImproperlyConfigured(text) from error


def waffle_model(kind: WaffleKind) -> Any:
    """Returns the model of waffle, or that of the project in its place."""
    return get_waffle_model(f"{kind.upper()}_MODEL")
