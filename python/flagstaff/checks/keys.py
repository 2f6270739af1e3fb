"""Checks the keys of the flags: a project's own table may have invalid ones."""

from __future__ import annotations

from django.core.checks import CheckMessage, Warning  # noqa: A004
from django.core.exceptions import ValidationError
from django.db import Error, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._text.lists import join_some
from flagstaff.conf import conf
from flagstaff.validators import KEY_MAX_LENGTH, validate_flag_key

__all__ = ["check_keys"]

_MAX_KEYS_SHOWN = 3


def check_keys(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """flagstaff.W018: flags have keys that flagstaff's own model would reject."""
    keys = [key for key in _keys(connection) if not _is_valid(key)]
    if not keys:
        return []
    flags = (
        "1 flag has a key that is" if len(keys) == 1 else f"{len(keys):,} flags have keys that are"
    )
    return [
        Warning(
            f"{flags} not valid: {join_some(map(repr, keys), _MAX_KEYS_SHOWN)}",
            hint=f'a key has 1 to {KEY_MAX_LENGTH} letters, digits, "_", "-" or ".", and does not '
            'begin with "-"; rename the keys in the table and in the code; the flags still work, '
            'but with ":", two pairs of key and user can have the same hash input',
            obj=conf.flag_model,
            id="flagstaff.W018",
        )
    ]


def _keys(connection: BaseDatabaseWrapper) -> list[str]:
    model = conf.flag_model
    rows = model._base_manager.using(connection.alias).exclude(key=None).order_by("key")
    try:
        with transaction.atomic(using=connection.alias):
            return list(rows.values_list("key", flat=True))
    except Error:  # W013 and W014 report a table that cannot be read
        return []


def _is_valid(key: str) -> bool:
    try:
        validate_flag_key(key)
    except ValidationError:
        return False
    return True
