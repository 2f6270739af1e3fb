"""`manage.py flags workers`, `status` and `install-triggers`."""

import json

import pytest
from django.db import connection
from django.db.migrations import CreateModel, DeleteModel, Migration
from django.db.migrations.loader import MigrationLoader
from django.db.models import BigAutoField

from flagstaff._core import RULE_FORMAT
from flagstaff.models import FeatureFlag
from flagstaff.operations import InstallTriggers
from tests.support.fake_workers import Join, join, let_pass
from tests.support.forced_off import forced_off, forced_on
from tests.support.sql import rows
from tests.support.terminals import document, flags, refused, run, typed

pytestmark = pytest.mark.usefixtures("open_shop")
COMMITTED = pytest.mark.django_db(transaction=True)

__all__ = ["join"]


@COMMITTED
def test_workers_says_which_are_behind_and_for_how_long_and_lists_them_first(join: Join) -> None:
    slow, quick, polling = join("web-2", 7), join("web-1", 8), join("job-1", 9, "poll")
    slow.load()
    FeatureFlag.objects.update(enabled=False)
    slow.query("UPDATE flagstaff_token SET at = at - interval '12.5 minutes'")
    quick.load()
    polling.load()
    ran = flags("workers", "--json")
    assert ran.err.splitlines() == ["1 of 3 workers behind: web-2 (pid 7) for 12 min."]
    late, *current = json.loads(ran.out)
    assert 750 < late["behind_seconds"] < 810
    assert {(worker["behind"], worker["behind_seconds"]) for worker in current} == {(False, None)}
    assert {worker["session"] for worker in current} == {quick.session, polling.session}
    assert "behind for 12 min" in typed("flags workers")


@COMMITTED
def test_workers_names_those_that_reload_of_an_older_version_lost_or_silent(join: Join) -> None:
    join("web-3", 9).leave()
    let_pass(31)
    join("web-1", pid=7, rule_format=1).load()
    join("web-2", 8, "reload").load()
    join("web-4", reports=False)
    ran = flags("workers", "--json")
    for note in (
        "It is not known whether these are up to date: web-2 (pid 8).",
        f"An older version, which cannot read format {RULE_FORMAT} of rules: web-1 (pid 7).",
        "Connected workers that do not report: 1.",
        "Lost (killed, or without a connection): web-3 (pid 9).",
    ):
        assert note in ran.err
    printed = {worker.pop("host"): worker for worker in json.loads(ran.out)}
    assert printed["web-1"]["rule_format"] == 1
    assert (printed["web-2"]["rule_format"], printed["web-2"]["behind"]) == (RULE_FORMAT, None)
    assert (printed["web-3"]["state"], printed["web-3"]["is_expected"]) == ("lost", False)
    assert "RULE FORMAT" in typed("flags workers")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("workers", "workers can be listed only on PostgreSQL"),
        ("install-triggers", "install-triggers needs PostgreSQL"),
    ],
)
def test_other_database_than_postgresql_is_an_error(
    line: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "vendor", "sqlite")
    refused(line, 1, message)


@COMMITTED
def test_status_in_direct_mode_counts_the_rows_and_names_forced_off_flags() -> None:
    printed = document("status")
    assert (printed["mode"], printed["ready"]) == ("direct", True)
    assert (printed["flags"], printed["values"]) == (5, 3)
    shown = typed("flags status")
    assert "direct (evaluations query the database)" in shown
    assert "forced_off         none\n" in shown
    with forced_off(["search_v2", "new_checkout"]):
        assert document("status")["forced_off"] == ["new_checkout", "search_v2"]
        assert "forced_off         new_checkout, search_v2\n" in typed("flags status")


def test_status_names_forced_on_flags() -> None:
    with forced_on(["search_v2"]):
        assert document("status")["forced_on"] == ["search_v2"]


class Old(Migration):
    """Of a project that has deleted its model since."""

    operations = [
        CreateModel("Old", [("id", BigAutoField(primary_key=True))]),
        InstallTriggers("shop.Old"),
        DeleteModel("Old"),
    ]


def test_migration_of_a_deleted_model_does_not_prevent_the_triggers_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load = MigrationLoader.load_disk

    def with_shop(loader: MigrationLoader) -> None:
        load(loader)
        assert loader.disk_migrations is not None
        loader.disk_migrations["shop", "0001_old"] = Old("0001_old", "shop")

    monkeypatch.setattr(MigrationLoader, "load_disk", with_shop)
    rows("INSERT INTO django_migrations (app, name, applied) VALUES ('shop', '0001_old', now())")
    rows("SET CONSTRAINTS ALL IMMEDIATE")
    rows("DROP TRIGGER flagstaff_token_insert_v1 ON flagstaff_experiments_experiment")
    assert sorted(document("install-triggers")["migrations"]) == [
        "flagstaff.0001_flagstaff",
        "flagstaff_experiments.0001_experiments",
        "flagstaff_rollouts.0001_rollouts",
        "shop.0001_old",
    ]
    assert rows(
        "SELECT count(*) FROM pg_trigger WHERE tgname = 'flagstaff_token_insert_v1' "
        "AND tgrelid = 'flagstaff_experiments_experiment'::regclass"
    ) == [(1,)]


def test_no_trigger_is_installed_before_migrate() -> None:
    rows("DELETE FROM django_migrations WHERE app LIKE 'flagstaff%'")
    assert run("install-triggers").out == 'nothing is installed yet; run "manage.py migrate"\n'
