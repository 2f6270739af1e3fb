"""The usage and the last change of the flags on a page of the list."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from flagstaff._connection.vendor import is_postgresql
from flagstaff._tables.names import fill, flag_names, own_names, sql
from flagstaff._tables.rows import all_rows
from flagstaff._words.times import aware
from flagstaff.admin.entry_rows import actor_columns, entry_of, reads_actors
from flagstaff.admin.flag_list.conditions import allowed_count
from flagstaff.admin.flag_state import ALLOWED_COUNT
from flagstaff.changes.allowed_users import link_targets
from flagstaff.conf import conf
from flagstaff.history.events import Event
from flagstaff.history.grouping import Entry
from flagstaff.history.kinds import Kind
from flagstaff.history.reading import events_in
from flagstaff.history.user_names import names_of_actors

#: The period of the share of true results.
RECENT = timedelta(hours=24)
#: The attribute of a flag of the list: whether an app will soon change it.
IS_PLANNED = "flagstaff_is_planned"
#: The attribute of a flag of the list: whether the history and the usage can be read.
IS_READABLE = "flagstaff_is_readable"
# Attributes of a flag in the list.
_FACTS, _BUTTON = "flagstaff_facts", "flagstaff_button"


@dataclass(frozen=True)
class PageFacts:
    """What is known about one flag."""

    last_evaluated_at: datetime | None = None
    #: The evaluations in the time RECENT, by result.
    true_count: int = 0
    false_count: int = 0
    #: Since when evaluations are counted; None if none was.
    counted_since: datetime | None = None
    #: The newest event of the history; None without one.
    event: Event | None = None
    #: Usernames by the text of the actor.
    names: Mapping[str, str] | None = None


_NO_FACTS = PageFacts()


@dataclass(frozen=True)
class Button:
    """What the button of a row depends on besides the flag."""

    is_allowed: bool = False
    #: The path of the list, with its search, filters and page.
    list_path: str = ""


_NO_BUTTON = Button()


def keep_button(flag: Any, button: Button) -> None:
    """Keeps what the button of a flag depends on."""
    vars(flag)[_BUTTON] = button


def button_of(flag: Any) -> Button:
    """Returns what the button of a flag of the list depends on."""
    button: Button = vars(flag).get(_BUTTON, _NO_BUTTON)
    return button


def facts_of(flag: Any) -> PageFacts:
    """Returns what was read about a flag of the list. Does not query."""
    facts: PageFacts = vars(flag).get(_FACTS, _NO_FACTS)
    return facts


def read_facts(flags: Sequence[Any], counted_since: datetime | None) -> None:
    """Reads the facts of all these flags, and keeps them with the flags.

    One query; two if the primary keys of users are no integers.
    """
    connection = connections[conf.database]
    if not is_postgresql(connection) or not flags:
        return
    by_pk = {str(flag.pk): flag for flag in flags}
    table = connection.ops.quote_name(conf.flag_model._meta.db_table)
    since = timezone.now() - RECENT
    with connection.cursor() as cursor:
        keys, targets = [flag.key for flag in flags], link_targets(flags)
        cursor.execute(_statement(connection), [list(by_pk), keys, targets, since, table, table])
        rows = cursor.fetchall()
    usage: dict[str, tuple[datetime | None, int, int]] = {}
    names: dict[str, str] = {}
    entries: dict[str, list[Entry]] = defaultdict(list)
    for pk, allowed, last, true, false, name, *values in rows:
        vars(by_pk[pk])[ALLOWED_COUNT] = allowed
        usage[pk] = None if last is None else aware(last), true, false
        if values[0] is not None:
            entry = entry_of(pk, values)
            entries[pk].append(entry)
            names |= {entry["actor"]: name} if name else {}
    events = {pk: next(iter(events_in(Kind.FLAG, found)), None) for pk, found in entries.items()}
    if not reads_actors():
        names = names_of_actors([event for event in events.values() if event is not None])
    for pk, counted in usage.items():
        facts = PageFacts(*counted, counted_since, events.get(pk), names)
        vars(by_pk[pk])[_FACTS] = facts


def count_missing(flags: Sequence[Any]) -> None:
    """Counts the allowed users of flags of which they were not read. No query if all were."""
    missing = {flag.pk: flag for flag in flags if ALLOWED_COUNT not in vars(flag)}
    if not missing:
        return
    model = conf.flag_model
    rows = all_rows(model).filter(pk__in=missing).annotate(**{ALLOWED_COUNT: allowed_count(model)})
    for pk, allowed in rows.order_by().values_list("pk", ALLOWED_COUNT):
        vars(missing[pk])[ALLOWED_COUNT] = allowed
    for flag in missing.values():
        # The flag was deleted meanwhile.
        vars(flag).setdefault(ALLOWED_COUNT, 0)


def _statement(connection: BaseDatabaseWrapper) -> str:
    places = own_names(connection) | flag_names(connection, conf.flag_model)
    places |= actor_columns(connection)
    return fill(sql("flag_list_v1"), places)
