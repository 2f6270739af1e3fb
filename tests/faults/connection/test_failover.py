"""Workers follow a failover from the primary to a promoted standby."""

import time

import pytest

from tests.support.clusters import at, ready
from tests.support.fixtures import OpenToAll, execute
from tests.support.workers import GATEWAY, NEW_CHECKOUT
from tools.postgres import Postgres
from tools.replica import Replica

# Seconds from the promotion until the workers follow.
MAX_FAILOVER = 15.0
SET_GATEWAY = "UPDATE flagstaff_keyvaluestore SET value = to_jsonb(%s::text)"


@pytest.mark.parametrize(
    ("standby_position", "attrs"),
    [("first", "read-write"), ("first", "any"), ("second", "primary")],
)
def test_worker_follows_a_failover(
    standby_position: str, attrs: str, server: Postgres, database: str, standby: Replica
) -> None:
    ports = [server.port, standby.port]
    ordered = ports if standby_position == "second" else ports[::-1]
    with ready(at(database, *ordered, attrs=attrs)) as worker:
        worker.ask("watch", GATEWAY)
        server.kill()
        standby.promote()
        promoted = time.monotonic()
        execute(at(database, standby.port), SET_GATEWAY, "adyen")
        worker.sees(GATEWAY, "adyen", within=promoted + MAX_FAILOVER - time.monotonic())
        worker.sees(["mode"], "live", within=6)
        execute(at(database, standby.port), SET_GATEWAY, "mollie")
        worker.sees(GATEWAY, "mollie", within=1)
        assert worker.ask("watched") == ["stripe", "adyen", "mollie"]


@pytest.mark.smoke
def test_change_lost_with_the_primary_is_dropped_after_a_failover(
    server: Postgres, database: str, standby: Replica
) -> None:
    with ready(
        at(database, server.port, standby.port, attrs="read-write"), MAX_STALENESS=600
    ) as worker:
        standby.server.stop()
        execute(at(database, server.port), SET_GATEWAY, "lost")
        worker.sees(GATEWAY, "lost", within=1)
        lost_token = worker.ask("status")["token"]
        server.kill()
        standby.server.start()
        standby.promote()
        promoted = time.monotonic()
        worker.sees(GATEWAY, "stripe", within=promoted + MAX_FAILOVER - time.monotonic())
        worker.sees(["mode"], "live", within=5)
        assert worker.ask("status")["token"] < lost_token


def test_worker_ignores_a_lagging_standby_until_its_promotion(
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
        worker.sees(NEW_CHECKOUT, False, within=MAX_FAILOVER)
        assert worker.ask("watched") == [True, False]
