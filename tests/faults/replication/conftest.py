"""A primary, standbys behind each other, and a subscriber, each a server or database of its own."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from tests.support.clusters import at, subscribe
from tests.support.fixtures import create_database, execute
from tests.support.proxy import Proxy
from tools.postgres import Postgres
from tools.replica import Replica

# Seconds between two changes of the echo, and the longest time without one.
BEAT, LIMIT = 0.2, 2.0


@dataclass
class Region:
    """A database near workers, which has the flags of the primary."""

    url: str
    #: The server, for statements about replication.
    server: str

    def run(self, statement: str, *parameters: object) -> Any:
        return execute(self.server, statement, *parameters)


@dataclass
class Regions:
    """The database at the primary, and its copies."""

    primary: str
    #: Between the standby and the primary.
    proxy: Proxy
    standby: Region
    #: A standby of the standby.
    cascade: Region
    subscriber: Region


@pytest.fixture(scope="module")
def module_postgres_server() -> Iterator[Postgres]:
    settings = {
        "wal_level": "logical",
        "wal_retrieve_retry_interval": "100ms",
        # A standby can be copied from a standby only with these.
        "full_page_writes": "on",
    }
    with Postgres(settings=settings) as server:
        yield server


@pytest.fixture(scope="module")
def regions(module_postgres_server: Postgres, migrated: str) -> Iterator[Regions]:
    server = module_postgres_server
    primary, copy = create_database(server, migrated), create_database(server, migrated)
    execute(
        primary,
        "INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent) "
        "VALUES ('new_checkout', true, 33);"
        "INSERT INTO flagstaff_keyvaluestore (key, value) VALUES ('gateway', '\"stripe\"')",
    )
    retry = {"wal_retrieve_retry_interval": "100ms"}
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy(server.url))
        standby = stack.enter_context(Replica(server, settings=retry))
        cascade = stack.enter_context(Replica(standby.server, settings=retry))
        standby.catch_up()
        follow(standby.server.url, proxy.url)
        subscribe(primary, copy, name="regions")
        yield Regions(
            primary,
            proxy,
            Region(at(primary, standby.port), standby.server.url),
            Region(at(primary, cascade.port), cascade.server.url),
            Region(copy, copy),
        )
        execute(copy, "ALTER SUBSCRIPTION regions DISABLE")


def follow(standby: str, primary: str) -> None:
    """Makes a standby follow this server, or none with an empty address."""
    with psycopg.connect(standby, autocommit=True) as session:
        session.execute(f"ALTER SYSTEM SET primary_conninfo = '{primary}'")
        session.execute("SELECT pg_reload_conf()")


@pytest.fixture
def echo(regions: Regions) -> Iterator[threading.Event]:
    """Changes the echo at the primary, as workers do there, and pauses while this is set."""
    paused, ended = threading.Event(), threading.Event()

    def beat() -> None:
        with psycopg.connect(regions.primary, autocommit=True) as session:
            session.execute("DELETE FROM flagstaff_echo")
            number = 0
            session.execute("INSERT INTO flagstaff_echo VALUES (0, now(), %s)", [LIMIT / 2])
            while not ended.wait(BEAT):
                number += not paused.is_set()
                session.execute("UPDATE flagstaff_echo SET number = %s, at = now()", [number])

    thread = threading.Thread(target=beat)
    thread.start()
    yield paused
    ended.set()
    thread.join()
