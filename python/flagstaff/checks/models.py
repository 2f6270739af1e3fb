"""The checks of FLAG_MODEL and VALUE_MODEL: they inherit from ours, and show all rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Error, Warning  # noqa: A004
from django.core.exceptions import EmptyResultSet
from django.db.models import Manager, Model, QuerySet

from flagstaff._tables.database import db
from flagstaff._tables.model_fields import AnyField, find_field
from flagstaff._words.text import joined
from flagstaff.base_models import AbstractFeatureFlag, AbstractKeyValueStore
from flagstaff.conf import conf

_ID = "flagstaff.E005"
# What a project cannot change of a field that it inherits.
_FIXED = ("null", "max_length", "unique", "db_column", "encoder", "decoder", "to", "through")
# The fields without which a table holds no flags or values: they mean the same as ours.
_ESSENTIAL = ("key", "enabled", "rollout_percent", "allowed_users", "value")
_MIGRATE = "run makemigrations and migrate"


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
    return Error(text, hint="; ".join(steps), obj=model, id=_ID)


def _differences(model: type[Model], base: type[Model]) -> Iterator[CheckMessage]:
    for base_field in _fields(base):
        if text := _difference(find_field(model, base_field.name), base_field, model):
            hint = (
                f"remove {base_field.name} from the class, and {_MIGRATE}; if it is a field of "
                "your own, rename it before the model inherits"
            )
            yield Error(f"{base_field.name} {text}", hint=hint, obj=model, id=_ID)
    own_conditions = [
        getattr(constraint, "condition", None) for constraint in model._meta.constraints
    ]
    if not all(
        getattr(constraint, "condition", None) in own_conditions
        for constraint in base._meta.constraints
    ):
        hint = f'write "class Meta({base.__name__}.Meta):", and {_MIGRATE}'
        text = f"its Meta lacks the constraints of {base.__name__}"
        yield Error(text, hint=hint, obj=model, id=_ID)


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
