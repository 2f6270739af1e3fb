"""Waffle as the project has it: its models with their rows, and code of its own.

The project's own code in a model decides, unless the flag of its row is off. Columns are read,
never instances: those of the stand-in show the present state of our flags. Also the system checks
of these models, and of the version of waffle.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, wraps
from inspect import getattr_static
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.apps import apps
from django.core.checks import CheckMessage, Warning  # noqa: A004
from django.db import DatabaseError, ProgrammingError, connections, router, transaction
from django.db.models import Model

from flagstaff import resolve_flag
from flagstaff._core import current
from flagstaff.contrib.waffle.settings import WAFFLE_KINDS, WaffleKind, key_of, waffle_model

# What a project's own model may override. Its code decides about its rows then.
_EVALUATING_METHODS = (
    "is_active",
    "is_active_for_user",
    "_is_active_for_user",
    "_is_active_for_language",
    "_is_active_for_percent",
    "_get_user_ids",
    "_get_group_ids",
)

#: The columns of waffle that decide, by kind.
DECIDING_COLUMNS: Mapping[WaffleKind, tuple[str, ...]] = {
    "flag": (
        "everyone",
        "percent",
        "testing",
        "languages",
        "authenticated",
        "staff",
        "superusers",
    ),
    "switch": ("active",),
    "sample": ("percent",),
}
_OTHER_COLUMNS: Mapping[WaffleKind, tuple[str, ...]] = {
    "flag": ("name", "note", "created", "modified", "rollout"),
    "switch": ("name", "note", "created", "modified"),
    "sample": ("name", "note", "created", "modified"),
}

#: In an instance: the columns as code has seen them.
SEEN = "_flagstaff_seen"


@dataclass(frozen=True)
class Row:
    """A flag, switch or sample of waffle: `row["everyone"]` is the value of a column."""

    kind: WaffleKind
    #: By name. A kind does not have the columns of the others.
    columns: Mapping[str, Any]
    #: The primary keys of the users of a flag, and the names of its groups.
    users: Collection[Any] = ()
    groups: Collection[str] = ()
    #: The columns that waffle does not have, if they are not empty.
    own: tuple[str, ...] = ()
    #: The same of relations: their names, their models, and the primary keys.
    objects: tuple[tuple[str, Any, Collection[Any]], ...] = ()

    def __getitem__(self, column: str) -> Any:
        return self.columns.get(column)

    @property
    def name(self) -> str:
        """The name that waffle knows it by."""
        return str(self["name"])

    @property
    def key(self) -> str:
        """The key of its flag."""
        return key_of(self.kind, self.name)

    @property
    def languages(self) -> list[str]:
        """The languages of a flag."""
        languages = (language.strip() for language in (self["languages"] or "").split(","))
        return [*filter(None, languages)]


@lru_cache
def overridden_methods(model: type[Any]) -> tuple[str, ...]:
    """Returns the methods that a model overrides, so that its own code decides about its rows."""
    return tuple(
        name
        for name in _EVALUATING_METHODS
        if (method := getattr(model, name, None)) is not None
        and getattr(method, "__module__", "").partition(".")[0] not in {"waffle", "flagstaff"}
    )


def has_own_code(model: Any) -> bool:
    """Whether code of the project decides about the rows of a model, unless their flag is off."""
    return bool(overridden_methods(model))


def code_text(model: Any) -> str:
    """Returns what evaluates the rows of a model, such as "is_active() of shop.Flag"."""
    methods = ", ".join(f"{name}()" for name in overridden_methods(model))
    return f"{methods} of {model._meta.label}" if methods else ""


def seen_name(instance: Any) -> str:
    """Returns the name that the table has: code may have assigned another one."""
    return str(instance.__dict__.get(SEEN, {}).get("name", instance.name))


def read_rows() -> Iterator[Row]:
    """Yields the rows of the three tables by kind and name. Makes few queries, from the writer."""
    for kind in WAFFLE_KINDS:
        model = waffle_model(kind)
        yield from read_kind(kind, router.db_for_write(model))


def read_kind(kind: WaffleKind, using: str) -> Iterator[Row]:
    """Yields the rows of one table by name."""
    model = waffle_model(kind)
    rows = model._base_manager.using(using).order_by("name")
    related: dict[str, dict[Any, list[Any]]] = {}
    for relation in model._meta.many_to_many:
        # Rules name groups.
        path = "groups__name" if relation.name == "groups" else f"{relation.name}__pk"
        related[relation.name] = by_pk = defaultdict(list)
        for pk, other in rows.filter(**{f"{relation.name}__isnull": False}).values_list("pk", path):
            by_pk[pk].append(other)
    users, groups = related.pop("users", {}), related.pop("groups", {})
    for columns in rows.values():
        pk = columns[model._meta.pk.attname]
        objects = (
            (name, model._meta.get_field(name).related_model, by_pk[pk])
            for name, by_pk in sorted(related.items())
            if pk in by_pk
        )
        own_columns = tuple(_own_columns(kind, model, columns))
        of_groups = sorted(groups.get(pk, ()))
        yield Row(kind, columns, users.get(pk, ()), of_groups, own_columns, tuple(objects))


def _own_columns(kind: WaffleKind, model: type[Model], columns: Mapping[str, Any]) -> Iterator[str]:
    """Yields the columns beside those of waffle's abstract model that are not empty."""
    waffle_columns = {*DECIDING_COLUMNS[kind], *_OTHER_COLUMNS[kind]}
    for field in model._meta.concrete_fields:
        # Columns such as those with auto_now are not editable.
        empty: tuple[Any, ...] = (None, "", [], {}, field.get_default())
        is_own = field.editable and not field.primary_key and field.name not in waffle_columns
        if is_own and columns[field.attname] not in empty:
            yield field.attname


