"""The usage and the last change of the flags on a page of the list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from flagstaff._connection.vendor import is_postgresql
from flagstaff._engine.usage import NOT_USED, KeyUsage, key_usage
from flagstaff._tables.names import fill, flag_names, own_names, sql
from flagstaff._tables.rows import all_rows
from flagstaff.admin.entry_rows import actor_columns, entry_of, unnamed
from flagstaff.admin.flag.list.conditions import allowed_count
from flagstaff.admin.flag.state import ALLOWED_COUNT
from flagstaff.admin.page import page_of_row
from flagstaff.changes.allowed_users import link_targets
from flagstaff.conf import conf
from flagstaff.history.log import Change, Event, events
from flagstaff.history.user_names import names_of_actors

#: The period of the share of true results.
RECENT = timedelta(hours=24)


@dataclass(frozen=True)
class PageFacts:
    """What is known about one flag."""

    #: Counted in the time RECENT.
    usage: KeyUsage = NOT_USED
    #: Since when evaluations are counted; None if none was.
    counted_since: datetime | None = None
    #: The newest event of the history; None without one.
    event: Event | None = None
    #: Usernames by the text of the actor.
    names: Mapping[str, str] | None = None


_NO_FACTS = PageFacts()


@dataclass(frozen=True)
class FlagList:
    """What the list shows of the flags of its page. The keys are primary keys as text."""

    #: The path of the list, with its search, filters and page.
    path: str = ""
    #: The flags that the user may turn on and off.
    toggled: AbstractSet[str] = frozenset()
    #: Whether the history and the usage can be read.
    is_readable: bool = False
    facts: Mapping[str, PageFacts] = field(default_factory=dict)

    @classmethod
    def of(cls, flag: Any) -> FlagList:
        """Returns what the list of a flag shows; nothing for a flag outside of a list."""
        page = page_of_row(flag)
        return (page and page.kept(cls)) or _NO_LIST

    @classmethod
    def facts_of(cls, flag: Any) -> PageFacts:
        """Returns what was read about a flag of the list. Does not query."""
        return cls.of(flag).facts.get(str(flag.pk), _NO_FACTS)


_NO_LIST = FlagList()


@dataclass(frozen=True)
class PlannedFlags:
    """The flags of a page that an app will soon change, as an app has found them."""

    pks: AbstractSet[str]


def keep_planned(flags: Sequence[Any], pks: Iterable[str]) -> None:
    """Keeps which of these flags of a page an app will soon change."""
    if flags and (page := page_of_row(flags[0])):
        page.keep(PlannedFlags(frozenset(pks)))


def read_facts(flags: Sequence[Any], counted_since: datetime | None) -> Mapping[str, PageFacts]:
    """Returns the facts of all these flags. Counts their allowed users, too.

    Two queries; three if the primary keys of users are no integers.
    """
    connection = connections[conf.database]
    if not is_postgresql(connection) or not flags:
        return {}
    by_pk = {str(flag.pk): flag for flag in flags}
    table = connection.ops.quote_name(conf.flag_model._meta.db_table)
    usage = key_usage([flag.key for flag in flags], timezone.now() - RECENT)
    with connection.cursor() as cursor:
        targets = link_targets(flags)
        cursor.execute(_statement(connection), [list(by_pk), targets, table, table])
        rows = cursor.fetchall()
    names: dict[str, str] = {}
    entries: list[Change] = []
    for pk, allowed, name, *values in rows:
        setattr(by_pk[pk], ALLOWED_COUNT, allowed)
        if values[0] is not None:
            entry = entry_of(pk, values)
            entries.append(entry)
            names |= {entry.actor: name} if name and entry.actor else {}
    # By flag, newest first. The first event of a flag is the newest.
    newest = {event.object_pk: event for event in reversed([*events(entries)])}
    names |= names_of_actors(unnamed(newest.values()))
    return {
        pk: PageFacts(usage.get(flag.key, NOT_USED), counted_since, newest.get(pk), names)
        for pk, flag in by_pk.items()
    }


def count_missing(flags: Sequence[Any]) -> None:
    """Counts the allowed users of flags of which they were not read. No query if all were."""
    missing = {flag.pk: flag for flag in flags if not hasattr(flag, ALLOWED_COUNT)}
    if not missing:
        return
    model = conf.flag_model
    rows = all_rows(model).filter(pk__in=missing).annotate(**{ALLOWED_COUNT: allowed_count(model)})
    for pk, allowed in rows.order_by().values_list("pk", ALLOWED_COUNT):
        setattr(missing.pop(pk), ALLOWED_COUNT, allowed)
    for flag in missing.values():
        # The flag was deleted meanwhile.
        setattr(flag, ALLOWED_COUNT, 0)


def _statement(connection: BaseDatabaseWrapper) -> str:
    places = own_names(connection) | flag_names(connection, conf.flag_model)
    places |= actor_columns(connection)
    return fill(sql("flag_list_v1"), places)
