"""Flags whose value says what the flag must be, so that each moment can be judged by itself.

A slot is a flag, its allow-list and a value of the same key: the value tells the rollout and the
users of the list. Every transaction leaves it so. A worker runs what is here ("call").
"""

from __future__ import annotations

import threading
import time
from typing import Any

import flagstaff

__all__ = ["KEYS", "USERS", "state", "watch", "watched"]

KEYS = [f"slot_{number}" for number in range(12)]
USERS = range(1, 9)

Slot = dict[str, Any]

_stop = threading.Event()
_contradictions: list[dict[str, Any]] = []
_moments: set[int] = set()
_threads: list[threading.Thread] = []


def state() -> dict[str, Slot]:
    """All slots that there are, by what the flags answer."""
    return _flags(flagstaff.snapshot())


def _flags(moment: Any) -> dict[str, Slot]:
    explained = {key: [moment.explain(key, user) for user in USERS] for key in KEYS}
    return {
        key: {
            "rollout": found[0][4],
            "users": [
                user
                for user, answer in zip(USERS, found, strict=True)
                if answer[1] == "TARGETING_MATCH"
            ],
        }
        for key, found in explained.items()
        if found[0][2] is None
    }


def _values(moment: Any) -> dict[str, Slot]:
    found = {key: moment.get_value(key) for key in KEYS}
    return {key: value for key, value in found.items() if value is not None}


def watch() -> None:
    """Look in a thread, until `watched`, whether flags, lists and values are of one moment."""
    _stop.clear()

    def look() -> None:
        while not _stop.is_set():
            moment = flagstaff.snapshot()
            flags, values = _flags(moment), _values(moment)
            _moments.add(moment.token or 0)
            if flags != values:
                _contradictions.append({"flags": flags, "values": values})
            time.sleep(0.001)

    _threads.append(threading.Thread(target=look, daemon=True))
    _threads[-1].start()


def watched() -> list[Any]:
    """How many moments were looked at, and the first that contradicts itself."""
    _stop.set()
    _threads.pop().join()
    return [len(_moments), _contradictions[:1]]
