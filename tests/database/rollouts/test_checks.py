"""The system checks of rollout plans."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.checks import CheckMessage, Tags, run_checks
from django.db import connection

from flagstaff import rollouts
from flagstaff.rollouts.clock import ClockTimestamp
from flagstaff.rollouts.models import Plan
from tests.support.rollouts import KEY, drive_recently, make_flag

pytestmark = pytest.mark.django_db

TABLE = "flagstaff_rollouts_plan"


def messages() -> list[CheckMessage]:
    found = run_checks(tags=[Tags.database], databases=["default"])
    assert all(message.hint for message in found)
    return found


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.fixture
def started() -> None:
    drive_recently()
    make_flag()
    rollouts.start(KEY, ["5:1h"])


def test_guarded_plan_has_no_messages(started: None) -> None:
    assert messages() == []


def test_unguarded_plan_is_reported(started: None) -> None:
    Plan.objects.update(guarded_until=ClockTimestamp() - timedelta(seconds=1))
    [message] = messages()
    assert message.id == "flagstaff.W044"
    assert message.msg == (
        "rollout plans are unguarded, because run-jobs has not driven them in the last 5 minutes: "
        "new_checkout"
    )


@pytest.mark.parametrize(
    "statement",
    [
        f"DROP TRIGGER flagstaff_token_v1 ON {TABLE}",
        f"ALTER TABLE {TABLE} DISABLE TRIGGER flagstaff_token_v1",
        f"ALTER TABLE {TABLE} ENABLE TRIGGER flagstaff_token_v1",
    ],
)
def test_missing_or_disabled_trigger_is_reported(db: None, statement: str) -> None:
    execute(statement)
    [message] = messages()
    assert message.id == "flagstaff.W043"
    assert "sqlmigrate flagstaff_rollouts 0001_initial" in (message.hint or "")


def test_missing_table_is_reported_with_the_command(db: None) -> None:
    execute("DROP TABLE flagstaff_rollouts_signalworker")
    [message] = messages()
    assert (message.id, message.hint) == ("flagstaff.W013", 'run "manage.py migrate"')
    assert "flagstaff_rollouts_signalworker" in message.msg
