"""Rollout plans in the admin: the list, the page of a plan, and what flags show of plans."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client, override_settings

from flagstaff import acting_as, changes, rollouts
from flagstaff._tables.rows import Kind
from flagstaff.admin.parts import AppPages
from flagstaff.history.log import version_of
from flagstaff.models import FeatureFlag
from flagstaff.rollouts.admin.plans import PAGES
from flagstaff.rollouts.driver import run_plans
from flagstaff.rollouts.models import (
    ClockTimestamp,
    FailedUnit,
    Plan,
    PlanEvent,
    SignalCount,
    State,
)
from flagstaff.rollouts.transitions import with_flags
from tests.support.admin_pages import (
    FLAGS,
    column,
    count_queries,
    errors_of,
    events_of,
    flag_url,
    notes_of,
    page,
    preview_of,
    restore_url,
    staff,
    text_of,
    undo_url,
)
from tests.support.plans import (
    KEY,
    PLANS,
    RULES,
    action_url,
    actions_of,
    do,
    drive_recently,
    end_dwell_time,
    fail,
    go_to,
    leave_unguarded,
    make_flag,
    plan_of,
    plan_url,
    rollout,
    run_of,
    see,
    trip,
)
from tests.support.screen import Screen
from tests.support.shop import Shop
from tests.support.terminals import document, ok, run, typed

NONE = "\N{EN DASH}"
STAFF = [{"conditions": [{"attribute": "is_staff", "operator": "in", "values": [True]}]}]
STEPS = ["25:4h", "100"]
GUARDS = ["errors", "latency=0.5,limit=1.5,action=hold"]


@pytest.fixture
def pending(flag: FeatureFlag) -> Plan:
    """A plan with two guards."""
    return rollouts.create(KEY, STEPS, guards=GUARDS)


def head(html: str) -> str:
    """Returns the text of the head of the page of a plan."""
    return text_of(html.partition('class="flagstaff-title">')[2].partition("<section")[0])


def hold() -> None:
    end_dwell_time()
    run_plans()
    assert plan_of().state == State.HOLDING


def pause_by_a_change() -> None:
    changes.flags.set_rollout(KEY, 60)
    run_plans()
    assert plan_of().state == State.PAUSED


@pytest.mark.parametrize(
    ("happens", "state", "text"),
    [
        (trip, "rolled back", r"Step 1 of 2, 25 → 0 % — errors: 300 of [\d,]+ users .*"),
        (hold, "holding", "Step 1 of 2, 25 % — waits for data: .*"),
        (pause_by_a_change, "paused", "Step 1 of 2, 25 % — the flag was changed outside .*"),
        (leave_unguarded, "unguarded", "Step 1 of 2, 25 %, .* — no guard can stop it, because .*"),
        (lambda: rollouts.pause(KEY), "paused", r"Step 1 of 2, 25 %\."),
    ],
    ids=["tripped", "held", "changed", "unguarded", "paused"],
)
def test_plan_that_waits_for_a_person_is_red_and_comes_first_with_its_reason(  # noqa: PLR0913, PLR0917 (a table)
    happens: Any, state: str, text: str, operator: Client, running: Plan, flag: FeatureFlag
) -> None:
    def red() -> list[str]:
        """What the list of flags and the page of the flag show in red."""
        list_of_flags, page_of_flag = page(operator, FLAGS), page(operator, flag_url(flag))
        in_list = Screen(list_of_flags).texts("small.flagstaff-alert")
        return [*in_list, *Screen(page_of_flag).texts("p.flagstaff-alarm")]

    assert (plan_of().needs_attention, red()) == (False, [])
    [shown_state] = column(page(operator, PLANS), "shown_state")
    assert re.fullmatch(r"running ?Step 1 of 2, 25 %, until .* or later\.", shown_state)
    happens()
    # By its row, and by the queries of a list.
    assert plan_of().needs_attention
    assert plan_of() in [*Plan.objects.needing_attention(), *Plan.objects.unguarded()]
    shown = red()
    # In the colour of the state, as on the page of the plan.
    is_harm = state in {"rolled back", "unguarded"}
    assert len(shown) == (2 if is_harm else 1)
    for text_in_red in shown:
        in_list = f"plan: {state} — {text}" if state != "rolled back" else "errors: 300 of .*back"
        assert re.match(f"{in_list}|Rollout plan {state} {text}", text_in_red)
    for key in ("later", "last"):
        make_flag(key)
        rollouts.create(key, STEPS)
    html = page(operator, PLANS)
    assert column(html, "flag") == [KEY, "last", "later"]
    assert re.fullmatch(f"{state} ?{text}", column(html, "shown_state")[0])


def test_attention_ends_with_a_roll_back_by_a_person_a_resume_or_another_plan(
    running: Plan,
) -> None:
    hold()
    rollouts.rollback(KEY)
    assert not plan_of().needs_attention
    rollouts.resume(KEY)
    trip()
    rollouts.create(KEY, STEPS)
    assert not Plan.objects.needing_attention().exists()
    rollouts.delete(KEY)
    rollouts.resume(KEY)
    assert not plan_of().needs_attention
    assert not Plan.objects.needing_attention().exists()


def test_list_needs_as_many_queries_for_many_plans(operator: Client, running: Plan) -> None:
    before = count_queries(operator, PLANS)
    for number in range(5):
        make_flag(f"f{number}")
        rollouts.start(f"f{number}", STEPS)
    assert count_queries(operator, PLANS) == before


def test_page_shows_the_state_the_steps_the_guards_and_the_events(
    operator: Client, running: Plan
) -> None:
    html = page(operator, plan_url(running))
    text = head(html)
    assert text.startswith(f"{KEY} running Pause… Roll back 25 → 0 %… Step 1 of 2, 25 %, until ")
    assert "Waits for data: no request or task of a user with the flag has ended yet." in text
    steps = Screen(html).section("Steps")
    assert steps.texts("li") == ["25 %, running 4 h", "100 % to the end"]
    assert steps.attributes("svg", "height") == ["25", "100"]
    assert len(steps.all("[aria-current=step]")) == 1
    assert Screen(html).section("Guards").rows == [
        ["errors rolls back to 0 %, limit: 2 times as often", NONE, NONE, NONE, "no failures yet"],
        [
            "latency over 0.5 s holds the plan, limit: 1.5 times as often",
            NONE,
            NONE,
            NONE,
            "no failures yet",
        ],
    ]
    started, created = events_of(html)
    assert started.startswith("started: rollout 0 → 25 %")
    assert created.startswith("created with the steps 25 % for 4 h, 100 %")
    assert count_queries(operator, plan_url(running)) <= 25


def test_roll_back_stands_last_and_the_next_action_is_the_filled_button(
    operator: Client, running: Plan
) -> None:
    def buttons() -> tuple[list[str], list[str]]:
        screen = Screen(page(operator, plan_url(running)))
        return screen.texts(".flagstaff-title > div a"), screen.texts("a.flagstaff-main")

    assert buttons() == (["Pause…", "Roll back 25 → 0 %…"], ["Roll back 25 → 0 %…"])
    rollouts.pause(KEY)
    assert buttons() == (["Resume…", "Roll back 25 → 0 %…"], ["Resume…"])


def test_guards_compare_the_users_with_the_flag_and_without_it_also_after_a_roll_back(
    operator: Client, running: Plan
) -> None:
    Plan.objects.update(required_users=2000)
    see(run_of(), inside=True, users=1000)
    see(run_of(), inside=False, users=3000)
    for inside, users in ((True, 100), (False, 30)):
        fail(run_of(), inside=inside, users=users)
        fail(run_of(), inside=inside, users=3, guard=2)
        for kind, count in (("a", 9000), ("f", users)):
            SignalCount.objects.create(run_id=run_of(), inside=inside, kind=kind, count=count)
    errors, latency = Screen(page(operator, plan_url(running))).section("Guards").rows
    assert re.fullmatch(r"(9\.\d|10) % 100 of [\d,]+ users · 100 of 9,000 requests", errors[1])
    assert re.fullmatch(r"(0\.9\d|1) % 30 of [\d,]+ users · 30 of 9,000 requests", errors[2])
    assert re.fullmatch(r"(9\.\d|1\d) · 3\.3 by requests at most \d+", errors[3])
    assert (errors[4], latency[4]) == ("tripped", "not decided")
    with acting_as("ann", reason="broken baskets"):
        rollouts.rollback(KEY)
    html = page(operator, plan_url(running))
    assert "Step 1 of 2, 25 → 0 % — broken baskets." in head(html)
    assert "100 of" in Screen(html).section("Guards").rows[0][1]
    assert "ann" in events_of(html)[0]


def test_page_of_pending_plan_says_what_to_do_first(operator: Client, pending: Plan) -> None:
    drive_recently(minutes=6)
    # As SQL can write it: no step lasts until then.
    Plan.objects.update(due_at=ClockTimestamp() + timedelta(hours=1))
    html = page(operator, plan_url(pending))
    text = "Not started: the workers count users and failures already, and the rollout stays"
    assert f"{text} as it is." in head(html)
    assert "Not started" in column(page(operator, PLANS), "shown_state")[0]
    assert "The plan cannot start, because run-jobs does not run." in html
    assert "a roll back also turns it off" not in html
    FeatureFlag.objects.update(enabled=False, rules=RULES)
    html = page(operator, plan_url(pending))
    assert "The flag is off. The start of the plan turns it on." in html
    assert "A rule can grant the flag, so a roll back also turns it off." in html
    FeatureFlag.objects.all().delete()
    assert "The flag no longer exists. Delete this plan." in page(operator, plan_url(pending))


def test_filter_by_state_finds_the_states_that_the_list_shows(
    operator: Client, running: Plan
) -> None:
    assert column(page(operator, f"{PLANS}?state=running"), "flag") == [KEY]
    # No run of the driver has written yet that this pauses the plan.
    changes.flags.set_rollout(KEY, 60)
    assert column(page(operator, f"{PLANS}?state=running"), "flag") == []
    assert column(page(operator, f"{PLANS}?state=paused"), "flag") == [KEY]


@pytest.mark.parametrize("state", [State.PENDING, State.RUNNING, State.PAUSED, State.ROLLED_BACK])
@pytest.mark.one_in(4)
def test_page_of_a_plan_whose_key_belongs_to_another_flag_offers_only_delete(
    operator: Client, running: Plan, state: str
) -> None:
    Plan.objects.update(state=state, step=None if state == State.PENDING else 0)
    FeatureFlag.objects.all().delete()
    make_flag(rollout_percent=70)
    assert actions_of(page(operator, plan_url(running))) == ["delete"]
    do(operator, running, "roll-back")
    assert rollout() == 70
    do(operator, running, "delete")
    assert not Plan.objects.exists()


def test_page_shows_the_figures_at_a_trip_and_not_those_since(
    operator: Client, running: Plan
) -> None:
    run_id = run_of()
    trip()
    for number in (500, 501):
        FailedUnit.objects.create(run_id=run_id, guard=0, inside=True, unit=number)
    html = page(operator, plan_url(running))
    assert re.search(r"rolled back .*Step 1 of 2, 25 → 0 % — .*300 of [\d,]+ users", head(html))
    [guard, *_others] = Screen(html).section("Guards").rows
    assert re.search(r"% 300 of 1,[12]\d\d users", guard[1])


@pytest.mark.parametrize(
    ("reason", "tripped"),
    [
        ("errors: 5 of 17 users", [True, False, False]),
        ("shop.guards.orders: none", [False, True, False]),
        # It is stored without separators.
        ("latency over 1500 s: 5 of 17 users", [False, False, True]),
    ],
)
def test_guard_is_shown_as_tripped_by_the_brake_or_by_its_function(
    reason: str, tripped: list[bool], operator: Client, running: Plan
) -> None:
    failed = {"inside": 5, "outside": 0}
    errors = {"number": 0, "failed": failed, "comparisons": [], "upper": None}
    errors |= {"at_risk": [9, 9], "failed_at_risk": [0, 5]}
    figures = {"users_inside": 17, "users_outside": 9, "trip": "brake"}
    undecided = {**errors, "tripped": False, "passed": False}
    figures["guards"] = [undecided, {**undecided, "number": 3}]
    guards = ["errors", "function=shop.guards.orders", "latency=1500"]
    Plan.objects.update(guards=guards, trip_reason=reason, trip_figures=figures)
    section = Screen(page(operator, plan_url(running))).section("Guards")
    states = [row.texts(".flagstaff-state.flagstaff-tripped") for row in section.all("tbody tr")]
    assert states == [["tripped"] * is_tripped for is_tripped in tripped]


def test_page_of_unguarded_plan_warns_with_the_command(operator: Client, running: Plan) -> None:
    assert "Unguarded" not in page(operator, plan_url(running))
    leave_unguarded()
    html = page(operator, plan_url(running))
    assert head(html).startswith(f"{KEY} unguarded")
    assert "Unguarded: run-jobs does not watch this plan" in text_of(html)
    assert "<code>manage.py flags run-jobs --loop</code>" in html


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ({"steps": []}, "the plan has no steps; add one"),
        ({"steps": [5]}, "its steps and guards are not two lists of texts"),
        ({"guards": 5}, "its steps and guards are not two lists of texts"),
        ({"guards": ["speed"]}, "'speed' is not a guard"),
        ({"step": 7}, "it has no step 8"),
    ],
)
@pytest.mark.one_in(4)
def test_plan_that_sql_has_broken_is_shown_and_can_only_be_stopped(
    broken: dict[str, Any], why: str, operator: Client, running: Plan, flag: FeatureFlag
) -> None:
    Plan.objects.update(**broken)
    leave_unguarded()
    why = f"the plan cannot be read: {why}"
    for url in (PLANS, plan_url(running), FLAGS, flag_url(flag), f"{FLAGS}overview/"):
        assert why in text_of(page(operator, url)), url
    assert why in ok(f"plan show {KEY}").out
    assert KEY in ok("plan list").out
    do(operator, running, "pause")
    assert why in run(f"plan resume {KEY}").err
    for state, action in ((State.PAUSED, "resume"), (State.PENDING, "start")):
        Plan.objects.update(state=state)
        url = action_url(running, action)
        assert f'href="{url}' not in page(operator, plan_url(running))
        for response in (operator.get(url), operator.post(url, {"_confirmed": "1"})):
            assert any(why in error for error in errors_of(response)), action
        assert plan_of().state == state
    Plan.objects.update(state=State.PAUSED)
    ok(f"plan roll-back {KEY}")
    assert (plan_of().state, rollout()) == (State.ROLLED_BACK, 0)


def test_stored_texts_are_shown_in_english_beside_the_german_kind(
    operator: Client, running: Plan
) -> None:
    why = "waits for users: 1234 of 56789"
    Plan.objects.update(state=State.HOLDING, reason=why, due_at=None)
    PlanEvent.objects.create(plan=running, kind="held", message=why)
    with override_settings(LANGUAGE_CODE="de"):
        html = page(operator, plan_url(running))
        held, started, _created = events_of(html)
        assert held.startswith(f"angehalten: „{why}“")
        assert why in Screen(html).texts("[lang=en]")
        assert "gestartet: „rollout 0 → 25 %“" in started
        assert f"Schritt 1 von 2, 25 % \N{EN DASH} {why}" in text_of(html)
        assert why in text_of(page(operator, PLANS))


# The list and the page of flags.


def kill_and_undo() -> None:
    changes.flags.disable(KEY)
    changes.flags.enable(KEY)


@pytest.mark.parametrize(
    "change",
    [
        lambda: changes.flags.disable(KEY),
        kill_and_undo,
        lambda: changes.flags.allow(KEY, Shop().user("alice").pk),
        lambda: changes.flags.update(KEY, {"rules": STAFF}),
    ],
    ids=["killed", "killed and turned on", "allowed user", "rules"],
)
@pytest.mark.one_in(4)
def test_plan_is_shown_as_paused_as_soon_as_its_flag_has_changed(
    change: Any, operator: Client, running: Plan, flag: FeatureFlag
) -> None:
    change()
    assert plan_of().state == State.RUNNING
    overview, search = f"{FLAGS}overview/", f"{FLAGS}search/?q={KEY}"
    for url in (FLAGS, flag_url(flag), PLANS, plan_url(running), overview, search):
        text = text_of(page(operator, url))
        assert "the flag was changed outside of the plan" in text, url
        assert "or later" not in text, url
    [listed], shown = document("plan", "list"), document("plan", "show", KEY)
    for record in (listed, shown):
        assert (record["state"], record["unguarded"], record["due_at"]) == ("paused", False, None)
    assert actions_of(page(operator, plan_url(running)))[-1] == "delete"


def test_plan_with_a_changed_flag_is_resumed_at_its_step_before_run_jobs_pauses_it(
    operator: Client, running: Plan
) -> None:
    changes.flags.set_rollout(KEY, 60)
    asked = operator.get(action_url(running, "resume"))
    assert preview_of(asked)["plan"] == ["paused", "running"]
    do(operator, running, "resume")
    assert (plan_of().state, rollout()) == (State.RUNNING, 25)


def resume_with_an_allowed_user() -> None:
    changes.flags.allow(KEY, Shop().user("alice").pk)
    rollouts.resume(KEY)


@pytest.mark.parametrize("move_on", [lambda: go_to(100), resume_with_an_allowed_user])
def test_plan_that_was_moved_on_since_it_was_read_is_not_shown_as_paused(
    move_on: Callable[[], object], running: Plan
) -> None:
    read = plan_of()
    move_on()
    [shown] = with_flags([read])
    assert shown.state == State.RUNNING


def test_pages_and_terminal_say_where_flag_and_plan_are_if_they_differ(
    operator: Client, running: Plan, flag: FeatureFlag
) -> None:
    def shown() -> str:
        return " ".join(typed(f"flags plan show {KEY}").split())

    rollouts.pause(KEY)
    text = "flag is at 60 %, plan at 25 %"
    assert text not in text_of(page(operator, plan_url(running)))
    assert "rollout 25 %" in shown()
    changes.flags.set_rollout(KEY, 60)
    for url in (plan_url(running), FLAGS, flag_url(flag)):
        assert text in text_of(page(operator, url))
    record = document("plan", "show", KEY)
    assert (record["rollout"], record["percent"], record["enabled"]) == (60, 25, True)
    assert record["rollout_differs"] == text
    assert f"rollout {text}" in shown()
    changes.flags.disable(KEY)
    shown_page = text_of(page(operator, plan_url(running)))
    assert "flag is off, plan at 25 %" in shown_page
    assert "To go on, undo what turned it off, or set its rollout to 0 % and" in shown_page
    changes.flags.delete(KEY)
    record = document("plan", "show", KEY)
    assert (record["rollout"], record["rollout_differs"]) == (None, None)


def test_pages_and_terminal_say_where_the_flag_is_that_was_changed_after_the_end_of_a_plan(
    operator: Client, running: Plan, flag: FeatureFlag
) -> None:
    def shown() -> list[str]:
        return [head(page(operator, plan_url(running))), text_of(page(operator, flag_url(flag)))]

    rollouts.rollback(KEY)
    assert document("plan", "show", KEY)["rollout_differs"] is None
    changes.flags.set_rollout(KEY, 25)
    text = "the flag was changed since, and is at 25 %"
    assert document("plan", "show", KEY)["rollout_differs"] == text
    assert all(f"25 → 0 % — {text}." in html for html in shown())
    # Nobody has it, as the plan has left it.
    changes.flags.disable(KEY)
    assert document("plan", "show", KEY)["rollout_differs"] is None
    Plan.objects.update(state=State.DONE)
    assert all("25 % — the flag was changed since, and is off." in html for html in shown())
    changes.flags.release(KEY)
    text = "25 % — the flag was changed since, and is at 100 %."
    assert all(text in html for html in shown())


def test_flags_make_four_queries_for_all_plans_and_their_flags(
    operator: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in (KEY, "a", "b", "c", "d"):
        FeatureFlag.objects.get_or_create(key=key, defaults={"enabled": True})
        rollouts.start(key, STEPS)
    trip("a")
    urls = (FLAGS, flag_url(flag))
    with_plans = [count_queries(operator, url) for url in urls]
    monkeypatch.setattr("flagstaff.stale.facts.PLANNED_FLAGS", ())
    without_flags = AppPages(
        Plan, PlanEvent, "plan", PAGES.describe, PAGES.overview_lines, PAGES.deleted_rows
    )
    monkeypatch.setattr("flagstaff.rollouts.admin.plans.PAGES", without_flags)
    assert [count_queries(operator, url) + 4 for url in urls] == with_plans


def test_page_of_a_flag_shows_its_active_plan(operator: Client, flag: FeatureFlag) -> None:
    plan = rollouts.start(KEY, STEPS)
    Plan.objects.create(flag_pk=str(flag.pk), key=KEY, state=State.DONE, steps=STEPS, step=1)
    assert "plan: running" in column(page(operator), "flag")[0]
    html = page(operator, flag_url(flag))
    assert f'<a href="{plan_url(plan)}">Open the plan</a>' in html
    assert "Another change of this flag pauses the plan." in html
    assert "running Step 1 of 2, 25 %, until " in text_of(html)
    assert "Plan a rollout" not in html


def test_page_of_a_flag_without_an_active_plan_offers_one(
    operator: Client, flag: FeatureFlag
) -> None:
    offer = f"{PLANS}add/?key={KEY}"
    assert Screen(page(operator, flag_url(flag))).link("Plan a rollout…") == offer
    html = page(staff("view_featureflag"), flag_url(flag))
    assert "Plan a rollout" not in html
    rollouts.create(KEY, STEPS)
    assert "plan: pending" in column(page(operator), "flag")[0]
    rollouts.start(KEY)
    plan = rollouts.rollback(KEY)
    assert column(page(operator), "flag") == [KEY]
    html = page(operator, flag_url(flag))
    assert "Step 1 of 2, 25 → 0 %." in html
    assert plan_url(plan) in html
    assert offer in html


# A change of the flag by hand.


def test_confirmations_of_a_change_of_the_flag_say_that_the_plan_is_paused(
    operator: Client, running: Plan, flag: FeatureFlag
) -> None:
    paused = ["running", "paused"]
    for path in ("kill/", "release/", "rollout/?percent=100"):
        assert preview_of(operator.get(f"{FLAGS}{flag.pk}/{path}"))["plan"] == paused
    other = make_flag("other")
    data = {"action": "kill", "index": "0", "_selected_action": [flag.pk, other.pk]}
    [(lines, _heading), _uses] = operator.post(FLAGS, data).context["tables"]
    assert ["paused" in line.state for line in lines] == [True, False]
    rollouts.pause(KEY)
    assert "plan" not in preview_of(operator.get(f"{FLAGS}{flag.pk}/kill/"))


def test_confirmations_after_a_trip_say_why_the_plan_was_rolled_back(
    operator: Client, running: Plan, flag: FeatureFlag
) -> None:
    trip()
    rolled_back = version_of(Kind.FLAG, flag.pk)
    for url in (f"{FLAGS}{flag.pk}/rollout/?percent=25", undo_url(rolled_back)):
        now, after = preview_of(operator.get(url))["plan"]
        assert re.match(r"rolled back — errors: 300 of [\d,]+ users", now)
        assert now == after
    [why, *_others] = notes_of(operator.get(action_url(running, "resume")))
    assert "— errors: 300 of" in why


def test_restore_says_that_the_plan_is_paused_only_if_it_decides_about_users(
    operator: Client, flag: FeatureFlag
) -> None:
    changes.flags.update(KEY, {"description": "first"})
    first = version_of(Kind.FLAG, flag.pk)
    rollouts.start(KEY, STEPS)
    started = version_of(Kind.FLAG, flag.pk)
    changes.flags.update(KEY, {"description": "second"})
    paused = '<td class="flagstaff-change">paused</td>'
    assert paused in page(operator, restore_url(first))
    assert paused not in page(operator, restore_url(started))
