"""For how many users a change of a switch or a rollout changed the answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Lock
from typing import Any

from flagstaff._engine.impact import impact_of_change
from flagstaff._engine.status_log import logger
from flagstaff.conf import conf
from flagstaff.history.events import Event
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import all_entries

__all__ = ["Reach"]

_FIELDS = ("enabled", "rollout_percent")
# Seconds to count an event, and all those of a tick. What would take longer is told without.
_PATIENCE, _PATIENCE_IN_ALL = 3.0, 5.0
_OFF = (False, 0)


class Reach:
    """Counts the events of a tick, each once for all receivers, within some seconds for all."""

    def __init__(self) -> None:
        self._left = _PATIENCE_IN_ALL
        self._counted: dict[int, dict[str, int] | None] = {}
        self._lock = Lock()

    def of(self, event: Event, entries: Sequence[int]) -> dict[str, int] | None:
        """How many users there are, and how many were given the flag and lost it.

        Counted now, by the allow-list of now. None where the event changed neither switch nor
        rollout, and where they cannot be counted: a message is never kept back for that.
        """
        if not _is_counted(event):
            return None
        with self._lock:
            if event.version not in self._counted and self._left > 0:
                began = time.monotonic()
                patience = min(_PATIENCE, self._left)
                self._counted[event.version] = _count(event, entries, patience)
                self._left -= time.monotonic() - began
            return self._counted.get(event.version)


def _is_counted(event: Event) -> bool:
    return (
        event.kind == "flag"
        and event.action != "delete"
        and any(one.field in _FIELDS for one in event.differences)
    )


def _count(event: Event, entries: Sequence[int], patience: float) -> dict[str, int] | None:
    try:
        before, after = _states(entries)
        found = impact_of_change(event.key, before, after, timeout=patience)
    # Whatever it is, the news itself is worth more.
    except Exception as error:  # noqa: BLE001
        logger.info("the reach of a change was not counted: %s", type(error).__name__)
        return None
    return {"users": found.users, "gain": found.gain, "lose": found.lose}


def _states(entries: Sequence[int]) -> tuple[tuple[bool, int], tuple[bool, int]]:
    """The switch and the rollout before and after these entries."""
    asked = all_entries().filter(id__in=entries, relation=Kind.FLAG.row_relation).order_by("id")
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
