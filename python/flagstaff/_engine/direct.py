"""Direct mode: evaluations query Django's own connection, in tests and on SQLite.

Nothing is cached between two evaluations.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import TypeAlias

from django.core import mail
from django.db import connections

from flagstaff import _core
from flagstaff._connection.vendor import is_postgresql
from flagstaff._engine.raw_cursor import NotReadyError, Row, run_in_connection_thread, select
from flagstaff._engine.user_keys import key_parameter, key_to_text
from flagstaff._tables.decoding import is_plain_json, value_field
from flagstaff._tables.names import group_names, optional_names
from flagstaff._words.json_text import why_undecodable
from flagstaff.conf import conf

__all__ = [
    "NotReadyError",
    "has_allowed_users",
    "is_allowed_user",
    "is_required",
    "read_all",
    "read_experiments",
    "read_flag",
    "read_groups",
    "read_groups_of",
    "read_own_writes",
    "read_segments",
    "read_value",
    "reads_own_writes",
    "reset_own_writes",
]

_FLAG = (
    "SELECT {flag_key}, {flag_pk}, {flag_enabled}, {flag_rollout}, {flag_rules}, {flag_bucket_by} "
    "FROM {flag_table} WHERE {flag_key} {equals} %s"
)
_ALLOWED = (
    "SELECT 1 FROM {allowed_users_table} "
    "WHERE {allowed_users_flag} {equals} %s AND {allowed_users_user} {equals} %s"
)
_ANY_ALLOWED = "SELECT 1 FROM {allowed_users_table} WHERE {allowed_users_flag} {equals} %s LIMIT 1"
_VALUE = (
    "SELECT {value_key}, {value_value}, {value_secret}, {value_rules}, {value_bucket_by} "
    "FROM {value_table} WHERE {value_key} {equals} %s"
)

_ALL_FLAGS = (
    "SELECT {flag_pk}, {flag_key}, {flag_enabled}, {flag_rollout}, {flag_client_side}, "
    "{flag_rules}, {flag_bucket_by} FROM {flag_table}"
)
_ALL_ALLOWED = "SELECT {allowed_users_flag}, {allowed_users_user} FROM {allowed_users_table}"
_ALL_SEGMENTS = "SELECT {segment_pk}, {segment_key}, {segment_conditions} FROM {segment_table}"
_ALL_VALUES = (
    "SELECT {value_pk}, {value_key}, {value_value}, {value_secret}, {value_client_side}, "
    "{value_rules}, {value_bucket_by} FROM {value_table}"
)

#: Primary key, key, enabled, rollout in percent, client-side, JSON text of the rules, and the
#: attribute that it buckets by, None for the user.
_FlagRow: TypeAlias = tuple[str, str, bool | None, int | None, bool, str | None, str | None]
#: A flag's primary key, and those of its allowed users.
_AllowedRow: TypeAlias = tuple[str, list[str]]
#: Primary key, key, JSON text.
_SegmentRow: TypeAlias = tuple[str, str, str]
#: Primary key, key, JSON text, secret, client-side, JSON text of the rules, and the attribute that
#: they bucket by, None for the user.
_ValueRow: TypeAlias = tuple[str, str, str, bool, bool, str | None, str | None]

_own_writes: ContextVar[bool] = ContextVar("flagstaff_own_writes", default=False)
_open_blocks = 0
_open_blocks_lock = Lock()


def is_required() -> bool:
    """Returns True if this process has to use direct mode.

    That is the case under a test runner and on SQLite.
    """
    return _under_test_runner() or not is_postgresql(connections[conf.database])


def _under_test_runner() -> bool:
    # Django's runner creates mail.outbox before the first test, and pytest loads the plugin before
    # the first import. A serving process has neither.
    return hasattr(mail, "outbox") or "flagstaff.pytest_plugin" in sys.modules


def read_flag(key: str) -> tuple[object, bool, int, str | None, str | None] | None:
    """Returns a flag's primary key, `enabled`, rollout in percent, and rules as JSON text.

    The last item is the attribute that it buckets by, None for the user. Returns None if there is
    no flag. Raises NotReadyError if the database cannot be queried.
    """
    rows = _rows_with_key(_FLAG, key)
    # Duplicate keys and NULL count as absent, as in a snapshot.
    if len(rows) != 1:
        return None
    pk, enabled, rollout_percent, rules, bucket_by = rows[0][1:]
    percent = whole_percent(rollout_percent)
    if enabled is None or percent is None:
        return None
    return pk, bool(enabled), percent, rules, _unit(bucket_by)


def read_segments(keys: list[str]) -> dict[str, str]:
    """Returns the conditions of these segments as JSON text, by key.

    Raises NotReadyError if the database cannot be queried.
    """
    rows = run_in_connection_thread(lambda: select(_ALL_SEGMENTS, []))
    return {key: conditions for _, key, conditions in rows if key in keys}


def has_allowed_users(flag_pk: object) -> bool:
    """Returns True if a flag has any allowed users.

    Raises NotReadyError if the database cannot be queried.
    """
    return bool(run_in_connection_thread(lambda: select(_ANY_ALLOWED, [flag_pk])))


def is_allowed_user(flag_pk: object, user: str) -> bool:
    """Returns True if the user with this primary key, given as text, is allowed.

    Raises NotReadyError if the database cannot be queried.
    """
    parameter = key_parameter(user)
    if parameter is None:
        return False
    return bool(run_in_connection_thread(lambda: select(_ALLOWED, [flag_pk, parameter])))


def read_value(key: str) -> tuple[object, bool, str | None, str | None, bool] | None:
    """Returns a value, whether it is secret, and its rules as JSON text.

    Then the attribute that the rules bucket by, None for the user, and whether the model's field
    has to decode their results. Returns None if there is no such row. Raises NotReadyError if the
    database cannot be queried.
    """
    rows = _rows_with_key(_VALUE, key)
    if len(rows) != 1:
        return None
    field, connection = value_field(), connections[conf.database]
    value, secret, rules, bucket_by = rows[0][1:]
    is_plain = is_plain_json(field)
    if isinstance(value, str) and is_plain and why_undecodable(value):
        return None  # Absent, as in a snapshot.
    expression = field.get_col(field.model._meta.db_table)
    backend = connection.ops.get_db_converters(expression)
    for converter in [*backend, *field.get_db_converters(connection)]:
        value = converter(value, expression, connection)
    return value, bool(secret), rules, _unit(bucket_by), not is_plain


def read_all() -> tuple[
    list[_FlagRow], list[_AllowedRow], list[_SegmentRow], list[_ValueRow], bool
]:
    """Returns all flags, allowed users, segments and values in the form that `_core` expects.

    The last item is True if the model's field has to decode the values. Raises NotReadyError if
    the database cannot be queried.
    """
    templates = _ALL_FLAGS, _ALL_ALLOWED, _ALL_SEGMENTS, _ALL_VALUES
    flags, entries, segments, values = run_in_connection_thread(
        lambda: [select(template, []) for template in templates]
    )
    to_text = key_to_text()
    allowed: dict[str, list[str]] = {}
    for flag_pk, user_pk in entries:
        allowed.setdefault(str(flag_pk), []).append(to_text(user_pk))
    return (
        [
            (
                str(pk),
                key,
                _bool_or_none(enabled),
                whole_percent(percent),
                bool(client_side),
                rules,
                _unit(bucket_by),
            )
            for pk, key, enabled, percent, client_side, rules, bucket_by in flags
        ],
        list(allowed.items()),
        [(str(pk), key, conditions) for pk, key, conditions in segments],
        [
            (str(pk), key, value, bool(secret), bool(client_side), rules, _unit(bucket_by))
            for pk, key, value, secret, client_side, rules, bucket_by in values
        ],
        not is_plain_json(value_field()),
    )


@contextmanager
def read_own_writes() -> Iterator[None]:
    """Evaluates from this connection's open transaction while the block runs.

    A worker sees a change after its commit, its own changes included. Use this block where code
    changes a flag and evaluates it before the commit. Each evaluation in the block is a query.
    """
    token = _own_writes.set(True)
    _count_blocks(1)
    try:
        yield
    finally:
        _count_blocks(-1)
        _own_writes.reset(token)


def reads_own_writes() -> bool:
    """Returns True if the caller is in a `read_own_writes` block."""
    return _own_writes.get()


def reset_own_writes() -> None:
    """Resets the number of open blocks in a forked child, where only this thread runs."""
    global _open_blocks, _open_blocks_lock
    _open_blocks_lock, _open_blocks = Lock(), 0
    if reads_own_writes():
        _count_blocks(1)


def _count_blocks(change: int) -> None:
    """Counts open blocks, so that evaluations only check for one while there is one."""
    global _open_blocks  # noqa: PLW0603 (one number for the process)
    with _open_blocks_lock:
        _open_blocks += change
        _core.set_own_writes(_open_blocks > 0)


def _rows_with_key(template: str, key: str) -> list[Row]:
    """Returns the rows with exactly this key; some collations also match similar keys."""
    rows = run_in_connection_thread(lambda: select(template, [key]))
    return [row for row in rows if row[0] == key]


def _bool_or_none(enabled: object) -> bool | None:
    return None if enabled is None else bool(enabled)


def _unit(bucket_by: str | None) -> str | None:
    """Returns the attribute that a flag buckets by, None for the user."""
    return None if bucket_by == "user" else bucket_by


def whole_percent(rollout_percent: float | None) -> int | None:
    # NaN counts as NULL: the row cannot be evaluated.
    if rollout_percent is None or math.isnan(rollout_percent):
        return None
    return math.ceil(max(-1, min(100, rollout_percent)))


# The experiments in direct mode.

_ALL = (
    "SELECT id, key, state, winner, shuffle, phase, variants, allocation, overrides, rules, "
    "bucket_by FROM {experiment_table}"
)

#: Primary key, key, state, winner, shuffle, phase, and as JSON texts the keys of the variants,
#: their buckets, the forced units and the rules (None without any); then the unit, None for the
#: user.
_Row: TypeAlias = tuple[str, str, str, str, int, int, str, str, str, str | None, str | None]


def read_experiments() -> list[_Row]:
    """Returns all experiments in the form that `_core` expects; none if their app is not installed.

    Raises NotReadyError if the database cannot be queried.
    """
    if "experiment_table" not in optional_names(connections[conf.database]):
        return []
    rows = run_in_connection_thread(lambda: select(_ALL, []))
    return [
        (
            str(pk),
            key,
            state,
            winner,
            shuffle,
            phase,
            json.dumps([variant["key"] for variant in json.loads(variants)]),
            allocation,
            overrides,
            None if json.loads(rules) == [] else rules,
            None if bucket_by == "user" else bucket_by,
        )
        for (
            pk,
            key,
            state,
            winner,
            shuffle,
            phase,
            variants,
            allocation,
            overrides,
            rules,
            bucket_by,
        ) in rows
    ]


# The groups of users in direct mode.

_GROUPS_OF_USER = (
    "SELECT g.{group_name} FROM {membership_table} AS m "
    "JOIN {group_table} AS g ON g.{group_pk} {equals} m.{membership_group} "
    "WHERE m.{membership_user} {equals} %s"
)
_MEMBERS = (
    "SELECT g.{group_name}, m.{membership_user} FROM {group_table} AS g "
    "LEFT JOIN {membership_table} AS m ON m.{membership_group} {equals} g.{group_pk}"
)
_IS_NAMED = "g.{group_name} {equals} %s"
# SQLite has a limit of parameters, and of the depth of an expression.
_MAX_NAMES = 500


def read_groups(names: list[str] | None) -> list[tuple[str, list[str]]] | None:
    """Returns the groups with these names, or all groups, with the keys of their members as text.

    Returns None if the groups of users cannot be read. Raises NotReadyError if the database cannot
    be queried.
    """
    if not _can_be_read():
        return None
    to_text, wanted = key_to_text(), None if names is None else {*names}
    members: dict[str, dict[str, None]] = {}
    for name, user_pk in run_in_connection_thread(lambda: [*_rows(names)]):
        # Some collations also match similar names.
        if name is not None and (wanted is None or name in wanted):
            keys = members.setdefault(name, {})
            if user_pk is not None:
                keys[to_text(user_pk)] = None
    return [(name, [*keys]) for name, keys in members.items()]


def read_groups_of(user: str | None) -> list[str] | None:
    """Returns the names of the groups of the user with this primary key, given as text.

    `user` is None for an anonymous user. Returns None if the groups of users cannot be read, or if
    the database cannot be queried.
    """
    if not _can_be_read():
        return None
    parameter = None if user is None else key_parameter(user)
    if parameter is None:
        return []
    try:
        rows = run_in_connection_thread(lambda: select(_GROUPS_OF_USER, [parameter]))
    except NotReadyError:
        return None
    return list(dict.fromkeys(name for [name] in rows if name is not None))


def _can_be_read() -> bool:
    return bool(group_names(connections[conf.database]))


def _rows(names: list[str] | None) -> Iterator[Row]:
    if names is None:
        yield from select(_MEMBERS, [])
        return
    for start in range(0, len(names), _MAX_NAMES):
        batch = names[start : start + _MAX_NAMES]
        named = " OR ".join([_IS_NAMED] * len(batch))
        yield from select(f"{_MEMBERS} WHERE {named}", batch)
