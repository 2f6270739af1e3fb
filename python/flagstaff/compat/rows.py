"""Reads the flags, switches and samples of waffle, also those of a project's own models."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import lru_cache
from typing import Any, cast

from django.db import router
from django.db.models import ManyToManyField, Model, QuerySet

from flagstaff._tables.model_fields import is_auto_now, is_auto_now_add, stored_fields
from flagstaff.compat.settings import WAFFLE_KINDS, WaffleKind

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


def read_rows() -> Iterator[SourceRow]:
    """Yields the rows of the three tables by kind and name. Makes few queries, from the writer."""
    for kind in WAFFLE_KINDS:
        yield from read_kind(kind)


def read_kind(
    kind: WaffleKind, names: Collection[str] | None = None, using: str | None = None
) -> Iterator[SourceRow]:
    """Yields the rows of one table by name, from the alias `using`, or else from the writer."""
    model = waffle_model(kind)
    rows = _all(model, using).order_by("name")
    rows = rows if names is None else rows.filter(name__in=names)
    yield from _source_rows(kind, list(rows))


@lru_cache
def overridden_methods(model: type[Model]) -> tuple[str, ...]:
    """Returns the methods that a model overrides, so that waffle has to evaluate its rows."""
    return tuple(
        name
        for name in EVALUATING_METHODS
        if (method := getattr(model, name, None)) is not None
        # A replaced method keeps the module of the original.
        and getattr(method, "__module__", "") != "waffle.models"
    )


def _all(model: type[Model], using: str | None = None) -> QuerySet[Any]:
    return model._base_manager.using(using or router.db_for_write(model))


def _source_rows(kind: WaffleKind, rows: list[Any]) -> Iterator[SourceRow]:
    if not rows:
        return
    model = cast("type[Model]", type(rows[0]))
    overridden, own = overridden_methods(model), _own_columns(model)
    related = {relation.name: _related(relation, rows) for relation in model._meta.many_to_many}
    users = related.pop(_USERS, {}) if kind == "flag" else {}
    groups = related.pop(_GROUPS, {}) if kind == "flag" else {}
    names = _group_names(groups.values(), model, rows[0]._state.db)
    for row in rows:
        extra = {name: (getattr(row, name),) for name in own if not _is_empty(row, name)}
        extra |= {name: pks[row.pk] for name, pks in related.items() if row.pk in pks}
        found = SourceRow(kind, row.name, row.note, extra=extra, overridden=overridden)
        if kind == "switch":
            yield replace(found, active=bool(row.active))
        elif kind == "sample":
            yield replace(found, percent=_decimal(row.percent))
        else:
            of_groups = sorted(names[pk] for pk in groups.get(row.pk, ()) if pk in names)
            yield replace(
                _with_columns(found, row), users=users.get(row.pk, ()), groups=tuple(of_groups)
            )


def _with_columns(found: SourceRow, row: Any) -> SourceRow:
    """Returns a flag with what its columns say."""
    return replace(
        found,
        percent=_decimal(row.percent),
        everyone=row.everyone,
        testing=bool(row.testing),
        rollout=bool(row.rollout),
        authenticated=bool(row.authenticated),
        staff=bool(row.staff),
        superusers=bool(row.superusers),
        languages=tuple(filter(None, (one.strip() for one in row.languages.split(",")))),
    )


def _decimal(value: object) -> Decimal | None:
    # A row that was not read again has what the code has assigned, such as a text.
    return None if value is None else Decimal(str(value))


def _related(
    relation: ManyToManyField[Any, Any], rows: Sequence[Model]
) -> dict[Any, tuple[Any, ...]]:
    """Returns the related primary keys by that of the row, of rows that have any."""
    through = cast("type[Model]", relation.remote_field.through)
    source, target = relation.m2m_column_name(), relation.m2m_reverse_name()
    names = {column.column: column.attname for column in through._meta.concrete_fields}
    pks = [row.pk for row in rows]
    # The rows' own connection, which sees what their transaction has not committed yet.
    pairs = _all(through, rows[0]._state.db).filter(**{f"{names[source]}__in": pks})
    related: dict[Any, list[Any]] = {}
    for row_pk, pk in pairs.order_by(names[target]).values_list(names[source], names[target]):
        related.setdefault(row_pk, []).append(pk)
    return {row_pk: tuple(found) for row_pk, found in related.items()}


def _group_names(
    groups: Iterable[tuple[Any, ...]], model: type[Model], using: str | None
) -> dict[Any, str]:
    pks = {pk for found in groups for pk in found}
    if not pks:
        return {}
    group_model = cast("type[Model]", model._meta.get_field(_GROUPS).related_model)
    return dict(_all(group_model, using).filter(pk__in=pks).values_list("pk", "name"))


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


def _is_empty(row: Model, name: str) -> bool:
    value = getattr(row, name)
    column = next(column for column in row._meta.concrete_fields if column.attname == name)
    return value in (None, "", [], {}) or (column.has_default() and value == column.get_default())
