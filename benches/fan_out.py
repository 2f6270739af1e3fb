"""What one change costs when many workers must have it: time, CPU and bytes.

    python -m benches.fan_out         (starts its own server; `make bench` runs all)
    python -m benches.fan_out --workers 200 --seconds 20 --flags 200

The workers are forked from one process that has imported Django, and start their engines
themselves. After some first changes, a window without and one with a change per second follow. CPU
is that of the server, with the writer's session, and that of all workers, in % of one core: in the
window with changes, minus that in the other. A worker waits for its engine's signal, and writes the
time and the bytes of its connection to a pipe. Needs Linux's /proc.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import IO, Any, NamedTuple

from benches._project import add_flags, execute, set_up
from tools.lifeline import ends_with_parent
from tools.postgres import Postgres

WORKERS, SECONDS, FLAGS = 64, 10, (200, 10_000)
#: The changes before the windows. The server plans a prepared statement anew five times.
FIRST_CHANGES = 7
#: A rollout says how many changes a worker has seen.
MOST_CHANGES = 100
USERS = 1_000_000
PATIENCE = 120.0
#: Their CPU says how much other load there was.
OTHERS = "other processes"
PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
#: Where utime, stime, cutime and cstime follow in /proc/PID/stat, after the name of the program.
TIMES = slice(11, 15)
#: Where bytes_acked and bytes_received follow in the kernel's struct tcp_info.
ACKED_AND_RECEIVED = slice(120, 136)
# As many tokens as there are after a long time.
WRITE_TOKENS = """
DO $$
BEGIN
    FOR number IN 1..1280 LOOP
        UPDATE flagstaff_featureflag SET rollout_percent = 0 WHERE key = 'everyone';
    END LOOP;
