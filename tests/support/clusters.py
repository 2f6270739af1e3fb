"""Workers of tests with more than one server."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

from psycopg.conninfo import make_conninfo

from tests.support.fixtures import execute
from tests.support.sessions import within
from tests.support.workers import Worker
from tools.postgres import Postgres
from tools.postgres_account import give_to_postgres, open_directory, remove_directory

_numbers = count(1)

POLL = 0.5
# Seconds: the longest time between two polls, and one second for a load.
SEEN = POLL * 1.1 + 1
# Seconds: the longest delay between two attempts to connect.
REST = 2.8

# The tables that workers load, and those by which they know that changes arrive.
FLAGS = [
    "flagstaff_featureflag",
    "flagstaff_featureflag_allowed_users",
    "flagstaff_keyvaluestore",
    "flagstaff_segment",
    "flagstaff_rollouts_plan",
    "flagstaff_experiments_experiment",
]
TOKENS, ECHO = "flagstaff_token", "flagstaff_echo"
# Seconds for a new subscription to copy the existing rows.
COPIED = 20.0
_COPY_DONE = "SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel"

# pg_hba.conf: the first matching line decides.
RULES = """
local all postgres trust
host all,replication postgres 127.0.0.1/32 trust
host all hashed 127.0.0.1/32 md5
local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
"""


def at(database: str, *ports: int, attrs: str = "any", **options: str) -> str:
    """The address of the database on several servers of this machine."""
    hosts = ",".join(["127.0.0.1"] * len(ports))
    joined = ",".join(map(str, ports))
    return make_conninfo(database, host=hosts, port=joined, target_session_attrs=attrs, **options)


@contextmanager
def ready(url: str, **flagstaff: Any) -> Iterator[Worker]:
    """A worker that has loaded the database, and polls it often."""
    with Worker(url, **{"POLL_INTERVAL": POLL} | flagstaff).loaded() as worker:
        yield worker


@contextmanager
def guarded_server() -> Iterator[Postgres]:
    """A server that requires a password of all roles but its owner, at its port and its socket."""
    directory = open_directory()
    rules = directory / "rules"
    rules.write_text(RULES)
    place = directory / "sockets"
    place.mkdir()
    give_to_postgres(place)
    settings = {"hba_file": str(rules), "unix_socket_directories": str(place)}
    try:
        with Postgres(directory, settings=settings) as server:
            yield server
    finally:
        remove_directory(directory)


def sockets(server: Postgres) -> str:
    """The directory of the socket of a guarded server."""
    return str(server.log.with_name("sockets"))


def subscribe(
    publisher: str, subscriber: str, tables: Sequence[str] = (*FLAGS, TOKENS, ECHO), name: str = ""
) -> None:
    """Replicates tables from the publisher to the subscriber. Waits until the rows are copied."""
    name = name or f"link_{next(_numbers)}"
    execute(publisher, f"CREATE PUBLICATION {name} FOR TABLE {', '.join(tables)}")
    begin_copy(publisher, subscriber, name)


def begin_copy(publisher: str, subscriber: str, name: str) -> None:
    """Subscribes to the publication with this name. Waits until the rows are copied."""
    # Within one server CREATE SUBSCRIPTION cannot create its own slot.
    execute(publisher, f"SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')")
    execute(
        subscriber,
        f"CREATE SUBSCRIPTION {name} CONNECTION '{publisher}' PUBLICATION {name} "
        "WITH (create_slot = false)",
    )
    assert within(COPIED, lambda: is_copied(publisher, subscriber))


def is_copied(publisher: str, subscriber: str) -> bool:
    """Whether a subscriber has the rows that the tables had before."""
    # A copy starts when the running transactions are logged: every 15 s, or at a checkpoint.
    execute(publisher, "CHECKPOINT")
    return bool(execute(subscriber, _COPY_DONE)[0])
