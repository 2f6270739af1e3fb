"""REQUIRE_REASON: the admin and the terminal need a reason, except to turn a flag off."""

from __future__ import annotations

import pytest
from django.test import Client

from flagstaff import changes, experiments, rollouts
from flagstaff.history import flag_version
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.rollouts.models import State
from tests.support.admin_pages import (
    FLAGS,
    confirmed,
    problems_of,
    restore_url,
    state,
    undo,
    undo_all_url,
    undo_url,
)
from tests.support.experiments import EXPERIMENTS
from tests.support.history import flag_history
from tests.support.plans import do, drive_recently, plan_of
from tests.support.screen import Screen
from tests.support.terminals import run

# Each change is a transaction of its own, as in production: an undo reads the history.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("reason_required"),
]

KEY = "new_checkout"
REQUIRED = "A reason is required. Write why you make this change: the history shows it."
STAFF = {"attribute": "is_staff", "operator": "in", "values": [True]}
STEPS = ["50:4h", "100"]


def newest_reason() -> str | None:
    return flag_history(KEY)[0].reason


def test_required_reason_has_the_focus(operator: Client, flag: FeatureFlag) -> None:
    shown = Screen(operator.get(f"{FLAGS}{flag.pk}/rollout/?percent=5"))
    assert shown.focused["name"] == "_reason"


@pytest.mark.parametrize("page", ["undo", "undo all", "restore"])
def test_undo_and_restore_need_a_reason(page: str, operator: Client, flag: FeatureFlag) -> None:
    before = flag_version(KEY)
    version = changes.flags.set_rollout(KEY, 80).version
    url = {
        "undo": undo_url(version),
        "undo all": undo_all_url(version),
        "restore": restore_url(before),
    }[page]
    response = operator.post(url, confirmed(operator.get(url)))
    assert problems_of(response) == [REQUIRED]
    assert state(flag) == (True, 80)
    operator.post(url, confirmed(response, _reason="wrong flag"))
    assert (state(flag), newest_reason()) == ((True, 25), "wrong flag")


def test_undo_that_turns_a_flag_off_needs_no_reason(operator: Client, flag: FeatureFlag) -> None:
    changes.flags.disable(KEY)
    undo(operator, changes.flags.enable(KEY).version)
    assert state(flag) == (False, 25)


@pytest.mark.usefixtures("unused")
def test_deletion_of_several_flags_needs_a_reason(operator: Client, flag: FeatureFlag) -> None:
    pks = [flag.pk, FeatureFlag.objects.create(key="banner").pk]
    data = {"action": "delete", "index": "0", "_selected_action": pks}
    response = operator.post(FLAGS, confirmed(operator.post(FLAGS, data)))
    assert problems_of(response) == [REQUIRED]
    assert FeatureFlag.objects.count() == 2
    operator.post(FLAGS, confirmed(response, _reason="unused"))
    assert not FeatureFlag.objects.exists()
    assert newest_reason() == "unused"


# Rollout plans in the admin.


def test_start_of_a_plan_needs_a_reason(operator: Client, flag: FeatureFlag) -> None:
    drive_recently()
    plan = rollouts.create(KEY, STEPS)
    assert problems_of(do(operator, plan, "start")) == [REQUIRED]
    assert plan_of().state == State.PENDING
    do(operator, plan, "start", _reason="release")
    assert plan_of().state == State.RUNNING


def test_pages_that_change_no_flag_need_no_reason(operator: Client) -> None:
    experiment = experiments.create("button")
    for url in (f"{EXPERIMENTS}{experiment.pk}/delete/",):
        response = operator.get(url)
        assert not Screen(response).part("#id_reason").has("required")
        assert operator.post(url, confirmed(response)).status_code == 302


# The terminal.


@pytest.mark.parametrize(
    "line",
    [
        f"on {KEY}",
        f"rollout {KEY} 50",
        f"rollout {KEY} 50 --reason ' '",
        f"allow {KEY} 1",
        "create banner",
        f"delete {KEY} --yes",
        f"undo {KEY}",
        f"plan create {KEY} --step 50:4h --step 100",
        "value set gateway 1",
    ],
)
def test_verb_without_a_reason_is_refused(line: str, flag: FeatureFlag) -> None:
    version = flag_version(KEY)
    status, out, err = run(line)
    assert (status, out) == (2, ""), err
    assert "a reason is required by the setting REQUIRE_REASON: pass --reason" in err
    assert flag_version(KEY) == version
    assert not KeyValueStore.objects.exists()


def test_verb_that_only_reads_or_runs_jobs_needs_no_reason(flag: FeatureFlag) -> None:
    for line in ("list", f"show {KEY}", f"history {KEY}", "run-jobs"):
        assert run(line).status == 0
