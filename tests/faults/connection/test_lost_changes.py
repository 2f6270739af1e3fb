"""Workers follow a database that has lost changes, and say it once."""

import subprocess
from pathlib import Path

import pytest

from tests.support.clusters import POLL, REST, SEEN, at, ready
from tests.support.fixtures import OpenToAll, execute
from tests.support.python_processes import STRICT, run_python
from tests.support.sessions import within
from tests.support.workers import NEW_CHECKOUT, Worker
from tools.limits import SERVER
from tools.pgbouncer import PgBouncer
from tools.postgres import Postgres
from tools.postgres_binaries import programs
from tools.replica import Replica

# Seconds from a promotion until the workers follow.
MAX_FAILOVER = 15.0
KILL = "UPDATE flagstaff_featureflag SET enabled = false"
REGISTERED = "SELECT count(*) FROM flagstaff_worker WHERE is_replicated"
END_WORKERS = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE application_name LIKE 'flagstaff%%'"
)


def said(worker: Worker) -> list[str]:
    """What the worker has logged about lost changes."""
    # An evaluation writes the log.
    worker.ask(*NEW_CHECKOUT)
    return [text for _, text in worker.ask("logged") if "lacks changes" in text]


def tokens(worker: Worker) -> int:
    newest: int = worker.ask("field", "token")
    return newest


@pytest.mark.smoke
def test_failover_that_lost_a_kill_and_the_return_of_the_old_primary_are_said(
    server: Postgres, database: str, standby: Replica, open_to_all: OpenToAll
) -> None:
    promoted = at(database, standby.port)
    open_to_all()
    standby.catch_up()
    with ready(at(database, server.port, standby.port, attrs="read-write")) as worker:
        standby.server.stop()
        execute(at(database, server.port), KILL)
        worker.sees(NEW_CHECKOUT, False, within=1)
        lost = tokens(worker)
        server.kill()
        standby.server.start()
        standby.promote()
        worker.sees(NEW_CHECKOUT, True, within=MAX_FAILOVER)
        [line] = said(worker)
        assert f"(token {lost} → {tokens(worker)})" in line
        assert "(timeline 1 → 2)" in line
        assert line.endswith('flags that differ from before: "new_checkout"')
        # The old primary comes back, and nothing keeps the workers from it.
        execute(promoted, KILL)
        worker.sees(NEW_CHECKOUT, False, within=SEEN)
        execute(promoted, "UPDATE flagstaff_featureflag SET rollout_percent = 5")
        worker.sees(["field", "lost_changes"], 1, within=SEEN)
        server.start()
        execute(promoted, END_WORKERS)
        worker.sees(["field", "lost_changes"], 2, within=REST + SEEN)
        assert "two primaries" not in line
        assert "(timeline 2 → 1)" in worker.ask("field", "last_lost_changes")


def test_restore_is_said_with_the_flags_that_differ(
    server: Postgres, database: str, open_to_all: OpenToAll, tmp_path: Path
) -> None:
    open_to_all()
    dump = tmp_path / "dump"

    def run(program: str, *arguments: str | Path) -> None:
        subprocess.run([programs(server.version) / program, *arguments], check=True)

    run("pg_dump", "--format=custom", "--file", dump, "--dbname", database)
    with ready(database) as worker:
        execute(database, KILL)
        worker.sees(NEW_CHECKOUT, False, within=1)
        lost = tokens(worker)
        run("pg_restore", "--clean", "--single-transaction", "--dbname", database, dump)
        worker.sees(NEW_CHECKOUT, True, within=SEEN)
        [line] = said(worker)
        assert f"(token {lost} → {tokens(worker)}): a restore" in line
        assert line.endswith('flags that differ from before: "new_checkout"')


def test_standby_behind_a_pooler_that_lags_and_catches_up_has_lost_nothing(
    server: Postgres, database: str, standby: Replica, pooler: PgBouncer, open_to_all: OpenToAll
) -> None:
    with ready(at(database, pooler.port), MAX_STALENESS=3 * POLL) as worker:
        standby.hold()
        open_to_all()
        worker.sees(NEW_CHECKOUT, True, within=SEEN)
        pooler.lead_to(standby.port)
        # Its flags are accepted after MAX_STALENESS.
        worker.sees(NEW_CHECKOUT, False, within=REST + 3 * SEEN)
        standby.go_on()
        worker.sees(NEW_CHECKOUT, True, within=SEEN)
        pooler.lead_to(server.port)
        execute(database, KILL)
        worker.sees(NEW_CHECKOUT, False, within=REST + SEEN)
        assert worker.ask("field", "lost_changes") == 0


def test_server_that_is_restarted_or_has_crashed_has_lost_nothing(
    server: Postgres, database: str, open_to_all: OpenToAll
) -> None:
    with ready(database) as worker:
        for percent, stop in enumerate([server.stop, server.kill]):
            open_to_all()
            stop()
            server.start()
            execute(database, "UPDATE flagstaff_featureflag SET rollout_percent = %s", percent)
            worker.sees(NEW_CHECKOUT, False, within=REST + SEEN)
        assert worker.ask("field", "lost_changes") == 0


def test_worker_at_a_standby_of_another_primary_is_listed_as_such(
    server: Postgres, database: str, standby: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRIMARY_URL", database)
    project = "tests.support.settings_region"
    # Both servers are primaries now. The worker reads a copy of the new one, and reports to the
    # old one.
    standby.promote()
    execute(at(database, standby.port), KILL)
    with Replica(standby.server) as copy:
        region = at(database, copy.port)
        with ready(region, project=project, DATABASE="copy", REGION="eu") as worker:
            assert within(SERVER, lambda: execute(database, REGISTERED) == (1,))
            ran = run_python(database, *STRICT, "-m", "django", "flags", "workers")
            assert worker.ask("field", "problems") == []
    assert "These read another server than this one" in ran.stderr
    assert "reads another server, timeline 2" in ran.stdout
