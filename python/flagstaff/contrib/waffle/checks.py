"""The system checks of the move from waffle."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import CheckMessage

from flagstaff.checks.check import Check, Problem
from flagstaff.conf import conf
from flagstaff.contrib.waffle.settings import waffle_settings
from flagstaff.exceptions import ConfigurationError


def _invalid_setting() -> Iterator[Problem]:
    try:
        waffle_settings()
    except ConfigurationError as error:
        yield Problem(str(error))


_CHECK = Check("flagstaff.E052", _invalid_setting, "see the page From django-waffle of the docs")


def check_settings(**_: object) -> list[CheckMessage]:
    """Runs the check if the dict FLAGSTAFF is valid. Does not connect."""
    return [] if conf.problems() else [*_CHECK.messages()]
