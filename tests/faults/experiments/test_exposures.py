"""Exposures of experiments are written once, whatever happens to workers and to the database."""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from hashlib import sha256
from itertools import islice
from pathlib import Path

import psycopg
import pytest

from tests.support import exposing
from tests.support.exposing import BATCH, drawn, read_record
from tests.support.fixtures import Query
from tests.support.proxy import Proxy
from tests.support.repeats import repeats
from tests.support.reports import age_workers
from tests.support.sessions import within
from tests.support.workers import Worker, calling
from tools.limits import seconds
from tools.postgres import Postgres

pytestmark = pytest.mark.timeout(300)

TABLE = "flagstaff_experiments_exposure"
#: Seconds between two flushes.
INTERVAL = 0.5
#: Between the first exposure and the end of the process, nothing is written.
ONLY_AT_THE_END = 60
#: As in the extension: what may wait, and what one flush carries.
MAX_WAITING, MAX_FLUSHED = 100_000, 10_000

WORKERS = 8
CALLS = repeats(1_000_000, 200_000)
#: Each worker meets units of a window. The windows overlap, and the first one begins alone.
UNITS = CALLS // 5
WINDOW = UNITS // 4
STEP = (UNITS - WINDOW) // (WORKERS - 1)

#: How many workers have written, and how many of them have reported their end.
WRITERS = "SELECT count(*), count(stopped_at) FROM flagstaff_report WHERE report = 'exposures'"

OUTAGE = repeats(60, 5)
MAX_SWITCHES = 10


@pytest.fixture
def running(database: str) -> str:
    """The address of a database with a running experiment."""
    with Worker(database) as worker:
        worker.call(exposing.create_running)
    return database


@pytest.fixture
def start(running: str) -> Iterator[Callable[..., Worker]]:
    """Starts a worker that has loaded the experiment, and ends it after the test."""
    with ExitStack() as ends:

        def start(url: str = running, interval: float = INTERVAL) -> Worker:
            return ends.enter_context(Worker(url, MEASURE_INTERVAL=interval).loaded())

        yield start


def written(query: Query) -> int:
    return int(query(f"SELECT count(*) FROM {TABLE}")[0])


def units(query: Query) -> list[int]:
    return list(query(f"SELECT coalesce(array_agg(unit::integer), '{{}}') FROM {TABLE}")[0])


def lost(query: Query) -> int:
    (number,) = query("SELECT coalesce(sum(count), 0) FROM flagstaff_experiments_lostexposures")
    return int(number)


def window(number: int) -> tuple[int, int]:
    return number * STEP, number * STEP + WINDOW


def make_older(query: Query) -> None:
    """Makes everything some hours old, as if the test had waited."""
    query(
        "UPDATE flagstaff_experiments_experiment SET started_at = started_at - interval '5 hours';"
        f"UPDATE {TABLE} SET at = at - interval '2 hours';"
    )
    age_workers(7200, execute=query)


class KilledWorker:
    """A worker that is killed while its units meet variants."""

    def __init__(self, url: str, query: Query, record: Path) -> None:
        self._query, self._record = query, record
        self._worker = Worker(url, MEASURE_INTERVAL=INTERVAL).loaded()
        #: The times of its flushes by their numbers.
        self.flushes: dict[int, float] = {}
        self._worker.call(exposing.meet_until_killed, 0, *window(0), str(record))

    def has_flushed(self, times: int) -> bool:
        counts = self._query(
            "SELECT sequence, extract(epoch FROM last_seen_at)::float8 "
            "FROM flagstaff_report WHERE report = 'exposures' AND pid = %s",
            self._worker.pid,
        )
        if counts is not None:
            self.flushes.setdefault(*counts)
        return len(self.flushes) >= times

    def kill(self) -> None:
        assert self._worker.end(signal.SIGKILL)[0] == -signal.SIGKILL
        assert self.has_flushed(1)

    @property
    def met(self) -> set[int]:
        """All its units that have met their variant."""
        return {unit for _, batch in read_record(self._record) for unit in batch}

    @property
    def met_before_last_flush(self) -> set[int]:
        """Those before the end of the flush before the last one: they were in the last one."""
        *_, last_but_one, _last = sorted(self.flushes)
        before = self.flushes[last_but_one]
        return {unit for at, batch in read_record(self._record) for unit in batch if at < before}


