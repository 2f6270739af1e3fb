"""The conditions of a search in the history, as a filter of its entries."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from typing import Literal

from django.db import Error, connections, transaction
from django.db.models import Q, QuerySet, Subquery, Value

from flagstaff._tables.names import fill, own_names, sql
from flagstaff._tables.rows import all_rows
from flagstaff._tables.user_lookup import ACTS_AS, actor_table
from flagstaff._words.text import is_storable
from flagstaff._words.times import aware
from flagstaff.conf import conf
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import about_key, all_entries
from flagstaff.models import Change

# The entries that say what happened to a row.
_ACTIONS = {"create": ("insert",), "delete": ("delete", "truncate")}
# The number of keys that contain a text that are searched for.
_MAX_KEYS = 1_000
# The number of newest entries whose reasons are searched: no index finds a part of a text.
_MAX_REASONS = 100_000
_SHORT = timedelta(days=7)


@dataclass(frozen=True)
class Selection:
    """The conditions that an event must meet. None allows all."""

    kinds: Collection[Kind] = tuple(Kind)
    #: The present key of a row or an earlier one: a renamed row has its whole history.
    key: str | None = None
    #: A part of the key, ignoring case.
    key_part: str | None = None
    #: From this time on, and before that time. Naive times are in TIME_ZONE.
    since: datetime | None = None
    until: datetime | None = None
    #: One of these is the actor as it is stored.
    actors: Collection[str] | None = None
    #: Or there is no actor, and this is the database user or the source.
    without_actor: str | None = None
    action: Literal["create", "change", "delete"] | None = None
    #: A part of the key or of the reason, one of these actors, or as `without_actor`.
    text: str = ""
    text_actors: Collection[str] = ()

    @property
    def is_short(self) -> bool:
        """Whether the time is short; it may be long ago."""
        if self.since is None or self.until is None:
            return False
        return aware(self.until) - aware(self.since) <= _SHORT


def selected_entries(selection: Selection) -> QuerySet[Change]:
    """Returns the entries that meet the conditions, unordered. Queries the rows of the key.

    For an action, these are entries of the row itself. Callers check the action of the whole event:
    one entry does not show whether the event is a creation or a change.
    """
    relations = [relation for kind in selection.kinds for relation in kind.relations]
    changes = all_entries().filter(relation__in=relations)
    if selection.key is not None:
        changes = changes.filter(about_key(selection.kinds, selection.key))
    if selection.key_part:
        changes = changes.filter(key__in=_keys_with(selection.key_part))
    if selection.since is not None:
        changes = changes.filter(at__gte=aware(selection.since))
    if selection.until is not None:
        changes = changes.filter(at__lt=aware(selection.until))
    if selection.actors is not None:
        changes = changes.filter(_by(selection.actors, selection.without_actor))
    if selection.text:
        changes = changes.filter(_with_text(selection.text, selection.text_actors))
    if actions := _ACTIONS.get(selection.action or ""):
        rows = [kind.row_relation for kind in selection.kinds]
        changes = changes.filter(action__in=actions, relation__in=rows)
    return changes.order_by()


def stored_actors(name: str) -> set[str]:
    """Returns the texts that the history may store for an actor: `name`, and primary keys of users.

    Only `name` if the role may not read users.
    """
    if not is_storable(name):
        return set()
    found = _stored_user(name)
    # A username may contain the text between an operator and a user, too.
    words = name.split(ACTS_AS)
    for end in range(1, len(words)):
        pair = ACTS_AS.join(words[:end]), ACTS_AS.join(words[end:])
        found.update(map(ACTS_AS.join, product(*map(_stored_user, pair))))
    return found


def _stored_user(name: str) -> set[str]:
    users = actor_table()
    username = users.username_field
    if username is None:
        return {name}
    try:
        with transaction.atomic(using=users.database):
            matching = users.rows.filter(**{username.name: name})
            pks = list(matching.values_list(users.field.name, flat=True))
    except Error:
        pks = []
    return {name, *map(str, pks)}


def _by(actors: Collection[str], without_actor: str | None) -> Q:
    by = Q(actor__in=actors)
    if without_actor is None or not is_storable(without_actor):
        return by
    unknown = Q(session_user=without_actor) | Q(source=without_actor)
    return by | (Q(actor__isnull=True) & unknown)


def _with_text(text: str, actors: Collection[str]) -> Q:
    if not is_storable(text):
        return Q(pk__in=())
    newest = Subquery(all_rows(Change).order_by("-id").values("id")[:1])
    recent = Q(reason__icontains=text, id__gt=newest - Value(_MAX_REASONS))
    return Q(key__in=_keys_with(text)) | recent | _by(actors, text)


def _keys_with(part: str) -> list[str]:
    if not is_storable(part):
        return []
    connection = connections[conf.database]
    with connection.cursor() as cursor:
        statement = fill(sql("history_keys_v1"), own_names(connection))
        cursor.execute(statement, [part, _MAX_KEYS])
        return [key for [key] in cursor.fetchall()]
