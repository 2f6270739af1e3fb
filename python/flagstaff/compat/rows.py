"""Reads the flags, switches and samples of waffle, also those of a project's own models."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any, cast

from django.db import router
from django.db.models import ManyToManyField, Model, QuerySet

from flagstaff.compat.settings import WAFFLE_KINDS, WaffleKind

#: What a project's own model may override. Flagstaff cannot evaluate it then.
EVALUATING_METHODS = (
    "is_active",
    "is_active_for_user",
    "_is_active_for_user",
    "_is_active_for_language",
    "_is_active_for_percent",
)
_USERS, _GROUPS = "users", "groups"


@dataclass(frozen=True)
class SourceRow:
    """A flag, switch or sample of waffle."""

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
    users: tuple[Any, ...] = ()
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


def kind_of_model(model: type[Model]) -> WaffleKind | None:
    """Returns what the rows of a model are for waffle, or None."""
    for kind in WAFFLE_KINDS:
        if issubclass(model, waffle_model(kind)):
            return kind
    return None


def read_rows(names: Collection[str] | None = None) -> Iterator[SourceRow]:
    """Yields the rows of the three tables by kind and name. Makes few queries, from the writer."""
    for kind in WAFFLE_KINDS:
        model = waffle_model(kind)
        rows = _all(model).order_by("name")
        rows = rows if names is None else rows.filter(name__in=names)
        yield from _source_rows(kind, list(rows))


def read_row(row: Model) -> SourceRow:
    """Returns one row, with its users and groups as they are now. Up to two queries and more."""
    kind = cast("WaffleKind", kind_of_model(type(row)))
    (found,) = _source_rows(kind, [row])
    return found


@lru_cache
def overridden_methods(model: type[Model]) -> tuple[str, ...]:
    """Returns the methods that a model overrides, so that waffle has to evaluate its rows."""
    return tuple(
        name
        for name in EVALUATING_METHODS
        if (method := getattr(model, name, None)) is not None
        and getattr(method, "__module__", "") not in {"waffle.models", "flagstaff.compat.serve"}
    )


def _all(model: type[Model]) -> QuerySet[Any]:
    return model._base_manager.using(router.db_for_write(model))


def _source_rows(kind: WaffleKind, rows: list[Any]) -> Iterator[SourceRow]:
    if not rows:
        return
    model = cast("type[Model]", type(rows[0]))
    overridden = overridden_methods(model)
    if kind == "switch":
        for row in rows:
            yield SourceRow(kind, row.name, row.note, bool(row.active), overridden=overridden)
        return
    if kind == "sample":
        for row in rows:
            yield SourceRow(
                kind, row.name, row.note, percent=_decimal(row.percent), overridden=overridden
            )
        return
    related = {relation.name: _related(relation, rows) for relation in model._meta.many_to_many}
    group_names = _group_names(related.get(_GROUPS, {}).values(), model)
    own = _own_columns(model)
    for row in rows:
        groups = related.get(_GROUPS, {}).get(row.pk, ())
        extra = {name: (getattr(row, name),) for name in own if not _is_empty(row, name)}
        extra |= {
            name: pks[row.pk]
            for name, pks in related.items()
            if name not in {_USERS, _GROUPS} and row.pk in pks
        }
        yield SourceRow(
            kind,
            row.name,
            row.note,
            percent=_decimal(row.percent),
            everyone=row.everyone,
            testing=bool(row.testing),
            rollout=bool(row.rollout),
            authenticated=bool(row.authenticated),
            staff=bool(row.staff),
            superusers=bool(row.superusers),
            languages=tuple(filter(None, (one.strip() for one in row.languages.split(",")))),
            users=related.get(_USERS, {}).get(row.pk, ()),
            groups=tuple(sorted(group_names[pk] for pk in groups if pk in group_names)),
            extra=extra,
            overridden=overridden,
        )


def _decimal(value: object) -> Decimal | None:
    # A row that was not read again has what the code has assigned, such as a text.
    return None if value is None else Decimal(str(value))


def _related(
    relation: ManyToManyField[Any, Any], rows: Iterable[Model]
) -> dict[Any, tuple[Any, ...]]:
    """Returns the related primary keys by that of the row, of rows that have any."""
    through = cast("type[Model]", relation.remote_field.through)
    source, target = relation.m2m_column_name(), relation.m2m_reverse_name()
    names = {column.column: column.attname for column in through._meta.concrete_fields}
    pks = [row.pk for row in rows]
    pairs = _all(through).filter(**{f"{names[source]}__in": pks})
    related: dict[Any, list[Any]] = {}
    for row_pk, pk in pairs.order_by(names[target]).values_list(names[source], names[target]):
        related.setdefault(row_pk, []).append(pk)
    return {row_pk: tuple(found) for row_pk, found in related.items()}


def _group_names(groups: Iterable[tuple[Any, ...]], model: type[Model]) -> dict[Any, str]:
    pks = {pk for found in groups for pk in found}
    if not pks:
        return {}
    group_model = cast("type[Model]", model._meta.get_field(_GROUPS).related_model)
    return dict(_all(group_model).filter(pk__in=pks).values_list("pk", "name"))


@lru_cache
def _own_columns(model: type[Model]) -> tuple[str, ...]:
    """Returns the columns that a model has beside those of waffle's abstract model."""
    from waffle.models import AbstractBaseFlag  # noqa: PLC0415 (the project may have removed it)

    known = {column.name for column in AbstractBaseFlag._meta.fields}
    return tuple(
        column.attname
        for column in model._meta.concrete_fields
        if not column.primary_key and column.name not in known
    )


def _is_empty(row: Model, name: str) -> bool:
    value = getattr(row, name)
    column = next(column for column in row._meta.concrete_fields if column.attname == name)
    return value in (None, "", [], {}) or (column.has_default() and value == column.get_default())
