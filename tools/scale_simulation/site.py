"""Workers that poll, listen, load and reconnect as the engine does, and their servers."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tools.scale_simulation.constants import JITTER, Costs, Times
from tools.scale_simulation.queueing import Action, Events, Station

__all__ = ["Group", "Server", "Site", "Worker"]

#: How long a process of Linux runs before another has its turn.
TURN = 3e-3
#: The server connections of a pooler.
POOL_SIZE = 20


class Server:
    """A primary, or a standby that shows changes after `lag`. A pooler has one thread."""

    def __init__(self, events: Events, cores: int, costs: Costs, lag: float = 0.0) -> None:
        self.station = Station(events, cores, TURN)
        self.pooler = Station(events, 1)
        self.lag = lag
        self._costs = costs
        self._backlog: deque[tuple[Callable[[], bool], Action]] = deque()

    def connect(self, is_wanted: Callable[[], bool], done: Action) -> None:
        """Connects, unless the worker has given up when its connection is accepted."""
        self._backlog.append((is_wanted, done))
        if len(self._backlog) == 1:
            self._accept()

    def _accept(self) -> None:
        # One process accepts, and waits for its turn as all others: a busy server starts few
        # sessions, so that those that it has started can finish.
        number = min(len(self._backlog), max(1, int(TURN / self._costs.fork)))
        self.station.submit(number * self._costs.fork, partial(self._accepted, number))

    def _accepted(self, number: int) -> None:
        for is_wanted, done in [self._backlog.popleft() for _ in range(number)]:
            if is_wanted():
                self.station.submit(self._costs.connect, done)
            else:
                self.station.submit(self._costs.abandoned, lambda: None)
        if self._backlog:
            self._accept()


@dataclass(frozen=True)
class Group:
    """Workers with the same way to their server."""

    workers: int
    listens: bool = False
    pooled: bool = False
    #: They are spread over so many standbys. 0: they use the primary.
    standbys: int = 0
    lag: float = 0.1

    @property
    def sessions(self) -> int:
        """The sessions that they keep at their servers."""
        return POOL_SIZE if self.pooled else self.workers


class Site:
    """All workers, all servers, and when each change was seen."""

    def __init__(
        self, groups: tuple[Group, ...], costs: Costs, times: Times, *, cores: int, seed: int = 1
    ) -> None:
        self.events = Events()
        self.random = random.Random(seed)  # noqa: S311 (no secret)
        self.costs, self.times = costs, times
        self.primary = Server(self.events, cores, costs)
        self.servers = [self.primary]
        self.workers: list[Worker] = []
        #: When each change was committed, and the delays until a worker had it.
        self.commits: list[float] = []
        self.delays: list[list[float]] = []
        self.failures = 0
        for group in groups:
            own = [Server(self.events, cores, costs, group.lag) for _ in range(group.standbys)]
            self.servers += own
            for number in range(group.workers):
                server = own[number % len(own)] if own else self.primary
                self.workers.append(Worker(self, server, group))

    def begin_loaded(self) -> None:
        """Begins with workers that have loaded, at random points of their intervals."""
        for worker in self.workers:
            worker.begin_loaded()

    def deploy(self, within: float, per_host: int = 8) -> None:
        """Starts all workers, those of a host together, at random times within so many seconds."""
        for first in range(0, len(self.workers), per_host):
            at = self.random.uniform(0, within)
            for worker in self.workers[first : first + per_host]:
                self.events.at(at, worker.start)

    def change(self) -> None:
        """Commits a change now. The writer signals one listener after the other."""
        self.commits.append(self.events.now)
        self.delays.append([])
        signal = self.costs.signal
        listeners = [worker for worker in self.workers if worker.group.listens and worker.loaded]
        self.primary.station.submit(self.costs.write + signal * len(listeners), lambda: None)
        for number, worker in enumerate(listeners, 1):
            self.events.after(signal * number, worker.wake)

    def version(self, server: Server) -> int:
        """Returns the number of changes that a server shows now."""
        number, shown = len(self.commits), self.events.now - server.lag
        while number and self.commits[number - 1] > shown:
            number -= 1
        return number

    def jittered(self, interval: float, part: float = JITTER) -> float:
        """Returns an interval that varies by this part."""
        return interval * self.random.uniform(1 - part, 1 + part)


class Worker:
    """The engine of one process: `src/postgres/refresh/session.rs` without its rare cases."""

    def __init__(self, site: Site, server: Server, group: Group) -> None:
        self.site, self.server, self.group = site, server, group
        self.loaded = False
        self.loaded_at: float | None = None
        self._version = 0
        self._full_due = self._last_step = 0.0
        self._attempts = 0
        self._resting = self._woken = False
        #: Increases with each wait and each request: what belongs to an earlier one is ignored.
        self._turn = 0

    def begin_loaded(self) -> None:
        """Begins at a random point of the intervals."""
        site = self.site
        self.loaded, self.loaded_at = True, 0.0
        self._full_due = site.random.uniform(0, site.times.full)
        self._last_step = -site.times.gap
        first = min(self._full_due, site.random.uniform(0, site.times.poll_interval))
        self._rest_until(first)

    def start(self) -> None:
        """Connects, identifies the server, loads everything."""
        costs, times = self.site.costs, self.site.times

        if self.group.pooled:
            # The sessions of a pooler have begun before.
            self._request(costs.pooled_poll, times.statement_limit, self._load_everything)
            return

        def identify() -> None:
            self._request(costs.identify, times.statement_limit, self._load_everything)

        turn = self._next_turn()
        self.server.connect(lambda: turn == self._turn, partial(self._if_current, turn, identify))
        self.site.events.after(times.connect_limit, partial(self._if_current, turn, self._fail))

    def wake(self) -> None:
        """Receives a notification."""
        if self._resting:
            self._keep_gap()
        else:
            self._woken = True

    def _request(self, work: float, limit: float, done: Callable[[], None]) -> None:
        """Lets the server work. After the limit the worker reconnects, and the work is wasted."""
        events, turn = self.site.events, self._next_turn()
        answered = partial(self._if_current, turn, done)
        finished = partial(events.after, self.site.times.round_trip, answered)
        if self.group.pooled:
            station = self.server.station
            self.server.pooler.submit(
                self.site.costs.pooler, partial(station.submit, work, finished)
            )
        else:
            self.server.station.submit(work, finished)
        events.after(limit, partial(self._if_current, turn, self._fail))

    def _next_turn(self) -> int:
        self._turn += 1
        self._resting = False
        return self._turn

    def _if_current(self, turn: int, action: Action) -> None:
        if turn == self._turn:
            action()

    def _fail(self) -> None:
        """Pauses as `src/postgres/refresh/backoff.rs`, then connects."""
        site, turn = self.site, self._next_turn()
        site.failures += 1
        limit = site.times.first_pause * 2**self._attempts
        self._attempts += 1
        least = 0.0
        if limit >= site.times.longest_pause:
            limit, least = site.times.longest_pause, 0.45
        pause = limit * site.random.uniform(least, 1)
        site.events.after(pause, partial(self._if_current, turn, self.start))

    def _load_everything(self) -> None:
        site, version = self.site, self._seen()

        def loaded() -> None:
            self.loaded, self._attempts = True, 0
            self.loaded_at = site.events.now if self.loaded_at is None else self.loaded_at
            self._full_due = site.events.now + site.jittered(site.times.full)
            self._end_step(version)

        self._request(site.costs.full_load, site.times.load_limit, loaded)

    def _end_step(self, version: int) -> None:
        site = self.site
        now = self._last_step = site.events.now
        for number in range(self._version, version):
            site.delays[number].append(now - site.commits[number])
        self._version = max(self._version, version)
        if self._woken:
            self._woken = False
            self._keep_gap()
        else:
            self._rest_until(min(self._full_due, now + site.jittered(site.times.poll_interval)))

    def _rest_until(self, time: float) -> None:
        turn = self._next_turn()
        self._resting = True
        self.site.events.at(time, partial(self._if_current, turn, self._poll))

    def _keep_gap(self) -> None:
        turn, events = self._next_turn(), self.site.events
        time = max(events.now, self._last_step + self.site.times.gap)
        events.at(time, partial(self._if_current, turn, self._load_changed))

    def _poll(self) -> None:
        costs, times, version = self.site.costs, self.site.times, self._seen()
        work = costs.pooled_poll if self.group.pooled else costs.poll

        def polled() -> None:
            if self._full_due <= self.site.events.now:
                self._load_everything()
            elif version > self._version:
                self._load_changed()
            else:
                self._end_step(version)

        self._request(work, times.statement_limit, polled)

    def _load_changed(self) -> None:
        version, times = self._seen(), self.site.times
        # One load covers the notifications until now.
        self._woken = False

        def loaded() -> None:
            if times.full_after_rows:
                due = self.site.events.now + self.site.jittered(
                    times.full_after_rows, times.full_jitter
                )
                self._full_due = min(self._full_due, due)
            self._end_step(version)

        self._request(self.site.costs.change, times.load_limit, loaded)

    def _seen(self) -> int:
        return self.site.version(self.server)
