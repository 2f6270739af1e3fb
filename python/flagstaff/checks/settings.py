"""Checks the settings, and that the engine can connect with them to the database of the flags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.module_loading import import_string

from flagstaff._connection import is_postgresql, is_same_database, is_supported
from flagstaff._connection.parameters import connection_parameters
from flagstaff._core import check_parameters
from flagstaff._engine.attributes import unusable_columns
from flagstaff._tables.database import db
from flagstaff._words.text import some
from flagstaff.conf import all_settings, conf
from flagstaff.exceptions import ConfigurationError

_DJANGO_BACKEND = "django.db.backends.postgresql.base"


def wrong_settings() -> Iterator[CheckMessage]:
    """Yields what is wrong with FLAGSTAFF, or else with what it names."""
    errors = conf.problems()
    problems = [(error.problem, error.hint) for error in errors] if errors else _missing_objects()
    for text, hint in problems:
        yield Error(text, hint=hint, id="flagstaff.E001")


def _missing_objects() -> Iterator[tuple[str, str]]:
    """Yields what settings name, but does not exist."""
    values: Mapping[str, object] = getattr(settings, "FLAGSTAFF", {})
    named = {"ATTRIBUTES": _attribute_problems()}
    for name, setting in all_settings().items():
        if setting.returns is not None:
            named[name] = path_problems(setting.read(values), setting.returns)
    for name, problems in named.items():
        for problem, hint in problems:
            yield f'FLAGSTAFF["{name}"] names {problem}', hint


def unsupported_databases() -> Iterator[CheckMessage]:
    """Yields the databases that are neither PostgreSQL nor SQLite."""
    for alias in dict.fromkeys((db.alias, conf.engine_database)):
        connection = connections[alias]
        if not is_supported(connection):
            name = connection.display_name
            yield Error(
                f'database "{alias}" is {name}, which flagstaff does not support',
                hint='use PostgreSQL, or SQLite for development and tests; or set "DATABASE" in '
                "FLAGSTAFF to an alias of such a database",
                id="flagstaff.E049",
            )


def unsupported_connection_parameters() -> Iterator[CheckMessage]:
    """Yields why the engine cannot use the connection parameters. Does not connect."""
    connection = connections[conf.engine_database]
    if not is_postgresql(connection) or _computes_parameters(connection):
        return
    try:
        check_parameters(connection_parameters(connection))
    except ConfigurationError as error:
        yield Error(
            f'database "{connection.alias}": {error}',
            hint="correct it in OPTIONS, in the environment or in the service or password file, or "
            'set "DATABASE" in FLAGSTAFF to an alias without it',
            id="flagstaff.E003",
        )
    except ImproperlyConfigured:  # Django cannot connect either, and reports it
        pass


def models_written_elsewhere() -> Iterator[CheckMessage]:
    """Yields the models that are read from a database other than the one they are written to."""
    read = conf.engine_database
    for model in (conf.flag_model, conf.value_model):
        written = router.db_for_write(model)
        if not is_same_database(written, read):
            yield Warning(
                f'this model is read from database "{read}", but written to "{written}"',
                hint=f'if "{read}" is a replica of "{written}", add "TEST": '
                f'{{"MIRROR": "{written}"}} to DATABASES["{read}"] (flagstaff uses this outside '
                f'of tests, too); otherwise set "DATABASE" to "{written}" in FLAGSTAFF, or change '
                f'db_for_write in your router to return "{read}"',
                obj=model,
                id="flagstaff.W004",
            )


def _attribute_problems() -> Iterator[tuple[str, str]]:
    """Yields what ATTRIBUTES names wrongly, with a hint."""
    if unusable := _unusable_columns():
        names = some(map(repr, unusable))
        yield f"{names}, not a column of the user model", "name concrete fields of the user model"
    path = conf.attributes.callable
    if path is not None:
        hint = "write a function (user, request) that returns a mapping of names to values"
        yield from _function_problems(path, hint)


def path_problems(path: object, returns: str) -> Iterator[tuple[str, str]]:
    """Yields what is wrong with a function of the request, with a hint."""
    if isinstance(path, str):
        hint = f"write a function (request) that returns {returns}"
        yield from _function_problems(path, hint)


def _function_problems(path: str, hint: str) -> Iterator[tuple[str, str]]:
    try:
        function = import_string(path)
    except ImportError as error:
        problem = f"{path!r}, which cannot be imported: {error}"
        yield problem, "correct the path, or install what it needs"
        return
    if not callable(function) or iscoroutinefunction(function):
        yield f"{path!r}, which is not a synchronous function", hint


def _unusable_columns() -> list[str]:
    try:
        return unusable_columns()
    except ConfigurationError:  # E005: the flag model has no users
        return []


def _computes_parameters(connection: BaseDatabaseWrapper) -> bool:
    """Whether a custom backend may request a password or a token, which a check must not do."""
    return type(connection).get_connection_params.__module__ != _DJANGO_BACKEND
