"""The tables of rollout plans: their trigger, their names, and projects without them."""

from __future__ import annotations

import psycopg
import pytest
from django.db import IntegrityError, connection

from flagstaff._tables.names import engine_names
from flagstaff.rollouts.models import Plan, State
from tests.support.projects import run

pytestmark = pytest.mark.django_db


def newest_token() -> tuple[int, str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, relation::text FROM flagstaff_token ORDER BY id DESC LIMIT 1")
        found: tuple[int, str] = cursor.fetchone()
        return found


def make_plan(**fields: object) -> Plan:
    given = {"flag_pk": "1", "key": "new_checkout", "steps": [{"percent": 5, "seconds": 60}]}
    return Plan.objects.create(**{**given, **fields})


def test_changed_plan_writes_a_token() -> None:
    plan = make_plan()
    created = newest_token()
    Plan.objects.filter(pk=plan.pk).update(reason="new")
    changed = newest_token()
    assert (created[1], changed[1]) == ("p", "p")
    assert changed[0] > created[0]


def test_flag_has_at_most_one_active_plan() -> None:
    make_plan(state=State.DONE)
    make_plan(state=State.PAUSED)
    with pytest.raises(IntegrityError):
        make_plan(state=State.PENDING)


def test_plans_have_different_salts() -> None:
    one, other = make_plan(), make_plan(flag_pk="2")
    assert len(bytes(one.salt)) == 16
    assert bytes(one.salt) != bytes(other.salt)


def test_engine_knows_the_tables() -> None:
    names = engine_names(connection)
    assert names["plan_table"] == '"flagstaff_rollouts_plan"'
    assert names["step_run_table"] == '"flagstaff_rollouts_steprun"'
    assert names["signal_count_table"] == '"flagstaff_rollouts_signalcount"'
    assert names["seen_register_table"] == '"flagstaff_rollouts_seenregister"'
    assert names["failed_unit_table"] == '"flagstaff_rollouts_failedunit"'
    assert names["signal_worker_table"] == '"flagstaff_rollouts_signalworker"'


def test_project_without_the_app_works_unchanged(empty_database: str) -> None:
    def manage(*arguments: str) -> str:
        return run(empty_database, "manage.py", *arguments)

    manage("migrate", "--verbosity", "0")
    assert manage("check", "--database", "default") == (
        "System check identified no issues (0 silenced).\n"
    )
    assert manage("flags", "run-jobs") == (
        "no receivers: add WEBHOOKS to FLAGSTAFF in the settings\n"
    )
    assert " plan " not in manage("flags", "--help")
    with psycopg.connect(empty_database) as session:
        tables = session.execute("SELECT relname FROM pg_class WHERE relname LIKE '%rollouts%'")
        assert tables.fetchall() == []
