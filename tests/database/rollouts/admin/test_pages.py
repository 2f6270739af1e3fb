"""Rollout plans in the admin: the list, the page of a plan, and their permissions."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from flagstaff import acting_as, rollouts
from flagstaff.exceptions import PlanError
from flagstaff.models import FeatureFlag
from flagstaff.rollouts.clock import ClockTimestamp
from flagstaff.rollouts.models import Plan, SignalCount, State, StepRun
from tests.support.admin_pages import column, messages_of, page, staff
from tests.support.plan_pages import INLINE, PLANS, button_names, plan_url, press, table, text_of
from tests.support.rollouts import (
    KEY,
    drive_recently,
    end_dwell_time,
    fail,
    make_flag,
    plan_of,
    rollout,
    run_of,
    see,
)

pytestmark = pytest.mark.django_db

STEPS = ["5:4h", "25:1d", "100"]
GUARDS = ["errors", "latency=0.5,limit=1.5,action=hold"]
RULES = [
    {
        "name": "paying",
        "conditions": [{"attribute": "plan", "operator": "in", "values": ["pro"]}],
        "rollout_percent": 100,
    }
]


@pytest.fixture(autouse=True)
def driver(db: None) -> None:
    drive_recently()


@pytest.fixture
def flag() -> FeatureFlag:
    return make_flag()


@pytest.fixture
def pending(flag: FeatureFlag) -> Plan:
    return rollouts.create(KEY, STEPS, guards=GUARDS)


@pytest.fixture
def running(pending: Plan) -> Plan:
    return rollouts.start(KEY)


def set_state(state: State, reason: str = "") -> Plan:
    Plan.objects.update(state=state, reason=reason)
    return plan_of()


def leave_unguarded() -> None:
    Plan.objects.update(guarded_until=ClockTimestamp() - timedelta(minutes=1))


# The list.


def test_list_shows_state_step_and_guards(operator: Client, admin_user: User) -> None:
    make_flag()
    with acting_as(admin_user):
        rollouts.start(KEY, STEPS, guards=GUARDS)
    html = page(operator, PLANS)
    assert column(html, "flag") == [KEY]
    assert column(html, "shown_state") == ["running"]
    assert column(html, "shown_step") == ["5 % · 1 of 3"]
    assert column(html, "due") == ["in 3 hours"]
    assert column(html, "shown_guards") == ["errors, latency over 0.5 s"]
    assert column(html, "started_by") == ["admin"]


def test_list_is_titled_and_labels_its_cells_for_a_phone(operator: Client, running: Plan) -> None:
    html = page(operator, PLANS)
    assert "Select rollout plan to change" not in html
    assert "<h1>Rollout plans</h1>" in html
    labels = re.findall(r'data-label="(.*?)"', html)
    assert labels == ["Step", "Due", "Guards"]


def test_list_shows_reason_of_holding_plan(operator: Client, running: Plan) -> None:
    set_state(State.HOLDING, "waits for users")
    assert column(page(operator, PLANS), "shown_state") == ["holding waits for users"]


def test_list_warns_of_unguarded_plan(operator: Client, running: Plan) -> None:
    assert "unguarded" not in column(page(operator, PLANS), "shown_state")[0]
    leave_unguarded()
    assert column(page(operator, PLANS), "shown_state") == ["running unguarded"]


def test_list_needs_as_many_queries_for_many_plans(operator: Client) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            page(operator, PLANS)
        return len(queries)

    make_flag()
    rollouts.start(KEY, STEPS)
    page(operator, PLANS)  # Fills Django's caches.
    before = count()
    for number in range(5):
        make_flag(f"f{number}")
        rollouts.start(f"f{number}", STEPS)
    assert count() == before


# The page.


def test_page_of_pending_plan_shows_steps_and_guards(operator: Client, pending: Plan) -> None:
    html = page(operator, plan_url(pending))
    assert "Not started: the workers measure" in html
    assert [row[:3] for row in table(html, "flagstaff-steps")] == [
        ["1", "5 %", "4 h"],
        ["2", "25 %", "1 d"],
        ["3", "100 %", "ends at once"],
    ]
    assert table(html, ">Guards<") == [
        ["Errors", "users inside fail less than 2 times as often", "rolls back"],
        ["Latency over 0.5 s", "users inside fail less than 1.5 times as often", "holds the plan"],
    ]
    assert "Required users: 1,000." in html
    assert "Each plan also has a brake" in html


def test_page_says_what_a_guard_tolerates(operator: Client) -> None:
    make_flag("dark_mode")
    plan = rollouts.create("dark_mode", ["5:1h"], guards=["errors,limit=3,tolerated=1.5"])
    [[_guard, passes, _trip]] = table(page(operator, plan_url(plan)), ">Guards<")
    assert passes == ("users inside fail less than 3 times as often; up to 1.5 times is tolerated")


def test_page_of_running_plan_shows_present_step_and_when_it_is_due(
    operator: Client, running: Plan
) -> None:
    html = page(operator, plan_url(running))
    assert re.search(r"Step 1 of 3, 5 %, until .* or later", text_of(html))
    first, second, _third = table(html, "flagstaff-steps")
    assert (first[3].startswith("since "), second[3].endswith("at the earliest")) == (True, True)
    end_dwell_time()
    assert "Step 1 of 3, 5 %: its time is over." in page(operator, plan_url(running))


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (State.HOLDING, "Step 1 of 3, 5 % — too few users"),
        (State.PAUSED, "Paused at step 1 of 3, 5 % — too few users"),
        (State.ROLLED_BACK, "rolled back Step 1 of 3, 5 % — too few users"),
        (State.ROLLED_BACK, "Rolled back at step 1 of 3, 5 %."),
        (State.DONE, "All 3 steps are complete, and the rollout is 100 % — too few users"),
    ],
)
def test_page_says_the_state_and_why(
    state: State, sentence: str, operator: Client, running: Plan
) -> None:
    set_state(state, "too few users" if "too few users" in sentence else "")
    if state == State.DONE:
        Plan.objects.update(step=2)
    assert sentence in text_of(page(operator, plan_url(running)))


def test_page_draws_the_figures_of_each_guard_and_lists_them(
    operator: Client, running: Plan
) -> None:
    run = run_of()
    see(run, inside=True, users=200)
    see(run, inside=False, users=3800)
    fail(run, inside=True, users=41)
    fail(run, inside=False, users=40)
    html = page(operator, plan_url(running))
    users, failing, share, ratio, upper, limit, *_evidence = table(html, "<h3>Errors")
    assert failing == ["Failing users", "41", "40"]
    assert share[0] == "Share"
    assert (float(share[1].split()[0]), float(share[2].split()[0])) == pytest.approx(
        (20.5, 1.0), rel=0.1
    )
    assert (ratio[0], limit) == ("Ratio", ["Limit", "2"])
    assert float(upper[1]) > float(ratio[1]) > 15
    assert users[0] == "Users"
    [drawn] = re.findall(r'<svg[^>]*aria-labelledby="flagstaff-guard-0.*?</svg>', html, re.DOTALL)
    assert "<title" in drawn
    assert f"inside: {share[1]}, 41 of {users[1]} users" in text_of(drawn)


def test_page_shows_what_a_step_could_have_seen(operator: Client, running: Plan) -> None:
    Plan.objects.update(required_users=100)
    see(run_of(), inside=True, users=200)
    see(run_of(), inside=False, users=3800)
    for guard in (0, 2):
        fail(run_of(), inside=True, users=3, guard=guard)
        fail(run_of(), inside=False, users=40, guard=guard)
    text = text_of(page(operator, plan_url(running)))
    assert re.search(r"A ratio of [\d.]+ would have tripped in four of five cases", text)
    assert "Would have tripped at a ratio of" in text


def test_page_of_ended_measurement_waits_for_nothing(operator: Client, running: Plan) -> None:
    assert "Waits for data" in page(operator, plan_url(running))
    rollouts.pause(KEY)
    html = page(operator, plan_url(running))
    assert "Waits for data" not in html
    assert re.search(r"Measured from .+ to .+\.", text_of(html))


def test_page_of_tripped_plan_keeps_its_verdict(operator: Client, running: Plan) -> None:
    see(run_of(), inside=True, users=200)
    see(run_of(), inside=False, users=3800)
    fail(run_of(), inside=True, users=41)
    fail(run_of(), inside=False, users=40)
    rollouts.rollback(KEY)
    assert "Errors: 41 of " in text_of(page(operator, plan_url(running)))


def test_page_shows_the_95th_percentile_of_latency(operator: Client, running: Plan) -> None:
    for inside, number, count in ((True, 10, 90), (True, 18, 10), (False, 10, 100)):
        SignalCount.objects.create(
            run_id=run_of(), inside=inside, kind="l", number=number, count=count
        )
    rows = table(page(operator, plan_url(running)), "Figures at")
    # Bucket 18 ends at 2^9.5 ms, bucket 10 at 2^5.5 ms.
    assert rows[2] == ["95 % are faster than", "724 ms", "45 ms"]


def test_page_before_the_start_forecasts_what_each_step_can_see(
    operator: Client, pending: Plan
) -> None:
    StepRun.objects.update(started_at=ClockTimestamp() - timedelta(hours=2))
    see(run_of(), inside=False, users=4000)
    fail(run_of(), inside=False, users=400)
    first, _second, last = table(page(operator, plan_url(pending)), "Forecast")
    assert first[0] == "5 %"
    assert re.search(
        r"Errors: twice as many failures inside trip after (about|at least) ", first[3]
    )
    assert "Latency over 0.5 s: no failures to compare yet" in first[3]
    assert last[3] == "no user is outside, so only functions of your project watch this step"


def test_page_without_traffic_makes_no_forecast_of_a_time(operator: Client, pending: Plan) -> None:
    html = page(operator, plan_url(pending))
    first, *_others = table(html, "Forecast")
    assert "no failures to compare yet" in first[3]
    assert "The forecast needs some traffic: open this page again later." in html
    see(run_of(), inside=False, users=40)
    assert "From the traffic measured so far:" in page(operator, plan_url(pending))


def test_page_lists_events_newest_first_with_their_actor(
    operator: Client, admin_user: User
) -> None:
    make_flag()
    with acting_as(admin_user):
        plan = rollouts.start(KEY, STEPS)
    started, created = table(page(operator, plan_url(plan)), ">Events<")
    assert started[1:] == ["started", "started: rollout 0 → 5 %", "admin"]
    assert created[1] == "created"


def test_page_of_unguarded_plan_warns_with_the_command(operator: Client, running: Plan) -> None:
    assert "Unguarded" not in page(operator, plan_url(running))
    leave_unguarded()
    html = page(operator, plan_url(running))
    [warning] = re.findall(r'role="alert">(.*?)</p>', html)
    assert text_of(warning).startswith("Unguarded: run-jobs does not watch this plan")
    assert "<code>manage.py flags run-jobs --loop</code>" in warning


def test_page_of_pending_plan_without_a_driver_warns(operator: Client, pending: Plan) -> None:
    drive_recently(minutes=6)
    assert "The plan cannot start, because run-jobs does not run." in page(
        operator, plan_url(pending)
    )


def test_page_of_pending_plan_of_disabled_flag_says_what_to_do_first(
    operator: Client, pending: Plan
) -> None:
    FeatureFlag.objects.update(enabled=False)
    assert "Turn the flag on first." in page(operator, plan_url(pending))


def test_page_of_running_plan_of_disabled_flag_says_that_nobody_has_it(
    operator: Client, running: Plan
) -> None:
    FeatureFlag.objects.update(enabled=False)
    assert "The flag is off, so the rollout has no effect." in page(operator, plan_url(running))


def test_page_says_that_a_trip_turns_off_a_flag_with_rules(operator: Client) -> None:
    make_flag(rules=RULES)
    html = page(operator, plan_url(rollouts.create(KEY, STEPS)))
    assert "If a guard trips, the flag is also turned off, because a rule can grant it." in html


def test_page_of_plan_without_its_flag_says_so(
    operator: Client, pending: Plan, flag: FeatureFlag
) -> None:
    flag.delete()
    html = page(operator, plan_url(pending))
    assert "The flag no longer exists. Delete this plan." in html


BROKEN: list[tuple[dict[str, object], str]] = [
    ({"steps": "no list"}, "The steps that the plan has stored cannot be read"),
    ({"step": 99}, "The plan is at step 100 of 3; create the plan again"),
    ({"guards": [{"kind": 1}]}, "1 is not a kind of guard"),
    ({"guards": 5}, "The guards that the plan has stored cannot be read"),
    ({"state": "odd"}, "The plan has the unknown state odd; delete the plan"),
]


@pytest.mark.parametrize(("broken", "problem"), BROKEN)
def test_plan_that_cannot_be_read_is_listed_and_says_why(
    operator: Client, running: Plan, broken: dict[str, object], problem: str
) -> None:
    Plan.objects.update(**broken)
    assert column(page(operator, PLANS), "flag") == [KEY]
    assert problem in text_of(page(operator, plan_url(running)))


def test_plan_that_cannot_be_read_is_stopped_and_deleted(operator: Client, running: Plan) -> None:
    Plan.objects.update(guards=5)
    assert button_names(page(operator, plan_url(running))) == ["pause", "rollback"]
    press(operator, running, "pause")
    assert button_names(page(operator, plan_url(running))) == ["rollback"]
    press(operator, running, "rollback")
    assert (plan_of().state, rollout()) == (State.ROLLED_BACK, 0)
    operator.post(f"{PLANS}{running.pk}/delete/", {"_confirmed": "1", "_delete": "1"})
    assert not Plan.objects.exists()


def test_plan_with_an_unknown_state_is_deleted(operator: Client, running: Plan) -> None:
    Plan.objects.update(state="odd")
    with pytest.raises(
        PlanError, match=r"is odd and cannot be paused; .* plan new_checkout delete"
    ):
        rollouts.pause(KEY)
    assert "odd" in page(operator, f"{PLANS}{running.pk}/delete/")
    operator.post(f"{PLANS}{running.pk}/delete/", {"_confirmed": "1", "_delete": "1"})
    assert not Plan.objects.exists()


def test_page_of_missing_plan_redirects_with_a_message(operator: Client) -> None:
    response = operator.get(f"{PLANS}77/change/", follow=True)
    assert "exist" in messages_of(response)[0]


def test_page_makes_few_queries(operator: Client, running: Plan) -> None:
    with CaptureQueriesContext(connection) as queries:
        page(operator, plan_url(running))
    assert len(queries) <= 20


@pytest.mark.parametrize("guarded", [True, False])
def test_pages_have_no_inline_style_or_script(
    guarded: bool, operator: Client, running: Plan
) -> None:
    see(run_of(), inside=True, users=20)
    see(run_of(), inside=False, users=300)
    fail(run_of(), inside=False, users=30)
    if not guarded:
        leave_unguarded()
    make_flag("other")
    other = rollouts.create("other", STEPS)
    paths = ("", f"{running.pk}/change/", f"{other.pk}/change/", "add/", f"{other.pk}/delete/")
    for path in paths:
        # Django's own breadcrumbs and scripts are files.
        [content] = re.findall(r'<div id="content".*', page(operator, PLANS + path), re.DOTALL)
        assert INLINE.findall(content) == [], path


# Permissions.


def test_permission_to_change_flags_is_needed_to_change_plans(running: Plan) -> None:
    viewer = staff("view_featureflag")
    html = page(viewer, plan_url(running))
    assert (button_names(html), "deletelink" in html) == ([], False)
    assert viewer.post(plan_url(running), {"_plan": "pause"}).status_code == 403
    assert viewer.get(f"{PLANS}{running.pk}/delete/").status_code == 403
    assert viewer.get(f"{PLANS}add/").status_code == 403
    assert plan_of().state == State.RUNNING


def test_user_who_may_change_flags_sees_the_buttons(running: Plan) -> None:
    editor = staff("change_featureflag")
    assert button_names(page(editor, plan_url(running))) == ["jump", "pause", "rollback"]
    assert column(page(editor, PLANS), "flag") == [KEY]


def test_permissions_of_plans_alone_open_no_page(running: Plan) -> None:
    other = staff("view_plan", "change_plan", "add_plan", "delete_plan")
    for path in ("", "add/", f"{running.pk}/change/", f"{running.pk}/delete/"):
        assert other.get(PLANS + path).status_code == 403
