"""Since when flags have had the same result for all users, and their keys, by the history."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from flagstaff._extensions import optional_apps
from flagstaff.cleanup import past
from flagstaff.cleanup.columns import OptionalColumns
from flagstaff.cleanup.constant import Constant, constant_since
from flagstaff.cleanup.flag_rows import FlagRow

__all__ = ["Periods", "periods_of"]

# Of most flags, the newest change began the period.
_NEWEST = 10


@dataclass(frozen=True)
class Periods:
    """What the history says about flags, by their primary keys."""

    constant: Mapping[str, Constant] = field(default_factory=dict)
    #: When flags were created or got their keys; only flags of which it was asked.
    keys_since: Mapping[str, datetime] = field(default_factory=dict)


def periods_of(
    flags: Sequence[FlagRow],
    unused: Collection[str],
    since: datetime,
    planned: Collection[str] | None = None,
) -> Periods:
    """Returns the periods of flags. Makes one or two queries, and more for long histories.

    `unused` are the primary keys of flags that were not evaluated since a time: a new key explains
    that. `planned` are those of flags that an app is about to change, if they are known.
    """
    constant = [flag for flag in flags if flag.result is not None]
    # Of most flags that were created since, the row itself says so.
    recent = [flag.pk for flag in flags if flag.pk in unused]
    if not constant and not recent:
        return Periods()
    wanted = past.WantedEntries(*_pks_of(constant), recent, since)
    entries = past.changes_of(wanted, newest=_NEWEST)
    found, longer = _read_constant(constant, entries, newest=_NEWEST)
    if longer:
        found |= _read_constant(longer, past.changes_of(past.WantedEntries(*_pks_of(longer))))[0]
    keys, unread = _read_keys(recent, entries, since)
    keys |= past.keys_since(unread, since) if unread else {}
    return Periods(_without_plans(found, planned), keys)


def _pks_of(constant: Sequence[FlagRow]) -> tuple[list[str], list[str]]:
    off = [flag.pk for flag in constant if flag.result is False]
    return [flag.pk for flag in constant], off


def _read_constant(
    flags: Sequence[FlagRow],
    entries: Mapping[str, Sequence[past.Entry]],
    newest: int | None = None,
) -> tuple[dict[str, Constant], list[FlagRow]]:
    """Returns the periods, and the flags of which the `newest` entries are too few."""
    # Looked up only if a flag has no entry.
    has_bound = all(flag.pk in entries for flag in flags)
    bound = None if has_bound else past.history_since()
    found, longer = {}, []
    for flag in flags:
        of_flag = entries.get(flag.pk, ())
        period = constant_since(
            flag.configuration,
            flag.allowed,
            past.read_changes(of_flag),
            unchanged_since=_unchanged_since(flag.columns, bound),
        )
        if period is not None:
            found[flag.pk] = period
            if newest is not None and not period.is_exact and len(of_flag) >= newest:
                longer.append(flag)
    return found, longer


def _unchanged_since(columns: OptionalColumns, history: datetime | None) -> datetime | None:
    """Since when a flag without an entry has not changed: its changes would have left one."""
    if history is None:
        return None
    times = (history, columns.created_at, columns.changed_at)
    return max(one for one in times if one is not None)


def _read_keys(
    pks: Sequence[str], entries: Mapping[str, Sequence[past.Entry]], since: datetime
) -> tuple[dict[str, datetime], list[str]]:
    """Returns the times of the keys, and the flags of which not all entries were read."""
    found = {pk: past.key_since(entries.get(pk, ()), since) for pk in pks}
    unread = [
        pk
        for pk, at in found.items()
        if at is None
        and len(of_flag := entries.get(pk, ())) >= _NEWEST
        and past.time_of(of_flag[-1]) >= since
    ]
    return {pk: at for pk, at in found.items() if at is not None}, unread


def _without_plans(
    found: dict[str, Constant], planned: Collection[str] | None
) -> dict[str, Constant]:
    """Returns the periods of flags that no app is about to change."""
    if planned is None:
        planned = {pk for app in optional_apps() for pk in app.planned_flags()} if found else set()
    return {pk: period for pk, period in found.items() if pk not in planned}
