"""The package `waffle` after `flagstaff.contrib.waffle.install()`: waffle's names, our results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpRequest

if TYPE_CHECKING:
    from waffle.models import AbstractBaseFlag, AbstractBaseSample, AbstractBaseSwitch

if __name__ != "waffle":
    # Under two names, Django would have each model twice.
    raise ImportError(f'the stand-in is imported as "waffle", not as {__name__!r}')

from flagstaff.contrib.waffle.rows import result_of
from flagstaff.contrib.waffle.settings import WAFFLE_VERSION, get_setting, get_waffle_model

__all__ = [
    "flag_is_active",
    "get_setting",
    "get_waffle_flag_model",
    "get_waffle_model",
    "get_waffle_sample_model",
    "get_waffle_switch_model",
    "sample_is_active",
    "switch_is_active",
]

#: The version of waffle whose names these are.
__version__ = WAFFLE_VERSION


def flag_is_active(
    request: HttpRequest | None,
    flag_name: str,
    read_only: bool = False,  # noqa: FBT001, FBT002 (waffle's signature)
) -> bool | None:
    """Returns whether a flag is on for a request. Without the flag, WAFFLE_FLAG_DEFAULT."""
    result: bool | None = result_of(
        get_waffle_flag_model(), flag_name, request, read_only=read_only
    )
    return result


def switch_is_active(switch_name: str) -> bool:
    """Returns whether a switch is on. Without it, WAFFLE_SWITCH_DEFAULT."""
    result: bool = result_of(get_waffle_switch_model(), switch_name)
    return result


def sample_is_active(sample_name: str) -> bool:
    """Returns whether a sample is on this time. Without it, WAFFLE_SAMPLE_DEFAULT."""
    result: bool = result_of(get_waffle_sample_model(), sample_name)
    return result


def get_waffle_flag_model() -> type[AbstractBaseFlag]:
    model: type[AbstractBaseFlag] = get_waffle_model("FLAG_MODEL")
    return model


def get_waffle_switch_model() -> type[AbstractBaseSwitch]:
    model: type[AbstractBaseSwitch] = get_waffle_model("SWITCH_MODEL")
    return model


def get_waffle_sample_model() -> type[AbstractBaseSample]:
    model: type[AbstractBaseSample] = get_waffle_model("SAMPLE_MODEL")
    return model
