"""Counts workers over several looks: who has applied a barrier, and who was there and has gone.

Two workers may show one process id and one machine, as containers do, and one worker may have two
sessions, where the server has not noticed that the first is dead. The server cannot tell these two
apart. So of each place, which is a process id and a machine, as many workers are asked for as were
seen there at once.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass, field

from flagstaff._workers.sessions import Worker

__all__ = ["WorkerTracker"]

_POLLING = {"poll", "reload"}

# How long a worker that this process has seen is missed, in seconds.
_MEMORY = 600.0
_Key = tuple[Hashable, ...]
#: By database: who was connected at the end of a wait, by place, and when that was.
_remembered: dict[_Key, dict[_Key, tuple[list[Worker], float]]] = {}


@dataclass
class _Place:
    """The workers that show one process id and one machine, by their sessions."""

    here: dict[int, Worker] = field(default_factory=dict)
    gone: dict[int, Worker] = field(default_factory=dict)
    applied: set[int] = field(default_factory=set)
    at_once: int = 0

    def look(self, here: dict[int, Worker], applied: set[int]) -> None:
        known = {**self.gone, **self.here}
        self.gone = {session: known[session] for session in known.keys() - here.keys()}
        self.applied = (self.applied - here.keys()) | applied
        self.here = here
        self.at_once = max(self.at_once, len(here))

    def missing(self) -> list[int]:
        """The sessions of those who have gone; not of those who are back with a new session."""
        # Those first that have not applied it: whoever is back may be another one.
        in_doubt_first = sorted(self.gone, key=lambda session: (session in self.applied, session))
        return in_doubt_first[: self.at_once - len(self.here)]


class WorkerTracker:
    """Who was seen at a database during one wait, and in the ten minutes before it."""

    def __init__(self, database: _Key) -> None:
        self._database = database
        self._places: dict[_Key, _Place] = {}

    def look(self, workers: Iterable[Worker], applied: Collection[Worker]) -> None:
        """Note who is connected, and who of them has applied the barrier."""
        here: dict[_Key, dict[int, Worker]] = {place: {} for place in self._places}
        for worker in workers:
            here.setdefault(_place(worker), {})[worker.session] = worker
        having = {worker.session for worker in applied}
        for place, sessions in here.items():
            found = self._places.setdefault(place, _Place())
            found.look(sessions, having & sessions.keys())

    def applied(self) -> int:
        """How many have applied it, with those who have gone since."""
        return sum(
            len(place.applied & place.here.keys()) + len(place.applied & {*place.missing()})
            for place in self._places.values()
        )

    def waiting(self) -> tuple[Worker, ...]:
        """Those who are connected and have not applied it."""
        return self._connected_without(polling=False)

    def polling(self) -> tuple[Worker, ...]:
        """Those who are connected and only poll. What they show is not relied on."""
        return self._connected_without(polling=True)

    def lost(self) -> tuple[Worker, ...]:
        """Those who were seen in this wait, had not applied it, and are no longer connected."""
        return tuple(
            place.gone[session]
            for place in self._places.values()
            for session in place.missing()
            if session not in place.applied
        )

    def missed(self) -> tuple[Worker, ...]:
        """Those who were seen in the ten minutes before this wait, and not in it."""
        oldest = time.monotonic() - _MEMORY
        return tuple(
            worker
            for place, (workers, seen) in _remembered.get(self._database, {}).items()
            if seen > oldest
            for worker in workers[self._at_once(place) :]
        )

    def remember(self) -> None:
        """Let the next wait of this process miss those who are connected now."""
        now = time.monotonic()
        present = {
            key: ([*place.here.values()], now) for key, place in self._places.items() if place.here
        }
        before = _remembered.get(self._database, {})
        recent = {key: seen for key, seen in before.items() if seen[1] > now - _MEMORY}
        _remembered[self._database] = {**recent, **present}

    def _at_once(self, place: _Key) -> int:
        return self._places[place].at_once if place in self._places else 0

    def _connected_without(self, *, polling: bool) -> tuple[Worker, ...]:
        return tuple(
            worker
            for place in self._places.values()
            for session, worker in place.here.items()
            if session not in place.applied and (worker.mode in _POLLING) is polling
        )


def _place(worker: Worker) -> _Key:
    # Of a name that cannot be read, the session is all that is known.
    return (worker.host, worker.session if worker.pid is None else worker.pid, worker.pid is None)
