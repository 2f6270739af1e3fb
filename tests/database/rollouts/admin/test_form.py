"""The form of the admin that creates a rollout plan."""

from __future__ import annotations

import re
from dataclasses import fields
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flagstaff import rollouts
from flagstaff.models import FeatureFlag
from flagstaff.rollouts.guards import Guard
from flagstaff.rollouts.models import Plan, PlanEvent, State
from flagstaff.rollouts.steps import DEFAULT_STEPS, steps_as_json
from tests.support.admin_pages import (
    messages_of,
    page,
)
from tests.support.form_inputs import inputs_of
from tests.support.plan_pages import PLANS, plan_url, text_of
from tests.support.rollouts import KEY, RULES, make_flag, plan_of, rollout

pytestmark = pytest.mark.django_db

ADD = f"{PLANS}add/"


def guard_is_fine(plan: Plan) -> bool:
    """A guard of the project."""
    return True


@pytest.fixture(autouse=True)
def flag(driver: None) -> FeatureFlag:
    return make_flag()


def create(operator: Client, **changes: Any) -> Any:
    """Posts what a browser would for the flag, with changes."""
    changes = {name.replace("__", "-"): value for name, value in changes.items()}
    data = inputs_of(page(operator, f"{ADD}?flag={KEY}"), "") | changes
    return operator.post(ADD, data, follow=True)


def test_unchanged_form_creates_the_default_plan(operator: Client, admin_user: User) -> None:
    response = create(operator, _reason="launch")
    plan = plan_of()
    assert response.redirect_chain == [(plan_url(plan), 302)]
    assert messages_of(response) == [f"The rollout plan of “{KEY}” was created."]
    assert (plan.state, plan.required_users) == (State.PENDING, 10)
    assert plan.steps == steps_as_json(DEFAULT_STEPS)
    assert [guard["kind"] for guard in plan.guards] == ["errors"]
    assert PlanEvent.objects.get().actor == str(admin_user.pk)
    assert rollout() == 0


def test_form_proposes_steps_and_says_what_a_trip_does(operator: Client) -> None:
    url = f"{ADD}?flag={KEY}"
    assert "because a rule can grant it" not in page(operator, url)
    FeatureFlag.objects.update(rollout_percent=5, rules=RULES)
    html = page(operator, url)
    assert "The rollout is 5 % now." in html
    assert "because a rule can grant it" in html
    create(operator)
    assert [step["percent"] for step in plan_of().steps] == [25, 50, 100]


def test_form_proposes_what_the_users_of_the_site_can_reach(operator: Client) -> None:
    User.objects.bulk_create(User(username=f"user{number}") for number in range(400))
    create(operator)
    # A tenth of 401 users, who are 10 % of them.
    assert plan_of().required_users == 40
    assert [step["percent"] for step in plan_of().steps] == [10, 25, 50, 100]


def test_box_of_latency_watches_slow_requests(operator: Client) -> None:
    create(operator, watch_latency="on", latency_seconds="0.7")
    errors, latency = plan_of().guards
    assert errors["kind"] == "errors"
    assert (latency["kind"], latency["seconds"], latency["limit"]) == ("latency", 0.7, 2)


def test_plan_without_boxes_has_no_guard(operator: Client) -> None:
    create(operator, watch_errors="")
    assert plan_of().guards == []


def test_form_copies_the_last_plan(operator: Client) -> None:
    make_flag("other")
    guards = ["latency=0.7", "errors,limit=3"]
    last = rollouts.create("other", ["2:1h", "100"], guards=guards, required_users=77)
    url = f"{ADD}?flag={KEY}"
    [path] = re.findall(r'href="(\?flag=[^"]*like=[^"]*)"', page(operator, url))
    operator.post(ADD, inputs_of(page(operator, ADD + unescape(path)), ""))
    plan = plan_of()
    assert plan.key == KEY
    assert (plan.steps, plan.required_users) == (last.steps, 77)
    assert {guard["kind"]: guard["limit"] for guard in plan.guards} == {"latency": 2, "errors": 3}


@pytest.mark.parametrize("like", ["", "77", "x", "9" * 40])
def test_unknown_plan_to_copy_is_ignored(like: str, operator: Client) -> None:
    assert "Plan a rollout" in page(operator, f"{ADD}?flag={KEY}&like={like}")


def test_steps_are_read_with_their_units_and_empty_rows_are_ignored(operator: Client) -> None:
    steps = [(2, "30", "60"), ("", "", "3600"), (10, "1.5", "3600"), (100, "2", "86400")]
    rows: dict[str, object] = {}
    for row, (percent, time, unit) in enumerate([*steps, *[("", "", "3600")] * 4]):
        cells = {"percent": percent, "time": time, "unit": unit}
        rows |= {f"steps__{row}__{name}": cell for name, cell in cells.items()}
    create(operator, **rows)
    found = [(step["percent"], step["seconds"]) for step in plan_of().steps]
    assert found == [(2, 1800), (10, 5400), (100, 172_800)]


def test_guards_are_read_and_rows_without_a_kind_are_ignored(operator: Client) -> None:
    create(
        operator,
        watch_errors="",
        guards__TOTAL_FORMS="4",
        guards__0__kind="errors",
        guards__0__limit="1.5",
        guards__0__tolerated="1.2",
        guards__1__kind="latency",
        guards__1__seconds="0.5",
        guards__1__action="hold",
        guards__2__kind="function",
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps__0__percent": "", "steps__0__time": "5"}, "Write the percentage, or empty"),
        ({"steps__1__percent": "1"}, "each step must be higher than the one before"),
        ({"steps__0__percent": "101"}, "less than or equal to 100"),
        ({"guards__0__kind": "latency"}, "Write the seconds above which"),
        ({"guards__0__kind": "function"}, "Write the path of the function"),
        ({"guards__0__seconds": "3"}, "Choose the guard, or empty the row."),
        ({"guards__0__kind": "errors"}, "is given twice"),
        (
            {"guards__0__kind": "errors", "guards__0__tolerated": "2"},
            "write a number above tolerated, which is 2",
        ),
        ({"guards__0__tolerated": "0.5"}, "greater than or equal to 1"),
        ({"watch_latency": "on", "latency_seconds": ""}, "Write the seconds above which"),
        ({"required_users": "0"}, "greater than or equal to 1"),
        ({"key": "no_such_flag"}, "there is no flag"),
        ({"key": ""}, "This field is required."),
        ({"key": "planned"}, "has a rollout plan already"),
        ({"key": "at_ten"}, "begin with a higher step"),
    ],
)
def test_mistake_is_explained_and_nothing_is_created(
    changes: dict[str, str], message: str, operator: Client
) -> None:
    make_flag("at_ten", rollout_percent=10)
    make_flag("planned")
    rollouts.create("planned")
    response = create(operator, **{"steps__2__time": "7", **changes})
    assert response.status_code == 200
    html = response.content.decode()
    assert message in text_of(html)
    assert "Please correct the errors below." in html
    assert 'name="steps-2-time" value="7"' in html
    assert Plan.objects.count() == 1


@pytest.mark.parametrize(("name", "before"), [("steps", 5), ("guards", 1)])
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
