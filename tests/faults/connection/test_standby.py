"""Workers on a standby poll it, and never return to an older state on one that lags."""

import time

import psycopg
import pytest

from tests.support.clusters import POLL, REST, SEEN, at, ready
from tests.support.fixtures import OpenToAll, Query
from tests.support.named_rows import reads_named_rows_only
from tests.support.repeats import repeats
from tests.support.workers import NEW_CHECKOUT
from tools.limits import seconds
from tools.postgres import Postgres
from tools.replica import Replica

TURNS = repeats(200, 100)


def test_worker_on_a_standby_polls(database: str, standby: Replica, open_to_all: OpenToAll) -> None:
    with ready(at(database, standby.port)) as worker:
        worker.sees(["mode"], "poll", within=5)
        status = worker.ask("status")
        assert status["mode_reason"] == "the server is a standby"
        [problem] = status["problems"]
        assert problem.startswith("this worker does not report")
        assert problem.endswith(": the server is a standby")
        assert worker.ask(*NEW_CHECKOUT) is False
        open_to_all()
        worker.sees(NEW_CHECKOUT, True, within=SEEN)
        assert worker.ask("status")["failures"] == 0


def test_worker_on_a_standby_reads_the_rows_that_tokens_name(
    database: str, standby: Replica, query: Query
) -> None:
    with ready(at(database, standby.port)) as worker:
        assert reads_named_rows_only(worker, query, within=SEEN)


def test_worker_reads_the_rows_that_tokens_name_after_its_standby_is_promoted(
    server: Postgres, database: str, standby: Replica
) -> None:
    with ready(at(database, standby.port)) as worker:
        server.stop()
        standby.promote()
        worker.sees(["mode"], "live", within=SEEN + 1)
        with psycopg.connect(at(database, standby.port), autocommit=True) as session:
            assert reads_named_rows_only(worker, session.execute, within=2)
        worker.ask("refresh", 5)
        assert worker.ask("get_value", "gateway") == "unnamed"


@pytest.mark.smoke
def test_worker_listens_after_its_standby_is_promoted(
    server: Postgres, database: str, standby: Replica
) -> None:
    with ready(at(database, standby.port), POLL_INTERVAL=3) as worker:
        worker.sees(["mode"], "poll", within=5)
        server.stop()
        standby.promote()
        worker.sees(["mode"], "live", within=3.3 + 1)
        with psycopg.connect(at(database, standby.port), autocommit=True) as session:
            session.execute("UPDATE flagstaff_featureflag SET rollout_percent = 100")
        # A notification, not the poll.
        worker.sees(NEW_CHECKOUT, True, within=2)
        assert worker.ask("status")["failures"] == 0


def test_truncate_and_insert_in_one_transaction_is_one_change_on_the_standby(
    database: str, standby: Replica
) -> None:
    with (
        ready(at(database, standby.port), POLL_INTERVAL=0.1) as worker,
        psycopg.connect(database, autocommit=True) as session,
    ):
        worker.ask("watch", ["get_value", "gateway"])
        for turn in range(1, TURNS + 1):
            with session.transaction():
                session.execute("TRUNCATE flagstaff_keyvaluestore")
                session.execute(
                    "INSERT INTO flagstaff_keyvaluestore (key, value) "
                    "VALUES ('gateway', to_jsonb(%s::int))",
                    [turn],
                )
            time.sleep(0.01)
        worker.sees(["get_value", "gateway"], TURNS, within=0.11 + 1)
        seen = worker.ask("watched")
        assert seen[0] == "stripe"
        assert seen[1:] == sorted(seen[1:])


def test_lagging_standby_is_used_only_after_max_staleness(
    server: Postgres, database: str, standby: Replica, open_to_all: OpenToAll
) -> None:
    with ready(at(database, server.port, standby.port), MAX_STALENESS=4) as worker:
        standby.hold()
        open_to_all()
        worker.sees(NEW_CHECKOUT, True, within=1)
        worker.ask("follow", NEW_CHECKOUT)
        before = time.monotonic()
        server.stop()
        stopped = time.monotonic()
        worker.sees(["last_followed"], False, within=2 * (4 + REST))
        [_, [reverted, _]] = worker.ask("followed")
        # The age counts from the last poll before the stop, or from that change.
        assert before - POLL * 1.1 + 4 <= reverted <= stopped + seconds(4 + REST + 1)
        worker.sees(["mode"], "poll", within=5)
        # The worker does not retry constantly.
        assert worker.ask("status")["failures"] <= 20


def test_refresh_ignores_a_lagging_standby_until_it_has_caught_up(
    server: Postgres, database: str, standby: Replica, open_to_all: OpenToAll
) -> None:
    with ready(at(database, server.port, standby.port), MAX_STALENESS=600) as worker:
        standby.hold()
        open_to_all()
        worker.sees(NEW_CHECKOUT, True, within=1)
        worker.ask("watch", NEW_CHECKOUT)
        server.stop()
        with pytest.raises(AssertionError, match="RefreshError"):
            worker.ask("refresh", 1)
        worker.sees(["failed", 4], True, within=10)
        assert worker.ask("mode") != "poll"
        standby.go_on()
        worker.sees(["mode"], "poll", within=2 * REST)
        assert worker.ask("watched") == [True]


def test_up_to_date_standby_after_a_lagging_one_is_used(
    server: Postgres, database: str, standby: Replica, open_to_all: OpenToAll
) -> None:
    with Replica(server) as other:
        url = at(database, server.port, standby.port, other.port)
        with ready(url, MAX_STALENESS=600) as worker:
            standby.hold()
            open_to_all()
            worker.sees(NEW_CHECKOUT, True, within=1)
            worker.ask("watch", NEW_CHECKOUT)
            server.stop()
            worker.sees(["mode"], "poll", within=2 * REST)
            assert worker.ask("watched") == [True]


def test_worker_of_a_stopped_lagging_standby_uses_the_primary(
    server: Postgres, database: str, standby: Replica, open_to_all: OpenToAll
) -> None:
    url = at(database, server.port, standby.port, attrs="prefer-standby")
    with ready(url, MAX_STALENESS=600) as worker:
        worker.sees(["mode"], "poll", within=5)
        standby.hold()
        standby.server.stop()
        open_to_all()
        worker.sees(NEW_CHECKOUT, True, within=2 * REST)
        worker.sees(["mode"], "live", within=5)
