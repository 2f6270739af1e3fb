"""REQUIRE_REASON: the admin and the terminal need a reason, except to turn a flag off."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.test import Client

from flagstaff import experiments, rollouts
from flagstaff.changes import create, disable, enable, set_rollout, set_value
from flagstaff.history import flag_history, flag_version, value_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore, Segment
from flagstaff.rollouts.models import Plan, State
from tests.support.admin_pages import (
    FLAGS,
    SEGMENTS,
    VALUES,
    asks,
    confirmed,
    flag_url,
    form_data,
    kill,
    problems_of,
    save_flag,
    toggle_url,
    turn_on,
)
from tests.support.experiment_pages import EXPERIMENTS
from tests.support.plan_pages import PLANS, plan_url, press
from tests.support.rollouts import drive_recently, plan_of
from tests.support.terminals import run

# Each change is a transaction of its own, as in production: an undo reads the history.
pytestmark = pytest.mark.django_db(transaction=True)

KEY = "new_checkout"
REQUIRED = "A reason is required. Write why you make this change: the history shows it."
STAFF = {"attribute": "is_staff", "operator": "in", "values": [True]}
STEPS = ["50:4h", "100"]


@pytest.fixture(autouse=True)
def required(settings: Any) -> None:
    """Requires reasons, with an empty history: a flush keeps the entries of other tests."""
    Change.objects.all().delete()
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "REQUIRE_REASON": True}


@pytest.fixture
def flag() -> FeatureFlag:
    return FeatureFlag.objects.create(key=KEY, enabled=True, rollout_percent=25)


def state(flag: FeatureFlag) -> tuple[bool, int]:
    flag.refresh_from_db()
    return flag.enabled, flag.rollout_percent


def newest_reason() -> str | None:
    return flag_history(KEY)[0].reason


def form_errors(response: Any) -> dict[str, list[str]]:
    assert response.status_code == 200
    return dict(response.context["adminform"].form.errors)


# The forms of the admin.


@pytest.mark.parametrize("reason", ["", "  "])
@pytest.mark.parametrize(
    "edit",
    [
        {"rollout_percent": 5},
        {"rollout_percent": 80},
        {"description": "One page"},
        {"enabled": None, "description": "One page"},
        {"enabled": None, "rollout_percent": 5},
    ],
)
def test_save_without_a_reason_is_an_error_of_its_field(
    edit: dict[str, Any], reason: str, operator: Client, flag: FeatureFlag
) -> None:
    response = save_flag(operator, flag, **edit, _reason=reason)
    assert form_errors(response) == {"_reason": [REQUIRED]}
    assert state(flag) == (True, 25)
    # What was typed is still there.
    shown = form_data(response)
    assert {name: shown.get(name) for name in edit} == {
        name: None if value is None else str(value) for name, value in edit.items()
    }


def test_save_with_a_reason_is_written(operator: Client, flag: FeatureFlag) -> None:
    assert save_flag(operator, flag, rollout_percent=5, _reason="too fast").status_code == 302
    assert (state(flag), newest_reason()) == ((True, 5), "too fast")


def test_save_that_only_turns_the_flag_off_needs_no_reason(
    operator: Client, flag: FeatureFlag
) -> None:
    assert save_flag(operator, flag, enabled=None).status_code == 302
    assert state(flag) == (False, 25)


def test_save_that_turns_the_flag_on_needs_a_reason(operator: Client, flag: FeatureFlag) -> None:
    disable(KEY)
    assert form_errors(save_flag(operator, flag, enabled="on")) == {"_reason": [REQUIRED]}


def test_save_without_edits_needs_no_reason(operator: Client, flag: FeatureFlag) -> None:
    assert save_flag(operator, flag).status_code == 302


def test_page_that_confirms_a_save_keeps_its_reason_and_needs_it(
    operator: Client, flag: FeatureFlag
) -> None:
    response = save_flag(operator, flag, rollout_percent=80, _reason="release")
    assert asks(response)
    assert confirmed(response)["_reason"] == ["release"]
    emptied = operator.post(flag_url(flag), confirmed(response, _reason=""))
    assert form_errors(emptied) == {"_reason": [REQUIRED]}
    assert state(flag) == (True, 25)
    operator.post(flag_url(flag), confirmed(response))
    assert (state(flag), newest_reason()) == ((True, 80), "release")


@pytest.mark.parametrize(
    ("url", "data"),
    [
        (FLAGS, {"key": "a", "rollout_percent": 0, "kind": "release", "bucket_by": "user"}),
        (VALUES, {"key": "a", "value": "1"}),
        (SEGMENTS, {"key": "a", "conditions": json.dumps([STAFF])}),
    ],
)
def test_new_row_needs_a_reason(url: str, data: dict[str, Any], operator: Client) -> None:
    assert form_errors(operator.post(f"{url}add/", data)) == {"_reason": [REQUIRED]}
    assert operator.post(f"{url}add/", data | {"_reason": "new"}).status_code == 302


def test_changes_of_values_and_segments_need_a_reason(operator: Client) -> None:
    value = KeyValueStore.objects.create(key="gateway", value="stripe")
    segment = Segment.objects.create(key="team", conditions=[STAFF])
    for url, edit in (
        (f"{VALUES}{value.pk}/change/", {"value": '"paypal"'}),
        (f"{SEGMENTS}{segment.pk}/change/", {"description": "Us"}),
    ):
        data = form_data(operator.get(url)) | edit
        assert form_errors(operator.post(url, data)) == {"_reason": [REQUIRED]}
        assert operator.post(url, data | {"_reason": "why not"}).status_code == 302


# The pages.


def test_kill_needs_no_reason(operator: Client, flag: FeatureFlag) -> None:
    kill(operator, flag)
    assert state(flag) == (False, 25)


def test_turning_on_needs_a_reason(operator: Client, flag: FeatureFlag) -> None:
    disable(KEY)
    url = toggle_url(flag, "turn-on")
    response = operator.post(url, confirmed(operator.get(url)))
    assert problems_of(response) == [REQUIRED]
    assert state(flag) == (False, 25)
    turn_on(operator, flag, _reason="fixed")
    assert (state(flag), newest_reason()) == ((True, 25), "fixed")


@pytest.mark.parametrize("percent", [5, 80])
def test_undo_needs_a_reason(percent: int, operator: Client, flag: FeatureFlag) -> None:
    version = set_rollout(KEY, percent).version
    url = flag_url(flag, "history")
    response = operator.post(url, {"_undo": version})
    assert asks(response)
    response = operator.post(url, confirmed(response))
    assert problems_of(response) == [REQUIRED]
    assert state(flag) == (True, percent)
    operator.post(url, confirmed(response, _reason="wrong flag"))
    assert (state(flag), newest_reason()) == ((True, 25), "wrong flag")


def test_undo_that_turns_the_flag_off_needs_no_reason(operator: Client, flag: FeatureFlag) -> None:
    disable(KEY)
    version = enable(KEY).version
    operator.post(flag_url(flag, "history"), {"_undo": version})
    assert state(flag) == (False, 25)


def test_restore_needs_a_reason(operator: Client, flag: FeatureFlag) -> None:
    version = flag_version(KEY)
    set_rollout(KEY, 80)
    url = flag_url(flag, "history")
    response = operator.post(url, confirmed(operator.post(url, {"_restore": version})))
    assert problems_of(response) == [REQUIRED]
    assert state(flag) == (True, 80)
    operator.post(url, confirmed(response, _reason="too fast"))
    assert state(flag) == (True, 25)


def test_undo_of_a_transaction_needs_a_reason(operator: Client, flag: FeatureFlag) -> None:
    version = set_rollout(KEY, 80).version
    url = flag_url(flag, "history")
    response = operator.post(url, confirmed(operator.post(url, {"_undo_all": version})))
    assert problems_of(response) == [REQUIRED]
    operator.post(url, confirmed(response, _reason="too fast"))
    assert (state(flag), newest_reason()) == ((True, 25), "too fast")


def test_undo_of_a_value_needs_a_reason(operator: Client) -> None:
    value = KeyValueStore.objects.create(key="gateway", value="stripe")
    version = set_value("gateway", "paypal").version
    url = f"{VALUES}{value.pk}/history/"
    response = operator.post(url, {"_undo": version})
    assert asks(response)
    assert value_version("gateway") == version
    operator.post(url, confirmed(response, _reason="back"))
    value.refresh_from_db()
    assert value.value == "stripe"


def test_deletion_needs_a_reason(operator: Client, flag: FeatureFlag) -> None:
    url = flag_url(flag, "delete")
    response = operator.post(url, {"post": "yes"})
    response = operator.post(url, confirmed(response))
    assert problems_of(response) == [REQUIRED]
    assert FeatureFlag.objects.exists()
    operator.post(url, confirmed(response, _reason="unused"))
    assert not FeatureFlag.objects.exists()
    assert newest_reason() == "unused"


def test_deletion_of_several_needs_a_reason(operator: Client, flag: FeatureFlag) -> None:
    create("banner")
    pks = list(FeatureFlag.objects.values_list("pk", flat=True))
    action = {"action": "delete_selected", "_selected_action": pks, "post": "yes"}
    response = operator.post(FLAGS, action)
    assert asks(response)
    assert FeatureFlag.objects.count() == 2
    operator.post(FLAGS, confirmed(response, _reason="unused"))
    assert not FeatureFlag.objects.exists()


# Rollout plans in the admin.


def test_start_of_a_plan_needs_a_reason(operator: Client, flag: FeatureFlag) -> None:
    drive_recently()
    plan = rollouts.create(KEY, STEPS)
    assert problems_of(press(operator, plan, "start")) == [REQUIRED]
    assert plan_of().state == State.PENDING
    press(operator, plan, "start", _reason="release")
    assert plan_of().state == State.RUNNING


@pytest.mark.parametrize(
    ("button", "after"), [("pause", State.PAUSED), ("rollback", State.ROLLED_BACK)]
)
def test_pause_and_rollback_of_a_plan_need_no_reason(
    button: str, after: State, operator: Client, flag: FeatureFlag
) -> None:
    drive_recently()
    plan = rollouts.start(KEY, STEPS)
    operator.post(plan_url(plan), {"_plan": button})
    assert plan_of().state == after


def test_plan_with_a_time_needs_a_reason(operator: Client, flag: FeatureFlag) -> None:
    drive_recently()
    url = plan_url(Plan(pk="add")).removesuffix("change/")
    context = operator.get(f"{url}?flag={KEY}").context
    forms = (context["form"], context["steps"].management_form, *context["steps"])
    fields = [field for one in (*forms, context["guards"].management_form) for field in one]
    data = {field.html_name: field.value() or "" for field in fields}
    data |= {"guards-TOTAL_FORMS": "0", "starts_at": "2031-05-01T14:30", "_reason": " "}
    assert operator.post(url, data).context["form"].errors == {"_reason": [REQUIRED]}
    assert operator.post(url, data | {"_reason": "release"}).status_code == 302
    assert plan_of().starts_at is not None


def test_pages_that_change_no_flag_need_no_reason(operator: Client, flag: FeatureFlag) -> None:
    plan = rollouts.create(KEY, STEPS)
    experiment = experiments.create("button")
    for url in (f"{PLANS}{plan.pk}/delete/", f"{EXPERIMENTS}{experiment.pk}/delete/"):
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
        f"allow {KEY} 1",
        "create banner",
        f"delete {KEY} --yes",
        f"undo {KEY}",
        f"plan {KEY} create --step 50:4h --step 100",
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
    status, _out, _err = run(f"rollout {KEY} 50 --reason release")
    assert status == 0
    assert (state(flag), newest_reason()) == ((True, 50), "release")


def test_verb_with_a_blank_reason_is_refused(flag: FeatureFlag) -> None:
    assert run(f"rollout {KEY} 50 --reason ' '").status == 2
    assert state(flag) == (True, 25)


@pytest.mark.parametrize("verb", ["off", "kill"])
def test_verb_that_turns_off_needs_no_reason(verb: str, flag: FeatureFlag) -> None:
    assert run(f"{verb} {KEY}").status == 0
    assert state(flag) == (False, 25)


@pytest.mark.parametrize("verb", ["pause", "rollback"])
def test_verb_that_stops_a_plan_needs_no_reason(verb: str, flag: FeatureFlag) -> None:
    drive_recently()
    rollouts.start(KEY, STEPS)
    assert run(f"plan {KEY} {verb}").status == 0
    assert plan_of().state == (State.PAUSED if verb == "pause" else State.ROLLED_BACK)


@pytest.mark.parametrize("line", ["list", f"show {KEY}", f"history {KEY}", "run-jobs"])
def test_verb_that_changes_no_flag_needs_no_reason(line: str, flag: FeatureFlag) -> None:
    assert run(line).status == 0


# Code.


def test_changes_by_code_need_no_reason(flag: FeatureFlag) -> None:
    set_rollout(KEY, 50)
    assert state(flag) == (True, 50)
