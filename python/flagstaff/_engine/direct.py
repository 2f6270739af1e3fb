"""Answers straight from Django's own connection: in tests, and on other databases.

Nothing is kept between two questions.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any

from django.core import mail
from django.core.exceptions import ValidationError
from django.db import connections

from flagstaff import _core
from flagstaff._engine.raw_cursor import NotReadyError, in_the_right_thread, select
from flagstaff._tables.decoding import is_plain_json, value_field
from flagstaff._tables.names import user_field
from flagstaff.conf import conf

__all__ = [
    "NotReadyError",
    "has_allow_list",
    "is_allowed",
    "is_called_for",
    "read_all",
    "read_flag",
    "read_own_writes",
    "read_value",
    "wants_own_writes",
]

_FLAG = (
    "SELECT {flag_key}, {flag_pk}, {flag_enabled}, {flag_rollout} "
    "FROM {flag_table} WHERE {flag_key} = %s"
)
_ALLOWED = (
    "SELECT 1 FROM {allowed_users_table} "
    "WHERE {allowed_users_flag} = %s AND {allowed_users_user} = %s"
)
_ANY_ALLOWED = "SELECT 1 FROM {allowed_users_table} WHERE {allowed_users_flag} = %s LIMIT 1"
_VALUE = "SELECT {value_key}, {value_value} FROM {value_table} WHERE {value_key} = %s"

_ALL_FLAGS = (
    "SELECT {flag_pk}, {flag_key}, {flag_enabled}, {flag_rollout}, {flag_client_side} "
    "FROM {flag_table}"
)
_ALL_ALLOWED = "SELECT {allowed_users_flag}, {allowed_users_user} FROM {allowed_users_table}"
_ALL_VALUES = "SELECT {value_pk}, {value_key}, {value_value} FROM {value_table}"

_own_writes: ContextVar[bool] = ContextVar("flagstaff_own_writes", default=False)
_readers_of_own_writes = 0
_readers_lock = Lock()


def is_called_for() -> bool:
    """Whether questions are to be answered directly: under a test runner, and off PostgreSQL."""
    return _under_test_runner() or connections[conf.database].vendor != "postgresql"


def _under_test_runner() -> bool:
    # Django's runner makes the outbox before the first test, pytest loads the plugin before the
    # first import. Neither is there in a process that serves.
    return hasattr(mail, "outbox") or "flagstaff.pytest_plugin" in sys.modules


def read_flag(key: str) -> tuple[Any, bool, int] | None:
    """A flag's primary key, switch and rollout in percent; None where there is no such flag.

    Raises NotReadyError where the database cannot be asked.
    """
    rows = _with_this_key(_FLAG, key)
    # Two rows with one key, and one with a NULL, count as absent, as they do in a snapshot.
    if len(rows) != 1:
        return None
    pk, enabled, rollout_percent = rows[0][1:]
    percent = _whole_percent(rollout_percent)
    return None if enabled is None or percent is None else (pk, bool(enabled), percent)


def has_allow_list(flag_pk: object) -> bool:
    """Whether a flag names any user.

    Raises NotReadyError where the database cannot be asked.
    """
    return bool(in_the_right_thread(lambda: select(_ANY_ALLOWED, [flag_pk])))


def is_allowed(flag_pk: object, user: str) -> bool:
    """Whether the allow-list of a flag names the user with this primary key, given as text.

    Raises NotReadyError where the database cannot be asked.
    """
    field = user_field(conf.flag_model)
    try:
        pk = field.to_python(user)
    except ValidationError:
        return False
    # Only canonical text is a key: "042" is no integer's, upper case no UUID's.
    if str(pk) != user or not _can_be_asked_for(pk):
        return False
    connection = connections[conf.database]
    parameters = [flag_pk, field.get_db_prep_value(pk, connection)]
    return bool(in_the_right_thread(lambda: select(_ALLOWED, parameters)))


def read_value(key: str) -> tuple[Any] | None:
    """The value of a setting, in a tuple; None where there is no such setting.

    Raises NotReadyError where the database cannot be asked.
    """
    rows = _with_this_key(_VALUE, key)
    if len(rows) != 1:
        return None
    field, connection = value_field(), connections[conf.database]
    value = rows[0][1]
    expression = field.get_col(field.model._meta.db_table)
    backend = connection.ops.get_db_converters(expression)
    for converter in [*backend, *field.get_db_converters(connection)]:
        value = converter(value, expression, connection)
    return (value,)


def read_all() -> tuple[list[Any], list[Any], list[Any], bool]:
    """Every row, as `_core` takes it: flags, allow-lists, values, and who decodes the values.

    Raises NotReadyError where the database cannot be asked.
    """
    flags, entries, values = in_the_right_thread(
        lambda: [select(template, []) for template in (_ALL_FLAGS, _ALL_ALLOWED, _ALL_VALUES)]
    )
    field = user_field(conf.flag_model)
    lists: dict[str, list[str]] = {}
    for flag_pk, user_pk in entries:
        # to_python, because SQLite and MySQL keep a UUID as 32 digits.
        lists.setdefault(str(flag_pk), []).append(str(field.to_python(user_pk)))
    return (
        [
            (str(pk), key, _switch(enabled), _whole_percent(percent), bool(client_side))
            for pk, key, enabled, percent, client_side in flags
        ],
        list(lists.items()),
        [(str(pk), key, value) for pk, key, value in values],
        not is_plain_json(value_field()),
    )


@contextmanager
def read_own_writes() -> Iterator[None]:
    """Answer from this connection's open transaction while the block runs.

    Workers see a change when it is committed, also the one that makes it. Code that changes a flag
    and asks for it before the commit does so in this block, where each question is a query.
    """
    token = _own_writes.set(True)
    _count_reader(1)
    try:
        yield
    finally:
        _count_reader(-1)
        _own_writes.reset(token)


def wants_own_writes() -> bool:
    """Whether the one who asks is in a block of `read_own_writes`."""
    return _own_writes.get()


def count_readers_anew() -> None:
    """Count whoever forked, and not the parent's other threads, which are not here."""
    global _readers_of_own_writes, _readers_lock
    _readers_lock, _readers_of_own_writes = Lock(), 0
    if wants_own_writes():
        _count_reader(1)


def _count_reader(change: int) -> None:
    """Let questions look for the block while there is one; otherwise they are spared it."""
    global _readers_of_own_writes  # noqa: PLW0603 (it counts for the process)
    with _readers_lock:
        _readers_of_own_writes += change
        _core.set_own_writes(_readers_of_own_writes > 0)


def _can_be_asked_for(pk: object) -> bool:
    """Whether a database can hold the key; a driver refuses to ask for what it cannot."""
    if isinstance(pk, int):
        return -(2**63) <= pk < 2**63
    return not (isinstance(pk, str) and "\0" in pk)


def _with_this_key(template: str, key: str) -> list[tuple[Any, ...]]:
    """The rows whose key is this one to the letter, which not every collation asks for."""
    rows = in_the_right_thread(lambda: select(template, [key]))
    return [row for row in rows if row[0] == key]


def _switch(enabled: Any) -> bool | None:
    return None if enabled is None else bool(enabled)


def _whole_percent(rollout_percent: Any) -> Any:
    # Not a number is as good as NULL: a row that cannot be evaluated.
    if rollout_percent is None or math.isnan(rollout_percent):
        return None
    return math.ceil(max(-1, min(100, rollout_percent)))
