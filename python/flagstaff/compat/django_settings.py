"""The settings of waffle among those of Django, such as WAFFLE_COOKIE. They outlive waffle."""

from __future__ import annotations

from typing import Any

from django.conf import settings

_DEFAULTS = {
    "COOKIE": "dwf_%s",
    "TEST_COOKIE": "dwft_%s",
    "SECURE": True,
    "MAX_AGE": 30 * 24 * 60 * 60,
    "FLAG_DEFAULT": False,
    "SWITCH_DEFAULT": False,
    "SAMPLE_DEFAULT": False,
    "OVERRIDE": False,
}


def waffle_setting(name: str) -> Any:
    """Returns the setting WAFFLE_<name>, or the default that waffle has for it."""
    return getattr(settings, f"WAFFLE_{name}", _DEFAULTS[name])
