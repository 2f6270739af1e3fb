"""Pages of a user who is logged in, while Django has no connection to the database."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.faults.app_servers import GUNICORN, TIMEOUT, Browser, served
from tests.faults.celery_pool import Tasks, celery
from tests.support.sessions import within
from tests.support.workers import address
from tools.ports import LOOPBACK
from tools.postgres import Postgres

pytestmark = pytest.mark.timeout(120)

ROLE, DATABASE = "web", "outages"
STAFF = {"conditions": [{"attribute": "is_staff", "operator": "in", "values": [True]}]}
OFREP = "/ofrep/v1/evaluate/flags/staff"
# What a user of the staff gets, and what everybody gets while the user cannot be read.
RESULTS = {"tags": "newnew5", "function": True, "flags": [True, True], "value": 5, "reads": 1}
DEFAULTS = {"tags": "oldold7", "function": False, "flags": [False, False], "value": 7, "reads": 1}
# How Django keeps its connections.
CONNECTIONS = ["closed", "kept", "pooled"]


def pages(browser: Browser) -> list[Any]:
    """What the pages of a user say, and the status of a request of OFREP."""
    shown = [browser.send("GET", path) for path in ("/page", "/page/async")]
    return [*shown, browser.send("POST", OFREP, {"context": {}})[0]]


def expected(page: dict[str, Any], ofrep: int) -> list[Any]:
    async_page = {name: page[name] for name in ("flags", "value", "reads")}
    return [(200, page), (200, async_page), ofrep]


class Shop:
    """A database with a user and what depends on the user, and servers of its project."""

    def __init__(self, server: Postgres, migrated: str) -> None:
        self.server = server
        self.query(server.url, f"CREATE ROLE {ROLE} LOGIN")
        self.query(server.url, f"CREATE DATABASE {DATABASE} TEMPLATE {migrated} OWNER {ROLE}")
        owned = address(server.url, DATABASE)
        for kind in ("TABLES", "SEQUENCES", "FUNCTIONS"):
            self.query(owned, f"GRANT ALL ON ALL {kind} IN SCHEMA public TO {ROLE}")
        rules = json.dumps([STAFF]), json.dumps([STAFF | {"value": 5}])
        self.query(
            owned,
            "INSERT INTO flagstaff_featureflag (key, enabled, client_side, rules) "
            "VALUES ('staff', true, true, %s)",
            rules[0],
        )
        self.query(
            owned,
            "INSERT INTO flagstaff_keyvaluestore (key, value, rules) VALUES ('limit', '1', %s)",
            rules[1],
        )
        self.query(
            owned,
            "INSERT INTO auth_user (username, password, is_staff, is_superuser, is_active, "
            "first_name, last_name, email, date_joined) "
            "VALUES ('ana', '', true, false, true, '', '', '', now())",
        )
        self.url = owned.replace("user=postgres", f"user={ROLE}")
        assert self.url != owned
        self.browsers: dict[str, Browser] = {}

    def query(self, url: str, statement: str, *parameters: object) -> None:
        with psycopg.connect(url, autocommit=True) as session:
            session.execute(statement, parameters or None)

    def alter_role(self, option: str) -> None:
        """Changes what the servers may do, and ends their connections."""
        self.query(self.server.url, f"ALTER ROLE {ROLE} {option}")
        self.end_sessions()

    def end_sessions(self) -> None:
        self.query(
            self.server.url,
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s",
            ROLE,
        )

    def lose_host(self) -> None:
        """Lets the servers connect to a host that does not exist."""
        self.send_all("/host/gone.invalid")
        self.end_sessions()

    def send_all(self, path: str) -> None:
        for browser in self.browsers.values():
            browser.get(path)


@pytest.fixture(scope="module")
def shop(module_postgres_server: Postgres, migrated: str) -> Iterator[Shop]:
    shop = Shop(module_postgres_server, migrated)
    variables = {"WITH_MIDDLEWARE": "1"}
    command = ["gunicorn", *GUNICORN[:-1], "--workers=1", GUNICORN[-1]]
    with ExitStack() as stack:
        servers = {
            kind: stack.enter_context(served(command, shop.url, CONNECTIONS=kind, **variables))
            for kind in CONNECTIONS
        }
        for kind, server in servers.items():
            browser = shop.browsers[kind] = Browser(server.port)
            server.wait_for_log("Booting worker")
            browser.get("/login")
            assert pages(browser) == expected(RESULTS, 200), server.log()
        yield shop


# How an outage begins and ends.
OUTAGES: dict[str, tuple[Callable[[Shop], None], Callable[[Shop], None]]] = {
    "stopped": (lambda shop: shop.server.stop(), lambda shop: shop.server.start()),
    "full": (
        lambda shop: shop.alter_role("CONNECTION LIMIT 0"),
        lambda shop: shop.alter_role("CONNECTION LIMIT -1"),
    ),
    "refused": (lambda shop: shop.alter_role("NOLOGIN"), lambda shop: shop.alter_role("LOGIN")),
    "without host": (
        lambda shop: shop.lose_host(),
        lambda shop: shop.send_all(f"/host/{LOOPBACK}"),
    ),
}


@pytest.mark.parametrize("outage", OUTAGES)
def test_pages_have_the_defaults_during_an_outage_and_the_results_after_it(
    outage: str, shop: Shop
) -> None:
    kinds = ["closed", "kept"]
    begin, end = OUTAGES[outage]
    begin(shop)
    try:
        for kind in kinds * 2:
            assert pages(shop.browsers[kind]) == expected(DEFAULTS, 503), kind
    finally:
        end(shop)
    for kind in kinds:
        assert pages(shop.browsers[kind]) == expected(RESULTS, 200), kind


def test_pages_have_the_defaults_while_the_pool_of_psycopg_is_exhausted(shop: Shop) -> None:
    browser = shop.browsers["pooled"]
    has_results = lambda: pages(browser) == expected(RESULTS, 200)  # noqa: E731
    # The other outages have ended the connection of this pool, too, which connects in a thread.
    assert within(TIMEOUT, has_results)
    browser.get("/hold")
    for _ in range(2):
        assert pages(browser) == expected(DEFAULTS, 503)
    browser.get("/release")
    assert within(TIMEOUT, has_results)


def test_tasks_have_the_default_during_an_outage_and_the_result_after_it(
    shop: Shop, tmp_path: Path
) -> None:
    tasks = Tasks(tmp_path)
    with celery(shop.url, tmp_path) as worker:
        assert tasks.run("admit", "ana", times=4) == [True] * 4
        shop.server.stop()
        try:
            assert tasks.run("admit", "ana", times=4) == [False] * 4, worker.log()
        finally:
            shop.server.start()
        assert tasks.run("admit", "ana", times=4) == [True] * 4
