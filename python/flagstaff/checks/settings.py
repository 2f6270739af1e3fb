"""Checks the settings."""

from __future__ import annotations

from django.core.checks import CheckMessage, Error, Warning  # noqa: A004

from flagstaff._engine.forced_off import VARIABLE, given_keys
from flagstaff._text.lists import join_some
from flagstaff.checks.guard import with_valid_settings
from flagstaff.conf import conf
from flagstaff.validators import is_valid_flag_key

__all__ = [
    "check_forced_off_keys",
    "check_setting_names",
    "check_setting_values",
    "check_webhooks_are_signed",
]

_HINT = (
    'add "secret" to the receiver, such as "whsec_MfKQ9r8GKYqr…"; to create a secret, run: '
    'python -c "import base64, secrets; '
    "print('whsec_' + base64.b64encode(secrets.token_bytes(32)).decode())\""
)


def check_setting_names(**kwargs: object) -> list[CheckMessage]:
    """flagstaff.E001: FLAGSTAFF has an unknown name."""
    return [
        Error(problem.message, hint=problem.hint, id="flagstaff.E001")
        for problem in conf.problems()
        if problem.unknown_name
    ]


def check_setting_values(**kwargs: object) -> list[CheckMessage]:
    """flagstaff.E002: a setting has an invalid value."""
    return [
        Error(problem.message, hint=problem.hint, id="flagstaff.E002")
        for problem in conf.problems()
        if not problem.unknown_name
    ]


def check_forced_off_keys(**kwargs: object) -> list[CheckMessage]:
    """flagstaff.W024: FLAGSTAFF_FORCE_OFF has a key that no flag of flagstaff's model can have."""
    invalid = [key for key in given_keys() if not is_valid_flag_key(key)]
    if not invalid:
        return []
    return [
        Warning(
            f"{VARIABLE} has keys that are not valid: {join_some(map(repr, invalid))}",
            hint=f"write the keys of flags, separated by commas, such as {VARIABLE}=new_checkout",
            id="flagstaff.W024",
        )
    ]


@with_valid_settings
def check_webhooks_are_signed(**kwargs: object) -> list[CheckMessage]:
    """flagstaff.W019: a receiver cannot verify the sender of its messages."""
    return [
        Warning(
            f'the receiver "{receiver.name}" of WEBHOOKS gets messages without a signature',
            hint=_HINT,
            id="flagstaff.W019",
        )
        for receiver in conf.webhooks
        if receiver.format == "json" and not receiver.secrets
    ]
