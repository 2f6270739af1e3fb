"""Groups entries into events: the only definition of what one event is.

An event is what one transaction did to one flag or value under one author. Entries of other
transactions in between do not split it; another author in the same transaction does.

`enqueue_changes_v1.sql` groups by the same rule in SQL, because it takes many thousand entries at
once. A property test compares the two.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from flagstaff.history.kinds import Kind

#: An entry as a mapping of its columns.
Entry = Mapping[str, Any]
Group = list[Entry]
#: One transaction, and the flag or value that it changed.
Subject = tuple[int, Kind, str]

#: The columns that identify the author of an entry.
AUTHOR = ("actor", "source", "reason", "session_user", "role", "application_name")
#: All columns that the rule reads.
COLUMNS = ("id", "at", "transaction_id", "relation", "object_pk", *AUTHOR)
#: No transaction stays open longer. After a restore another server may use its number again.
MAX_TRANSACTION_AGE = timedelta(days=1)


def group_entries(newest_first: Iterable[Entry]) -> Iterator[Group]:
    """Yields one group of entries per event. Groups and their entries are newest first.

    A group is yielded as soon as it is complete: at the end, or when an entry says `is_first`, that
    is, no older entry of its transaction is about the same flag or value.
    """
    open_groups: dict[Subject, Group] = {}
    waiting: deque[tuple[Subject, Group]] = deque()
    for entry in newest_first:
        subject = subject_of(entry)
        group = open_groups.get(subject)
        if group and _belong_together(group[-1], entry):
            group.append(entry)
        else:
            open_groups[subject] = group = [entry]
            waiting.append((subject, group))
        if entry.get("is_first"):
            del open_groups[subject]
        while waiting and open_groups.get(waiting[0][0]) is not waiting[0][1]:
            yield waiting.popleft()[1]
    for _, group in waiting:
        yield group


def subject_of(entry: Entry) -> Subject:
    """Returns the transaction of an entry, and the flag or value that it is about."""
    return entry["transaction_id"], Kind.of(entry["relation"]), entry["object_pk"]


def _belong_together(newer: Entry, older: Entry) -> bool:
    """Two entries of one subject, next to each other."""
    same_author = all(newer[name] == older[name] for name in AUTHOR)
    return same_author and newer["at"] - older["at"] <= MAX_TRANSACTION_AGE
