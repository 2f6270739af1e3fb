"""The form of the admin that edits a rollout plan."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flagstaff import changes, rollouts
from flagstaff.models import FeatureFlag
from flagstaff.rollouts.models import Plan, PlanEvent, State
from tests.support.admin_pages import (
    confirmed,
    messages_of,
    notes_of,
    page,
    preview_of,
    production,
    staff,
    text_to_type,
)
from tests.support.form_inputs import inputs_of
from tests.support.plan_pages import plan_url, text_of
from tests.support.rollouts import KEY, make_flag, plan_of, run_of

pytestmark = pytest.mark.django_db

STEPS = ["5:4h", "25:1d", "100"]
GUARDS = ["errors", "latency=0.5,limit=1.5,action=hold"]


@pytest.fixture(autouse=True)
def flag(driver: None) -> FeatureFlag:
    return make_flag()


@pytest.fixture
def pending() -> Plan:
    return rollouts.create(KEY, STEPS, guards=GUARDS)


@pytest.fixture
def running(pending: Plan) -> Plan:
    return rollouts.start(KEY)


def edit_url(plan: Plan) -> str:
    return f"{plan_url(plan)}?edit=1"


def typed(operator: Client, plan: Plan, **fields: Any) -> dict[str, str]:
    """What a browser would post from the form, with changes."""
    fields = {name.replace("__", "-"): value for name, value in fields.items()}
    return inputs_of(page(operator, edit_url(plan)), "") | fields


def save(operator: Client, plan: Plan, **fields: Any) -> Any:
    return operator.post(edit_url(plan), typed(operator, plan, **fields), follow=True)


def percents() -> list[int]:
    return [step["percent"] for step in plan_of().steps]


def test_page_of_a_plan_leads_to_the_form_until_it_ends(operator: Client, pending: Plan) -> None:
    link = 'href="?edit=1"'
    assert link in page(operator, plan_url(pending))
    viewer = staff("view_featureflag")
    assert link not in page(viewer, plan_url(pending))
    assert viewer.get(edit_url(pending)).status_code == 403
    rollouts.start(KEY)
    rollouts.rollback(KEY)
    assert link not in page(operator, plan_url(pending))
    assert messages_of(operator.get(edit_url(pending), follow=True))[0].startswith("Not saved")


def test_unchanged_form_changes_nothing(operator: Client, pending: Plan) -> None:
    response = save(operator, pending)
    assert messages_of(response) == ["Nothing was changed: the plan already has these values."]
    assert not PlanEvent.objects.filter(kind="edited").exists()


def test_step_of_seconds_is_shown_and_kept(operator: Client) -> None:
    plan = rollouts.create(KEY, ["5:8s", "25:90s", "100"])
    save(operator, plan, required_users="77")
    assert [step["seconds"] for step in plan_of().steps] == [8, 90, 0]
    assert plan_of().required_users == 77


def test_steps_of_a_pending_plan_are_saved_at_once(operator: Client, pending: Plan) -> None:
    response = save(operator, pending, steps__0__percent="10", _reason="smaller")
    assert response.redirect_chain == [(plan_url(pending), 302)]
    assert messages_of(response) == [f"The rollout plan of “{KEY}” was edited."]
    assert percents() == [10, 25, 100]


def test_guards_of_a_pending_plan_say_that_measuring_begins_again(
    operator: Client, pending: Plan
) -> None:
    response = save(operator, pending, guards__1__limit="3")
    assert notes_of(response) == ["Measuring before the start begins again."]
    now, after = preview_of(response)["guards"]
    assert ("less than 1.5 times" in now, "less than 3 times" in after) == (True, True)
    assert plan_of().run_id == pending.run_id
    operator.post(edit_url(pending), confirmed(response))
    assert plan_of().guards[1]["limit"] == 3


def test_tightened_guard_of_a_running_plan_says_that_the_step_starts_again(
    operator: Client, running: Plan
) -> None:
    before = run_of()
    response = save(operator, running, guards__0__limit="1.2")
    assert notes_of(response) == ["Step 1 starts again, with new counts and its whole time."]
    assert run_of() == before
    operator.post(edit_url(running), confirmed(response))
    assert run_of() != before


@pytest.mark.parametrize(
    ("fields", "field", "problem"),
    [
        (
            {"guards__0__limit": "9"},
            "limit",
            "Limit (times as often): at most 2 while the plan runs.",
        ),
        (
            {"guards__0__tolerated": "1.5"},
            "tolerated",
            "Tolerated (times as often): at most 1 while the plan runs.",
        ),
        ({"guards__1__seconds": "0.75"}, "seconds", "Seconds: at most 0.5 while the plan runs."),
        ({"guards__0__action": "hold"}, "action", "This guard rolls back, and cannot be changed"),
        ({"guards__0__kind": ""}, "kind", "The guard “errors” cannot be removed while the plan"),
        ({"required_users": "5"}, "required_users", "At least 1,000 while the plan runs."),
    ],
)
def test_running_plan_is_not_loosened_and_keeps_what_was_typed(
    fields: dict[str, str], field: str, problem: str, operator: Client, running: Plan
) -> None:
    response = save(operator, running, steps__1__percent="33", **fields)
    html = response.content.decode()
    context = response.context
    [marked] = [one for one in (context["form"], *context["guards"]) if one.errors]
    [text] = marked.errors[field]
    assert text.startswith(problem)
    assert text.endswith("First pause the plan on its page, and resume it after the edit.")
    assert text in text_of(html)
    assert "manage.py" not in html
    assert inputs_of(html, "")["steps-1-percent"] == "33"
    assert percents() == [5, 25, 100]


def test_removed_guard_without_its_row_is_refused_above_the_form(
    operator: Client, running: Plan
) -> None:
    data = typed(operator, running) | {"guards-TOTAL_FORMS": "1"}
    response = operator.post(edit_url(running), data)
    assert "would be removed" in text_of(response.content.decode())
    assert len(plan_of().guards) == 2


def test_steps_that_have_begun_cannot_be_typed(operator: Client, running: Plan) -> None:
    rollouts.jump(KEY, 25)
    html = page(operator, edit_url(running))
    rows = [html.partition(f'name="steps-{row}-percent"')[2].partition(">")[0] for row in range(3)]
    assert ["disabled" in row for row in rows] == [True, True, False]
    data = typed(operator, running, steps__1__percent="60", steps__2__percent="80")
    response = operator.post(edit_url(running), data | {"steps-2-time": "1"})
    operator.post(edit_url(running), confirmed(response))
    assert percents() == [5, 25, 80]


def test_present_step_of_a_paused_plan_can_be_edited(operator: Client, running: Plan) -> None:
    rollouts.pause(KEY)
    save(operator, running, steps__0__percent="7")
    assert (percents(), plan_of().state) == ([7, 25, 100], State.PAUSED)


def test_later_steps_of_a_running_plan_are_confirmed_with_their_users(
    operator: Client, admin_user: User, settings: Any
) -> None:
    production(settings)
    pks = range(10**6, 10**6 + 20)
    User.objects.bulk_create(User(pk=pk, username=f"user{pk}") for pk in pks)
    plan = rollouts.start(KEY, ["5:4h", "10:1d"])
    response = save(operator, plan, steps__1__percent="100")
    assert preview_of(response)["users at the next step, 100 %"][1] == "21 of 21"
    assert text_to_type(response) == KEY
    assert percents() == [5, 10]
    operator.post(edit_url(plan), confirmed(response, _typed_key=KEY))
    assert percents() == [5, 100]


def test_scheduled_plan_that_is_moved_asks_as_when_it_was_scheduled(
    operator: Client, admin_user: User, pending: Plan
) -> None:
    changes.flags.disable(KEY)
    response = save(operator, pending, starts_at="2031-05-01T14:30")
    assert preview_of(response)["starts at"][1].startswith("May 1, 2031, 14:30")
    assert preview_of(response)["flag"] == ["off", "on"]
    assert "users at the last step, 100 %" in preview_of(response)
    assert plan_of().starts_at is None
    operator.post(edit_url(pending), confirmed(response))
    plan = plan_of()
    assert (plan.enables_flag, plan.scheduled_by) == (True, str(admin_user.pk))
    # The time that is shown has no seconds, and is not moved by itself.
    save(operator, pending, required_users="500")
    response = save(operator, pending, steps__0__percent="6")
    assert "starts at" not in preview_of(response)
    save(operator, pending, starts_at="")
    assert (plan_of().starts_at, plan_of().enables_flag) == (None, False)


def test_stale_form_is_refused_and_keeps_what_was_typed(operator: Client, pending: Plan) -> None:
    data = typed(operator, pending, steps__2__percent="90", steps__2__time="1")
    rollouts.start(KEY)
    response = operator.post(edit_url(pending), data)
    html = response.content.decode()
    assert "Not saved: the plan or its flag has changed since you opened the form." in text_of(html)
    assert "The plan now: Step 1 of 3, 5 %, until" in text_of(html)
    assert inputs_of(html, "")["steps-2-percent"] == "90"
    assert percents() == [5, 25, 100]
    response = operator.post(edit_url(pending), inputs_of(html, ""))
    operator.post(edit_url(pending), confirmed(response))
    assert percents() == [5, 25, 90]


def test_confirmation_that_is_stale_is_refused(operator: Client, running: Plan) -> None:
    response = save(operator, running, steps__1__percent="30")
    changes.flags.update(KEY, {"description": "changed"})
    rollouts.jump(KEY, 25)
    html = operator.post(edit_url(running), confirmed(response)).content.decode()
    assert "Not saved: the plan or its flag has changed" in text_of(html)
    assert percents() == [5, 25, 100]


def test_way_back_from_the_confirmation_keeps_the_version_of_the_form(
    operator: Client, running: Plan
) -> None:
    response = save(operator, running, steps__1__percent="30")
    rollouts.jump(KEY, 25)
    html = operator.post(edit_url(running), {**confirmed(response), "_edit": "1"}).content.decode()
    response = operator.post(edit_url(running), inputs_of(html, ""))
    assert "Not saved: the plan or its flag has changed" in text_of(response.content.decode())


def test_plan_that_has_tripped_or_cannot_be_read_has_no_form(
    operator: Client, running: Plan
) -> None:
    Plan.objects.update(trip_run_id=run_of(), trip_reason="errors")
    assert "?edit=1" not in page(operator, plan_url(running))
    Plan.objects.update(trip_run_id=None, guards=5)
    assert "?edit=1" not in page(operator, plan_url(running))


def test_reason_of_an_edit_is_required_where_all_changes_need_one(
    operator: Client, pending: Plan, settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "REQUIRE_REASON": True}
    save(operator, pending, steps__0__percent="10")
    assert percents()[0] == 5
    save(operator, pending, steps__0__percent="10", _reason="smaller")
    assert percents()[0] == 10
