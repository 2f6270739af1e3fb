"""Workers hold the connections of a small server: the check warns before Django is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg
import pytest
from django.db import OperationalError, connection
from psycopg.conninfo import make_conninfo

from tests.conftest import RunIsolated
from tests.support.fixtures import Query
from tests.support.workers import Worker
from tools.postgres import Postgres

# Two connections are reserved. Each worker has one, so Django lacks two.
MAX_CONNECTIONS, WORKERS, REFUSED = 10, 5, 2
LIMITS = """
    ALTER SYSTEM SET max_connections = {};
    ALTER SYSTEM SET superuser_reserved_connections = 2;
"""
CHECK = """
import django
django.setup()
from django.core.checks import run_checks
for message in run_checks(tags=["database"], databases=["default"]):
    print(message.id, message.msg, message.hint, sep="\\n")
"""
LIST = """
import sys, django
django.setup()
from django.core.management import call_command
call_command("flags", "workers", stderr=sys.stdout)
"""

Check = Callable[[str], str]


def opens_connection() -> bool:
    """Whether Django gets a connection, which it keeps. Runs in a worker."""
    connection.close()
    try:
        connection.ensure_connection()
    except OperationalError:
        return False
    return True


def ask_all(workers: list[Worker]) -> list[bool]:
    return [worker.ask("call", f"{__name__}.opens_connection") for worker in workers]


def limit(server: Postgres, max_connections: int) -> None:
    """Restarts the server with this number of connections."""
    with psycopg.connect(server.url, autocommit=True) as session:
        for statement in LIMITS.format(max_connections).split(";")[:2]:
            session.execute(statement.encode())
    server.restart()


@pytest.fixture
def shop(database: str, query: Query) -> Iterator[str]:
    """The address of the database for a role that is no superuser, as of a project."""
    query("CREATE ROLE shop LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO shop")
    query("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    yield make_conninfo(database, user="shop")
    query("ALTER ROLE shop CONNECTION LIMIT -1; DROP OWNED BY shop; DROP ROLE shop")


@pytest.fixture
def run(run_isolated: RunIsolated, shop: str) -> Check:
    """Runs a script with the role of the project."""
    project = {"DATABASE_URL": shop, "DJANGO_SETTINGS_MODULE": "tests.support.settings"}
    return lambda script: run_isolated(script, **project)


def test_check_warns_before_connections_are_refused_and_its_minimum_is_enough(
    server: Postgres, shop: str, run: Check
) -> None:
    limit(server, MAX_CONNECTIONS)
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(shop)) for _ in range(WORKERS)]
        assert all(worker.ask("ready", 20) for worker in workers)
        check, problem, hint = run(CHECK).splitlines()
        assert check == "flagstaff.W055"
        assert "10 connections are needed, but the server allows 8: workers have 5, " in problem
        assert ask_all(workers).count(False) == REFUSED
        [minimum] = re.findall(r"max_connections must be at least (\d+)", hint)
        limit(server, int(minimum))
        for worker in workers:
            worker.sees(["mode"], "live", within=20)
        assert run(CHECK) == ""
        assert ask_all(workers) == [True] * WORKERS


# The statement that limits, and what a role that may not see the sessions of others prints.
LIMITED = {
    "role": [
        "ALTER ROLE shop CONNECTION LIMIT 2",
        "2 of 2 connections (role shop): 1 of workers, 1 of Django, 0 of others.",
        "3 connections are needed, but role shop allows 2: workers have 1, Django needs 2 ",
        "CONNECTION LIMIT of role shop must be at least 3. ",
    ],
    "database": [
        "ALTER DATABASE {} CONNECTION LIMIT 4",
        "4 of 4 connections (database {}): 2 of workers, 1 of Django, 1 of others.",
        "5 connections are needed, but database {} allows 4: workers have 2, Django needs 2 ",
        "CONNECTION LIMIT of database {} must be at least 5. ",
    ],
}


@pytest.mark.parametrize("kind", LIMITED)
def test_limits_of_the_role_and_the_database_are_compared_too(
    kind: str, database: str, shop: str, query: Query, run: Check
) -> None:
    [name] = query("SELECT current_database()")
    statement, *expected = (text.format(name) for text in LIMITED[kind])
    with Worker(shop) as first, Worker(database) as second, psycopg.connect(database):
        assert first.ask("ready", 20)
        assert second.ask("ready", 20)
        query(statement)
        printed = run(LIST).splitlines()[1:4]
    for line, beginning in zip(printed, expected, strict=True):
        assert line.startswith(beginning)
