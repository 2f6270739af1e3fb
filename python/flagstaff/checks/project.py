"""The checks of the project: its settings, its middleware, its own models, and keys in its code.

None makes a query, but for `manage.py check --database`.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004
from django.core.exceptions import EmptyResultSet, ImproperlyConfigured
from django.db import DatabaseError, connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Manager, Model, QuerySet
from django.utils.module_loading import import_string

from flagstaff._code.project import (
    KnownKeys,
    all_keys,
    declared_keys,
    is_test,
    project_uses,
    shown,
    stored_keys,
)
from flagstaff._connection import (
    connection_parameters,
    is_postgresql,
    is_same_database,
    is_supported,
)
from flagstaff._core import check_parameters
from flagstaff._engine.users import unusable_columns
from flagstaff._tables.attributes import object_problem
from flagstaff._tables.database import db
from flagstaff._tables.rows import AnyField, find_field
from flagstaff._text import joined, some
from flagstaff.base_models import AbstractFeatureFlag, AbstractKeyValueStore
from flagstaff.conf import all_settings, conf
from flagstaff.exceptions import ConfigurationError
from flagstaff.extensions import OBSERVERS

_DJANGO_BACKEND = "django.db.backends.postgresql.base"
_MIDDLEWARE = "flagstaff.middleware.FlagstaffMiddleware"
_AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"
_DIFFERS_ID = "flagstaff.E005"
# What a project cannot change of a field that it inherits.
_FIXED = ("null", "max_length", "unique", "db_column", "encoder", "decoder", "to", "through")
# The fields without which a table holds no flags or values: they mean the same as ours.
_ESSENTIAL = ("key", "enabled", "rollout_percent", "allowed_users", "value")
_MIGRATE = "run makemigrations and migrate"


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
    try:
        unusable = unusable_columns()
        objects = {name: object_problem(of) for name, of in conf.attributes.objects.items()}
    except ConfigurationError:  # E005: the flag model has no users
        unusable, objects = [], {}
    if unusable:
        names = some(map(repr, unusable))
        yield f"{names}, not a column of the user model", "name concrete fields of the user model"
    for name, problem in objects.items():
        if problem:
            yield f"for {name!r} {problem}", "correct it, or install the app of the model"
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


def _computes_parameters(connection: BaseDatabaseWrapper) -> bool:
    """Whether a custom backend may request a password or a token, which a check must not do."""
    return type(connection).get_connection_params.__module__ != _DJANGO_BACKEND


def has_middleware() -> bool:
    """Whether MIDDLEWARE has FlagstaffMiddleware, or a subclass."""
    return _position(_MIDDLEWARE) is not None


def missing_middleware() -> Iterator[CheckMessage]:
    """Yields why requests have no flags, or no user. Imports the middleware."""
    position, of_user = _position(_MIDDLEWARE), _position(_AUTHENTICATION)
    silence = "or silence this with SILENCED_SYSTEM_CHECKS"
    if position is None:
        if users := some(_what_needs_it()):
            yield Warning(
                f"FlagstaffMiddleware is not in MIDDLEWARE, but needed by {users}",
                hint=f'add "{_MIDDLEWARE}" after AuthenticationMiddleware, {silence} if no request '
                "evaluates a flag",
                id="flagstaff.W007",
            )
    elif of_user is not None and position < of_user:
        yield Warning(
            "FlagstaffMiddleware is before AuthenticationMiddleware in MIDDLEWARE, so what runs "
            "between them evaluates request.flags for an anonymous user",
            hint=f'move "{_MIDDLEWARE}" behind AuthenticationMiddleware, {silence} if nothing '
            "between them evaluates a flag",
            id="flagstaff.W008",
        )


def _what_needs_it() -> Iterator[str]:
    """Yields the apps and the settings that only the middleware serves."""
    for app in apps.get_app_configs():
        if OBSERVERS.name in getattr(app, "flagstaff_hooks", {}):
            yield f"the app {app.name}"
    if conf.attributes.callable is not None:
        yield f'the function {conf.attributes.callable} in FLAGSTAFF["ATTRIBUTES"]'
    for name in ("VISITOR_COOKIE", "IS_CRAWLER"):
        setting = all_settings().get(name)
        if setting is not None and isinstance(path := setting.current(), str):
            yield f'the function {path} in FLAGSTAFF["{name}"]'


def _position(path: str) -> int | None:
    """Returns the index in MIDDLEWARE of a class or a subclass of it; None if it is not there."""
    for index, name in enumerate(settings.MIDDLEWARE):
        try:
            middleware = import_string(name)
        except ImportError:  # Django reports it at the first request.
            continue
        classes = getattr(middleware, "__mro__", ())
        if any(path == f"{base.__module__}.{base.__qualname__}" for base in classes):
            return index
    return None


def models_that_differ() -> Iterator[CheckMessage]:
    """Yields models that do not inherit, and what replaces or removes something inherited."""
    bases = ((conf.flag_model, AbstractFeatureFlag), (conf.value_model, AbstractKeyValueStore))
    for model, base in bases:
        if issubclass(model, base):
            yield from _differences(model, base)
        else:
            yield _without_base(model, base)


def managers_that_hide_rows() -> Iterator[CheckMessage]:
    """Yields models whose managers leave out rows, such as those that are deleted softly."""
    for model in (conf.flag_model, conf.value_model):
        managers = (model._default_manager, model._base_manager, getattr(model, "objects", None))
        hiding = {
            manager.name
            for manager in managers
            if isinstance(manager, Manager) and _hides_rows(manager)
        }
        for name in sorted(hiding):
            yield Warning(
                f"its manager {name} hides rows, but evaluations, lists and commands read the "
                "whole table: a flag that it hides can still be on",
                hint="disable or delete such rows instead of hiding them, or let this manager "
                "return all rows and give another one the filter; if both are meant, silence this "
                "with SILENCED_SYSTEM_CHECKS",
                obj=model,
                id="flagstaff.W006",
            )


def _hides_rows(manager: Manager[Any]) -> bool:
    """Whether a manager's query can lack rows of the table. Annotations and an order are nothing.

    False if that cannot be known: its code may fail, or need a database, which a check must not.
    """
    try:
        rows: QuerySet[Any] = manager.db_manager(db.alias).all()
        query = rows.query
        if query.is_sliced or query.combinator or query.distinct_fields:
            return True
        condition, _values = query.get_compiler(rows.db).compile(query.where)
    except EmptyResultSet:
        return True
    except Exception:  # noqa: BLE001 (also FullResultSet: no condition)
        return False
    return bool(condition)


def _without_base(model: type[Model], base: type[Model]) -> CheckMessage:
    repeated: list[str] = []
    other: list[str] = []
    for base_field in _fields(base):
        own_field = find_field(model, base_field.name)
        if own_field is not None:
            is_same = base_field.name in _ESSENTIAL or isinstance(own_field, type(base_field))
            (repeated if is_same else other).append(base_field.name)
    line = f'write "class {model.__name__}({base.__name__}):", imported from flagstaff.base_models'
    steps = [
        *([f"rename {joined(other)} and {_MIGRATE} with --skip-checks"] if other else []),
        line,
        *([f"remove {joined(repeated)} from the class"] if repeated else []),
        _MIGRATE,
    ]
    text = f"the model does not inherit from {base.__name__}"
    return Error(text, hint="; ".join(steps), obj=model, id=_DIFFERS_ID)


def _differences(model: type[Model], base: type[Model]) -> Iterator[CheckMessage]:
    for base_field in _fields(base):
        if text := _difference(find_field(model, base_field.name), base_field, model):
            hint = (
                f"remove {base_field.name} from the class, and {_MIGRATE}; if it is a field of "
                "your own, rename it before the model inherits"
            )
            yield Error(f"{base_field.name} {text}", hint=hint, obj=model, id=_DIFFERS_ID)
    own_conditions = [
        getattr(constraint, "condition", None) for constraint in model._meta.constraints
    ]
    if not all(
        getattr(constraint, "condition", None) in own_conditions
        for constraint in base._meta.constraints
    ):
        hint = f'write "class Meta({base.__name__}.Meta):", and {_MIGRATE}'
        text = f"its Meta lacks the constraints of {base.__name__}"
        yield Error(text, hint=hint, obj=model, id=_DIFFERS_ID)


def _difference(own_field: AnyField | None, base_field: AnyField, model: type[Model]) -> str | None:
    """Returns how a field differs from the one that its model inherits, or None."""
    if own_field is None:
        return "is removed, but flagstaff reads it"
    if own_field.model._meta.db_table != model._meta.db_table:
        return (
            f"is stored in the table of {own_field.model._meta.label}, expected one table for all"
        )
    is_same = _declaration(own_field) == _declaration(base_field)
    return None if is_same else f"is {_declaration(own_field)}, expected {_declaration(base_field)}"


def _fields(base: type[Model]) -> list[AnyField]:
    meta = base._meta
    return [*meta.local_fields, *meta.local_many_to_many]


def _declaration(field: Any) -> str:
    """Returns the class of a field with what a project cannot change."""
    options = field.deconstruct()[3] if hasattr(field, "deconstruct") else {}
    fixed = ", ".join(f"{name}={options[name]!r}" for name in _FIXED if name in options)
    return f"{type(field).__name__}({fixed})"


# The keys in its code.


def unknown_keys_in_code(databases: Collection[str] | None) -> Iterator[CheckMessage]:
    """Yields the uses of unknown keys, only for `manage.py check`, once code declares a key.

    With the database of the flags, its rows count, too.
    """
    keys = declared_keys()
    if sys.argv[1:2] != ["check"] or not any(keys.values()):
        return
    # The newest Django names all databases if the command names none.
    if db.alias in (databases or ()) and any(text.startswith("--database") for text in sys.argv):
        try:
            keys = all_keys(stored_keys())
        except DatabaseError:  # another check reports it
            return
    known = KnownKeys(keys, conf.allowed_keys)
    for use in project_uses():
        if problem := known.problem(use):
            text, hint = f"{shown(use.path)}:{use.line}: {problem}", _HINT
            if is_test(use):
                yield Warning(text, hint=hint, id="flagstaff.W064")
            else:
                yield Error(text, hint=hint, id="flagstaff.E063")


_HINT = (
    "correct it, or declare it in the flags.py of an app; if the key exists in the database alone, "
    'run "check --database", or add it to ALLOWED_KEYS in FLAGSTAFF'
)