END
$$
"""
ADD_CROWD = (
    # Needs no rows of users, and writes no history.
    "SET session_replication_role = replica",
    """
    INSERT INTO flagstaff_featureflag_allowed_users (featureflag_id, user_id)
    SELECT id, number FROM flagstaff_featureflag, generate_series(1, 1000000) AS number
    WHERE key = 'crowd'
    """,
    "RESET session_replication_role",
    "VACUUM ANALYZE",
)
CONNECTIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


@dataclass(frozen=True)
class Change:
    """A statement with the number of the change, and how a worker sees which it has."""

    statement: str
    #: Returns the number of the newest change that this process has, given an earlier one.
    newest: Callable[[int], int]


@dataclass
class Cost:
    """What changes have cost."""

    connections: int
    #: The CPU with changes and without, in % of one core, by what used it.
    cpu: dict[str, tuple[float, float]]
    #: Milliseconds of each COMMIT, and from each COMMIT until each worker had the change.
    commits: list[float]
    delays: list[float] = field(default_factory=list)
    #: For each change and worker, the bytes that it has received and sent.
    received: list[int] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)


class Noted(NamedTuple):
    """What a worker notes of a change: the time, and the bytes of its connection until then."""

    at: int
    received: int
    sent: int


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    parser.add_argument("--flags", type=int, nargs="+", default=FLAGS)
    options = parser.parse_args()
    if options.seconds > MOST_CHANGES - FIRST_CHANGES:
        parser.error(f"a window lasts at most {MOST_CHANGES - FIRST_CHANGES} seconds")
    if not (PROC / "self" / "stat").exists():
        print("the CPU time of a process can be read on Linux only", file=sys.stderr)
        return 0
    connections = {"max_connections": str(2 * options.workers + 20)}
    with Postgres(settings=connections) as server:
        os.environ["DATABASE_URL"] = server.url
        set_up()
        execute(WRITE_TOKENS)
        print(f"one change per second for {options.seconds} s, milliseconds from COMMIT")
        for flags in options.flags:
            add_flags(flags)
            execute("VACUUM ANALYZE")
            name = f"{options.workers} workers, a flag of {flags:,}"
            _show(name, measure(server, options.workers, options.seconds, ROLLOUT))
        _show(f"1 worker, a flag of {flags:,}", measure(server, 1, options.seconds, ROLLOUT))
        _add_crowd()
        name = f"1 worker, a user added to {USERS:,} of a flag"
        _show(name, measure(server, 1, options.seconds, ALLOWED))
    return 0


def measure(server: Postgres, workers: int, seconds: int, change: Change) -> Cost:
    """Returns what changes cost so many workers, one per second for so many seconds."""
    from flagstaff.models import FeatureFlag

    FeatureFlag.objects.filter(key="everyone").update(rollout_percent=0)
    with _forked(workers, change.newest, server.port) as (pids, pipes):
        noted = [_read(pipes)]
        for number in range(1, FIRST_CHANGES + 1):
            _commit(change, number)
            noted.append(_read(pipes))
        used = _cpu(server.pid, pids)
        time.sleep(seconds)
        idle = used()
        used = _cpu(server.pid, pids)
        commits = []
        for number in range(FIRST_CHANGES + 1, FIRST_CHANGES + seconds + 1):
            ends = time.monotonic() + 1
            commits.append(_commit(change, number))
            time.sleep(max(0, ends - time.monotonic()))
        noted += [_read(pipes) for _ in commits]
        cpu = {name: (raw, idle[name]) for name, raw in used().items()}
        [connections] = execute(CONNECTIONS)
    cost = Cost(connections, cpu, commits=[took for _, took in commits])
    rounds = zip(commits, noted[FIRST_CHANGES:-1], noted[FIRST_CHANGES + 1 :], strict=True)
    for (sent, _), earlier, later in rounds:
        for before, now in zip(earlier, later, strict=True):
            cost.delays.append((now.at - sent) / 1e6)
            cost.received.append(now.received - before.received)
            cost.sent.append(now.sent - before.sent)
    return cost


def _read(pipes: list[IO[str]]) -> list[Noted]:
    """Waits until all workers have the next change, and returns what each has noted."""
    return [Noted(*map(int, pipe.readline().split())) for pipe in pipes]


@contextmanager
def _forked(
    workers: int, newest: Callable[[int], int], port: int
) -> Iterator[tuple[list[int], list[IO[str]]]]:
    """Runs the workers. Each writes a line when it has loaded, and for each change."""
    from django.db import connection

    # A child must not use the connection of its parent.
    connection.close()
    end_with_parent = ends_with_parent(signal.SIGKILL)
    pids: list[int] = []
    with ExitStack() as pipes:
        try:
            read: list[IO[str]] = []
            for _ in range(workers):
                reading, writing = os.pipe()
                pid = os.fork()
                if pid == 0:
                    try:
                        if end_with_parent:
                            end_with_parent()
                        _follow(os.fdopen(writing, "w"), newest, port)
                    except BaseException:  # noqa: BLE001 (the parent's code must not go on here)
                        traceback.print_exc()
                    finally:
                        os._exit(1)
                os.close(writing)
                pids.append(pid)
                read.append(pipes.enter_context(os.fdopen(reading)))
            yield pids, read
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def _follow(pipe: IO[str], newest: Callable[[int], int], port: int) -> None:
    """Notes each change that this process gets, until it is killed."""
    from flagstaff import _core, ready

    changed = socket.socket(fileno=_core.open_change_signal())
    if not ready(PATIENCE):
        raise TimeoutError("a worker has not loaded")
    to_server = _connection_to(port)
    number = newest(0)
    print(time.monotonic_ns(), *_traffic(to_server), file=pipe, flush=True)
    while changed.recv(4096):
        before, number = number, newest(number)
        line = f"{time.monotonic_ns()} {' '.join(map(str, _traffic(to_server)))}\n"
        # A load can have several changes.
        pipe.write(line * (number - before))
        pipe.flush()


def _connection_to(port: int) -> socket.socket:
    """Returns a copy of the only socket of this process that is connected to this port."""
    for entry in (PROC / "self" / "fd").iterdir():
        if entry.is_symlink() and entry.readlink().name.startswith("socket:"):
            connection = socket.socket(fileno=os.dup(int(entry.name)))
            if connection.family == socket.AF_INET and connection.getpeername()[1] == port:
                return connection
            connection.close()
    raise LookupError("the engine has no connection")


def _traffic(connection: socket.socket) -> tuple[int, int]:
    """Returns the bytes that were received and sent so far, without the headers of packets."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, ACKED_AND_RECEIVED.stop)
    acked, received = struct.unpack("QQ", info[ACKED_AND_RECEIVED])
    return received, acked


