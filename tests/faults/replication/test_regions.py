"""A wait at the primary asks the workers behind replication, which report to it."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.faults import propagation
from tests.faults.replication.conftest import Region, Regions
from tests.support.clusters import ready
from tests.support.fixtures import execute
from tests.support.python_processes import STRICT, run_python
from tests.support.sessions import within
from tests.support.workers import NEW_CHECKOUT, Worker
from tools.limits import SERVER, seconds
from tools.postgres import Postgres
from tools.postgres_binaries import programs

KILL = ["flags", "kill", "new_checkout", "--wait", "5"]
ROWS = "SELECT count(*) FROM flagstaff_worker WHERE is_replicated AND region = %s"
RECEIVERS = "SELECT count(*) FROM pg_stat_replication"
ACTIVE = "SELECT active FROM pg_replication_slots WHERE slot_name = %s"
USAGE = "SELECT sum(count)::int FROM flagstaff_usage WHERE key = 'new_checkout'"


@pytest.fixture(autouse=True)
def empty_register(regions: Regions, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PRIMARY_URL", regions.primary)
    yield
    execute(regions.primary, "DELETE FROM flagstaff_worker")


@contextmanager
def in_region(name: str, region: Region, **flagstaff: Any) -> Iterator[Worker]:
    """A worker that reads the copy in this region."""
    project = "tests.support.settings_region"
    with ready(region.url, project=project, DATABASE="copy", REGION=name, **flagstaff) as worker:
        yield worker


def waited(caller: Worker, timeout: float, expect: int | None = None) -> dict[str, Any]:
    outcome: dict[str, Any] = caller.call(propagation.wait_for_workers, seconds(timeout), expect)
    return outcome


@pytest.mark.smoke
def test_wait_at_the_primary_covers_the_workers_of_all_regions(regions: Regions) -> None:
    with (
        ready(regions.primary),
        in_region("eu", regions.standby) as at_standby,
        in_region("us", regions.subscriber) as at_subscriber,
        Worker(regions.primary) as caller,
    ):
        outcome = waited(caller, 10, 3)
        assert (outcome["complete"], outcome["applied"], outcome["silent_regions"]) == (True, 3, [])
        assert at_standby.ask("problems") == at_subscriber.ask("problems") == []
        regions.standby.run("SELECT pg_wal_replay_pause()")
        try:
            outcome = waited(caller, 2)
        finally:
            regions.standby.run("SELECT pg_wal_replay_resume()")
        assert (outcome["complete"], outcome["applied"]) == (False, 2)
        [pending] = outcome["pending"]
        assert (pending["region"], pending["pid"]) == ("eu", at_standby.pid)
    # Their ends are reported, too.
    assert execute(regions.primary, ROWS, "eu") == (0,)


def test_kill_is_not_confirmed_while_a_region_is_silent(regions: Regions) -> None:
    with (
        ready(regions.primary),
        in_region("eu", regions.cascade),
        Worker(regions.primary) as caller,
    ):
        assert waited(caller, 10, 2)["complete"] is True
        # As if another worker of the region had not reported for more than five minutes.
        execute(
            regions.primary,
            "UPDATE flagstaff_worker SET worker = md5(worker), expected_by = seen_at "
            "WHERE is_replicated",
        )
    ran = run_python(regions.primary, *STRICT, "-m", "django", *KILL, status=7)
    assert "Regions in which no worker reports: eu." in ran.stderr
    assert "no worker reports from a region" in ran.stderr


def test_region_that_the_settings_name_must_report(regions: Regions) -> None:
    with ready(regions.primary), Worker(regions.primary, REGIONS=["asia"]) as caller:
        outcome = waited(caller, 5, 1)
    assert (outcome["complete"], outcome["silent_regions"]) == (False, ["asia"])


def test_receivers_without_workers_are_one_note_and_a_kill_beside_them_succeeds(
    regions: Regions, module_postgres_server: Postgres, tmp_path: Path
) -> None:
    execute(regions.primary, "SELECT pg_create_logical_replication_slot('capture', 'pgoutput')")
    execute(regions.primary, "CREATE PUBLICATION capture FOR TABLE flagstaff_keyvaluestore")
    programs_of = programs(module_postgres_server.version)
    receivers: list[list[Any]] = [
        ["pg_receivewal", "--directory", tmp_path, "--dbname", regions.primary],
        [
            *("pg_recvlogical", "--slot", "capture", "--start", "--file", "-"),
            *("--option", "proto_version=1", "--option", "publication_names=capture"),
            *("--dbname", regions.primary),
        ],
    ]
    with ExitStack() as stack:
        stack.enter_context(ready(regions.primary))
        for program, *arguments in receivers:
            command = [programs_of / program, *arguments]
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.DEVNULL))
            stack.callback(process.terminate)
        # The standby, which has another one behind it, the subscriber, the backup and the capture.
        assert within(SERVER, lambda: execute(regions.primary, RECEIVERS) == (4,))
        ran = run_python(regions.primary, *STRICT, "-m", "django", *KILL)
    assert ran.stderr.count("No worker there has reported") == 1
    assert "Standbys, subscribers or backups of this server: 4." in ran.stderr
    execute(regions.primary, "DROP PUBLICATION capture")
    assert within(SERVER, lambda: execute(regions.primary, ACTIVE, "capture") == (False,))
    execute(regions.primary, "SELECT pg_drop_replication_slot('capture')")


def test_usage_of_a_region_is_written_at_the_primary(regions: Regions) -> None:
    execute(regions.primary, "DELETE FROM flagstaff_usage")
    with in_region("eu", regions.standby) as worker:
        assert within(SERVER, lambda: execute(regions.primary, ROWS, "eu") == (1,))
        worker.ask(*NEW_CHECKOUT)
    assert execute(regions.primary, USAGE) == (1,)
