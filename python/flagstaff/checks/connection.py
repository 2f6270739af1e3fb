"""Checks that the engine can connect as Django does, and to the database of the flags."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from django.core.checks import CheckMessage, Error, Info, Warning  # noqa: A004
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._connection.aliases import is_same_database
from flagstaff._connection.options import (
    SUPPORTED,
    UNSUPPORTED,
    UnsupportedParameter,
    unsupported_parameters,
)
from flagstaff._connection.parameters import connection_parameters
from flagstaff.checks.guard import with_valid_settings
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError

__all__ = [
    "check_connection_parameters",
    "check_database_is_the_written_one",
    "check_database_vendor",
]

_DJANGO_BACKEND = "django.db.backends.postgresql.base"
_OTHER_ALIAS = 'set "DATABASE" in FLAGSTAFF to an alias without'


@with_valid_settings
def check_connection_parameters(**kwargs: object) -> list[CheckMessage]:
    """flagstaff.E003: the engine does not support a connection parameter."""
    connection = connections[conf.engine_database]
    if connection.vendor != "postgresql":
        return []
    return [Error(text, hint=hint, id="flagstaff.E003") for text, hint in _problems(connection)]


@with_valid_settings
def check_database_is_the_written_one(**kwargs: object) -> list[CheckMessage]:
    """flagstaff.W004: flags are read from a database other than the one they are written to."""
    return [
        Warning(
            f'this model is read from database "{conf.engine_database}", but written to "{alias}"',
            hint=f'if "{conf.engine_database}" is a replica of "{alias}", add "TEST": '
            f'{{"MIRROR": "{alias}"}} to DATABASES["{conf.engine_database}"] (flagstaff uses '
            "this outside of tests, too); otherwise set "
            f'"DATABASE" to "{alias}" in FLAGSTAFF, or change db_for_write in your router '
            f'to return "{conf.engine_database}"',
            obj=model,
            id="flagstaff.W004",
        )
        for model in (conf.flag_model, conf.value_model)
        if not is_same_database(alias := router.db_for_write(model), conf.engine_database)
    ]


@with_valid_settings
def check_database_vendor(
    *, databases: Collection[str] | None = None, **kwargs: object
) -> list[CheckMessage]:
    """flagstaff.I011: the database is not PostgreSQL, so every evaluation is a query."""
    connection = connections[conf.engine_database]
    if conf.engine_database not in (databases or ()) or connection.vendor == "postgresql":
        return []
    return [
        Info(
            f'database "{connection.alias}" is {connection.display_name}: every evaluation is a '
            "query, and there is no history",
            hint="use PostgreSQL for evaluation from memory and a history, or silence this with "
            "SILENCED_SYSTEM_CHECKS",
            id="flagstaff.I011",
        )
    ]


def _problems(connection: BaseDatabaseWrapper) -> Iterator[tuple[str, str]]:
    """Yields each problem of the connection's parameters, with a hint."""
    try:
        parameters = _parameters(connection)
    except ConfigurationError as error:
        yield str(error), f"correct the file, or {_OTHER_ALIAS} a service or password file"
        return
    for parameter in unsupported_parameters(parameters):
        text = f'the option {parameter.shown} of database "{connection.alias}" is not supported'
        yield text, _hint(parameter)


def _parameters(connection: BaseDatabaseWrapper) -> Mapping[str, str]:
    """Returns the engine's parameters, as far as they are known without connecting."""
    if type(connection).get_connection_params.__module__ != _DJANGO_BACKEND:
        # A custom backend may request a password or a token, which a check must not do.
        options = connection.settings_dict["OPTIONS"]
        known = SUPPORTED.keys() | UNSUPPORTED
        return {name: str(options[name]) for name in options if name in known}
    try:
        return connection_parameters(connection)
    except ConfigurationError:
        raise
    except ImproperlyConfigured:  # Django cannot connect either, and reports it
        return {}


def _hint(parameter: UnsupportedParameter) -> str:
    other = f"or {_OTHER_ALIAS} {parameter.shown}"
    if parameter.expected:
        return f"use one of: {', '.join(parameter.expected)}; {other}"
    return f"remove it from OPTIONS, from the environment and from the service file, {other}"