def _cpu(server: int, workers: list[int]) -> Callable[[], dict[str, float]]:
    """Returns a function for the CPU from now on, in % of one core, by what used it."""

    def used() -> dict[str, float]:
        children = (PROC / f"{server}/task/{server}/children").read_text().split()
        of_server = sum(map(_ticks, [server, *map(int, children)]))
        of_workers = sum(map(_ticks, workers))
        # The first line has the ticks of all: user, nice, system, idle and others.
        busy = sum(map(int, (PROC / "stat").read_text().split()[1:4])) / TICKS
        others = busy - of_server - of_workers
        return {"the server": of_server, "all workers": of_workers, OTHERS: others}

    began, before = time.monotonic(), used()

    def since() -> dict[str, float]:
        elapsed = time.monotonic() - began
        return {name: 100 * (now - before[name]) / elapsed for name, now in used().items()}

    return since


def _ticks(pid: int) -> float:
    """Returns the CPU seconds of a process, and of its children that have ended."""
    try:
        stat = (PROC / str(pid) / "stat").read_text()
    except FileNotFoundError:
        # It has ended meanwhile, and counts as a child.
        return 0
    times = stat.rpartition(")")[2].split()[TIMES]
    return sum(map(int, times)) / TICKS


def _commit(change: Change, number: int) -> tuple[int, float]:
    """Makes a change. Returns when COMMIT was sent, and the milliseconds that it took."""
    from django.db import connection

    connection.set_autocommit(False)
    with connection.cursor() as cursor:
        cursor.execute(change.statement, [number])
    sent = time.monotonic_ns()
    connection.commit()
    took = (time.monotonic_ns() - sent) / 1e6
    connection.set_autocommit(True)
    return sent, took


def _rollout(_before: int) -> int:
    from flagstaff import explain

    return explain("everyone").rollout_percent or 0


def _allowed(before: int) -> int:
    from flagstaff import explain

    while explain("crowd", USERS + before + 1).value:
        before += 1
    return before


ROLLOUT = Change(
    "UPDATE flagstaff_featureflag SET rollout_percent = %s WHERE key = 'everyone'", _rollout
)
ALLOWED = Change(
    "INSERT INTO flagstaff_featureflag_allowed_users (featureflag_id, user_id)"
    " SELECT id, 1000000 + %s FROM flagstaff_featureflag WHERE key = 'crowd'",
    _allowed,
)


def _add_crowd() -> None:
    """Adds a flag with many allowed users, and users that it does not have yet."""
    from django.contrib.auth import get_user_model

    from flagstaff.models import FeatureFlag

    FeatureFlag.objects.create(key="crowd", enabled=True, rollout_percent=0)
    users: Any = get_user_model()
    users.objects.bulk_create(
        [users(pk=USERS + n, username=f"guest {n}") for n in range(1, MOST_CHANGES + 1)]
    )
    execute(*ADD_CROWD)


def _show(who: str, cost: Cost) -> None:
    print(f"\n{who}")
    print(f"  COMMIT              {_spread(cost.commits)} ms")
    print(f"  a worker has it     {_spread(cost.delays)} ms")
    others, _ = cost.cpu.pop(OTHERS)
    for name, (raw, idle) in cost.cpu.items():
        print(
            f"  CPU of {name:12} {raw - idle:6.1f} %   with changes {raw:.1f}, without {idle:.1f}"
        )
    print(
        f"  bytes to a worker {median(cost.received):,.0f}   from it {median(cost.sent):,.0f}   "
        f"connections {cost.connections}   CPU of other processes {others:.0f} %"
    )


def _spread(figures: list[float]) -> str:
    p95 = quantiles(figures, n=20, method="inclusive")[-1]
    return f"p50 {median(figures):8.2f}   p95 {p95:8.2f}   max {max(figures):8.2f}"


if __name__ == "__main__":
    sys.exit(main())
