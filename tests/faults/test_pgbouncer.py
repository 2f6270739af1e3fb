"""Behind PgBouncer a worker polls, whatever the pooler does to its clients and its backends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from tests.clusters import POLL, SEEN, at, ready
from tests.workers import Worker
from tools.pgbouncer import PgBouncer
from tools.postgres import Postgres

Query = Callable[..., Any]
NEW_CHECKOUT = ["flag_enabled", "new_checkout"]


@pytest.fixture
def pooler(server: Postgres) -> Iterator[PgBouncer]:
    """Transaction pooling: each transaction of a client may meet another backend."""
    with PgBouncer(server.port) as pooler:
        yield pooler


def admin(pooler: PgBouncer, command: str) -> None:
    url = f"postgres://postgres@127.0.0.1:{pooler.port}/pgbouncer"
    with psycopg.connect(url, autocommit=True) as console:
        console.execute(command)


def test_pooler_is_found_out_and_polled(
    database: str, pooler: PgBouncer, open_to_all: Callable[[], None]
) -> None:
    with ready(at(database, pooler.port)) as worker:
        worker.sees(["mode"], "poll", within=1)
        assert worker.ask("status")["mode_reason"] == "a connection pooler is in between"
        assert worker.ask(*NEW_CHECKOUT) is False
        open_to_all()
        worker.sees(NEW_CHECKOUT, True, within=SEEN)


def test_statement_pooling_is_told_of(server: Postgres, database: str) -> None:
    with (
        PgBouncer(server.port, settings={"pool_mode": "statement"}) as pooler,
        Worker(at(database, pooler.port), STARTUP_TIMEOUT=0.5) as worker,
    ):
        assert worker.ask("flag_enabled", "new_checkout", None, True) is True
        worker.sees(["failed", 3], True, within=5)
        status = worker.ask("status")
        assert (status["mode"], status["ready"]) == ("down", False)
        assert status["last_error"] == "load: the server refused a statement (SQLSTATE 08P01)"


def test_pooler_that_restarts_is_met_again(
    database: str, pooler: PgBouncer, open_to_all: Callable[[], None]
) -> None:
    with ready(at(database, pooler.port)) as worker:
        worker.ask("watch", NEW_CHECKOUT)
        pooler.stop()
        worker.sees(["mode"], "down", within=3)
        open_to_all()
        pooler.start()
        worker.sees(NEW_CHECKOUT, True, within=3)
        worker.sees(["mode"], "poll", within=1)
        assert worker.ask("watched") == [False, True]


def test_pooler_that_is_paused_is_given_up_and_met_again(
    database: str, pooler: PgBouncer, open_to_all: Callable[[], None]
) -> None:
    with ready(at(database, pooler.port)) as worker:
        admin(pooler, "PAUSE")
        worker.sees(["mode"], "down", within=POLL * 1.1 + 2 + 1)
        assert worker.ask(*NEW_CHECKOUT) is False
        open_to_all()
        admin(pooler, "RESUME")
        worker.sees(NEW_CHECKOUT, True, within=2 * 3)


def test_pool_whose_backends_are_taken_changes_no_answer(
    server: Postgres, database: str, open_to_all: Callable[[], None]
) -> None:
    with PgBouncer(server.port, settings={"default_pool_size": "1"}) as pooler:
        url = at(database, pooler.port)
        with ready(url) as worker:
            with psycopg.connect(url) as holder:
                holder.execute("SELECT 1")
                worker.sees(["mode"], "down", within=POLL * 1.1 + 2 + 1)
                assert worker.ask(*NEW_CHECKOUT) is False
            open_to_all()
            worker.sees(NEW_CHECKOUT, True, within=2 * 3)


@pytest.mark.parametrize("name", ["server_idle_timeout", "server_lifetime"])
def test_backends_that_the_pooler_replaces_are_not_missed(
    name: str, server: Postgres, database: str, query: Query
) -> None:
    backends = (
        "SELECT array_agg(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with (
        PgBouncer(server.port, settings={name: "1"}) as pooler,
        ready(at(database, pooler.port), POLL_INTERVAL=1.5) as worker,
    ):
        seen = set()
        for turn in range(3):
            query("UPDATE flagstaff_keyvaluestore SET value = to_jsonb(%s::int)", turn)
            worker.sees(["get_value", "gateway"], turn, within=1.65 + 1)
            seen |= set(query(backends)[0])
        assert len(seen) > 1
        assert worker.ask("status")["failures"] == 0


def test_backends_that_are_terminated_are_not_missed(
    database: str, pooler: PgBouncer, query: Query, open_to_all: Callable[[], None]
) -> None:
    with ready(at(database, pooler.port)) as worker:
        query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        open_to_all()
        worker.sees(NEW_CHECKOUT, True, within=SEEN)
        assert worker.ask(*NEW_CHECKOUT) is True


def test_client_that_the_pooler_ends_for_being_quiet_comes_back(
    server: Postgres, database: str, open_to_all: Callable[[], None]
) -> None:
    with (
        PgBouncer(server.port, settings={"client_idle_timeout": "1"}) as pooler,
        ready(at(database, pooler.port), POLL_INTERVAL=5) as worker,
    ):
        worker.sees(["failed", 2], True, within=10)
        open_to_all()
        worker.sees(NEW_CHECKOUT, True, within=5.5 + 1)


OPTIONS = {"options": "-c statement_timeout=5s"}


def test_startup_options_are_refused_by_the_pooler_for_all(
    database: str, pooler: PgBouncer
) -> None:
    url = at(database, pooler.port, **OPTIONS)
    with pytest.raises(psycopg.OperationalError, match="unsupported startup parameter"):
        psycopg.connect(url)
    with Worker(url, STARTUP_TIMEOUT=0.5) as worker:
        assert worker.ask("ready", 0.5) is False
        assert worker.ask("status")["last_error"].endswith("(SQLSTATE 08P01)")


def test_startup_options_that_the_pooler_ignores_do_no_harm(
    server: Postgres, database: str, open_to_all: Callable[[], None]
) -> None:
    with (
        PgBouncer(server.port, settings={"ignore_startup_parameters": "options"}) as pooler,
        ready(at(database, pooler.port, **OPTIONS)) as worker,
    ):
        open_to_all()
        worker.sees(NEW_CHECKOUT, True, within=SEEN)
