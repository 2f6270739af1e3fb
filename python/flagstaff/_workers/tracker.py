"""Tracks workers over repeated queries: which have applied a barrier, and which disconnected.

Two workers may show the same process id and host, as containers do. One worker may have two
sessions if the server has not noticed that the first is dead. The server cannot tell these cases
apart. So for each identity (process id and host) the tracker requires as many workers as were
connected with it at the same time.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from flagstaff._core import monotonic
from flagstaff._workers.ended import Lost
from flagstaff._workers.sessions import Worker

_POLLING = {"poll", "reload"}

# Seconds for which a later wait of this process still expects a worker.
_MEMORY = 600.0
_Key: TypeAlias = tuple[Hashable, ...]
#: By token table and identity: the workers at the end of the last wait, and when that was.
_remembered: dict[_Key, dict[_Key, tuple[list[Worker], float]]] = {}


@dataclass
class _Group:
    """The workers with one identity, by their id."""

    connected: dict[str, Worker] = field(default_factory=dict)
    disconnected: dict[str, Worker] = field(default_factory=dict)
    #: The ids of those that have applied the barrier.
    applied: set[str] = field(default_factory=set)
    max_connected: int = 0

    def update(self, connected: dict[str, Worker], applied: set[str]) -> None:
        known = {**self.disconnected, **self.connected}
        self.disconnected = {id_: known[id_] for id_ in known.keys() - connected.keys()}
        self.applied = (self.applied - connected.keys()) | applied
        self.connected = connected
        self.max_connected = max(self.max_connected, len(connected))

    def lost(self) -> list[str]:
        """Returns the disconnected workers that no new one has replaced."""
        # Those that had not applied it come first: the new session may be another worker's.
        unapplied_first = sorted(self.disconnected, key=lambda id_: (id_ in self.applied, id_))
        return unapplied_first[: self.max_connected - len(self.connected)]


class WorkerTracker:
    """The workers of one token table seen during one wait, and in the ten minutes before it."""

    def __init__(self, token_table: _Key) -> None:
        self._token_table = token_table
        self._groups: dict[_Key, _Group] = {}

    def update(self, workers: Iterable[Worker], applied: Collection[Worker]) -> None:
        """Records the connected workers, and which of them have applied the barrier."""
        connected: dict[_Key, dict[str, Worker]] = {identity: {} for identity in self._groups}
        for worker in workers:
            connected.setdefault(_identity(worker), {})[worker.id] = worker
        having = {worker.id for worker in applied}
        for identity, by_id in connected.items():
            group = self._groups.setdefault(identity, _Group())
            group.update(by_id, having & by_id.keys())

    def applied(self) -> int:
        """Returns how many workers have applied it, including disconnected ones."""
        return sum(
            len(group.applied & group.connected.keys()) + len(group.applied & {*group.lost()})
            for group in self._groups.values()
        )

    def pending(self) -> tuple[Worker, ...]:
        """Returns the connected workers that have not applied it."""
        return self._connected_without_it(polling=False)

    def polling(self) -> tuple[Worker, ...]:
        """Returns the connected workers that poll and have not applied it yet."""
        return self._connected_without_it(polling=True)

    def disconnected(self) -> tuple[Worker, ...]:
        """Returns the workers that disconnected during this wait before they had applied it."""
        return tuple(
            group.disconnected[id_]
            for group in self._groups.values()
            for id_ in group.lost()
            if id_ not in group.applied
        )

    def disconnected_earlier(self) -> tuple[Lost, ...]:
        """Returns the workers seen in the ten minutes before this wait, but not during it."""
        now = monotonic()
        return tuple(
            Lost(worker, now - seen)
            for identity, (workers, seen) in _remembered.get(self._token_table, {}).items()
            if seen > now - _MEMORY
            for worker in workers[self._max_connected(identity) :]
        )

    def remember(self) -> None:
        """Stores the connected workers for this process's next wait."""
        now = monotonic()
        present = {
            identity: ([*group.connected.values()], now)
            for identity, group in self._groups.items()
            if group.connected
        }
        before = _remembered.get(self._token_table, {})
        recent = {key: seen for key, seen in before.items() if seen[1] > now - _MEMORY}
        _remembered[self._token_table] = {**recent, **present}

    def _max_connected(self, identity: _Key) -> int:
        return self._groups[identity].max_connected if identity in self._groups else 0

    def _connected_without_it(self, *, polling: bool) -> tuple[Worker, ...]:
        return tuple(
            worker
            for group in self._groups.values()
            for id_, worker in group.connected.items()
            if id_ not in group.applied and (worker.mode in _POLLING) is polling
        )


def _identity(worker: Worker) -> _Key:
    # If the name is not readable, only the session is known.
    return (worker.host, worker.id if worker.pid is None else worker.pid, worker.pid is None)
