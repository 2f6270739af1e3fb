"""The form of the admin that creates a rollout plan."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flagstaff import rollouts
from flagstaff.models import FeatureFlag
from flagstaff.rollouts.guards import Guard
from flagstaff.rollouts.models import Plan, PlanEvent, State
from flagstaff.rollouts.steps import DEFAULT_STEPS, steps_as_json
from tests.support.admin_pages import messages_of, page
from tests.support.plan_pages import PLANS, plan_url, text_of
from tests.support.rollouts import KEY, drive_recently, make_flag, plan_of, rollout

pytestmark = pytest.mark.django_db

ADD = f"{PLANS}add/"


def guard_is_fine(plan: Plan) -> bool:
    """A guard of the project."""
    return True


@pytest.fixture(autouse=True)
def flag(db: None) -> FeatureFlag:
    drive_recently()
    return make_flag()


def form(url: str, operator: Client, **changes: Any) -> dict[str, Any]:
    """Returns what a browser would post for the form of the page, with changes."""
    context = operator.get(url).context
    data: dict[str, Any] = {}
    for one in (context["form"], context["steps"], context["guards"]):
        forms = [one] if one is context["form"] else [one.management_form, *one]
        for part in forms:
            data |= {field.html_name: field.value() for field in part}
    values = {name: "" if value is None else value for name, value in data.items()}
    return {**values, **{name.replace("__", "-"): value for name, value in changes.items()}}


def create(operator: Client, **changes: Any) -> Any:
    """Posts the form for the flag."""
    data = form(f"{ADD}?flag={KEY}", operator, **changes)
    return operator.post(ADD, data, follow=True)


def test_unchanged_form_creates_a_plan_with_the_default_steps_and_guard(
    operator: Client, admin_user: User
) -> None:
    response = create(operator, _reason="launch")
    plan = plan_of()
    assert response.redirect_chain == [(plan_url(plan), 302)]
    assert messages_of(response) == [f"The rollout plan of “{KEY}” was created."]
    assert (plan.state, plan.required_users, plan.starts_at) == (State.PENDING, 1000, None)
    assert plan.steps == steps_as_json(DEFAULT_STEPS)
    assert [guard["kind"] for guard in plan.guards] == ["errors"]
    assert PlanEvent.objects.get().actor == str(admin_user.pk)
    assert rollout() == 0


def test_form_proposes_steps_above_the_present_rollout(operator: Client) -> None:
    FeatureFlag.objects.update(rollout_percent=5)
    assert "The rollout is 5 % now." in page(operator, f"{ADD}?flag={KEY}")
    create(operator)
    assert [step["percent"] for step in plan_of().steps] == [25, 50, 100]


def test_steps_are_read_with_their_units_and_empty_rows_are_ignored(operator: Client) -> None:
    steps = [(2, "30", "60"), ("", "", "3600"), (10, "1.5", "3600"), (100, "2", "86400")]
    rows: dict[str, object] = {
        f"steps__{row}__{name}": "" for row in range(8) for name in ("percent", "time")
    }
    for row, (percent, time, unit) in enumerate(steps):
        rows |= {
            f"steps__{row}__percent": percent,
            f"steps__{row}__time": time,
            f"steps__{row}__unit": unit,
        }
    create(operator, **rows)
    found = [(step["percent"], step["seconds"]) for step in plan_of().steps]
    assert found == [(2, 1800), (10, 5400), (100, 172_800)]


def test_guards_are_read_and_rows_without_a_kind_are_ignored(operator: Client) -> None:
    create(
        operator,
        guards__0__limit="1.5",
        guards__0__tolerated="1.2",
        guards__1__kind="latency",
        guards__1__seconds="0.5",
        guards__1__action="hold",
        guards__2__kind="callable",
        guards__2__path=f"{__name__}.guard_is_fine",
    )
    errors, latency, function = plan_of().guards
    assert (errors["kind"], errors["limit"], errors["tolerated"]) == ("errors", 1.5, 1.2)
    assert (latency["seconds"], latency["action"]) == (0.5, "hold")
    assert (latency["limit"], latency["tolerated"]) == (2, 1)
    assert function["path"].endswith("guard_is_fine")


def test_form_can_set_all_that_a_guard_has(operator: Client) -> None:
    [row, *_] = operator.get(ADD).context["guards"]
    assert {*row.fields} == {field.name for field in fields(Guard)}


def test_start_time_schedules_the_plan(operator: Client) -> None:
    create(operator, starts_at="2031-05-01T14:30")
    plan = plan_of()
    assert plan.starts_at is not None
    assert "Starts at May 1, 2031, 14:30:00" in page(operator, plan_url(plan))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps__0__percent": "", "steps__0__time": "5"}, "Write the percentage, or empty"),
        ({"steps__1__percent": "1"}, "each step must be higher than the one before"),
        ({"steps__0__percent": "101"}, "less than or equal to 100"),
        ({"steps__0__time": "0"}, "step 1 % has no time"),
        ({"guards__1__kind": "latency"}, "Write the seconds above which"),
        ({"guards__1__kind": "callable"}, "Write the path of the function"),
        ({"guards__1__kind": "callable", "guards__1__path": "no.such"}, "cannot be imported"),
        ({"guards__1__seconds": "3"}, "Choose the guard, or empty the row."),
        ({"guards__1__kind": "errors"}, "is there twice"),
        ({"guards__0__limit": "1"}, "write a number above tolerated, which is 1"),
        ({"guards__0__tolerated": "2"}, "write a number above tolerated, which is 2"),
        ({"guards__0__tolerated": "0.5"}, "greater than or equal to 1"),
        ({"required_users": "0"}, "greater than or equal to 1"),
        ({"key": "no_such_flag"}, "there is no flag"),
        ({"key": ""}, "This field is required."),
        ({"starts_at": "tomorrow"}, "Enter a valid date/time."),
    ],
)
def test_mistake_is_explained_and_nothing_is_created(
    changes: dict[str, str], message: str, operator: Client
) -> None:
    response = create(operator, **changes)
    assert response.status_code == 200
    html = response.content.decode()
    assert message in text_of(html)
    assert "Please correct the errors below." in html
    assert not Plan.objects.exists()


def test_values_are_kept_after_a_mistake(operator: Client) -> None:
    html = create(operator, required_users="0", steps__1__time="7").content.decode()
    assert 'name="steps-1-time" value="7"' in html


def test_second_plan_of_a_flag_is_refused(operator: Client) -> None:
    rollouts.create(KEY)
    response = create(operator)
    assert "has a rollout plan already" in text_of(response.content.decode())
    assert Plan.objects.count() == 1


def test_first_step_below_the_rollout_is_refused(operator: Client) -> None:
    data = form(f"{ADD}?flag={KEY}", operator)
    FeatureFlag.objects.update(rollout_percent=10)
    html = operator.post(ADD, data).content.decode()
    assert "begin with a higher step" in text_of(html)


@pytest.mark.parametrize(("name", "before"), [("steps", 8), ("guards", 3)])
def test_button_adds_empty_rows_and_creates_nothing(
    name: str, before: int, operator: Client
) -> None:
    response = create(operator, _more=name, required_users="77")
    html = response.content.decode()
    assert f'name="{name}-TOTAL_FORMS" value="{before + 3}"' in html
    assert 'value="77"' in html
    assert "Please correct" not in html
    assert not Plan.objects.exists()


@pytest.mark.parametrize("total", ["", "-1", "x", "9" * 50, "100"])
def test_odd_number_of_rows_is_no_server_error(total: str, operator: Client) -> None:
    changes = {"steps__TOTAL_FORMS": total}
    assert create(operator, **changes).status_code == 200
    assert create(operator, **changes, _more="steps").status_code == 200


def test_form_suggests_flags_without_an_active_plan(operator: Client) -> None:
    make_flag("other")
    rollouts.create(KEY)
    html = page(operator, ADD)
    assert '<option value="other">' in html
    assert f'<option value="{KEY}">' not in html


def test_form_says_that_a_trip_turns_off_a_flag_with_rules(operator: Client) -> None:
    url = f"{ADD}?flag={KEY}"
    assert "because a rule can grant it" not in page(operator, url)
    condition = {"attribute": "plan", "operator": "in", "values": ["pro"]}
    FeatureFlag.objects.update(rules=[{"conditions": [condition], "rollout_percent": 100}])
    assert "because a rule can grant it" in page(operator, url)
