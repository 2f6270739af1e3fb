"""Rows of waffle that a migration has changed, without a signal to the mirror."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.db.models.signals import post_migrate
from waffle.models import Switch

from flagstaff.compat.importing import Choices, import_waffle
from flagstaff.conf import conf

pytestmark = pytest.mark.django_db


def migrate() -> None:
    app = apps.get_app_config("flagstaff_compat")
    post_migrate.send(app, app_config=app, using=conf.database, verbosity=0, interactive=False)


@pytest.fixture(autouse=True)
def _imported_switches() -> None:
    for name in ("checkout", "search"):
        Switch.objects.create(name=name, active=True)
    import_waffle(Choices())
    Switch.objects.filter(name="checkout").update(active=False)


def serve(settings: Any, value: object) -> None:
    settings.FLAGSTAFF = {"WAFFLE": {"SERVE": value}}


def test_migration_that_changes_a_served_row_is_reported(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    serve(settings, ["checkout"])
    migrate()
    [record] = caplog.records
    assert record.getMessage() == (
        "1 flag is served from flagstaff, and waffle's rows say otherwise, perhaps since a "
        "migration: checkout; to write the rows here, run manage.py flags import-from waffle"
    )


@pytest.mark.parametrize("value", [False, ["search"]])
def test_migration_that_changes_no_served_row_is_not_reported(
    settings: Any, caplog: pytest.LogCaptureFixture, value: object
) -> None:
    serve(settings, value)
    migrate()
    assert caplog.records == []
