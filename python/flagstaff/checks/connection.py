"""Whether the engine can connect to DATABASE as Django does, and to where the flags are."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from django.core.checks import CheckMessage, Error, Info, Warning  # noqa: A004
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._connection.aliases import is_one_database
from flagstaff._connection.options import HONOURED, REFUSED, Refusal, refusals
from flagstaff._connection.parameters import connection_settings
from flagstaff.checks.guard import with_usable_settings
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError

__all__ = ["check_connection_options", "check_database_is_written_to", "check_database_vendor"]

_DJANGOS_OWN = "django.db.backends.postgresql.base"
_ALTERNATIVE = 'name an alias without it as "DATABASE" in FLAGSTAFF'


@with_usable_settings
def check_connection_options(**kwargs: Any) -> list[CheckMessage]:
    """flagstaff.E003: the engine does not support an option of the connection."""
    connection = connections[conf.engine_database]
    if connection.vendor != "postgresql":
        return []
    return [Error(what, hint=hint, id="flagstaff.E003") for what, hint in _unusable(connection)]


@with_usable_settings
def check_database_is_written_to(**kwargs: Any) -> list[CheckMessage]:
    """flagstaff.W004: flags are read from another database than the router writes them to."""
    return [
        Warning(
            f'it is read from database "{conf.engine_database}", but written to "{alias}"',
            hint=f'set "DATABASE" to "{alias}" in FLAGSTAFF, or let DATABASE_ROUTERS write it to '
            f'"{conf.engine_database}"; a replica is known by TEST = {{"MIRROR": "{alias}"}}',
            obj=model,
            id="flagstaff.W004",
        )
        for model in (conf.flag_model, conf.value_model)
        if not is_one_database(alias := router.db_for_write(model), conf.engine_database)
    ]


@with_usable_settings
def check_database_vendor(
    *, databases: Collection[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """flagstaff.I011: the database is not PostgreSQL, so every question is a query."""
    connection = connections[conf.engine_database]
    if conf.engine_database not in (databases or ()) or connection.vendor == "postgresql":
        return []
    return [
        Info(
            f'database "{connection.alias}" is {connection.display_name}: every question is a '
            "query, and no history is kept",
            hint="for answers from memory and a history, keep flags in PostgreSQL; else silence "
            "this with SILENCED_SYSTEM_CHECKS",
            id="flagstaff.I011",
        )
    ]


def _unusable(connection: BaseDatabaseWrapper) -> Iterator[tuple[str, str]]:
    """What of the connection's options the engine cannot use, and what would do."""
    try:
        options = _options(connection)
    except ConfigurationError as error:
        yield str(error), f"mend it; or {_ALTERNATIVE}"
        return
    for refusal in refusals(options):
        shown = f'the option {refusal.shown} of database "{connection.alias}" is not supported'
        yield shown, _what_would_do(refusal)


def _options(connection: BaseDatabaseWrapper) -> Mapping[str, str]:
    """What the engine would be given, as far as that can be told without connecting."""
    if type(connection).get_connection_params.__module__ != _DJANGOS_OWN:
        # This backend makes its settings itself, and may ask somebody for a password.
        options = connection.settings_dict["OPTIONS"]
        return {name: str(options[name]) for name in options if name in HONOURED.keys() | REFUSED}
    try:
        return connection_settings(connection)
    except ConfigurationError:
        raise
    except ImproperlyConfigured:  # Django itself cannot connect either, and says why
        return {}


def _what_would_do(refusal: Refusal) -> str:
    if refusal.expected:
        return f"expected {', '.join(refusal.expected)}; or {_ALTERNATIVE}"
    return f"leave it out of OPTIONS and of the environment; or {_ALTERNATIVE}"
