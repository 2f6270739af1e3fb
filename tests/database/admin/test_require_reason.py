"""REQUIRE_REASON: the admin and the terminal need a reason, except to turn a flag off."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from flagstaff import changes, experiments, rollouts
from flagstaff.history import flag_version, value_version
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.rollouts.models import State
from tests.support.admin_pages import (
    FLAGS,
    VALUES,
    act,
    confirmed,
    flag_url,
    problems_in,
    problems_of,
    restore_url,
    state,
    undo,
    undo_all_url,
    undo_url,
)
from tests.support.experiment_pages import EXPERIMENTS
from tests.support.history import flag_history
from tests.support.plan_pages import do
from tests.support.rollouts import drive_recently, plan_of
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


# The forms of the admin.


def test_new_rows_need_a_reason(operator: Client) -> None:
    for url, arguments in (FLAGS, {"key": "a"}), (VALUES, {"key": "b", "value": "1"}):
        response = act(operator, f"{url}add/", **arguments)
        assert problems_in(response) == [REQUIRED]
        act(operator, f"{url}add/", **arguments, _reason="why not")
    assert (FeatureFlag.objects.count(), KeyValueStore.objects.count()) == (1, 1)


# The pages.


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


def test_undo_of_a_value_needs_a_reason_and_one_that_turns_a_flag_off_none(
    operator: Client, flag: FeatureFlag
) -> None:
    value = KeyValueStore.objects.create(key="gateway", value="stripe")
    version = changes.values.set("gateway", "paypal").version
    assert problems_of(undo(operator, version)) == [REQUIRED]
    assert value_version("gateway") == version
    undo(operator, version, _reason="back")
    value.refresh_from_db()
    assert value.value == "stripe"
    changes.flags.disable(KEY)
    undo(operator, changes.flags.enable(KEY).version)
    assert state(flag) == (False, 25)


@pytest.mark.usefixtures("unused")
@pytest.mark.parametrize("keys", [[], ["banner"]], ids=["one", "several"])
def test_deletion_needs_a_reason(keys: list[str], operator: Client, flag: FeatureFlag) -> None:
    url = flag_url(flag, "delete")
    data: dict[str, Any] = {"post": "yes"}
    for key in keys:
        pks = [flag.pk, FeatureFlag.objects.create(key=key).pk]
        url, data = FLAGS, {"action": "delete", "index": "0", "_selected_action": pks}
    response = operator.post(url, confirmed(operator.post(url, data)))
    assert problems_of(response) == [REQUIRED]
    assert FeatureFlag.objects.count() == 1 + len(keys)
    operator.post(url, confirmed(response, _reason="unused"))
    assert not FeatureFlag.objects.exists()
    assert newest_reason() == "unused"


# Rollout plans in the admin.


@pytest.mark.parametrize(
    ("action", "after"), [("pause", State.PAUSED), ("roll-back", State.ROLLED_BACK)]
)
def test_start_of_a_plan_needs_a_reason_and_pause_and_rollback_none(
    action: str, after: State, operator: Client, flag: FeatureFlag
) -> None:
    drive_recently()
    plan = rollouts.create(KEY, STEPS)
    assert problems_of(do(operator, plan, "start")) == [REQUIRED]
    assert plan_of().state == State.PENDING
    do(operator, plan, "start", _reason="release")
    assert plan_of().state == State.RUNNING
    do(operator, plan, action)
    assert plan_of().state == after


def test_pages_that_change_no_flag_need_no_reason(operator: Client) -> None:
    experiment = experiments.create("button")
    for url in (f"{EXPERIMENTS}{experiment.pk}/delete/",):
        response = operator.get(url)
        [reason] = re.findall(r'<input [^>]*id="id_reason"[^>]*>', response.content.decode())
        assert "required" not in reason
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


def test_verb_with_a_reason_is_run(flag: FeatureFlag) -> None:
    assert run(f"rollout {KEY} 50 --reason release").status == 0
    assert (state(flag), newest_reason()) == ((True, 50), "release")


@pytest.mark.parametrize("stop", ["pause", "roll-back"])
def test_verb_that_turns_off_stops_a_plan_or_only_reads_needs_no_reason(
    stop: str, flag: FeatureFlag
) -> None:
    drive_recently()
    rollouts.start(KEY, STEPS)
    assert run(f"plan {stop} {KEY}").status == 0
    assert plan_of().state == (State.PAUSED if stop == "pause" else State.ROLLED_BACK)
    for line in ("list", f"show {KEY}", f"history {KEY}", "run-jobs"):
        assert run(line).status == 0
    for verb in ("off", "kill"):
        changes.flags.enable(KEY)  # Code needs no reason either.
        assert run(f"{verb} {KEY}").status == 0
        assert state(flag)[0] is False
