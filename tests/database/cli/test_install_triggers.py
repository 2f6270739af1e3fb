"""`manage.py flags install-triggers`. The tests of the checks are about what it repairs."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.migrations import CreateModel, DeleteModel, Migration
from django.db.migrations.loader import MigrationLoader
from django.db.models import BigAutoField

from flagstaff.operations import InstallTriggers
from tests.support.sql import rows
from tests.support.terminals import document, flags

pytestmark = pytest.mark.django_db

OWN = ["flagstaff.0001_flagstaff", "flagstaff_rollouts.0001_rollouts"]
OWN += ["flagstaff_experiments.0001_experiments"]
APPLIED = "INSERT INTO django_migrations (app, name, applied) VALUES ('shop', '0001_old', now())"


class Old(Migration):
    """Of a project that has deleted its model since."""

    operations = [
        CreateModel("Old", [("id", BigAutoField(primary_key=True))]),
        InstallTriggers("shop.Old"),
        DeleteModel("Old"),
    ]


def test_migration_of_a_deleted_model_does_not_prevent_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load = MigrationLoader.load_disk

    def with_shop(loader: MigrationLoader) -> None:
        load(loader)
        assert loader.disk_migrations is not None
        loader.disk_migrations["shop", "0001_old"] = Old("0001_old", "shop")

    monkeypatch.setattr(MigrationLoader, "load_disk", with_shop)
    rows(APPLIED)
    rows("DROP TRIGGER flagstaff_token_insert_v1 ON flagstaff_experiments_experiment")
    assert sorted(document("install-triggers")["migrations"]) == sorted([*OWN, "shop.0001_old"])
    assert rows(
        "SELECT count(*) FROM pg_trigger WHERE tgname = 'flagstaff_token_insert_v1' "
        "AND tgrelid = 'flagstaff_experiments_experiment'::regclass"
    ) == [(1,)]


def test_nothing_is_installed_before_migrate() -> None:
    rows("DELETE FROM django_migrations WHERE app LIKE 'flagstaff%'")
    assert flags("install-triggers").out == 'nothing is installed yet; run "manage.py migrate"\n'


def test_other_database_than_postgresql_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "vendor", "sqlite")
    assert flags("install-triggers") == (1, "", "CommandError: install-triggers needs PostgreSQL\n")
