"""The primary is lost and a standby is promoted: workers follow, wherever it stands in the list."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.clusters import at, ready
from tools.postgres import Postgres
from tools.replica import Replica

OpenToAll = Callable[[], None]
NEW_CHECKOUT = ["flag_enabled", "new_checkout"]
GATEWAY = ["get_value", "gateway"]
# From the promotion on.
FOLLOWED = 15.0
WRITE = "UPDATE flagstaff_keyvaluestore SET value = to_jsonb(%s::text)"


@pytest.fixture
def standby(server: Postgres, database: str) -> Iterator[Replica]:
    with Replica(server) as standby:
        standby.catch_up()
        yield standby


def write(database: str, port: int, value: str) -> None:
    url = make_conninfo(database, port=port)
    with psycopg.connect(url, autocommit=True, options="-c synchronous_commit=on") as session:
        session.execute(WRITE, [value])


@pytest.mark.parametrize("attrs", ["read-write", "primary", "any"])
@pytest.mark.parametrize("standby_comes", ["first", "second"])
def test_workers_follow_a_failover(
    standby_comes: str, attrs: str, server: Postgres, database: str, standby: Replica
) -> None:
    ports = [server.port, standby.port]
    ordered = ports if standby_comes == "second" else ports[::-1]
    with ready(at(database, *ordered, attrs=attrs)) as worker:
        worker.ask("watch", GATEWAY)
        server.kill()
        standby.promote()
        promoted = time.monotonic()
        write(database, standby.port, "adyen")
        worker.sees(GATEWAY, "adyen", within=promoted + FOLLOWED - time.monotonic())
        worker.sees(["mode"], "live", within=6)
        write(database, standby.port, "mollie")
        worker.sees(GATEWAY, "mollie", within=1)
        assert worker.ask("watched") == ["stripe", "adyen", "mollie"]


def test_what_the_lost_primary_alone_had_is_given_up(
    server: Postgres, database: str, standby: Replica
) -> None:
    with ready(
        at(database, server.port, standby.port, attrs="read-write"), MAX_STALENESS=600
    ) as worker:
        standby.server.stop()
        write(database, server.port, "lost")
        worker.sees(GATEWAY, "lost", within=1)
        held = worker.ask("status")["token"]
        server.kill()
        standby.server.start()
        standby.promote()
        promoted = time.monotonic()
        worker.sees(GATEWAY, "stripe", within=promoted + FOLLOWED - time.monotonic())
        worker.sees(["mode"], "live", within=1)
        assert worker.ask("status")["token"] < held


def test_standby_that_lags_keeps_the_worker_where_it_is_until_it_is_promoted(
    server: Postgres, database: str, standby: Replica, open_to_all: OpenToAll
) -> None:
    url = at(database, server.port, standby.port, attrs="any")
    with ready(url, MAX_STALENESS=600) as worker:
        standby.server.stop()
        open_to_all()
        worker.sees(NEW_CHECKOUT, True, within=1)
        worker.ask("watch", NEW_CHECKOUT)
        server.kill()
        standby.server.start()
        worker.sees(["failed", 5], True, within=20)
        assert worker.ask(*NEW_CHECKOUT) is True
        standby.promote()
        worker.sees(NEW_CHECKOUT, False, within=FOLLOWED)
        assert worker.ask("watched") == [True, False]


def test_worker_on_the_demoted_server_goes_to_the_new_primary(
    server: Postgres, database: str, standby: Replica
) -> None:
    """A switch-over: the old primary is up again, and reads only, before anybody has noticed."""
    with ready(at(database, server.port, standby.port, attrs="read-write")) as worker:
        server.stop()
        standby.promote()
        promoted = time.monotonic()
        write(database, standby.port, "adyen")
        with psycopg.connect(standby.server.url, autocommit=True) as session:
            session.execute("SELECT pg_switch_wal()")
        worker.sees(GATEWAY, "adyen", within=promoted + FOLLOWED - time.monotonic())
