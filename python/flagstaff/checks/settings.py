"""Checks the settings."""

from __future__ import annotations

from collections.abc import Iterator

from asgiref.sync import iscoroutinefunction
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004
from django.utils.module_loading import import_string

from flagstaff._engine.attributes import unusable_columns
from flagstaff._engine.forced_off import VARIABLE, given_keys
from flagstaff._text.lists import join_some
from flagstaff.checks.guard import with_valid_settings
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError
from flagstaff.validators import is_valid_flag_key

__all__ = [
    "check_forced_off_keys",
    "check_named_objects_exist",
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
def check_named_objects_exist(**kwargs: object) -> list[CheckMessage]:
    """flagstaff.E035: a setting names something that does not exist."""
    named = {
        "ATTRIBUTES": _attribute_problems(),
        "VISITOR_COOKIE": _path_problems(conf.visitor_cookie, "True or False"),
        "IS_CRAWLER": _path_problems(conf.is_crawler, "True or False"),
        "CLIENT_ADDRESS": _path_problems(conf.client_address, "an IP address"),
    }
    return [
        Error(f'FLAGSTAFF["{name}"] names {problem}', hint=hint, id="flagstaff.E035")
        for name, problems in named.items()
        for problem, hint in problems
    ]


def _attribute_problems() -> Iterator[tuple[str, str]]:
    """Yields what ATTRIBUTES names wrongly, with a hint."""
    if unusable := _unusable_columns():
        names = join_some(map(repr, unusable))
        yield f"{names}, not a column of the user model", "name concrete fields of the user model"
    path = conf.attributes.callable
    if path is not None:
        hint = "write a function (user, request) that returns a mapping of names to values"
        yield from _function_problems(path, hint)


def _path_problems(path: object, returns: str) -> Iterator[tuple[str, str]]:
    """Yields what is wrong with a function of the request, with a hint."""
    if isinstance(path, str):
        hint = f"write a function (request) that returns {returns}"
        yield from _function_problems(path, hint)


def _function_problems(path: str, hint: str) -> Iterator[tuple[str, str]]:
    try:
        function = import_string(path)
    except ImportError as error:
        problem = f"{path!r}, which cannot be imported: {error}"
        yield problem, "correct the path, or install what it needs"
        return
    if not callable(function) or iscoroutinefunction(function):
        yield f"{path!r}, which is not a synchronous function", hint


def _unusable_columns() -> list[str]:
    try:
        return unusable_columns()
    except ConfigurationError:  # E006 or E007: the flag model has no users
        return []


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
