"""Looks up groups of users by their names. Finds nothing where they cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.db import Error, connections, transaction
from django.db.models import Count, Model, QuerySet

from flagstaff._tables.database import db
from flagstaff._tables.groups import GroupFields, readable_groups
from flagstaff._tables.names import user_field
from flagstaff._tables.rows import uncached
from flagstaff._words.similar import most_similar
from flagstaff._words.text import is_storable
from flagstaff.conf import conf

# How many names are compared with a misspelt one.
_MAX_COMPARED = 1_000


def missing_groups(names: Iterable[str], database: str) -> dict[str, str | None]:
    """Returns the names that no group has, each with the most similar name or None."""
    wanted = sorted({*names})

    def read(fields: GroupFields) -> Iterator[str]:
        for batch in db.batches(filter(is_storable, wanted)):
            yield from _names(fields, database).filter(**{f"{fields.name.name}__in": batch})

    existing = _found(database, read) if wanted else None
    missing = [] if existing is None else [name for name in wanted if name not in {*existing}]
    known_names = group_names(database, _MAX_COMPARED) if missing else []
    return {name: most_similar(name, known_names) for name in missing}


def group_members(names: Iterable[str], database: str) -> dict[str, int]:
    """Returns the number of members of each of these groups, by name."""
    wanted = sorted({*filter(is_storable, names)})

    def read(fields: GroupFields) -> Iterator[tuple[str, int]]:
        name = f"{fields.group.name}__{fields.name.name}"
        rows = uncached(fields.membership._base_manager.using(database)).order_by()
        members = Count(fields.user.name, distinct=True)
        for batch in db.batches(wanted):
            of_groups = rows.filter(**{f"{name}__in": batch}).values_list(name)
            yield from of_groups.annotate(flagstaff_members=members)

    counts = _found(database, read) if wanted else None
    return {} if counts is None else {name: dict(counts).get(name, 0) for name in wanted}


def group_names(database: str, most: int) -> list[str]:
    """Returns the first names of groups, in order. Makes one query."""
    return _found(database, lambda fields: _names(fields, database)[:most]) or []


def can_read_groups(database: str) -> bool:
    """Whether the project has groups that rules can read. Does not query."""
    return not isinstance(_fields(database), str)


def _names(fields: GroupFields, database: str) -> QuerySet[Model, str]:
    name = fields.name.name
    rows = uncached(fields.name.model._base_manager.using(database)).exclude(**{name: None})
    return rows.order_by(name).values_list(name, flat=True)


def _fields(database: str) -> GroupFields | str:
    users = user_field(conf.flag_model).model
    return readable_groups(connections[database], conf.flag_model, users)


def _found(database: str, read: Callable[[GroupFields], Iterable[Any]]) -> list[Any] | None:
    """Returns what `read` returns; None where groups cannot be read."""
    fields = _fields(database)
    if isinstance(fields, str):
        return None
    try:
        with transaction.atomic(using=database):
            return [*read(fields)]
    except Error:
        return None
