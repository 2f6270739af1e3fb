"""Reads the flags, switches and samples of waffle, also those of a project's own models.

It reads columns, never instances: those of the stand-in show the present state of our flags.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any, cast

from django.db import router
from django.db.models import ManyToManyField, Model, QuerySet

from flagstaff._tables.model_fields import is_auto_now, is_auto_now_add, stored_fields
from flagstaff.contrib.waffle.settings import WAFFLE_KINDS, WaffleKind

#: What a project's own model may override. Flagstaff cannot evaluate it then.
EVALUATING_METHODS = (
    "is_active",
    "is_active_for_user",
    "_is_active_for_user",
    "_is_active_for_language",
    "_is_active_for_percent",
    "_get_user_ids",
    "_get_group_ids",
)


@dataclass(frozen=True)
class SourceRow:
    """A flag, switch or sample of waffle. Its fields are named as the columns of waffle."""

    kind: WaffleKind
    name: str
    note: str = ""
    #: Of a switch.
    active: bool = False
    #: Of a flag or a sample; None for none.
    percent: Decimal | None = None
    #: Of a flag: on or off for everyone; None leaves the decision to the other fields.
    everyone: bool | None = None
    testing: bool = False
    rollout: bool = False
    authenticated: bool = False
    staff: bool = False
    superusers: bool = False
    languages: tuple[str, ...] = ()
    #: The primary keys of its users.
    users: Collection[Any] = ()
    #: The names of its groups.
    groups: tuple[str, ...] = ()
    #: The columns and relations that waffle does not have, if they are not empty. The values of a
    #: relation are primary keys.
    extra: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    #: The methods that its model overrides.
    overridden: tuple[str, ...] = ()


def waffle_model(kind: WaffleKind) -> type[Model]:
    """Returns the model of waffle, or that of the project in its place."""
    import waffle  # noqa: PLC0415 (the project may have removed it)

    model: type[Model] = getattr(waffle, f"get_waffle_{kind}_model")()
    return model


def read_rows() -> Iterator[SourceRow]:
    """Yields the rows of the three tables by kind and name. Makes few queries, from the writer."""
    for kind in WAFFLE_KINDS:
        yield from read_kind(kind)


def read_kind(
    kind: WaffleKind, names: Collection[str] | None = None, using: str | None = None
) -> Iterator[SourceRow]:
    """Yields the rows of one table by name, from the alias `using`, or else from the writer."""
    model = waffle_model(kind)
    using = using or router.db_for_write(model)
    rows = _all(model, using).order_by("name")
    rows = rows if names is None else rows.filter(name__in=names)
    stored = [*rows.values()]
    pks = [row[model._meta.pk.attname] for row in stored]
    related = {one.name: _related(one, pks, using) for one in model._meta.many_to_many}
    for pk, row in zip(pks, stored, strict=True):
        of_row = {name: found[pk] for name, found in related.items() if pk in found}
        yield _source_row(kind, row, of_row, using)


def _source_row(
    kind: WaffleKind, columns: Mapping[str, Any], others: dict[str, tuple[Any, ...]], using: str
) -> SourceRow:
    """Returns a row by the values of its columns, and the primary keys of its relations."""
    model = waffle_model(kind)
    users = others.pop("users", ()) if kind == "flag" else ()
    groups = others.pop("groups", ()) if kind == "flag" else ()
    extra = {
        name: (columns[name],)
        for name in _own_columns(model)
        if not _is_empty(model, name, columns[name])
    }
    languages = str(columns.get("languages") or "").split(",")
    return SourceRow(
        kind,
        str(columns["name"]),
        str(columns["note"] or ""),
        active=bool(columns.get("active")),
        percent=columns.get("percent"),
        everyone=columns.get("everyone"),
        testing=bool(columns.get("testing")),
        rollout=bool(columns.get("rollout")),
        authenticated=bool(columns.get("authenticated")),
        staff=bool(columns.get("staff")),
        superusers=bool(columns.get("superusers")),
        languages=tuple(filter(None, (one.strip() for one in languages))),
        users=users,
        groups=_group_names(model, groups, using),
        extra={**extra, **others},
        overridden=overridden_methods(model),
    )


@lru_cache
def overridden_methods(model: type[Model]) -> tuple[str, ...]:
    """Returns the methods that a model overrides, so that its code has to evaluate its rows."""
    return tuple(
        name
        for name in EVALUATING_METHODS
        if (method := getattr(model, name, None)) is not None
        and getattr(method, "__module__", "").partition(".")[0] != "waffle"
    )


def _all(model: type[Model], using: str) -> QuerySet[Any]:
    return model._base_manager.using(using)


def _related(
    relation: ManyToManyField[Any, Any], pks: Collection[Any], using: str
) -> dict[Any, tuple[Any, ...]]:
    """Returns the related primary keys by that of the row, of rows that have any."""
    through = cast("type[Model]", relation.remote_field.through)
    source, target = relation.m2m_column_name(), relation.m2m_reverse_name()
    names = {column.column: column.attname for column in through._meta.concrete_fields}
    pairs = _all(through, using).filter(**{f"{names[source]}__in": pks})
    related: dict[Any, list[Any]] = {}
    for row_pk, pk in pairs.order_by(names[target]).values_list(names[source], names[target]):
        related.setdefault(row_pk, []).append(pk)
    return {row_pk: tuple(found) for row_pk, found in related.items()}


def _group_names(model: type[Model], pks: Collection[Any], using: str) -> tuple[str, ...]:
    if not pks:
        return ()
    group_model = cast("type[Model]", model._meta.get_field("groups").related_model)
    names = _all(group_model, using).filter(pk__in=pks).values_list("name", flat=True)
    return tuple(sorted(names))


@lru_cache
def _own_columns(model: type[Model]) -> tuple[str, ...]:
    """Returns the columns that a model has beside those of waffle's abstract model."""
    from waffle import models  # noqa: PLC0415 (the project may have removed it)

    bases = (models.AbstractBaseFlag, models.AbstractBaseSwitch, models.AbstractBaseSample)
    known = {
        column.name for base in bases if issubclass(model, base) for column in base._meta.fields
    }
    return tuple(
        column.attname
        for column in stored_fields(model)
        if not (column.primary_key or is_auto_now(column) or is_auto_now_add(column))
        and column.name not in known
    )


def _is_empty(model: type[Model], name: str, value: object) -> bool:
    column = next(column for column in model._meta.concrete_fields if column.attname == name)
    return value in (None, "", [], {}) or (column.has_default() and value == column.get_default())
