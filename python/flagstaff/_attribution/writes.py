"""Passes the attribution of a write to the triggers, in parameters local to the transaction."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

from django.db import Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from flagstaff._attribution.context import attributed, attribution, current_attribution
from flagstaff._connection.vendor import is_postgresql
from flagstaff._tables.model_fields import segment_model
from flagstaff._tables.names import flag_names, segment_names, value_names
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError

_WRITES = re.compile(
    r"(?:insert|update|delete|truncate|merge|with\b.*\b(?:insert|update|delete|merge))\b",
    re.IGNORECASE | re.DOTALL,
)
_NOT_SPACE, _LINE_BREAK = re.compile(r"\S"), re.compile(r"[\r\n]")
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_PARAMETERS = "flagstaff.actor", "flagstaff.source", "flagstaff.reason"
# The previous values come first, because they are read before they are replaced.
_SET_ATTRIBUTION = """
    WITH before AS MATERIALIZED (
        SELECT
            pg_catalog.current_setting('flagstaff.actor', true),
            pg_catalog.current_setting('flagstaff.source', true),
            pg_catalog.current_setting('flagstaff.reason', true)
    )
    SELECT
        before.*,
        pg_catalog.set_config('flagstaff.actor', %s, true),
        pg_catalog.set_config('flagstaff.source', %s, true),
        pg_catalog.set_config('flagstaff.reason', %s, true)
    FROM before
"""
# The transaction status "idle", which has the same number in both drivers.
_IDLE = 0


@contextmanager
def acting_as(user: object, *, reason: str = "", source: str = "code") -> Iterator[None]:
    """Attributes the changes of flags and values in the block to a user, with a reason.

    `user` is a user or a name such as "deploy". The block is one transaction: its changes are
    committed at its end, and rolled back if it raises.

        with acting_as("deploy", reason="release 42"):
            FeatureFlag.objects.filter(key="new_checkout").update(enabled=True)
    """
    current = attribution(user, source=source, reason=reason)
    connection = connections[conf.database]
    with transaction.atomic(using=connection.alias), attributed(lambda: current):
        before = _set_attribution(connection, current)
        yield
        # An outer transaction continues without this attribution. In all other cases the
        # parameters end with the transaction, or with the rollback that Django is about to do.
        if connection.savepoint_ids and not connection.needs_rollback:
            _set_attribution(connection, before)


def wrap_connection(connection: BaseDatabaseWrapper, **kwargs: object) -> None:
    """Attributes the writes of a new connection; a receiver of `connection_created`."""
    if not is_postgresql(connection) or attribute_writes in connection.execute_wrappers:
        return
    # At the front, because an open `connection.execute_wrapper` block removes the last one.
    connection.execute_wrappers.insert(0, attribute_writes)


def attribute_writes(
    execute: Callable[..., Any],
    sql: object,
    params: object,
    many: bool,  # noqa: FBT001 (Django's signature)
    context: dict[str, Any],
) -> Any:
    """Sets the attribution before a statement that writes to a watched table."""
    current, connection = current_attribution(), context["connection"]
    # A cursor may outlive its connection; Django then raises its own error.
    if current is None or connection.connection is None or _is_in_a_pipeline(connection):
        return execute(sql, params, many, context)
    if not _is_watched_write(connection, sql):
        return execute(sql, params, many, context)
    # Loading a lazy request.user may write (to the session, for example), which has no actor.
    with attributed(None):
        parameters = current()
    with _transaction(connection):
        before = _set_attribution(connection, parameters)
        result = execute(sql, params, many, context)
        # If this raises, the parameters end with the transaction or with its savepoint.
        _set_attribution(connection, before)
    return result


def _is_in_a_pipeline(connection: BaseDatabaseWrapper) -> bool:
    """Whether psycopg 3 is in pipeline mode, in which results come later."""
    return bool(getattr(getattr(connection.connection, "pgconn", None), "pipeline_status", 0))


def _is_watched_write(connection: BaseDatabaseWrapper, sql: object) -> bool:
    # The driver's composed statements have a method that returns their text.
    text = sql.as_string(connection.connection) if hasattr(sql, "as_string") else str(sql)
    if not _WRITES.match(text, _statement_start(text)):
        return False
    try:
        watched = _watched_names(conf.flag_model, conf.value_model)
    except ConfigurationError:
        # A system check reports it. A write must not fail because it cannot be attributed.
        return False
    folded = text.lower()
    return any(table in folded for table in watched)


def _statement_start(text: str) -> int:
    """Returns the position behind white space and comments, in linear time.

    Tools prepend comments that say where a statement comes from.
    """
    position = 0
    while found := _NOT_SPACE.search(text, position):
        position = found.start()
        if text.startswith("--", position):
            position = _end(_LINE_BREAK.search(text, position), text)
        elif text.startswith("/*", position):
            position = _comment_end(text, position)
        else:
            break
    return position


def _comment_end(text: str, start: int) -> int:
    """Returns the end of a block comment. PostgreSQL's may contain others."""
    depth = 0
    for edge in _COMMENT_EDGE.finditer(text, start):
        depth += 1 if edge.group() == "/*" else -1
        if not depth:
            return edge.end()
    return len(text)


def _end(found: re.Match[str] | None, text: str) -> int:
    return len(text) if found is None else found.end()


@lru_cache(maxsize=8)
def _watched_names(flag_model: type[Model], value_model: type[Model]) -> tuple[str, ...]:
    """Returns the names of the tables without schema and quotes, which SQL may leave out."""
    connection = connections[conf.database]
    flags, values = flag_names(connection, flag_model), value_names(connection, value_model)
    segments = segment_names(connection, segment_model())
    tables = (
        flags["flag_table"],
        flags["allowed_users_table"],
        values["value_table"],
        segments["segment_table"],
    )
    return tuple(table.strip('"').split('"."')[-1].lower() for table in tables)


@contextmanager
def _transaction(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Opens a transaction for the parameters around a statement in autocommit mode.

    Not Django's, whose statements would count as queries of the caller.
    """
    idle = connection.connection.info.transaction_status == _IDLE
    if not (idle and connection.get_autocommit()):
        yield
        return
    _run(connection, "BEGIN")
    try:
        yield
    except BaseException:
        with suppress(Error):
            _run(connection, "ROLLBACK")
        raise
    _run(connection, "COMMIT")


def _set_attribution(connection: BaseDatabaseWrapper, parameters: dict[str, str]) -> dict[str, str]:
    """Sets the parameters until the end of the transaction, and returns the previous ones."""
    if not is_postgresql(connection):
        return parameters
    # In a failed transaction Django raises its own error.
    connection.validate_no_broken_transaction()
    before = _run(connection, _SET_ATTRIBUTION, [parameters[name] for name in _PARAMETERS])
    return {name: value or "" for name, value in zip(_PARAMETERS, before, strict=False)}


def _run(
    connection: BaseDatabaseWrapper, sql: str, parameters: list[str] | None = None
) -> tuple[Any, ...]:
    """Returns the row of a statement. Uses the driver's cursor, which Django does not count."""
    with connection.wrap_database_errors, connection.connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return tuple(cursor.fetchone()) if cursor.description else ()
