"""The buttons on the page of a rollout plan, and its deletion."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from flagstaff import changes, rollouts
from flagstaff.history import flag_history
from flagstaff.models import FeatureFlag
from flagstaff.rollouts.models import Plan, PlanEvent, State
from tests.support.admin_pages import messages_of, notes_of, page, problems_of, production
from tests.support.plan_pages import PLANS, button_names, plan_url, press, table, text_of
from tests.support.rollouts import KEY, drive_recently, end_dwell_time, make_flag, plan_of, rollout

pytestmark = pytest.mark.django_db

STEPS = ["5:4h", "25:1d", "100"]


@pytest.fixture(autouse=True)
def driver(db: None) -> None:
    drive_recently()


@pytest.fixture
def flag() -> FeatureFlag:
    return make_flag()


@pytest.fixture
def pending(flag: FeatureFlag) -> Plan:
    return rollouts.create(KEY, STEPS)


@pytest.fixture
def running(pending: Plan) -> Plan:
    return rollouts.start(KEY)


def state() -> tuple[str, int | None, int]:
    plan = plan_of()
    return plan.state, plan.step, rollout()


def test_start_begins_at_the_first_step(operator: Client, pending: Plan) -> None:
    assert button_names(page(operator, plan_url(pending))) == ["start"]
    response = press(operator, pending, "start")
    assert messages_of(response) == [f"The plan of “{KEY}” has started."]
    assert state() == (State.RUNNING, 0, 5)


def test_start_is_attributed_to_the_user_with_a_reason(
    operator: Client, admin_user: User, pending: Plan
) -> None:
    press(operator, pending, "start", _reason="campaign")
    event = flag_history(KEY)[0]
    assert (event.actor, event.source, event.reason) == (str(admin_user.pk), "admin", "campaign")
    assert PlanEvent.objects.get(kind="started").actor == str(admin_user.pk)


@pytest.mark.parametrize("name", ["start", "jump", "resume"])
def test_button_that_gives_the_flag_to_users_asks_first(
    name: str, operator: Client, pending: Plan
) -> None:
    if name != "start":
        rollouts.start(KEY)
    if name == "resume":
        rollouts.pause(KEY)
    before = state()
    data = {"_plan": name, "expect_version": _version(operator, pending), "_reason": "campaign"}
    html = operator.post(plan_url(pending), data).content.decode()
    assert 'value="campaign"' in html
    assert table(html, "flagstaff-preview")[1][0] == "rollout"
    assert state() == before


def test_step_to_most_users_asks_for_the_key_in_production(
    operator: Client, running: Plan, settings: Any
) -> None:
    production(settings)
    # Fixed primary keys, because they decide who is in the 25 %.
    User.objects.bulk_create(User(pk=pk, username=f"user{pk}") for pk in range(10**6, 10**6 + 20))
    press(operator, running, "jump")
    assert state() == (State.RUNNING, 1, 25)
    refused = press(operator, running, "jump")
    assert problems_of(refused) == [f"Not confirmed: type “{KEY}” exactly."]
    assert state() == (State.RUNNING, 1, 25)
    press(operator, running, "jump", _typed_key=KEY)
    assert state() == (State.RUNNING, 2, 100)


def test_confirmation_counts_the_users(operator: Client, running: Plan) -> None:
    data = {"_plan": "jump", "expect_version": _version(operator, running)}
    [note] = notes_of(operator.post(plan_url(running), data))
    assert note.startswith("5 → 25 %: ")
    assert "1 user" in note


def _version(operator: Client, plan: Plan) -> str:
    html = page(operator, plan_url(plan))
    return html.partition('name="expect_version" value="')[2].partition('"')[0]


def test_pause_and_resume_keep_the_step(operator: Client, running: Plan) -> None:
    press(operator, running, "pause", _reason="support is busy")
    assert state() == (State.PAUSED, 0, 5)
    assert "support is busy" in text_of(page(operator, plan_url(running)))
    assert button_names(page(operator, plan_url(running))) == ["resume", "rollback"]
    press(operator, running, "resume")
    assert state() == (State.RUNNING, 0, 5)


def test_pause_needs_no_confirmation(operator: Client, running: Plan) -> None:
    operator.post(plan_url(running), {"_plan": "pause"})
    assert plan_of().state == State.PAUSED


def test_jump_goes_to_the_next_step(operator: Client, running: Plan) -> None:
    assert "Jump to 25 %" in page(operator, plan_url(running))
    press(operator, running, "jump")
    assert state() == (State.RUNNING, 1, 25)
    press(operator, running, "jump")
    assert state() == (State.RUNNING, 2, 100)
    assert button_names(page(operator, plan_url(running))) == ["pause", "rollback"]


def test_rollback_is_done_at_once(operator: Client, running: Plan) -> None:
    operator.post(plan_url(running), {"_plan": "rollback", "_reason": "calls"})
    assert state() == (State.ROLLED_BACK, 0, 0)
    assert button_names(page(operator, plan_url(running))) == ["resume"]


def test_rolled_back_plan_begins_again_at_the_first_step(operator: Client, running: Plan) -> None:
    rollouts.jump(KEY, 25)
    rollouts.rollback(KEY)
    assert "Begin again" in page(operator, plan_url(running))
    press(operator, running, "resume")
    assert state() == (State.RUNNING, 0, 5)


def test_scheduled_plan_can_be_paused_and_started(operator: Client, flag: FeatureFlag) -> None:
    plan = rollouts.create(KEY, STEPS, starts_at=timezone.now() + timedelta(days=1))
    assert button_names(page(operator, plan_url(plan))) == ["start", "pause"]
    press(operator, plan, "pause")
    assert state() == (State.PAUSED, None, 0)
    assert button_names(page(operator, plan_url(plan))) == ["resume"]
    press(operator, plan, "resume")
    assert state() == (State.RUNNING, 0, 5)


def test_done_plan_has_no_button(operator: Client, running: Plan) -> None:
    Plan.objects.update(state=State.DONE, step=2)
    assert button_names(page(operator, plan_url(running))) == []


def test_button_of_an_outdated_page_changes_nothing(operator: Client, running: Plan) -> None:
    version = _version(operator, running)
    rollouts.jump(KEY, 25)
    data = {"_plan": "jump", "expect_version": version, "_confirmed": "1"}
    response = operator.post(plan_url(running), data, follow=True)
    assert messages_of(response)[0].startswith("Not saved: the plan has changed")
    assert state() == (State.RUNNING, 1, 25)


def test_unknown_button_changes_nothing(operator: Client, running: Plan) -> None:
    response = operator.post(plan_url(running), {"_plan": "explode"}, follow=True)
    assert messages_of(response)[0].startswith("Not saved: the plan has changed")


def test_start_without_a_driver_is_refused_with_the_reason(operator: Client, pending: Plan) -> None:
    drive_recently(minutes=6)
    response = press(operator, pending, "start")
    [message] = messages_of(response)
    assert message.startswith("Not saved: ")
    assert "run-jobs has not run" in message
    assert state() == (State.PENDING, None, 0)


def test_jump_after_a_change_of_the_flag_is_refused(operator: Client, running: Plan) -> None:
    changes.set_rollout(KEY, 7)
    response = press(operator, running, "jump")
    assert messages_of(response)[0].startswith("Not saved: ")
    assert rollout() == 7


def test_older_plan_of_a_flag_has_no_buttons(operator: Client, running: Plan) -> None:
    rollouts.rollback(KEY)
    newer = rollouts.create(KEY, STEPS)
    assert button_names(page(operator, plan_url(running))) == []
    assert button_names(page(operator, plan_url(newer))) == ["start"]
    operator.post(plan_url(running), {"_plan": "resume", "_confirmed": "1"})
    assert plan_of().state == State.PENDING


# Deletion.


def delete_url(plan: Plan) -> str:
    return f"{PLANS}{plan.pk}/delete/"


def test_deletion_asks_and_leaves_the_flag(operator: Client, running: Plan) -> None:
    rollouts.pause(KEY)
    html = page(operator, delete_url(running))
    assert "The flag stays as it is." in html
    assert table(html, "flagstaff-preview")[1] == ["rollout", "5 %", "5 %"]
    response = operator.post(delete_url(running), {"_confirmed": "1"}, follow=True)
    assert messages_of(response) == [f"The plan of “{KEY}” was deleted. The flag stays as it is."]
    assert (Plan.objects.count(), rollout()) == (0, 5)


def test_running_plan_must_be_paused_before_its_deletion(operator: Client, running: Plan) -> None:
    assert "deletelink" not in page(operator, plan_url(running))
    response = operator.post(delete_url(running), {"_confirmed": "1"}, follow=True)
    assert messages_of(response) == [
        f"The plan of “{KEY}” is running. Pause it before you delete it."
    ]
    assert Plan.objects.exists()


def test_older_plan_is_deleted_without_the_newer_one(operator: Client, running: Plan) -> None:
    rollouts.rollback(KEY)
    newer = rollouts.create(KEY, STEPS)
    operator.post(delete_url(running), {"_confirmed": "1"})
    assert [plan.pk for plan in Plan.objects.all()] == [newer.pk]


def test_step_that_is_due_shows_its_end(operator: Client, running: Plan) -> None:
    end_dwell_time()
    assert "its time is over" in page(operator, plan_url(running))
