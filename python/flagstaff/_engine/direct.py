"""Direct mode: evaluations query Django's own connection, in tests and on SQLite.

Each evaluation reads a snapshot of the rows that it needs. It does so through the driver's own
cursor, below Django's, which sees the open transaction, does not count in `assertNumQueries`, and
leaves Django's connection as it was.
"""

from __future__ import annotations

import asyncio
import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import chain
from threading import Lock
from typing import Any, TypeAlias, TypeVar

from asgiref.sync import AsyncToSync, SyncToAsync
from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff import _core
from flagstaff._connection import is_postgresql, run, savepoint
from flagstaff._engine.users import key_to_text
from flagstaff._tables.database import db, engine_names, fill, group_names, optional_names
from flagstaff.exceptions import FlagstaffError

_T = TypeVar("_T")

Row: TypeAlias = tuple[Any, ...]

# Seconds. Longer than any row takes, and an end to a deadlock with a thread that waits for us.
_THREAD_TIMEOUT = 5.0

# Another operator in the search path could match a column of varchar better.
_EQUALS = "OPERATOR(pg_catalog.=)"

# Each with the condition for one key.
_FLAGS = (
    (
        "SELECT {flag_pk}, {flag_key}, {flag_enabled}, {flag_rollout}, {flag_client_side}, "
        "{flag_rules}, {flag_bucket_by} FROM {flag_table}"
    ),
    " WHERE {flag_key} {equals} %s",
)
_ALLOWED_USERS = (
    "SELECT a.{allowed_users_flag}, a.{allowed_users_user} FROM {allowed_users_table} AS a",
    (
        " JOIN {flag_table} AS f ON f.{flag_pk} {equals} a.{allowed_users_flag} "
        "WHERE f.{flag_key} {equals} %s"
    ),
)
_VALUES = (
    (
        "SELECT {value_pk}, {value_key}, {value_value}, {value_secret}, {value_client_side}, "
        "{value_rules}, {value_bucket_by} FROM {value_table}"
    ),
    " WHERE {value_key} {equals} %s",
)
_EXPERIMENTS = (
    (
        "SELECT id, key, state, winner, run, traffic_percent, variants, overrides, rules, "
        "bucket_by FROM {experiment_table}"
    ),
    " WHERE key {equals} %s",
)
_SEGMENTS = "SELECT {segment_pk}, {segment_key}, {segment_conditions} FROM {segment_table}"
_MEMBERS = (
    "SELECT g.{group_name}, m.{membership_user} FROM {group_table} AS g "
    "LEFT JOIN {membership_table} AS m ON m.{membership_group} {equals} g.{group_pk}"
)
_IS_NAMED = "g.{group_name} {equals} %s"
# SQLite has a limit of parameters, and of the depth of an expression.
_MAX_NAMES = 500

# Without FROM, a SELECT may call a function that writes.
_QUERY = re.compile(
    r"\s*select\b(?=.*\bfrom\b)(?!.*\b(?:insert|update|delete|merge|truncate)\b)",
    re.IGNORECASE | re.DOTALL,
)


class NotReadyError(FlagstaffError):
    """the database cannot be queried for flags here"""


def select(*queries: tuple[str, Sequence[object]]) -> list[list[Row]]:
    """Returns the rows of each query, a template with names of tables and columns, and parameters.

    `{equals}` is the operator that compares a column with a parameter.

    Raises NotReadyError if the database cannot be queried.
    """
    connection = db.connection
    on_postgresql = is_postgresql(connection)
    names = {**engine_names(connection), "equals": _EQUALS if on_postgresql else "="}
    results = []
    try:
        with _open_connection(connection), savepoint(connection) as errors:
            for template, parameters in queries:
                statement = template if on_postgresql else template.replace("%s", "?")
                results.append(run(connection, fill(statement, names), parameters))
    # An evaluation must not raise: not for a missing table, a test that forbids the database, or a
    # failed transaction.
    except Exception as error:
        raise NotReadyError from error
    if errors:
        raise NotReadyError from errors[0]
    return results


