"""For how many users a change of a switch or a rollout changed the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flagstaff.conf import conf
from flagstaff.forecast import difference
from flagstaff.history.events import Event
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import all_entries
from flagstaff.journal import logger

__all__ = ["reach_of"]

_FIELDS = ("enabled", "rollout_percent")
# Seconds to count for. A message does not wait for longer, and has no figures then.
_PATIENCE = 3.0
_OFF = (False, 0)


def reach_of(event: Event, entries: Sequence[int]) -> dict[str, int] | None:
    """How many users there are, and how many were given the flag and lost it.

    Counted now, by the allow-list of now. None where the event changed neither switch nor rollout,
    and where they cannot be counted: a message is never kept back for that.
    """
    if event.kind != "flag" or event.action == "delete":
        return None
    if not any(one.field in _FIELDS for one in event.differences):
        return None
    try:
        before, after = _states(entries)
        found = difference(event.key, before, after, timeout=_PATIENCE)
    # Whatever it is, the news itself is worth more.
    except Exception as error:  # noqa: BLE001
        logger.info("the reach of a change was not counted: %s", type(error).__name__)
        return None
    return {"users": found.users, "gain": found.gain, "lose": found.lose}


def _states(entries: Sequence[int]) -> tuple[tuple[bool, int], tuple[bool, int]]:
    """The switch and the rollout before and after these entries."""
    asked = all_entries().filter(id__in=entries, src=Kind.FLAG.row_source).order_by("id")
    rows = list(asked.values_list("old", "new"))
    return _state(rows[0][0]), _state(rows[-1][1])


def _state(row: dict[str, Any] | None) -> tuple[bool, int]:
    if row is None:
        return _OFF
    enabled, percent = (row[str(_column(name))] for name in _FIELDS)
    return bool(enabled), int(percent)


def _column(name: str) -> Any:
    field: Any = conf.flag_model._meta.get_field(name)
    return field.column
