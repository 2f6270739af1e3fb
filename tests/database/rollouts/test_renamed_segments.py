"""Rollout plans of flags whose rules name a segment that is renamed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from flagstaff import acting_as, changes, rollouts
from flagstaff.models import Segment
from flagstaff.rollouts.driver import run_plans
from flagstaff.rollouts.models import State
from tests.support.rollouts import KEY, STEPS, make_flag, pass_step, plan_of, rollout
from tests.support.segment_rules import PAYING, rules, rules_of
from tests.support.sql import rows

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def started(driver: None) -> None:
    changes.create_segment("enterprise", PAYING)
    make_flag(rules=rules("enterprise"))
    rollouts.start(KEY, STEPS)
    pass_step()


def rename() -> None:
    with acting_as("ana"):
        changes.rename_segment("enterprise", "large")


def undo() -> None:
    changes.undo_segment("large")


@pytest.mark.parametrize("done", [(rename,), (rename, undo), (rename, undo, rename)])
def test_plan_goes_on_after_a_rename(done: tuple[Callable[[], None], ...]) -> None:
    for one in done:
        one()
    run_plans()
    assert (plan_of().state, rollout()) == (State.RUNNING, 25)
    pass_step()
    run_plans()
    assert (plan_of().state, rollout()) == (State.RUNNING, 100)


@pytest.mark.parametrize(
    "rule",
    [{"rollout_percent": 5, **rules("large")[0]}, {"conditions": PAYING}],
    ids=["other rule", "no segment"],
)
def test_plan_is_paused_by_another_change_of_rules_beside_a_rename(rule: dict[str, Any]) -> None:
    with acting_as("ana"), transaction.atomic():
        changes.rename_segment("enterprise", "large")
        changes.update(KEY, {"rules": [rule]})
    run_plans()
    assert (plan_of().state, rollout()) == (State.PAUSED, 5)
    assert plan_of().reason.startswith("ana changed the flag: rules ")


def test_plan_is_paused_if_its_rules_name_another_segment_with_the_old_key() -> None:
    rename()
    changes.create_segment("enterprise", PAYING)
    with acting_as("bo"):
        changes.update(KEY, {"rules": rules("enterprise")})
    run_plans()
    assert plan_of().state == State.PAUSED


def test_plan_goes_on_after_a_rename_that_left_no_entries() -> None:
    rows("SET LOCAL session_replication_role = 'replica'")
    rename()
    rows("SET LOCAL session_replication_role = 'origin'")
    run_plans()
    assert (plan_of().state, rollout(), rules_of()) == (State.RUNNING, 25, rules("large"))
    assert Segment.objects.get().key == "large"
