"""The load of many workers on one server.

    python -m benches.many_workers [PART …]         (all parts take twenty minutes; needs PgBouncer)

The engines are those of the fault tests, hundreds in one process. CPU time is that of the server's
processes, so it hardly depends on other load, but times until workers have a change do. The
constants on the page docs/discussions/scale.md are from here.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import django
import psycopg
from django.core.management import call_command
from django.db import connections

from tests.faults.engines import Engines
from tools.pgbouncer import PgBouncer
from tools.postgres import Postgres

PARTS = ("memory", "notify", "work", "pooled", "storm", "stream")
FLAGS = (200, 10_000)
Session = psycopg.Connection[Any]
LISTENERS = (0, 10, 100, 200, 400, 800)
#: Once per hour: no poll while something else is measured.
NEVER = 3600.0


def main() -> None:
    """Measures the given parts and prints."""
    settings = {"max_connections": "2100", "shared_buffers": "128MB"}
    with Postgres(
        version=int(os.environ.get("FLAGSTAFF_POSTGRES", "16")), settings=settings
    ) as server:
        os.environ |= {
            "DATABASE_URL": server.url,
            "DJANGO_SETTINGS_MODULE": "tests.support.settings",
        }
        django.setup()
        call_command("migrate", verbosity=0)
        connections.close_all()
        with psycopg.connect(server.url, autocommit=True) as session:
            for part in sys.argv[1:] or PARTS:
                print(f"\n{part}, load average {os.getloadavg()[0]:.2f}", flush=True)
                globals()[part](server, session)


def by_number_of_flags(session: Session, numbers: tuple[int, ...] = FLAGS) -> Iterator[int]:
    """Creates so many flags, one number after the other."""
    for number in numbers:
        session.execute("DELETE FROM flagstaff_featureflag")
        session.execute(
            "INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent)"
            " SELECT 'flag_' || n, true, 50 FROM generate_series(1, %s) AS n",
            [number],
        )
        session.execute("VACUUM ANALYZE")
        print(f"  {number} flags", flush=True)
        yield number


def cpu(*pids: int) -> float:
    """The CPU time of processes."""
    # The number of the clock of another process, as clock_getcpuclockid computes it.
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


def workers(session: Session) -> list[int]:
    """The server processes of the workers."""
    backends = session.execute(
        "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'flagstaff %'"
    )
    return [pid for (pid,) in backends]


def change(session: Session, percent: int) -> float:
    """Changes a flag. Returns the duration of the commit."""
    session.execute("BEGIN")
    session.execute(
        "UPDATE flagstaff_featureflag SET rollout_percent = %s WHERE key = 'flag_7'", [percent]
    )
    began = time.monotonic()
    session.execute("COMMIT")
    return time.monotonic() - began


@contextmanager
def engines(server_url: str, count: int, **options: Any) -> Iterator[Engines]:
    with Engines(server_url, profile="release") as started:
        started.start(count, **options)
        started.until(modes=["live", "poll"], within=300)
        yield started


def memory(server: Postgres, session: Session) -> None:
    """Prints KiB of the backends of workers."""
    for flags in by_number_of_flags(session):
        for count in (1, 50, 200):
            with engines(server.url, count) as started:
                for percent in range(20):
                    change(session, percent)
                    started.until(percent={"flag_7": percent}, within=30)
                pids = workers(session)
                print(f"  {flags} flags, {count} workers: {_memory(pids)}", flush=True)


def _memory(pids: list[int]) -> dict[str, float]:
    sums = dict.fromkeys(("RssAnon", "Pss", "Private_Dirty", "VmPTE"), 0)
    for pid in pids:
        for name in ("smaps_rollup", "status"):
            for line in Path(f"/proc/{pid}/{name}").read_text().splitlines():
                key, _, rest = line.partition(":")
                if key in sums:
                    sums[key] += int(rest.split()[0])
    return {key: round(total / len(pids)) for key, total in sums.items()}


def notify(server: Postgres, session: Session) -> None:
    """Prints the cost of a commit with NOTIFY and so many idle listeners."""
    with ExitStack() as stack:

        def connect() -> Session:
            return stack.enter_context(psycopg.connect(server.url, autocommit=True))

        sender, count = connect(), 200
        listeners: list[Session] = []
        pid = sender.info.backend_pid
        for number in LISTENERS:
            while len(listeners) < number:
                listeners.append(connect())
                listeners[-1].execute("LISTEN flagstaff_v1")
            pids = [listener.info.backend_pid for listener in listeners]
            if number == LISTENERS[1]:
                print(f"  a bare session: {_ms(cpu(*pids), number)}, {_memory(pids)}")
            before, heard, took = cpu(pid), cpu(*pids), []
            for _ in range(count):
                began = time.monotonic()
                sender.execute("NOTIFY flagstaff_v1, '0'")
                took.append(time.monotonic() - began)
                time.sleep(0.03)
            spent, listened = cpu(pid) - before, cpu(*pids) - heard
            print(
                f"  {number:4} listeners: commit {median(took) * 1e3:6.2f} ms, its CPU "
                f"{spent / count * 1e3:6.3f} ms, CPU of a listener "
                f"{listened / count / max(number, 1) * 1e6:.0f} us",
                flush=True,
            )


def work(server: Postgres, session: Session) -> None:
    """Prints the server's CPU time of each kind of work of a worker."""
    for flags in by_number_of_flags(session):
        for count in (50, 100):
            _work(server, session, flags, count)


