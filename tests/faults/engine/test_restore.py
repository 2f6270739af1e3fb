"""Restoring a backup: workers load the restored data, whatever the change tokens say."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.support.clusters import SEEN, ready
from tests.support.fixtures import OpenToAll, Query, SetGateway
from tests.support.workers import GATEWAY, NEW_CHECKOUT, Worker, suspended
from tools.limits import seconds
from tools.postgres import Postgres
from tools.postgres_binaries import programs

MODELS = ["--table=flagstaff_featureflag", "--table=flagstaff_keyvaluestore"]


Changes = Callable[[Worker], None]


class Backup:
    """A dump of a database by pg_dump."""

    def __init__(self, server: Postgres, database: str, file: Path) -> None:
        # The newest pg_dump writes settings that an old server does not know.
        self._programs = programs(16 if server.version <= 16 else 18)
        self._database = database
        self._file = str(file)
        self._run("pg_dump", "--format=custom", "--file", self._file, database)

    def restore(self, *options: str, into: str | None = None) -> None:
        target = ("--dbname", into or self._database)
        self._run("pg_restore", "--exit-on-error", *options, *target, self._file)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._programs / program, *arguments],
            env={"LC_ALL": "C", "PATH": os.defpath},
            check=True,
            timeout=seconds(60),
        )


@pytest.fixture
def backup(server: Postgres, database: str, tmp_path: Path) -> Backup:
    return Backup(server, database, tmp_path / "backup")


def test_history_keeps_its_tables_in_a_restored_copy(
    empty_database: str, query: Query, backup: Backup
) -> None:
    # Read as the oids that the tables of the copy have.
    tables = "SELECT array_agg(object_table::oid ORDER BY id) FROM flagstaff_change"
    own = (
        "SELECT ARRAY['flagstaff_featureflag'::regclass::oid, 'flagstaff_keyvaluestore'::regclass]"
    )
    [before] = query(tables)
    backup.restore(into=empty_database)
    with psycopg.connect(empty_database) as copy:
        [after] = copy.execute(tables).fetchone() or [[]]
        assert [after] == [*(copy.execute(own).fetchone() or [])]
    assert after != before


@pytest.fixture
def twenty_changes(set_gateway: SetGateway, open_to_all: OpenToAll) -> Changes:
    """Makes twenty changes of the value, and one of the flag, and waits until a worker has them."""

    def change(worker: Worker) -> None:
        for turn in range(20):
            set_gateway(f"gateway {turn}")
        open_to_all()
        worker.sees(GATEWAY, "gateway 19", within=SEEN)
        worker.sees(NEW_CHECKOUT, True, within=SEEN)

    return change


@pytest.mark.parametrize("listen", [True, False])
def test_restore_in_one_transaction_is_one_change(
    listen: bool, database: str, set_gateway: SetGateway, twenty_changes: Changes, backup: Backup
) -> None:
    with ready(database, LISTEN=listen) as worker:
        twenty_changes(worker)
        worker.ask("watch", GATEWAY)
        backup.restore("--clean", "--if-exists", "--single-transaction")
        worker.sees(GATEWAY, "stripe", within=SEEN)
        worker.sees(NEW_CHECKOUT, False, within=SEEN)
        assert worker.ask("watched") == ["gateway 19", "stripe"]
        set_gateway("adyen")
        worker.sees(GATEWAY, "adyen", within=SEEN)


@pytest.mark.smoke
def test_restore_in_many_transactions_is_seen_at_its_end(
    database: str, twenty_changes: Changes, backup: Backup
) -> None:
    with ready(database) as worker:
        twenty_changes(worker)
        backup.restore("--clean", "--if-exists")
        worker.sees(GATEWAY, "stripe", within=SEEN)
        worker.sees(NEW_CHECKOUT, False, within=SEEN)
        worker.sees(["mode"], "live", within=6)


@pytest.mark.parametrize("listen", [True, False])
def test_restore_without_triggers_is_seen_each_time(
    listen: bool, database: str, query: Query, twenty_changes: Changes, backup: Backup
) -> None:
    with ready(database, LISTEN=listen) as worker:
        for _ in range(3):
            twenty_changes(worker)
            query("TRUNCATE flagstaff_featureflag, flagstaff_keyvaluestore CASCADE")
            # The restore writes no change token.
            worker.sees(GATEWAY, None, within=SEEN)
            backup.restore("--data-only", "--disable-triggers", *MODELS)
            worker.sees(GATEWAY, "stripe", within=SEEN)
            worker.sees(NEW_CHECKOUT, False, within=SEEN)


def test_reused_change_token_after_a_restore_is_seen(
    database: str, query: Query, set_gateway: SetGateway, backup: Backup
) -> None:
    with ready(database, LISTEN=False) as worker:
        set_gateway("adyen")
        worker.sees(GATEWAY, "adyen", within=SEEN)
        held = worker.ask("status")["token"]
        with suspended(worker):
            backup.restore("--clean", "--if-exists", "--single-transaction")
            set_gateway("mollie")
            assert query("SELECT max(id) FROM flagstaff_token") == (held,)
        worker.sees(GATEWAY, "mollie", within=SEEN)
        assert worker.ask("status")["token"] == held


def test_swapped_tables_are_seen(database: str, set_gateway: SetGateway) -> None:
    with ready(database, LISTEN=False) as worker:
        with psycopg.connect(database) as session:
            session.execute(
                "CREATE TABLE other (LIKE flagstaff_keyvaluestore INCLUDING ALL);"
                "INSERT INTO other SELECT * FROM flagstaff_keyvaluestore;"
                "UPDATE other SET value = to_jsonb('adyen'::text);"
                "ALTER TABLE flagstaff_keyvaluestore RENAME TO older;"
                "ALTER TABLE other RENAME TO flagstaff_keyvaluestore"
            )
        worker.sees(GATEWAY, "adyen", within=SEEN)
        # The other table has no triggers.
        worker.sees(["mode"], "reload", within=SEEN)
        set_gateway("mollie")
        worker.sees(GATEWAY, "mollie", within=SEEN)
        with psycopg.connect(database) as session:
            session.execute(
                "ALTER TABLE flagstaff_keyvaluestore RENAME TO newer;"
                "ALTER TABLE older RENAME TO flagstaff_keyvaluestore"
            )
        worker.sees(GATEWAY, "stripe", within=SEEN)
        worker.sees(["mode"], "poll", within=SEEN)


def test_recreated_database_is_seen(
    server: Postgres, database: str, twenty_changes: Changes, backup: Backup
) -> None:
    name = conninfo_to_dict(database)["dbname"]
    with ready(database) as worker:
        twenty_changes(worker)
        worker.ask("watch", GATEWAY)
        with psycopg.connect(server.url, autocommit=True) as session:
            session.execute(f"DROP DATABASE {name} WITH (FORCE)")
            # Long enough for the delays between attempts to grow.
            worker.sees(["failed", 4], True, within=60)
            session.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        backup.restore("--single-transaction")
        worker.sees(GATEWAY, "stripe", within=6)
        assert worker.ask("watched") == ["gateway 19", "stripe"]
