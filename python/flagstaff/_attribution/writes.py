"""Tells the triggers who acts: by settings that end with the transaction."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

from django.db import Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._attribution.context import attributed, attribution, current_attribution
from flagstaff._tables.names import flag_names, value_names
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError

__all__ = ["acting_as", "attribute_writes", "wrap_connection"]

# Behind a comment too, which tools put there to say where a statement comes from.
_WRITES = re.compile(
    r"(?:\s|/\*.*?\*/|--[^\n]*\n)*"
    r"(?:insert|update|delete|truncate|merge|with\b.*\b(?:insert|update|delete|merge))\b",
    re.IGNORECASE | re.DOTALL,
)
_NAMES = "flagstaff.actor", "flagstaff.source", "flagstaff.reason"
# What was set before comes first, and is read first.
_TELL = """
    WITH before AS MATERIALIZED (
        SELECT
            current_setting('flagstaff.actor', true),
            current_setting('flagstaff.source', true),
            current_setting('flagstaff.reason', true)
    )
    SELECT
        before.*,
        set_config('flagstaff.actor', %s, true),
        set_config('flagstaff.source', %s, true),
        set_config('flagstaff.reason', %s, true)
    FROM before
"""
# As both drivers number it.
_IDLE = 0


@contextmanager
def acting_as(user: Any, *, reason: str = "", source: str = "code") -> Iterator[None]:
    """Put changes of flags and settings into the history under this name, with a reason.

    `user` is a user or a name such as "deploy". The block is one transaction: its changes are
    committed at its end, and undone where it raises.

        with acting_as("deploy", reason="release 42"):
            FeatureFlag.objects.filter(key="new_checkout").update(enabled=True)
    """
    settings = attribution(user, source=source, reason=reason)
    connection = connections[conf.database]
    with transaction.atomic(using=connection.alias), attributed(lambda: settings):
        before = _tell(connection, settings)
        yield
        # A surrounding transaction goes on, and what follows in it is not this user's. Otherwise,
        # and where Django is about to roll back, the settings end by themselves.
        if connection.savepoint_ids and not connection.needs_rollback:
            _tell(connection, before)


def wrap_connection(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Attribute the writes of a new connection; a receiver of `connection_created`."""
    if connection.vendor != "postgresql" or attribute_writes in connection.execute_wrappers:
        return
    # At the front: a block of `connection.execute_wrapper` that is open takes off the last one.
    connection.execute_wrappers.insert(0, attribute_writes)


def attribute_writes(
    execute: Callable[..., Any],
    sql: Any,
    params: Any,
    many: bool,  # noqa: FBT001 (Django's signature)
    context: dict[str, Any],
) -> Any:
    """Tell the triggers who acts before a statement that writes to a watched table."""
    made, connection = current_attribution(), context["connection"]
    # A cursor may outlive its connection. That it does is an error of Django's to tell.
    if made is None or connection.connection is None or _is_in_a_pipeline(connection):
        return execute(sql, params, many, context)
    if not _is_watched_write(connection, sql):
        return execute(sql, params, many, context)
    # What reading a lazy request.user writes (a session, say) is nobody's change.
    with attributed(None):
        settings = made()
    with _transaction(connection):
        before = _tell(connection, settings)
        result = execute(sql, params, many, context)
        # Where it raised, the settings end with the transaction or with its savepoint.
        _tell(connection, before)
    return result


def _is_in_a_pipeline(connection: BaseDatabaseWrapper) -> bool:
    """Whether answers come later, in psycopg 3. Then nothing can be asked before a statement."""
    return bool(getattr(getattr(connection.connection, "pgconn", None), "pipeline_status", 0))


def _is_watched_write(connection: BaseDatabaseWrapper, sql: Any) -> bool:
    # The driver's composed statements have a method that makes them a text.
    text = sql.as_string(connection.connection) if hasattr(sql, "as_string") else str(sql)
    if not _WRITES.match(text):
        return False
    try:
        watched = _watched(conf.flag_model, conf.value_model)
    except ConfigurationError:
        # The system check tells of it. A write must not fail for its name in the history.
        return False
    folded = text.lower()
    return any(table in folded for table in watched)


@lru_cache(maxsize=8)
def _watched(flag_model: Any, value_model: Any) -> tuple[str, ...]:
    """The names of the tables without their schema and quotes, which SQL may leave out."""
    connection = connections[conf.database]
    flags, values = flag_names(connection, flag_model), value_names(connection, value_model)
    tables = flags["flag_table"], flags["allowed_users_table"], values["value_table"]
    return tuple(table.strip('"').split('"."')[-1].lower() for table in tables)


@contextmanager
def _transaction(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """A transaction around a statement that has none, in which the settings live.

    Not Django's, which would count as queries of the caller.
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


def _tell(connection: BaseDatabaseWrapper, settings: dict[str, str]) -> dict[str, str]:
    """Set these until the end of the transaction, and give back what was set before."""
    if connection.vendor != "postgresql":
        return settings
    # In a transaction that has failed, the error is Django's.
    connection.validate_no_broken_transaction()
    before = _run(connection, _TELL, [settings[name] for name in _NAMES])
    return {name: value or "" for name, value in zip(_NAMES, before, strict=False)}


def _run(connection: BaseDatabaseWrapper, sql: str, parameters: list[str] | None = None) -> Any:
    """The row that a statement gives. The raw cursor leaves query counts alone."""
    with connection.wrap_database_errors, connection.connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchone() if cursor.description else None
