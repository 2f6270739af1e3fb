"""Workers behind PgBouncer poll, whatever the pooler does to its clients and backends."""

import psycopg
import pytest
from django.db import connection as django_connection

from flagstaff._attribution import attributed, attribution
from tests.support.clusters import POLL, SEEN, at, ready
from tests.support.fixtures import OpenToAll, Query
from tests.support.named_rows import reads_named_rows_only
from tests.support.workers import NEW_CHECKOUT, Worker
from tools.database_url import parse_database_url
from tools.pgbouncer import PgBouncer
from tools.postgres import Postgres

SESSIONS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


def admin(pooler: PgBouncer, command: str) -> None:
    url = f"postgres://postgres@127.0.0.1:{pooler.port}/pgbouncer"
    with psycopg.connect(url, autocommit=True) as console:
        console.execute(command)


IGNORED = {"ignore_startup_parameters": "options"}
OPTIONS = {"options": "-c statement_timeout=5s"}


@pytest.mark.parametrize(("settings", "options"), [({}, {}), (IGNORED, OPTIONS)])
def test_worker_behind_a_pooler_detects_it_and_polls(
    settings: dict[str, str],
    options: dict[str, str],
    server: Postgres,
    database: str,
    open_to_all: OpenToAll,
) -> None:
    with (
        PgBouncer(server.port, settings=settings) as pooler,
        ready(at(database, pooler.port, **options)) as worker,
    ):
        worker.sees(["mode"], "poll", within=5)
        assert worker.ask("status")["mode_reason"] == "a connection pooler is in between"
        assert worker.ask(*NEW_CHECKOUT) is False
        open_to_all()
        worker.sees(NEW_CHECKOUT, True, within=SEEN)


@pytest.mark.smoke
def test_worker_behind_a_pooler_reads_the_rows_that_tokens_name(
    database: str, pooler: PgBouncer, query: Query
) -> None:
    with ready(at(database, pooler.port)) as worker:
        assert reads_named_rows_only(worker, query, within=SEEN)
        worker.ask("refresh", 5)
        assert worker.ask("get_value", "gateway") == "unnamed"


def test_statement_pooling_is_reported_with_the_modes_that_work(
    server: Postgres, database: str
) -> None:
    with (
        PgBouncer(server.port, settings={"pool_mode": "statement"}) as pooler,
        Worker(at(database, pooler.port), STARTUP_TIMEOUT=0.5) as worker,
    ):
        assert worker.ask("flag_enabled", "new_checkout", None, True) is True
        worker.sees(["failed", 3], True, within=5)
        status = worker.ask("status")
        assert (status["mode"], status["ready"]) == ("down", False)
        advice = "PgBouncer is in statement mode, set its pool_mode to session or transaction"
        assert status["last_error"] == f"load: {advice} (SQLSTATE 08P01)"


def test_worker_reconnects_after_the_pooler_restarts(
    database: str, pooler: PgBouncer, open_to_all: OpenToAll
) -> None:
    with ready(at(database, pooler.port)) as worker:
        worker.ask("watch", NEW_CHECKOUT)
        pooler.stop()
        worker.sees(["mode"], "down", within=3)
        open_to_all()
        pooler.start()
        worker.sees(NEW_CHECKOUT, True, within=3)
        worker.sees(["mode"], "poll", within=5)
        assert worker.ask("watched") == [False, True]


def test_worker_recovers_after_the_pooler_was_paused(
    database: str, pooler: PgBouncer, open_to_all: OpenToAll
) -> None:
    with ready(at(database, pooler.port)) as worker:
        admin(pooler, "PAUSE")
        worker.sees(["mode"], "down", within=POLL * 1.1 + 2 + 1)
        assert worker.ask(*NEW_CHECKOUT) is False
        open_to_all()
        admin(pooler, "RESUME")
        worker.sees(NEW_CHECKOUT, True, within=2 * 3)


def test_exhausted_pool_changes_no_result(
    server: Postgres, database: str, open_to_all: OpenToAll
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
def test_backends_replaced_by_the_pooler_cause_no_failure(
    name: str, server: Postgres, database: str, query: Query
) -> None:
    with (
        PgBouncer(server.port, settings={name: "1"}) as pooler,
        ready(at(database, pooler.port), POLL_INTERVAL=1.5) as worker,
    ):
        seen = set()
        for turn in range(3):
            query("UPDATE flagstaff_keyvaluestore SET value = to_jsonb(%s::int)", turn)
            worker.sees(["get_value", "gateway"], turn, within=1.65 + 1)
            seen |= set(query(f"SELECT coalesce(array_agg(pid), '{{}}') {SESSIONS}")[0])
        assert len(seen) > 1
        assert worker.ask("status")["failures"] == 0


def test_terminated_backends_do_not_lose_a_change(
    database: str, pooler: PgBouncer, query: Query, open_to_all: OpenToAll
) -> None:
    with ready(at(database, pooler.port)) as worker:
        query(f"SELECT pg_terminate_backend(pid) {SESSIONS}")
        open_to_all()
        worker.sees(NEW_CHECKOUT, True, within=SEEN)
        assert worker.ask(*NEW_CHECKOUT) is True


def test_worker_reconnects_after_client_idle_timeout(
    server: Postgres, database: str, open_to_all: OpenToAll
) -> None:
    with (
        PgBouncer(server.port, settings={"client_idle_timeout": "1"}) as pooler,
        ready(at(database, pooler.port), POLL_INTERVAL=5) as worker,
    ):
        worker.sees(["failed", 2], True, within=10)
        open_to_all()
        worker.sees(NEW_CHECKOUT, True, within=5.5 + 1)


def test_startup_options_are_rejected_as_for_psycopg(database: str, pooler: PgBouncer) -> None:
    url = at(database, pooler.port, **OPTIONS)
    with pytest.raises(psycopg.OperationalError, match="unsupported startup parameter"):
        psycopg.connect(url)
    with Worker(url, STARTUP_TIMEOUT=0.5) as worker:
        assert worker.ask("ready", 0) is False
        worker.sees(["failed", 1], True, within=5)
        assert worker.ask("status")["last_error"].endswith("(SQLSTATE 08P01)")


@pytest.mark.django_db
def test_pooled_backend_passes_no_actor_to_another_client(
    server: Postgres, database: str, query: Query
) -> None:
    with PgBouncer(server.port, settings={"default_pool_size": "1"}) as pooler:
        ann, other = django_connection.copy(), django_connection.copy()
        for client in (ann, other):
            client.settings_dict |= parse_database_url(at(database, pooler.port))
        for end in (None, "rollback", "commit"):
            with attributed(lambda: attribution("ann")), ann.cursor() as cursor:
                ann.set_autocommit(end is None)
                cursor.execute("UPDATE flagstaff_featureflag SET enabled = NOT enabled")
                if end is not None:
                    getattr(ann, end)()
            with other.cursor() as cursor:
                cursor.execute("UPDATE flagstaff_featureflag SET enabled = NOT enabled")
        ann.close()
        other.close()
    (actors,) = query("SELECT array_agg(actor ORDER BY id) FROM flagstaff_change WHERE old <> '{}'")
    assert actors == ["ann", None, None, "ann", None]
