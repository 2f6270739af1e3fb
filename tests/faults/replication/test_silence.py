"""Workers behind replication notice that nothing arrives from the primary, and say why."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Event

import pytest

from flagstaff import status
from tests.faults.replication.conftest import BEAT, LIMIT, Region, Regions, follow
from tests.support.clusters import ECHO, FLAGS, SEEN, TOKENS, begin_copy, ready
from tests.support.fixtures import execute
from tests.support.sessions import within
from tests.support.workers import Worker, calling
from tools.limits import SERVER

# Replication needs a moment to begin again, and the worker two polls.
AGAIN = 10.0
SILENT = "nothing has arrived from the primary"
UNKNOWN = "it is not known how old the flags are"
NUMBER = "SELECT number FROM flagstaff_echo"

Fault = Callable[[Regions], Iterator[None]]


def paused_replay(regions: Regions) -> Iterator[None]:
    regions.standby.run("SELECT pg_wal_replay_pause()")
    yield
    regions.standby.run("SELECT pg_wal_replay_resume()")


def ended_walreceiver(regions: Regions) -> Iterator[None]:
    follow(regions.standby.server, "")
    yield
    follow(regions.standby.server, regions.proxy.url)


def silent_link(regions: Regions) -> Iterator[None]:
    regions.proxy.stop()
    yield
    regions.proxy.resume()


def disabled_subscription(regions: Regions) -> Iterator[None]:
    regions.subscriber.run("ALTER SUBSCRIPTION regions DISABLE")
    yield
    regions.subscriber.run("ALTER SUBSCRIPTION regions ENABLE")


def conflict_in_apply(regions: Regions) -> Iterator[None]:
    for url in (regions.subscriber.url, regions.primary):
        execute(url, "INSERT INTO flagstaff_keyvaluestore (id, key, value) VALUES (77, 'a', '1')")
    yield
    regions.subscriber.run("DELETE FROM flagstaff_keyvaluestore WHERE id = 77")


def full_slot(regions: Regions) -> Iterator[None]:
    """The subscriber was away for too long, so the primary has deleted what its slot needs."""
    primary, subscriber = regions.primary, regions.subscriber
    subscriber.run("ALTER SUBSCRIPTION regions DISABLE")
    keep = "ALTER SYSTEM SET max_slot_wal_keep_size = '{}'; SELECT pg_reload_conf()"
    active = "SELECT active FROM pg_replication_slots WHERE slot_name = 'regions'"
    assert within(SERVER, lambda: execute(primary, active) == (False,))
    for statement in keep.format("1MB").split("; "):
        execute(primary, statement)
    execute(primary, "SELECT pg_logical_emit_message(false, 'flagstaff', ''), pg_switch_wal()")
    execute(primary, "CHECKPOINT")
    for statement in keep.format("-1").split("; "):
        execute(primary, statement)
    lost = "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'regions'"
    assert execute(primary, lost) == ("lost",)
    subscriber.run("ALTER SUBSCRIPTION regions ENABLE")
    yield
    subscriber.run("ALTER SUBSCRIPTION regions DISABLE")
    # Without its subscription, it would look like a primary that was emptied.
    subscriber.run(f"TRUNCATE {', '.join((*FLAGS, TOKENS, ECHO))} CASCADE")
    subscriber.run("ALTER SUBSCRIPTION regions SET (slot_name = NONE)")
    subscriber.run("DROP SUBSCRIPTION regions")
    execute(primary, "SELECT pg_drop_replication_slot('regions')")
    begin_copy(primary, subscriber.url, "regions")


# What happens, where the worker is, and what it says. A server does not know that a link is silent.
FAULTS: dict[str, tuple[Fault, str, str]] = {
    "paused replay": (paused_replay, "standby", "the standby has paused its replay"),
    "ended walreceiver": (ended_walreceiver, "standby", "the standby receives nothing"),
    "silent link": (silent_link, "standby", ""),
    "first link of a cascade": (ended_walreceiver, "cascade", ""),
    "subscription": (disabled_subscription, "subscriber", "the subscription regions is disabled"),
    "full slot": (full_slot, "subscriber", ""),
    "conflict": (conflict_in_apply, "subscriber", "changes could not be applied"),
}


def problems(worker: Worker, kind: str) -> list[str]:
    return [problem for problem in worker.ask("problems") if problem.startswith(kind)]


def is_current() -> bool:
    """Whether the age of this worker is known, and low."""
    now = status()
    return now.age is not None and not now.stale


@contextmanager
def reading_echo(echo: Event, *regions: Region) -> Iterator[list[Worker]]:
    """A worker in each region, which has seen the echo change."""
    with ExitStack() as stack:
        workers = [
            stack.enter_context(ready(region.url, MAX_STALENESS=LIMIT)) for region in regions
        ]
        echo.set()
        for worker in workers:
            # What a subscriber has not applied yet still arrives, after a copy for some seconds.
            worker.sees(calling(is_current), False, within=2 * AGAIN)
        echo.clear()
        for worker in workers:
            worker.sees(calling(is_current), True, within=AGAIN)
        yield workers


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(name, marks=pytest.mark.smoke) if name == "silent link" else name
        for name in FAULTS
    ],
)
def test_worker_is_stale_while_nothing_arrives_and_says_why(
    fault: str, regions: Regions, echo: Event
) -> None:
    happen, place, cause = FAULTS[fault]
    with reading_echo(echo, getattr(regions, place)) as [worker]:
        steps = happen(regions)
        next(steps)
        try:
            worker.sees(["field", "stale"], True, within=2 * LIMIT + SEEN)
            [problem] = problems(worker, SILENT)
            assert f": {cause}" in problem
            assert worker.ask("field", "age") >= LIMIT
        finally:
            next(steps, None)
        worker.sees(["field", "stale"], False, within=AGAIN)
        assert problems(worker, SILENT) == []
        # What arrives late, or is copied again, is not lost.
        assert worker.ask("field", "lost_changes") == 0


def test_age_is_not_known_while_no_worker_reports_to_the_primary(
    regions: Regions, echo: Event
) -> None:
    echo.set()
    with ready(regions.standby.url, MAX_STALENESS=LIMIT) as worker:
        worker.sees(["field", "age"], None, within=2 * LIMIT + SEEN)
        [problem] = problems(worker, UNKNOWN)
        assert problem.endswith("no worker at the primary writes flagstaff_echo")
        assert worker.ask("field", "stale") is False


def test_echo_of_the_primary_is_read_beside_an_older_one_of_the_subscriber_itself(
    regions: Regions, echo: Event
) -> None:
    subscriber = regions.subscriber
    subscriber.run("INSERT INTO flagstaff_echo VALUES (1000000, now() - interval '1 hour', 1)")
    with reading_echo(echo, subscriber):
        subscriber.run("DELETE FROM flagstaff_echo WHERE number = 1000000")


@pytest.mark.smoke
def test_idle_hour_raises_no_false_alarm(regions: Regions, echo: Event) -> None:
    places = [regions.standby, regions.cascade, regions.subscriber]
    with reading_echo(echo, *places) as workers:
        for worker in workers:
            worker.ask("follow", calling(is_current))
        [number] = execute(regions.primary, NUMBER)
        # An hour is sixty times as long as an echo may be missing. Here, three times are as good.
        beats = round(3 * LIMIT / BEAT)
        assert within(3 * SERVER, lambda: execute(regions.primary, NUMBER) >= (number + beats,))
        for worker in workers:
            assert [state for _, state in worker.ask("followed")] == [True]
            assert problems(worker, SILENT) == problems(worker, UNKNOWN) == []
            assert worker.ask("field", "lost_changes") == 0
