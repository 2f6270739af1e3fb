"""For tests of several processes: a server that may go and come, and databases to write to."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from flagstaff import refresh
from flagstaff._declared import DECLARED, publish
from flagstaff.models import Change
from flagstaff.testing import live_engine
from tests.support.migrated_database import MIGRATED, create_migrated_database
from tests.support.other_runs import FIRST_PK, start_sequences
from tests.support.sessions import own_backends, sessions
from tests.support.shop import Shop
from tests.support.webhooks import hook
from tests.support.workers import Worker, address
from tools.child import ServerError
from tools.postgres import Postgres

__all__ = ["hook", "sessions"]

_numbers = count(1)

Query = Callable[..., Any]
OpenToAll = Callable[[], None]
SetGateway = Callable[[str], object]
Load = Callable[[], None]

# The engine has its own connection and sees committed rows only.
COMMITTED = pytest.mark.django_db(transaction=True)


@pytest.fixture
def admin_user(db: None) -> User:
    """The superuser of pytest-django, in bucket 31 to 49 of the flags of most tests.

    So a page asks before a rollout to 50 %: somebody gains the flag.
    """
    return User.objects.create_superuser("admin", "admin@example.com", "password", pk=1_156_125)


@pytest.fixture
def operator(admin_client: Client) -> Client:
    """A browser with a superuser who is logged in."""
    return admin_client


@pytest.fixture
def server(module_postgres_server: Postgres) -> Iterator[Postgres]:
    """A server that a test may stop and kill; it runs again for the next one."""
    yield module_postgres_server
    try:
        assert module_postgres_server.pid
    except ServerError:
        module_postgres_server.start()


@pytest.fixture(scope="module")
def migrated(module_postgres_server: Postgres) -> str:
    """The name of a database with all tables, to be copied."""
    create_migrated_database(module_postgres_server)
    return MIGRATED


@pytest.fixture
def empty_database(server: Postgres) -> str:
    """The address of a database without a table."""
    return create_database(server)


@pytest.fixture
def database(server: Postgres, migrated: str) -> str:
    """The address of a database with a flag for a third of all users, and a value."""
    url = create_database(server, migrated)
    execute(
        url,
        "INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent) "
        "VALUES ('new_checkout', true, 33);"
        "INSERT INTO flagstaff_keyvaluestore (key, value) VALUES ('gateway', '\"stripe\"')",
    )
    return url


@pytest.fixture
def query(database: str) -> Query:
    """One statement over a connection of its own; the row that it gave."""
    return lambda statement, *parameters: execute(database, statement, *parameters)


@pytest.fixture
def open_to_all(query: Query) -> OpenToAll:
    """A change that everybody notices."""
    return lambda: query("UPDATE flagstaff_featureflag SET rollout_percent = 100")


@pytest.fixture
def set_gateway(query: Query) -> SetGateway:
    """Changes the value of `database`."""
    return lambda name: query("UPDATE flagstaff_keyvaluestore SET value = to_jsonb(%s::text)", name)


@pytest.fixture
def shop() -> Shop:
    """The shop, whose rows are created when a test asks for them."""
    return Shop()


@pytest.fixture(autouse=True)
def _declared() -> Iterator[None]:
    """Forgets what a test declares."""
    before = dict(DECLARED)
    yield
    if before.keys() != DECLARED.keys():
        DECLARED.clear()
        DECLARED.update(before)
        publish()


@pytest.fixture
def open_shop(shop: Shop) -> Shop:
    """All flags and values of the documentation, with an empty history before them."""
    Change.objects.all().delete()
    shop.open()
    return shop


@pytest.fixture
def sequences(db: None) -> Iterator[None]:
    """For tests that set sequences for good: they go on above the given keys."""
    yield
    with connection.cursor() as cursor:
        cursor.execute(start_sequences(first=FIRST_PK))


@pytest.fixture
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns, without colours."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture
def worker(database: str) -> Iterator[Worker]:
    with Worker(database).loaded() as worker:
        yield worker


def create_database(server: Postgres, template: str = "template0") -> str:
    """Creates a copy of a database, and returns its address."""
    name = f"flags_{next(_numbers)}"
    execute(server.url, f"CREATE DATABASE {name} TEMPLATE {template}")
    return address(server.url, name)


def execute(url: str, statement: str, *parameters: object) -> Any:
    """Executes a statement over a connection of its own, and returns the first row."""
    # The server's default would lose what was committed just before it is killed.
    options = "-c synchronous_commit=on"
    with psycopg.connect(url, autocommit=True, options=options) as session:
        own_backends.append(session.info.backend_pid)
        cursor = session.execute(statement, parameters or None)
        return cursor.fetchone() if cursor.description else None


@pytest.fixture(params=[pytest.param("memory", marks=COMMITTED), "database"])
def load(request: pytest.FixtureRequest, db: None) -> Iterator[Load]:
    """Runs a test in memory and in direct mode. Call it after changes of rows."""
    if request.param == "database":
        yield lambda: None
        return
    with live_engine():
        yield refresh
