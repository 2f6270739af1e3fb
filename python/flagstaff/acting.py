"""Tells the triggers who acts: by settings that end with the transaction."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from typing import Any

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff.conf import conf
from flagstaff.context import claim, claimed, noted
from flagstaff.exceptions import ConfigurationError
from flagstaff.tables import flag_names, value_names

__all__ = ["acting_as", "attribute_writes", "wrap_connection"]

_WRITES = re.compile(r"\s*(?:insert|update|delete|truncate|merge|with)\b", re.IGNORECASE)


@contextmanager
def acting_as(user: Any, *, reason: str = "", door: str = "code") -> Iterator[None]:
    """Put changes of flags and settings into the history under this name, with a reason.

    `user` is a user or a name such as "deploy". The block is one transaction: its changes are
    committed at its end, and undone where it raises.

        with acting_as("deploy", reason="release 42"):
            FeatureFlag.objects.filter(key="new_checkout").update(enabled=True)
    """
    settings = claim(user, door=door, reason=reason)
    with transaction.atomic(using=conf.database), noted(lambda: settings):
        connection = connections[conf.database]
        _set(connection, settings)
        yield
        # A surrounding transaction goes on, and what follows in it is not this user's.
        _set(connection, claim())


def wrap_connection(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Attribute the writes of a new connection; a receiver of `connection_created`."""
    if connection.vendor != "postgresql" or attribute_writes in connection.execute_wrappers:
        return
    connection.execute_wrappers.append(attribute_writes)


def attribute_writes(
    execute: Callable[..., Any],
    sql: Any,
    params: Any,
    many: bool,  # noqa: FBT001 (Django's signature)
    context: dict[str, Any],
) -> Any:
    """Tell the triggers who acts before a statement that writes to a watched table."""
    made, connection = claimed(), context["connection"]
    if made is None or not isinstance(sql, str) or not _WRITES.match(sql):
        return execute(sql, params, many, context)
    if not _touches_a_watched_table(connection, sql):
        return execute(sql, params, many, context)
    # What reading a lazy request.user writes (a session, say) is nobody's change.
    with noted(None):
        settings = made()
    # Outside a transaction the settings would be gone again before the statement comes.
    alone = not connection.in_atomic_block
    with transaction.atomic(using=connection.alias) if alone else nullcontext():
        _set(connection, settings)
        return execute(sql, params, many, context)


def _touches_a_watched_table(connection: BaseDatabaseWrapper, sql: str) -> bool:
    try:
        here = connection.alias == conf.database
        return here and any(table in sql for table in _watched(conf.flag_model, conf.value_model))
    except ConfigurationError:
        # The system check tells of it. A write must not fail for its name in the history.
        return False


@lru_cache(maxsize=8)
def _watched(flag_model: Any, value_model: Any) -> tuple[str, ...]:
    connection = connections[conf.database]
    flags, values = flag_names(connection, flag_model), value_names(connection, value_model)
    return flags["flag_table"], flags["allow_table"], values["value_table"]


def _set(connection: BaseDatabaseWrapper, settings: dict[str, str]) -> None:
    """Set them until the end of the transaction. The raw cursor leaves query counts alone."""
    if connection.vendor != "postgresql":
        return
    with connection.wrap_database_errors, connection.connection.cursor() as cursor:
        for name, value in settings.items():
            cursor.execute("SELECT set_config(%s, %s, true)", (name, value))
