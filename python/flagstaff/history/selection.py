"""Which events of the history a reader asks for, as a filter of the entries."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.db import Error, transaction
from django.db.models import Q, QuerySet

from flagstaff._tables.user_lookup import actor_table
from flagstaff._text.storable import is_storable
from flagstaff._text.times import aware
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import all_entries
from flagstaff.models import Change

__all__ = ["Selection", "selected_entries", "stored_actors"]


@dataclass(frozen=True)
class Selection:
    """The conditions that an event must meet. Those that are None do not matter."""

    kinds: Collection[Kind] = tuple(Kind)
    #: The present key of a row or an earlier one: a renamed row has its whole history.
    key: str | None = None
    #: From this time on, and before that time. Naive times are in TIME_ZONE.
    since: datetime | None = None
    until: datetime | None = None
    #: The actor as it is stored, or the username of the user that is stored.
    actor: str | None = None


def selected_entries(selection: Selection) -> QuerySet[Change]:
    """Returns the entries that meet the conditions, unordered. Queries the row and the actor."""
    relations = [relation for kind in selection.kinds for relation in kind.relations]
    found = all_entries().filter(relation__in=relations)
    if selection.key is not None:
        found = found.filter(_about(selection.kinds, selection.key))
    if selection.since is not None:
        found = found.filter(at__gte=aware(selection.since))
    if selection.until is not None:
        found = found.filter(at__lt=aware(selection.until))
    if selection.actor is not None:
        found = found.filter(actor__in=stored_actors(selection.actor))
    return found.order_by()


def stored_actors(name: str) -> set[str]:
    """Returns the texts that the history may store for an actor: `name`, and primary keys of users.

    Only `name` if the role may not read users.
    """
    users = actor_table()
    username = users.username_field
    if username is None or not is_storable(name):
        return {name} if is_storable(name) else set()
    try:
        with transaction.atomic(using=users.database):
            found = users.rows.filter(**{username.name: name})
            pks = list(found.values_list(users.field.name, flat=True))
    except Error:
        pks = []
    return {name, *map(str, pks)}


def _about(kinds: Collection[Kind], key: str) -> Q:
    """The entries of the rows that have the key now, and of the rows that had it."""
    if not is_storable(key):
        return Q(pk__in=())
    about = Q(key=key)
    for kind in kinds:
        row = kind.find(key)
        if row is not None:
            about |= Q(relation__in=kind.relations, object_pk=str(row.pk))
    return about
