"""Checks the keys of the flags in the table, and those that are forced off."""

from __future__ import annotations

from difflib import get_close_matches

from django.core.checks import CheckMessage, Warning  # noqa: A004
from django.db import Error, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._engine.forced_off import VARIABLE, given_keys
from flagstaff._tables.rows import uncached
from flagstaff._text.lists import join_some
from flagstaff.conf import conf
from flagstaff.validators import KEY_MAX_LENGTH, is_valid_flag_key

__all__ = ["check_forced_off_flags_exist", "check_keys", "check_keys_that_differ_in_case"]

_MAX_KEYS_SHOWN = 3
_UNKNOWN = (
    "correct the keys and restart the process; a flag that is created later with such a key is "
    "forced off, too"
)


def check_keys(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """flagstaff.W018: flags have keys that flagstaff's own model would reject."""
    keys = [key for key in _keys(connection) or () if not is_valid_flag_key(key)]
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


def check_keys_that_differ_in_case(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """flagstaff.W032: keys of flags differ only in upper and lower case."""
    by_folded: dict[str, list[str]] = {}
    for key in _keys(connection) or ():
        by_folded.setdefault(key.casefold(), []).append(key)
    groups = [keys for keys in by_folded.values() if len(keys) > 1]
    if not groups:
        return []
    shown = join_some((" and ".join(map(repr, keys)) for keys in groups), _MAX_KEYS_SHOWN)
    return [
        Warning(
            f"keys of flags differ only in upper and lower case: {shown}",
            hint="keys are case-sensitive, so these are different flags; delete those that the "
            "code does not use",
            obj=conf.flag_model,
            id="flagstaff.W032",
        )
    ]


def check_forced_off_flags_exist(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """flagstaff.W025: FLAGSTAFF_FORCE_OFF names flags that do not exist."""
    given = [key for key in given_keys() if is_valid_flag_key(key)]
    existing = _keys(connection) if given else None
    unknown = [key for key in given if existing is not None and key not in existing]
    if not unknown:
        return []
    similar = get_close_matches(unknown[0], existing or (), n=1)
    return [
        Warning(
            f"{VARIABLE} names flags that do not exist: {join_some(unknown)}",
            hint=f'did you mean "{similar[0]}"?' if similar else _UNKNOWN,
            obj=conf.flag_model,
            id="flagstaff.W025",
        )
    ]


def _keys(connection: BaseDatabaseWrapper) -> list[str] | None:
    """Returns the keys of all flags; None if the table cannot be read."""
    model = conf.flag_model
    rows = uncached(model._base_manager.using(connection.alias)).exclude(key=None).order_by("key")
    try:
        with transaction.atomic(using=connection.alias):
            return list(rows.values_list("key", flat=True))
    except Error:  # W013 and W014 report it
        return None
