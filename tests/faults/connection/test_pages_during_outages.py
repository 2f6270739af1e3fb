"""Pages of a user who is logged in, while Django has no connection to the database."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.faults.app_servers import GUNICORN, TIMEOUT, AppServer, served
from tests.faults.processes.test_celery import Tasks, celery
from tests.support.sessions import within
from tests.support.workers import address
from tools.limits import seconds
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


class Browser:
    """A browser whose user is logged in, at a server with one process."""

    def __init__(self, server: AppServer) -> None:
        self.server = server
        self._cookie = ""

    def send(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Returns the status and the content of a response, over a new connection."""
        connection = HTTPConnection(LOOPBACK, self.server.port, timeout=seconds(20))
        headers = {"Content-Type": "application/json", "Cookie": self._cookie}
        try:
            connection.request(method, path, json.dumps(body), headers)
            response = connection.getresponse()
            self._cookie = (response.getheader("Set-Cookie") or self._cookie).partition(";")[0]
            content = response.read().decode()
            is_json = response.getheader("Content-Type") == "application/json"
            return response.status, json.loads(content) if is_json else content
        finally:
            connection.close()

    def pages(self) -> list[Any]:
        """Returns what the pages say, and the status of a request of OFREP."""
        pages = [self.send("GET", path) for path in ("/", "/async")]
        return [*pages, self.send("POST", OFREP, {"context": {}})[0]]


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

    def send_all(self, path: str) -> None:
        for browser in self.browsers.values():
            assert browser.send("GET", path)[0] == 200, browser.server.log()


@pytest.fixture(scope="module")
def shop(module_postgres_server: Postgres, migrated: str) -> Iterator[Shop]:
    shop = Shop(module_postgres_server, migrated)
    settings = {"DJANGO_SETTINGS_MODULE": "tests.faults.served.outage_settings"}
    command = ["gunicorn", *GUNICORN[:-1], "--workers=1", GUNICORN[-1]]
    with ExitStack() as stack:
        servers = {
            kind: stack.enter_context(served(command, shop.url, CONNECTIONS=kind, **settings))
            for kind in CONNECTIONS
        }
        for kind, server in servers.items():
            browser = shop.browsers[kind] = Browser(server)
            server.wait_for_log("Booting worker")
            assert browser.send("GET", "/login")[0] == 200, server.log()
            assert browser.pages() == expected(RESULTS, 200), server.log()
        yield shop


@contextmanager
def stopped(shop: Shop) -> Iterator[None]:
    shop.server.stop()
    try:
        yield
    finally:
        shop.server.start()


@contextmanager
def full(shop: Shop) -> Iterator[None]:
    shop.alter_role("CONNECTION LIMIT 0")
    try:
        yield
    finally:
        shop.alter_role("CONNECTION LIMIT -1")


@contextmanager
def refused(shop: Shop) -> Iterator[None]:
    shop.alter_role("NOLOGIN")
    try:
        yield
    finally:
        shop.alter_role("LOGIN")


@contextmanager
def without_host(shop: Shop) -> Iterator[None]:
    shop.send_all("/host/gone.invalid")
    shop.end_sessions()
    try:
        yield
    finally:
        shop.send_all(f"/host/{LOOPBACK}")


@pytest.mark.parametrize("outage", [stopped, full, refused, without_host])
def test_pages_have_the_defaults_during_an_outage_and_the_results_after_it(
    outage: Callable[[Shop], Any], shop: Shop
) -> None:
    kinds = ["closed", "kept"]
    with outage(shop):
        for kind in kinds * 2:
            browser = shop.browsers[kind]
            assert browser.pages() == expected(DEFAULTS, 503), (kind, browser.server.log())
    for kind in kinds:
        assert shop.browsers[kind].pages() == expected(RESULTS, 200), kind


def test_pages_have_the_defaults_while_the_pool_of_psycopg_is_exhausted(shop: Shop) -> None:
    browser = shop.browsers["pooled"]
    has_results = lambda: browser.pages() == expected(RESULTS, 200)  # noqa: E731
    # The other outages have ended the connection of this pool, too, which connects in a thread.
    assert within(TIMEOUT, has_results), browser.server.log()
    assert browser.send("GET", "/hold")[0] == 200
    for _ in range(2):
        assert browser.pages() == expected(DEFAULTS, 503), browser.server.log()
    assert browser.send("GET", "/release")[0] == 200
    assert within(TIMEOUT, has_results), browser.server.log()


def test_tasks_have_the_default_during_an_outage_and_the_result_after_it(
    shop: Shop, tmp_path: Path
) -> None:
    tasks = Tasks(tmp_path)
    with celery(shop.url, tmp_path) as worker:
        assert tasks.run("admit", "ana", times=4) == [True] * 4
        with stopped(shop):
            assert tasks.run("admit", "ana", times=4) == [False] * 4, worker.log()
        assert tasks.run("admit", "ana", times=4) == [True] * 4
