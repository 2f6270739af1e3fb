"""Checks the keys of the flags: a project's own table may have invalid ones."""

from __future__ import annotations

from django.core.checks import CheckMessage, Warning  # noqa: A004
from django.core.exceptions import ValidationError
from django.db import Error, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff.conf import conf
from flagstaff.validators import validate_flag_key

__all__ = ["check_keys"]

_MAX_KEYS_SHOWN = 3


def check_keys(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """flagstaff.W018: flags have keys that flagstaff's own model would refuse."""
    keys = [key for key in _keys(connection) if not _is_valid(key)]
    if not keys:
        return []
    shown = ", ".join(map(repr, keys[:_MAX_KEYS_SHOWN])) + (
        ", …" if len(keys) > _MAX_KEYS_SHOWN else ""
    )
    return [
        Warning(
            f'{len(keys)} flags have a key with white space, ":" or a control character, '
            f"or of another length than 1 to 255: {shown}",
            hint="rename the keys in the table and in the code; until then they are evaluated as "
            'they are, but "a:b" for user 1 has the same bucket as "a" for "b:1"',
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
