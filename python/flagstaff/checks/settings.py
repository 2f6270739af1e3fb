"""Whether FLAGSTAFF is written right."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, Warning  # noqa: A004

from flagstaff.checks.guard import with_usable_settings
from flagstaff.conf import conf

__all__ = ["check_messages_are_signed", "check_setting_names", "check_setting_values"]


def check_setting_names(**kwargs: Any) -> list[CheckMessage]:
    """flagstaff.E001: FLAGSTAFF has a name that is no setting."""
    return [
        Error(problem.message, hint=problem.hint, id="flagstaff.E001")
        for problem in conf.problems()
        if problem.unknown_name
    ]


def check_setting_values(**kwargs: Any) -> list[CheckMessage]:
    """flagstaff.E002: a setting has a value that it cannot have."""
    return [
        Error(problem.message, hint=problem.hint, id="flagstaff.E002")
        for problem in conf.problems()
        if not problem.unknown_name
    ]


@with_usable_settings
def check_messages_are_signed(**kwargs: Any) -> list[CheckMessage]:
    """flagstaff.W019: a program gets messages that it cannot tell from anybody's."""
    return [
        Warning(
            f'the receiver "{receiver.name}" of WEBHOOKS gets messages without a signature',
            hint='give it a "secret": "whsec_" and the base64 of 32 random bytes',
            id="flagstaff.W019",
        )
        for receiver in conf.webhooks
        if receiver.format == "json" and not receiver.secrets
    ]
