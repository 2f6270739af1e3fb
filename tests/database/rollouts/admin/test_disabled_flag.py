"""A plan whose flag is off, in the admin: its start turns the flag on, as its page says."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flagstaff import changes, rollouts
from flagstaff.models import FeatureFlag
from flagstaff.rollouts.models import Plan, State
from tests.support.action_pages import button_names, confirm_page
from tests.support.admin_pages import (
    FLAGS,
    confirmed,
    flag_url,
    messages_of,
    page,
    preview_of,
    problems_of,
    staff,
)
from tests.support.form_inputs import inputs_of
from tests.support.history import flag_history
from tests.support.plan_pages import PLANS, plan_url, press, text_of
from tests.support.rollouts import KEY, make_flag, plan_of, rollout

pytestmark = pytest.mark.django_db

CONDITION = {"attribute": "is_authenticated", "operator": "in", "values": [True]}
LOGGED_IN = [{"name": "all", "conditions": [CONDITION], "rollout_percent": 100}]
STEPS = ["5:4h", "25:1d", "100"]


@pytest.fixture(autouse=True)
def flag(driver: None) -> FeatureFlag:
    return make_flag(enabled=False)


@pytest.fixture
def pending() -> Plan:
    return rollouts.create(KEY, STEPS)


def is_on() -> bool:
    return FeatureFlag.objects.get().enabled


def test_start_turns_the_flag_on_as_one_change_of_the_person(
    operator: Client, admin_user: User, pending: Plan
) -> None:
    press(operator, pending, "start")
    assert (plan_of().state, is_on(), rollout()) == (State.RUNNING, True, 5)
    event = flag_history(KEY)[0]
    assert event.actor == str(admin_user.pk)
    assert {one.field for one in event.differences} == {"enabled", "rollout_percent"}


def test_start_shows_the_state_of_the_flag_and_who_gets_it_besides(
    operator: Client, admin_user: User, pending: Plan
) -> None:
    FeatureFlag.objects.update(rules=LOGGED_IN)
    changes.flags.allow(KEY, [admin_user.pk])
    html = confirm_page(operator, plan_url(pending), "start")
    response = operator.post(plan_url(pending), {"_button": "start"})
    assert preview_of(response)["flag"] == ["off", "on"]
    assert preview_of(response)["users at the next step, 5 %"] == ["0 of 1", "1 of 1"]
    assert "its allowed users and the users of its rules have it, too" in text_of(html)


def test_start_asks_again_if_the_flag_was_changed_since_the_question(
    operator: Client, pending: Plan
) -> None:
    response = operator.post(plan_url(pending), {"_button": "start"})
    changes.flags.set_rollout(KEY, 50)
    changes.flags.set_rollout(KEY, 0)
    response = operator.post(plan_url(pending), confirmed(response))
    assert problems_of(response)[0].startswith("Not saved: the plan has changed")
    assert not is_on()


def test_user_who_may_only_toggle_starts_the_plan(pending: Plan) -> None:
    press(staff("view_featureflag", "toggle_featureflag"), pending, "start")
    assert is_on()


def test_page_of_the_plan_has_no_warning_about_the_flag(operator: Client, pending: Plan) -> None:
    assert 'role="alert"' not in page(operator, plan_url(pending))


def test_resume_of_a_started_plan_does_not_turn_the_flag_on(
    operator: Client, pending: Plan
) -> None:
    press(operator, pending, "start")
    changes.flags.disable(KEY)
    rollouts.pause(KEY)
    html = page(operator, plan_url(pending))
    assert "The flag is off. To go on, set its rollout to 0 %, turn it on" in text_of(html)
    assert button_names(html) == ["rollback"]


def test_page_says_before_the_start_that_rules_decide_for_all(
    operator: Client, pending: Plan
) -> None:
    FeatureFlag.objects.update(rules=LOGGED_IN)
    response = operator.post(plan_url(pending), {"_button": "start"})
    assert "guards cannot compare. Change the rules first." in text_of(response.content.decode())


def test_step_of_all_users_says_that_guards_cannot_compare(operator: Client) -> None:
    plan = rollouts.create(KEY, ["100"])
    html = operator.post(plan_url(plan), {"_button": "start"}).content.decode()
    assert "so the guards cannot compare. Add a step below 100 %." in text_of(html)


def test_message_after_a_roll_back_says_that_the_flag_is_off(
    operator: Client, pending: Plan
) -> None:
    FeatureFlag.objects.update(rules=LOGGED_IN)
    press(operator, pending, "start")
    assert messages_of(press(operator, pending, "rollback"))[0].endswith(
        "was rolled back: the rollout is 0 %, and the flag is off, because a rule can grant it."
    )
    html = page(operator, plan_url(pending))
    assert "The flag is off. To go on" in text_of(html)
    assert button_names(html) == []


def test_plan_with_a_guard_starts_after_five_clicks_from_a_flag_that_is_off(
    operator: Client, flag: FeatureFlag
) -> None:
    # 1: the flag in the list.
    assert flag_url(flag) in page(operator, FLAGS)
    # 2: "Plan a rollout" on its page.
    add = f"{PLANS}add/?flag={KEY}"
    assert f'href="{add}"' in page(operator, flag_url(flag))
    # 3: "Create plan".
    data = inputs_of(page(operator, add), "")
    html = operator.post(f"{PLANS}add/", data, follow=True).content.decode()
    # 4: "Start…", 5: "Start…" on the page that asks.
    assert 'value="start"' in html
    press(operator, plan_of(), "start")
    assert (plan_of().state, is_on()) == (State.RUNNING, True)
    assert [guard["kind"] for guard in plan_of().guards] == ["errors"]


def test_few_users_are_named_where_a_step_cannot_reach_the_required_number(
    operator: Client,
) -> None:
    pks = range(10**6, 10**6 + 200)
    User.objects.bulk_create(User(pk=pk, username=f"user{pk}") for pk in pks)
    plan = rollouts.create(KEY, STEPS, required_users=30)
    users = User.objects.count()
    text = (
        f"5 % of {users} users are 10, fewer than the required 30: this step can only pass if "
        "the guards rule out harm."
    )
    assert text in text_of(page(operator, plan_url(plan)))
    assert text in text_of(confirm_page(operator, plan_url(plan), "start"))
    rollouts.delete(KEY)
    plan = rollouts.create(KEY, ["50:1h", "100"], required_users=30)
    assert "fewer than the required" not in page(operator, plan_url(plan))