@pytest.mark.smoke
def test_killed_worker_loses_only_what_it_met_since_its_last_flush(
    running: str, start: Callable[..., Worker], query: Query, tmp_path: Path
) -> None:
    others = {number: start() for number in range(1, WORKERS)}

    def send_half() -> None:
        for number, worker in others.items():
            calls = CALLS // WORKERS // 2
            worker.send(*calling(exposing.meet_drawn, number, *window(number), calls))

    def receive_half() -> None:
        for worker in others.values():
            worker.receive()

    send_half()
    receive_half()
    killed = KilledWorker(running, query, tmp_path / "record")
    send_half()
    assert within(60, lambda: killed.has_flushed(3))
    killed.kill()
    receive_half()
    met = {
        unit
        for number in others
        for unit in islice(drawn(number, *window(number)), CALLS // WORKERS)
    }
    assert within(60, lambda: written(query) >= len(met))
    assert within(60, lambda: met <= set(units(query)))

    exposed = units(query)
    missing = killed.met - set(exposed)
    print(f"{len(exposed)} units written; {len(killed.met)} of the killed, {len(missing)} missing")
    assert len(exposed) == len(set(exposed))
    early = killed.met_before_last_flush
    assert early
    assert early <= set(exposed)
    # Nothing is written that was not met: a batch that was cut off is not in the record.
    assert len(set(exposed) - met - killed.met) <= BATCH
    for unit, variant in zip(
        *query(f"SELECT array_agg(unit), array_agg(variant) FROM {TABLE}"), strict=True
    ):
        digest = sha256(f"experiment:checkout_button:0:{unit}".encode()).hexdigest()
        is_control = int(digest, 16) % 10_000 < 5_000
        assert variant == ("control" if is_control else "treatment"), unit

    for worker in others.values():
        worker.end()
    assert query(WRITERS) == (WORKERS, WORKERS - 1)
    make_older(query)
    report = start().call(exposing.figures)
    assert report == {"units": len(exposed), "lost": 0, "lost_workers": 1}


def test_calls_during_an_outage_never_wait_and_overflow_is_counted(
    server: Postgres, start: Callable[..., Worker], running: str, query: Query
) -> None:
    with Proxy(running) as proxy:
        met = {start(): 0, start(proxy.url): 1_000_000}
        refused, _cut_off = met
        for worker, first in met.items():
            worker.call(exposing.meet, first, first + 1_000)
        assert within(20, lambda: written(query) == len(met) * 1_000)

        proxy.stop()
        server.stop()
        refused.sees(["mode"], "down", within=10)
        early = [
            worker.call(exposing.meet_while_measured, first + 1_000, first + 51_000)
            for worker, first in met.items()
        ]
        # Lasts as long as the outage, in which flushes fail.
        assert refused.ask("until", ["mode"], "live", OUTAGE) is None
        late = [
            worker.call(exposing.meet_while_measured, first + 51_000, first + 151_000)
            for worker, first in met.items()
        ]
        server.start()
        proxy.resume()

        calls = len(met) * 151_000
        assert within(OUTAGE + 60, lambda: written(query) + lost(query) == calls)
        # The next flush repeats nothing.
        refused.call(exposing.meet, 5_000_000, 5_001_000)
        assert within(OUTAGE + 60, lambda: written(query) + lost(query) == calls + 1_000)
    longest = max(took for took, _ in early + late)
    print(f"longest call {longest * 1e6:.0f} µs, {lost(query)} of {calls} lost")
    # The allocator may have a lock for microseconds.
    assert sum(switches for _, switches in early + late) <= MAX_SWITCHES
    assert longest < seconds(1)
    # Besides those that wait, a worker keeps those of the flush that fails.
    assert len(met) * (50_000 - MAX_FLUSHED) <= lost(query) <= len(met) * 50_000
    assert len(units(query)) == len(set(units(query))) == calls + 1_000 - lost(query)


def test_process_that_ends_writes_everything_that_waits(running: str, query: Query) -> None:
    waiting, first, stopped = MAX_FLUSHED + 1_000, 0, 0
    # A process has a second to end, in which a busy machine may write a part.
    for first in range(0, 5 * waiting, waiting):
        with Worker(running, MEASURE_INTERVAL=ONLY_AT_THE_END) as worker:
            worker.call(exposing.meet, first, first + waiting)
        _, stopped = query(WRITERS)
        if stopped:
            break
    assert stopped == 1
    assert {*range(first, first + waiting)} <= {*units(query)}


def test_process_that_ends_with_a_full_queue_writes_whole_flushes(
    running: str, query: Query
) -> None:
    with Worker(running, MEASURE_INTERVAL=ONLY_AT_THE_END) as worker:
        worker.call(exposing.meet, 0, 1)
        assert within(20, lambda: written(query) == 1)
        worker.call(exposing.meet, 1, 1 + MAX_WAITING)
    # How many depends on the machine; a process has a second to end.
    number = written(query) - 1
    print(f"{number} of {MAX_WAITING} written")
    assert number >= MAX_FLUSHED
    assert number % MAX_FLUSHED == 0
    assert sorted(units(query)) == list(range(1 + number))
    assert query(WRITERS) == (1, 1 if number == MAX_WAITING else 0)


def test_process_that_is_killed_soon_after_its_first_exposure_counts_as_lost(
    running: str, start: Callable[..., Worker], query: Query
) -> None:
    worker = Worker(running, MEASURE_INTERVAL=ONLY_AT_THE_END).loaded()
    worker.call(exposing.meet, 0, 1)
    assert within(20, lambda: written(query) == 1)
    worker.call(exposing.meet, 1, 1_000)
    assert worker.end(signal.SIGKILL)[0] == -signal.SIGKILL
    make_older(query)
    report = start().call(exposing.figures)
    assert report == {"units": 1, "lost": 0, "lost_workers": 1}


def test_process_that_cannot_write_its_last_report_counts_as_lost(
    running: str, start: Callable[..., Worker], query: Query
) -> None:
    with Worker(running, MEASURE_INTERVAL=INTERVAL) as worker:
        worker.call(exposing.meet, 0, 1_000)
        assert within(20, lambda: written(query) == 1_000)
        with psycopg.connect(running) as session:
            session.execute(f"LOCK TABLE {TABLE} IN EXCLUSIVE MODE".encode())
            worker.call(exposing.meet, 1_000, 1_100)
            # Its exit does not wait for the lock.
            assert worker.end() == (0, "")
    assert (written(query), query(WRITERS)) == (1_000, (1, 0))
    make_older(query)
    report = start().call(exposing.figures)
    assert report == {"units": 1_000, "lost": 0, "lost_workers": 1}


def test_lost_acknowledgement_writes_nothing_twice(
    running: str, start: Callable[..., Worker], query: Query
) -> None:
    with Proxy(running) as proxy:
        proxy.lose_answers(b"flagstaff_experiments_lostexposures", b"COMMIT", times=1)
        worker, met = start(proxy.url, 1), 2 * MAX_WAITING
        # Meanwhile nothing is sent, so more waits than may.
        proxy.stop()
        worker.call(exposing.meet, 0, met)
        proxy.resume()
        assert within(60, lambda: written(query) + lost(query) == met)
        worker.call(exposing.meet, met, met + 1_000)
        assert within(60, lambda: written(query) + lost(query) == met + 1_000)
        assert (proxy.lost, lost(query) > 0) == (1, True)


@pytest.mark.parametrize("how", ["sys.exit", "kill"])
def test_forked_child_leaves_the_exposures_of_its_parent(
    how: str, running: str, query: Query
) -> None:
    with Worker(running, MEASURE_INTERVAL=ONLY_AT_THE_END).loaded() as worker:
        worker.call(exposing.meet, 0, 500)
        assert within(20, lambda: written(query) == 500)
        worker.ask("in_fork", how, [calling(exposing.meet, 400, 900)])
        # A child that is killed at once has written nothing.
        of_child = set(range(400, 900)) if how == "sys.exit" else set()
        assert set(units(query)) == set(range(500)) | of_child
        worker.call(exposing.meet, 500, 700)
    exposed = units(query)
    assert len(exposed) == len(set(exposed))
    assert set(exposed) == set(range(700)) | of_child
    writers = 2 if how == "sys.exit" else 1
    assert query(WRITERS) == (writers, writers)