_LOG = logging.getLogger("flagstaff")
# The results while the flag is off. None never means on, also not for `is not None`.
_OFF: dict[str, bool | None] = {
    "is_active": False,
    "is_active_for_user": None,
    "_is_active_for_user": None,
    "_is_active_for_language": None,
    "_is_active_for_percent": None,
}

_WITHOUT_ROW = (classmethod, staticmethod, property)

# From which version on `is_active_for_user()` regards which value of *Everyone*.
_YES, _NO = (4, 1), (5, 0)


def is_off(kind: WaffleKind, name: str) -> bool:
    """Whether the flag of a row is off here, also before the first load. Does not query."""
    key = key_of(kind, name)
    return current(key).is_off(key)


def _off_result(kind: WaffleKind, name: str, method_name: str, method: Any) -> Any:
    """Returns what a method returns while the flag is off, and counts it as a result of the flag.

    A result of the project's code is not counted.
    """
    resolve_flag(key_of(kind, name))
    result = _OFF[method_name]
    return _awaitable(result) if iscoroutinefunction(method) else result


async def _awaitable(result: Any) -> Any:
    return result


def guard(model: type[Any]) -> None:
    """Guards the methods of a model that are not guarded, also those of its mixins.

    Of a row whose flag is off, they return so before their code runs. A class method or a static
    method has no row, so only waffle's functions are guarded then.
    """
    for name in _OFF:
        method: Any = getattr_static(model, name, None)
        # A decorator around a guarded method copies the attribute, and is guarded again.
        is_guarded = getattr(method, "flagstaff_guard", None) is method
        is_method = hasattr(method, "__get__") and not isinstance(method, _WITHOUT_ROW)
        if is_method and not is_guarded:
            setattr(model, name, _guarded(method, name))


def _guarded(method: Any, method_name: str) -> Any:
    @wraps(method)
    def evaluate(row: Any, *args: Any, **kwargs: Any) -> Any:
        # Only of models with own code: the flag decides about the rows of the others.
        if has_own_code(type(row)) and is_off(row.KIND, name := seen_name(row)):
            return _off_result(row.KIND, name, method_name, method)
        return method.__get__(row, type(row))(*args, **kwargs)

    evaluate.__dict__["flagstaff_guard"] = evaluate
    return markcoroutinefunction(evaluate) if iscoroutinefunction(method) else evaluate


def result_of(model: Any, name: str, *args: Any, **kwargs: Any) -> Any:
    """Returns the result of a name. Reads a row only if it has own code and is not off."""
    if not has_own_code(model):
        return model(name=name).is_active(*args, **kwargs)
    if is_off(model.KIND, name):
        return _off_result(model.KIND, name, "is_active", model.is_active)
    return model.get(name).is_active(*args, **kwargs)


def deciding_code(keys: Collection[str], *, is_limited: bool = True) -> Mapping[str, str]:
    """Returns the own code that decides about flags unless they are off, by key.

    Queries the names of the rows of each model with own code. If `is_limited`, for at most a
    second each; after that, all of the flags may have such a row.
    """
    code_by_key: dict[str, str] = {}
    for kind in WAFFLE_KINDS if apps.is_installed("waffle") else ():
        if code := code_text(waffle_model(kind)):
            try:
                names = _stored_names(waffle_model(kind), is_limited=is_limited)
                stored = {key_of(kind, name) for name in names}
            except ProgrammingError:
                # A table that does not exist yet has no rows.
                continue
            except DatabaseError:
                if not is_limited:
                    raise
                # The page of a flag does not wait for a migration of waffle's table.
                _LOG.exception("the rows of waffle cannot be read")
                stored, code = {*keys}, f"perhaps {code}"
            code_by_key |= dict.fromkeys(stored.intersection(keys), code)
    return code_by_key


def _stored_names(model: Any, *, is_limited: bool) -> list[str]:
    connection = connections[router.db_for_write(model)]
    with transaction.atomic(using=connection.alias):
        if is_limited and connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL statement_timeout = 1000")
        names = model._base_manager.using(connection.alias).values_list("name", flat=True)
        stored = [*names]
        # Nothing was written, and this takes back the limit.
        transaction.set_rollback(True, using=connection.alias)
    return stored


def check_waffle() -> Iterator[CheckMessage]:
    """Yields the project's models whose own code decides, and what waffle's version changes."""
    if not apps.is_installed("waffle"):
        return
    for model in map(waffle_model, WAFFLE_KINDS):
        if code := code_text(model):
            yield Warning(
                f"{code} decides about its rows: a flag here turns them off, but its rollout, its "
                "rules and its allowed users have no effect on them",
                hint="to count and roll out here, express what it adds by rules, and remove it",
                obj=model,
                id="flagstaff.W057",
            )
    if text := version_text():
        yield Warning(
            text,
            hint="upgrade to django-waffle 5 first, and run your tests; or compare the results by "
            "`manage.py flags compare-waffle`",
            id="flagstaff.W058",
        )


def version_text() -> str:
    """Returns how the results of the installed waffle differ; empty for version 5 and newer."""
    package: Any = apps.get_app_config("waffle").module
    installed = package.__version__
    version = tuple(int(part) for part in installed.split(".")[:2] if part.isdigit())
    if version >= _NO:
        return ""
    ignored = "Everyone: No" if version >= _YES else "Everyone"
    return (
        f"django-waffle {installed} differs from version 5, whose place flagstaff takes: "
        f"its is_active_for_user() ignores {ignored!r}, and it does not call "
        "_is_active_for_percent() of a model of yours"
    )