def _work(server: Postgres, session: Session, flags: int, count: int) -> None:
    name = f"  {flags} flags, {count} workers"
    forked = cpu(server.pid)
    with engines(server.url, count, poll_interval=NEVER) as started:
        pids, changes = workers(session), 10
        forked = cpu(server.pid) - forked
        print(f"{name}: start {_ms(cpu(*pids), count)}, its fork {_ms(forked, count)}", flush=True)
        own, before, client, took = 0.0, cpu(*pids), cpu(started.pid), []
        for percent in range(changes):
            mine = cpu(session.info.backend_pid)
            change(session, percent)
            own += cpu(session.info.backend_pid) - mine
            began = time.time()
            times = started.until(percent={"flag_7": percent}, within=60)
            took.append((median(times) - began, times[-1] - began))
            time.sleep(0.1)
        spent, worker = cpu(*pids) - before, cpu(started.pid) - client
        print(
            f"{name}: change {_ms(spent, count * changes)} and "
            f"{_ms(worker, count * changes)} in the worker; "
            f"half {_ms(median(a for a, _ in took))}, last {_ms(median(b for _, b in took))}, "
            f"the writer {_ms(own, changes)}",
            flush=True,
        )
        before = cpu(*pids)
        for _ in range(changes):
            _wake_and_wait(session, "SELECT 1")
        check = (cpu(*pids) - before) / changes
        before = cpu(*pids)
        for cost in range(1, changes + 1):
            # Another version of a function: a full load follows the check.
            _wake_and_wait(
                session, f'ALTER FUNCTION flagstaff_write_token_v1("char", text[]) COST {cost}'
            )
        full = (cpu(*pids) - before) / changes - check
        print(f"{name}: check {_ms(check, count)}, full load {_ms(full, count)}", flush=True)
    with engines(server.url, count, poll_interval=1.0, listen=False):
        pids = workers(session)
        time.sleep(3)
        before, began = cpu(*pids), time.monotonic()
        time.sleep(20)
        poll = (cpu(*pids) - before) / (time.monotonic() - began) / count
        print(f"{name}: poll {_ms(poll)}", flush=True)


def _wake_and_wait(session: Session, statement: str) -> None:
    session.execute(statement)
    session.execute("SELECT pg_notify('flagstaff_v1', 'flagstaff_token'::regclass::oid::text)")
    time.sleep(2.0)


def pooled(server: Postgres, session: Session) -> None:
    """Prints the CPU time of a poll through PgBouncer."""
    for _ in by_number_of_flags(session, FLAGS[:1]):
        limits = {"max_client_conn": "2000", "default_pool_size": "20"}
        with PgBouncer(server.port, settings=limits) as pooler:
            url = server.url.replace(str(server.port), str(pooler.port))
            for count in (100, 400):
                with engines(url, count, poll_interval=1.0):
                    time.sleep(5)
                    backends = [
                        pid
                        for (pid,) in session.execute(
                            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                            " AND pid <> pg_backend_pid()"
                        )
                    ]
                    bouncer = pooler.pid
                    before, began, passed = cpu(*backends), time.monotonic(), cpu(bouncer)
                    time.sleep(20)
                    polls = count * (time.monotonic() - began)
                    print(
                        f"  {count} workers, {len(backends)} backends: poll and report "
                        f"{_ms(cpu(*backends) - before, polls)}, pooler "
                        f"{_ms(cpu(bouncer) - passed, polls)}",
                        flush=True,
                    )


def storm(server: Postgres, session: Session) -> None:
    """Prints the time until so many workers that start at once have loaded."""
    for flags in by_number_of_flags(session):
        for count in (100, 200, 400, 800, 1600):
            with Engines(server.url, profile="release") as started:
                began, forked = time.time(), cpu(server.pid)
                started.start(count)
                times = [
                    time_of_load - began
                    for time_of_load in started.until(modes=["live"], within=300)
                ]
                failures = sum(report["failures"] for report in started.reports())
                print(
                    f"  {flags} flags, {count} workers: half {median(times):.2f} s, "
                    f"last {times[-1]:.2f} s, failures {failures}, "
                    f"CPU {cpu(*workers(session)):.2f} s + forks {cpu(server.pid) - forked:.2f} s, "
                    f"workers {cpu(started.pid):.2f} s",
                    flush=True,
                )


def stream(server: Postgres, session: Session) -> None:
    """Prints when workers have a change, with one change per second."""
    for _ in by_number_of_flags(session, FLAGS[:1]):
        for listen in (True, False):
            for count in (50, 100, 200, 400, 800):
                with engines(server.url, count, listen=listen) as started:
                    pids, time_between = workers(session), 1.0 if listen else 6.0
                    half, last, commits, rounds = [], [], [], 15 if listen else 4
                    before, client, start = cpu(*pids), cpu(started.pid), time.monotonic()
                    for number in range(rounds):
                        time.sleep(max(0.0, start + number * time_between - time.monotonic()))
                        began = time.time()
                        commits.append(change(session, number))
                        times = started.until(percent={"flag_7": number}, within=60)
                        half.append(median(times) - began)
                        last.append(times[-1] - began)
                    passed = time.monotonic() - start
                    print(
                        f"  {'LISTEN' if listen else 'poll'}, {count} workers: "
                        f"commit {_ms(median(commits))}, "
                        f"half {_ms(median(half))}, last {_ms(median(last))}, server "
                        f"{(cpu(*pids) - before) / passed:.3f} cores, workers "
                        f"{(cpu(started.pid) - client) / passed:.3f}",
                        flush=True,
                    )


def _ms(seconds: float, parts: float = 1) -> str:
    return f"{seconds / parts * 1e3:.2f} ms"


if __name__ == "__main__":
    main()