@contextmanager
def _open_connection(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Opens the connection for the block if it is closed.

    A connection left open in a thread would keep the test database from being dropped.
    """
    if connection.connection is not None:
        _require_access(connection)
        yield
        return
    connection.ensure_connection()
    try:
        yield
    finally:
        # Not connection.close(), which does nothing for SQLite in memory.
        BaseDatabaseWrapper.close(connection)


def _require_access(connection: BaseDatabaseWrapper) -> None:
    """Raises NotReadyError if a test case forbids the database, although a connection is open."""
    # Django replaces the first of these methods, pytest-django the second.
    forbidden = type(connection.cursor).__name__ == "_DatabaseFailure"
    blocked = connection.ensure_connection.__name__ == "_blocking_wrapper"
    if forbidden or blocked:
        raise NotReadyError


def run_in_connection_thread(work: Callable[[], _T]) -> _T:
    """Runs `work` in the thread whose connection has the test's transaction.

    Django runs the event loop of an async test beside the test's own thread, and its async ORM
    returns to that thread through asgiref. This function does the same. Raises NotReadyError if
    that thread is not available in time.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return work()
    if db.connection.connection is not None:
        return work()
    executor = (
        getattr(AsyncToSync.executors, "current", None)
        or AsyncToSync.loop_thread_executors.get(loop)
        or SyncToAsync.single_thread_executor
    )
    try:
        return executor.submit(work).result(_THREAD_TIMEOUT)
    # Until Python 3.11 this was not the builtin of the same name.
    except FutureTimeoutError as error:
        raise NotReadyError from error


class _Block:
    """A block of `read_own_writes`, with the snapshots that it keeps for its connection."""

    def __init__(self) -> None:
        self._connection = db.connection
        self._commit_hooks: object = None
        #: By the key that they were read for, None for everything.
        self._snapshots: dict[str | None, object] = {}

    def __enter__(self) -> None:
        # At the front, because an open `connection.execute_wrapper` block removes the last one.
        self._connection.execute_wrappers.insert(0, self._note)

    def __exit__(self, *_: object) -> None:
        self._connection.execute_wrappers.remove(self._note)

    def snapshots(self) -> dict[str | None, object]:
        """Returns the snapshots of the present transaction. None are kept for other connections."""
        connection = self._connection
        if connection is not db.connection or connection.connection is None:
            return {}
        # Django replaces this list at each commit and rollback, which the wrapper does not see.
        if self._commit_hooks is not connection.run_on_commit:
            self._commit_hooks = connection.run_on_commit
            self._snapshots.clear()
        return self._snapshots

    def _note(self, execute: Callable[..., Any], sql: object, *arguments: object) -> Any:
        """Drops the snapshots after each statement that may write; an execute wrapper."""
        try:
            return execute(sql, *arguments)
        finally:
            if not (isinstance(sql, str) and _QUERY.match(sql)):
                self._snapshots.clear()


_block: ContextVar[_Block | None] = ContextVar("flagstaff_own_writes", default=None)
_as_if_on: ContextVar[str | None] = ContextVar("flagstaff_as_if_on", default=None)
_open_blocks = 0
_open_blocks_lock = Lock()


def is_required() -> bool:
    """Returns True if this process has to use direct mode.

    That is the case under a test runner and on SQLite.
    """
    return is_testing() or not db.is_postgresql


def is_testing() -> bool:
    """Returns True under a test runner."""
    # What Django's set-up of tests keeps; a serving process need not import it. pytest loads the
    # plugin before the first import, and so before the set-up.
    utils = sys.modules.get("django.test.utils")
    has_begun = hasattr(getattr(utils, "_TestState", None), "saved_data")
    return has_begun or "flagstaff.pytest_plugin" in sys.modules


def read_all(key: str | None = None) -> tuple[object, ...]:
    """Returns the rows that evaluations of `key` need, or all rows, in the form `_core` expects.

    Raises NotReadyError if the database cannot be queried.
    """
    tables = [_FLAGS, _ALLOWED_USERS, _VALUES]
    if "experiment_table" in optional_names(db.connection):
        tables.append(_EXPERIMENTS)
    try:
        rows = _select(tables, key)
    except NotReadyError:
        if _EXPERIMENTS not in tables:
            raise
        # The table of an optional app is missing until its migration.
        rows = _select(tables[:-1], key)
    segments, flags, entries, values, *experiments = rows
    to_text = key_to_text()
    as_if_on = _as_if_on.get()
    allowed: dict[str, list[str]] = {}
    for flag_pk, user_pk in entries:
        allowed.setdefault(str(flag_pk), []).append(to_text(user_pk))
    return (
        [
            (
                str(pk),
                key,
                key == as_if_on or _as_bool(enabled),
                whole_percent(percent),
                bool(client_side),
                *rules,
            )
            for pk, key, enabled, percent, client_side, *rules in flags
        ],
        [*allowed.items()],
        [(str(pk), *segment) for pk, *segment in segments],
        [
            (str(pk), key, value, bool(secret), bool(client_side), *rules)
            for pk, key, value, secret, client_side, *rules in values
        ],
        [(str(pk), *experiment) for pk, *experiment in chain(*experiments)],
    )


def _select(tables: list[tuple[str, str]], key: str | None) -> list[list[Row]]:
    """Returns the segments, and of each table the rows of `key` or all rows."""
    queries: list[tuple[str, list[str]]] = [
        (every, []) if key is None else (every + of_key, [key]) for every, of_key in tables
    ]
    return run_in_connection_thread(lambda: select((_SEGMENTS, []), *queries))


def read_groups(names: list[str] | None) -> list[tuple[str, list[str]]] | None:
    """Returns the groups with these names, or all groups, with the keys of their members as text.

    Returns None if the groups of users cannot be read. Raises NotReadyError if the database cannot
    be queried.
    """
    if not group_names(db.connection):
        return None
    if names == []:
        # Rules can ask whether there are groups at all.
        return []
    to_text, wanted = key_to_text(), None if names is None else {*names}
    members: dict[str, dict[str, None]] = {}
    for rows in run_in_connection_thread(lambda: select(*_statements_for(names))):
        for name, user_pk in rows:
            # Some collations also match similar names.
            if name is not None and (wanted is None or name in wanted):
                keys = members.setdefault(name, {})
                if user_pk is not None:
                    keys[to_text(user_pk)] = None
    return [(name, [*keys]) for name, keys in members.items()]


def _statements_for(names: list[str] | None) -> Iterator[tuple[str, list[str]]]:
    if names is None:
        yield _MEMBERS, []
        return
    for start in range(0, len(names), _MAX_NAMES):
        batch = names[start : start + _MAX_NAMES]
        named = " OR ".join([_IS_NAMED] * len(batch))
        yield f"{_MEMBERS} WHERE {named}", batch


@contextmanager
def read_own_writes() -> Iterator[None]:
    """Evaluates from this connection's open transaction while the block runs.

    A worker sees a change after its commit, its own changes included. Use this block where code
    changes a flag and evaluates it before the commit. The first evaluation of a key is a query, and
    so is the next one after a statement of Django's cursors that may write, a commit or a rollback.
    """
    block = _Block()
    token = _block.set(block)
    _count_blocks(1)
    try:
        with block:
            yield
    finally:
        _count_blocks(-1)
        _block.reset(token)


@contextmanager
def read_as_if_on(key: str) -> Iterator[None]:
    """Evaluates as a `read_own_writes` block does, and this flag as if it were enabled."""
    token = _as_if_on.set(key)
    try:
        with read_own_writes():
            yield
    finally:
        _as_if_on.reset(token)


def reads_own_writes() -> bool:
    """Returns True if the caller is in a `read_own_writes` block."""
    return _block.get() is not None


def kept_snapshots() -> dict[str | None, object]:
    """Returns where `_core` keeps the snapshots of the caller's block, by key; None is everything.

    Outside of a block nothing is kept.
    """
    block = _block.get()
    return {} if block is None else block.snapshots()


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


def _as_bool(enabled: object) -> bool | None:
    # SQLite has numbers.
    return None if enabled is None else bool(enabled)


def whole_percent(rollout_percent: float | None) -> int | None:
    # NaN counts as NULL: the row cannot be evaluated.
    if rollout_percent is None or math.isnan(rollout_percent):
        return None
    return math.ceil(max(-1, min(100, rollout_percent)))
