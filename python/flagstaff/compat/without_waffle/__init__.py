"""What call sites of waffle get without waffle: results of flagstaff."""

from __future__ import annotations

from typing import NoReturn

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest

from flagstaff.compat import serve
from flagstaff.compat.settings import setting_of_waffle

__all__ = [
    "flag_is_active",
    "get_waffle_flag_model",
    "get_waffle_model",
    "get_waffle_sample_model",
    "get_waffle_switch_model",
    "sample_is_active",
    "switch_is_active",
]


def flag_is_active(
    request: HttpRequest | None,
    flag_name: str,
    read_only: bool = False,  # noqa: FBT001, FBT002 (waffle's signature)
) -> bool:
    """Returns whether a flag is on for a request. Without the flag, WAFFLE_FLAG_DEFAULT."""
    result = serve.served_flag(flag_name, request, read_only=read_only)
    return bool(setting_of_waffle("FLAG_DEFAULT")) if result is None else result


def switch_is_active(switch_name: str) -> bool:
    """Returns whether a switch is on. Without it, WAFFLE_SWITCH_DEFAULT."""
    result = serve.served_switch(switch_name)
    return bool(setting_of_waffle("SWITCH_DEFAULT")) if result is None else result


def sample_is_active(sample_name: str) -> bool:
    """Returns whether a sample is on this time. Without it, WAFFLE_SAMPLE_DEFAULT."""
    result = serve.served_sample(sample_name)
    return bool(setting_of_waffle("SAMPLE_DEFAULT")) if result is None else result


def get_waffle_model(setting_name: str) -> NoReturn:
    """Raises ImproperlyConfigured: only waffle has models of its own."""
    raise ImproperlyConfigured(
        f"waffle is not installed, so there is no {setting_name}; use flagstaff.models.FeatureFlag"
    )


def get_waffle_flag_model() -> NoReturn:
    """Raises ImproperlyConfigured."""
    get_waffle_model("FLAG_MODEL")


def get_waffle_switch_model() -> NoReturn:
    """Raises ImproperlyConfigured."""
    get_waffle_model("SWITCH_MODEL")


def get_waffle_sample_model() -> NoReturn:
    """Raises ImproperlyConfigured."""
    get_waffle_model("SAMPLE_MODEL")
