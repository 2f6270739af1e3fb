"""Since when flags have had the same result for all users, and their keys, by the history."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from flagstaff._extensions import optional_apps
from flagstaff.cleanup.columns import OptionalColumns
from flagstaff.cleanup.constant import Constant, constant_since
from flagstaff.cleanup.flag_rows import FlagRow
from flagstaff.cleanup.past import Past, WantedPast, history_since, read_past

__all__ = ["Periods", "periods_of"]

# Of most flags, the newest change began the period.
_NEWEST = 1


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
    """Returns the periods of flags. Makes up to three queries, however long the history is.

    `unused` are the primary keys of flags that were not evaluated since a time: a new key explains
    that. `planned` are those of flags that an app is about to change, if they are known.
    """
    # Of most flags that were created since, the row itself says so.
    wanted = [_wanted(flag, is_unused=flag.pk in unused) for flag in flags]
    wanted = [one for one in wanted if one.is_constant or one.is_unused]
    if not wanted:
        return Periods()
    past = read_past(wanted, since, newest=_NEWEST)
    constant = [flag for flag in flags if flag.result is not None]
    found, undecided = _periods([flag for flag in constant if flag.pk in past.changes], past)
    undecided += [flag for flag in constant if flag.pk not in past.changes]
    if undecided:
        whole = read_past([_wanted(flag) for flag in undecided], since, newest=None)
        found |= _periods(undecided, whole)[0]
    return Periods(_without_plans(found, planned), past.keys_since)


def _wanted(flag: FlagRow, *, is_unused: bool = False) -> WantedPast:
    return WantedPast(flag.pk, flag.result is not None, flag.result is False, is_unused)


def _periods(flags: Sequence[FlagRow], past: Past) -> tuple[dict[str, Constant], list[FlagRow]]:
    """Returns the periods, and the flags whose period may have begun in changes not yet read."""
    # Looked up only if a flag has no entry.
    has_bound = all(flag.pk in past.changes for flag in flags)
    bound = None if has_bound else history_since()
    found, undecided = {}, []
    for flag in flags:
        period = constant_since(
            flag.configuration,
            flag.allowed,
            past.changes.get(flag.pk, ()),
            unchanged_since=_unchanged_since(flag.columns, bound),
        )
        if period is not None:
            found[flag.pk] = period
            if not period.is_exact:
                undecided.append(flag)
    return found, undecided


def _unchanged_since(columns: OptionalColumns, history: datetime | None) -> datetime | None:
    """Since when a flag without an entry has not changed: its changes would have left one."""
    if history is None:
        return None
    times = (history, columns.created_at, columns.changed_at)
    return max(one for one in times if one is not None)


def _without_plans(
    found: dict[str, Constant], planned: Collection[str] | None
) -> dict[str, Constant]:
    """Returns the periods of flags that no app is about to change."""
    if planned is None:
        planned = {pk for app in optional_apps() for pk in app.planned_flags()} if found else set()
    return {pk: period for pk, period in found.items() if pk not in planned}
