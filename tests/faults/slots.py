"""Flags with a value that mirrors them, so that each snapshot can be checked by itself.

A slot is a flag and a value with the same key; the value holds the flag's rollout and allowed
users. Every transaction keeps them equal. A worker runs the functions of this module ("call").
"""

import threading
import time
from typing import Any

import flagstaff

KEYS = [f"slot_{number}" for number in range(12)]
USERS = range(1, 9)

Slot = dict[str, Any]

_stop = threading.Event()
_inconsistencies: list[dict[str, Any]] = []
_tokens: set[int] = set()
_threads: list[threading.Thread] = []


def state() -> dict[str, Slot]:
    """Returns the slots according to the flags."""
    return _from_flags(flagstaff.snapshot())


def _from_flags(snapshot: Any) -> dict[str, Slot]:
    explained = {key: [snapshot.explain(key, user) for user in USERS] for key in KEYS}
    return {
        key: {
            "rollout": explanation[0]["rollout_percent"],
            "users": [
                user
                for user, result in zip(USERS, explanation, strict=True)
                if result["reason"] == "TARGETING_MATCH"
            ],
        }
        for key, explanation in explained.items()
        if explanation[0]["error_code"] is None
    }


def _from_values(snapshot: Any) -> dict[str, Slot]:
    values = {key: snapshot.get_value(key) for key in KEYS}
    return {key: value for key, value in values.items() if value is not None}


def start_watching() -> None:
    """Checks in a thread that flags and values are equal, until `stop_watching` is called."""
    _stop.clear()

    def watch() -> None:
        while not _stop.is_set():
            snapshot = flagstaff.snapshot()
            flags, values = _from_flags(snapshot), _from_values(snapshot)
            _tokens.add(snapshot.token or 0)
            if flags != values:
                _inconsistencies.append({"flags": flags, "values": values})
            time.sleep(0.001)

    _threads.append(threading.Thread(target=watch, daemon=True))
    _threads[-1].start()


def stop_watching() -> list[Any]:
    """Returns how many snapshots were checked, and the first inconsistent one."""
    _stop.set()
    _threads.pop().join()
    return [len(_tokens), _inconsistencies[:1]]
