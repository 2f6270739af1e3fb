"""Looks up groups of users by their names."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import Error, connections, transaction
from django.db.models import Count

from flagstaff._tables.groups import (
    GroupFields,
    UnreadableGroups,
    group_fields,
    unreadable_groups,
)
from flagstaff._tables.names import user_field
from flagstaff._tables.rows import uncached
from flagstaff._tables.user_lookup import batches
from flagstaff._words.similar import most_similar
from flagstaff._words.text import is_storable
from flagstaff.conf import conf

# How many names are compared with a misspelt one.
_MAX_COMPARED = 1_000


def missing_groups(names: Iterable[str], database: str) -> dict[str, str | None]:
    """Returns the names that no group has, each with the most similar name or None.

    Returns none where the groups of users cannot be read, which a check reports.
    """
    wanted = sorted({*names})
    fields = _readable_fields(database) if wanted else None
    if fields is None:
        return {}
    name = fields.name.name
    rows = uncached(fields.name.model._base_manager.using(database)).exclude(**{name: None})
    known = rows.order_by(name).values_list(name, flat=True)
    try:
        with transaction.atomic(using=database):
            existing: set[str] = set()
            for batch in batches(filter(is_storable, wanted)):
                existing.update(known.filter(**{f"{name}__in": batch}))
            missing = [name for name in wanted if name not in existing]
            compared = [*known[:_MAX_COMPARED]] if missing else []
    except Error:
        return {}
    return {name: most_similar(name, compared) for name in missing}


def group_members(names: Iterable[str], database: str) -> dict[str, int]:
    """Returns the number of members of each of these groups, by name.

    Returns none where the groups of users cannot be read.
    """
    wanted = sorted({*filter(is_storable, names)})
    fields = _readable_fields(database) if wanted else None
    if fields is None:
        return {}
    name = f"{fields.group.name}__{fields.name.name}"
    rows = uncached(fields.membership._base_manager.using(database)).order_by()
    members = Count(fields.user.name, distinct=True)
    found = dict.fromkeys(wanted, 0)
    try:
        with transaction.atomic(using=database):
            for batch in batches(wanted):
                of_groups = rows.filter(**{f"{name}__in": batch}).values_list(name)
                found.update(of_groups.annotate(flagstaff_members=members))
    except Error:
        return {}
    return {name: found[name] for name in wanted}


def can_read_groups(database: str) -> bool:
    """Whether the project has groups that rules can read. Does not query."""
    return _readable_fields(database) is not None


def group_names(database: str, most: int) -> list[str]:
    """Returns the first names of groups, in order. Makes one query.

    Returns none where the groups of users cannot be read.
    """
    fields = _readable_fields(database)
    if fields is None:
        return []
    name = fields.name.name
    rows = uncached(fields.name.model._base_manager.using(database)).exclude(**{name: None})
    try:
        with transaction.atomic(using=database):
            return [*rows.order_by(name).values_list(name, flat=True)[:most]]
    except Error:
        return []


def _readable_fields(database: str) -> GroupFields | None:
    users = user_field(conf.flag_model).model
    fields = group_fields(users)
    if isinstance(fields, UnreadableGroups):
        return None
    is_unreadable = unreadable_groups(connections[database], conf.flag_model, users)
    return None if is_unreadable else fields
