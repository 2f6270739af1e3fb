"""Rollout plans in the admin: the list, the page of a plan, and what flags show of plans."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client, override_settings

from flagstaff import acting_as, changes, rollouts
from flagstaff.history.kinds import Kind
from flagstaff.history.log import version_of
from flagstaff.models import FeatureFlag
from flagstaff.rollouts.admin.flags import FlagPlan
from flagstaff.rollouts.driver import run_plans
from flagstaff.rollouts.models import FailedUnit, Plan, PlanEvent, State
from flagstaff.stale import entries
from tests.support.admin_pages import (
    FLAGS,
    column,
    count_queries,
    events_of,
    flag_url,
    messages_of,
    page,
    preview_of,
    restore_url,
    staff,
)
from tests.support.plan_pages import INLINE, PLANS, action_url, plan_url, table, text_of
from tests.support.rollouts import (
    KEY,
    RULES,
    drive_recently,
    end_dwell_time,
    fail,
    leave_unguarded,
    make_flag,
    plan_of,
    run_of,
    see,
)

pytestmark = pytest.mark.django_db

NONE = "\N{EN DASH}"
STEPS = ["25:4h", "100"]
GUARDS = ["errors", "latency=0.5,limit=1.5,action=hold"]


@pytest.fixture
def pending(flag: FeatureFlag) -> Plan:
    return rollouts.create(KEY, STEPS, guards=GUARDS)


@pytest.fixture
def running(pending: Plan) -> Plan:
    return rollouts.start(KEY)


def see_users() -> None:
    """Writes what 1,000 users inside and 3,000 outside have done."""
    see(run_of(), inside=True, users=1000)
    see(run_of(), inside=False, users=3000)


def trip(key: str = KEY) -> None:
    see(run_of(key), inside=True, users=40)
    see(run_of(key), inside=False, users=100)
    fail(run_of(key), inside=True, users=20)
    run_plans()
    assert plan_of(key).state == State.ROLLED_BACK


def hold() -> None:
    end_dwell_time()
    run_plans()
    assert plan_of().state == State.HOLDING


def pause_by_a_change() -> None:
    changes.flags.set_rollout(KEY, 60)
    run_plans()
    assert plan_of().state == State.PAUSED


def head(html: str) -> str:
    """Returns the text of the head of the page of a plan."""
    return text_of(html.partition('class="flagstaff-title">')[2].partition("<section")[0])


# The list.


def test_list_shows_state_step_and_guards(operator: Client, admin_user: User) -> None:
    make_flag()
    with acting_as(admin_user):
        rollouts.start(KEY, STEPS, guards=GUARDS)
    html = page(operator, PLANS)
    assert "<h1>Rollout plans</h1>" in html
    names = ("flag", "shown_state", "shown_step", "due", "shown_guards", "started_by")
    guards = "errors, latency over 0.5 s"
    expected = [KEY, "running", "25 % · 1 of 2", "in 3 hours", guards, "admin"]
    assert [cell for name in names for cell in column(html, name)] == expected


@pytest.mark.parametrize(
    ("happens", "text"),
    [
        (trip, "rolled back"),
        (hold, "holding"),
        (pause_by_a_change, "paused"),
        (leave_unguarded, "unguarded plan unguarded at 25 %"),
    ],
)
def test_plans_that_need_attention_come_first_with_their_reason(
    happens: Any, text: str, operator: Client, running: Plan
) -> None:
    for key in ("later", "last"):
        make_flag(key)
        rollouts.create(key, STEPS)
    happens()
    html = page(operator, PLANS)
    assert column(html, "flag") == [KEY, "last", "later"]
    state = column(html, "shown_state")[0]
    assert state.startswith(text)
    assert len(state) > len(text) or happens is leave_unguarded


def test_list_is_searched_by_the_text_of_a_reason(operator: Client, running: Plan) -> None:
    Plan.objects.update(reason="no user with the flag has been seen yet")
    assert len(column(page(operator, f"{PLANS}?q=no+user+with+the+flag"), "flag")) == 1


def test_list_needs_as_many_queries_for_many_plans(operator: Client, running: Plan) -> None:
    before = count_queries(operator, PLANS)
    for number in range(5):
        make_flag(f"f{number}")
        rollouts.start(f"f{number}", STEPS)
    assert count_queries(operator, PLANS) == before


# The page.


def test_page_shows_the_state_the_steps_the_guards_and_the_events(
    operator: Client, running: Plan
) -> None:
    html = page(operator, plan_url(running))
    text = head(html)
    assert text.startswith(f"{KEY} running Roll back… Step 1 of 2, 25 %, until ")
    assert "Waits for data: no request or task of a user with the flag has ended yet." in text
    assert "The flag is off" not in text
    FeatureFlag.objects.update(enabled=False)
    off = "The flag is off, so the rollout has no effect."
    assert off in head(page(operator, plan_url(running)))
    FeatureFlag.objects.update(enabled=True)
    columns = re.findall(r'<rect class="flagstaff-(\w+)"', html)
    assert columns == ["present", "spent", "later"]
    labels = re.findall(r"<text[^>]*>(.*?)</text>", html)
    assert labels == ["25 %, now", "4 h", "100 %", "\N{EN DASH}"]
    assert re.search(r"25 % since .+ UTC", text_of(html))
    assert table(html, ">Guards<") == [
        ["errorsrolls back", NONE, NONE, f"{NONE}limit 2", "no failures yet"],
        [
            "latency over 0.5 sholds the plan",
            "\N{EN DASH}",
            "\N{EN DASH}",
            "\N{EN DASH}limit 1.5",
            "no failures yet",
        ],
    ]
    started, created = events_of(html)
    assert started.startswith("started: rollout 0 → 25 %")
    assert created.startswith("created with the steps 25 % for 4 h, 100 %")
    assert count_queries(operator, plan_url(running)) <= 25


def test_line_of_a_guard_compares_the_users_with_the_flag_and_without_it(
    operator: Client, running: Plan
) -> None:
    see_users()
    for inside, users in ((True, 100), (False, 30)):
        fail(run_of(), inside=inside, users=users)
        fail(run_of(), inside=inside, users=3, guard=2)
    errors, latency = table(page(operator, plan_url(running)), ">Guards<")
    assert re.fullmatch(r"(9\.\d|10) %100 of [\d,]+ users", errors[1])
    assert re.fullmatch(r"(0\.9\d|1) %30 of [\d,]+ users", errors[2])
    assert re.fullmatch(r"(9\.\d|1\d)at most \d+, limit 2", errors[3])
    assert errors[4] == "harm found"
    assert latency[4] == "not decided"


def test_page_says_the_state_and_why(operator: Client, running: Plan) -> None:
    why = "too few users"
    for state, step, sentence in (
        (State.PENDING, None, "Not started: the workers measure, and the rollout stays as it is"),
        (State.HOLDING, 0, "Step 1 of 2, 25 %"),
        (State.PAUSED, 0, "Paused at step 1 of 2, 25 %"),
        (State.ROLLED_BACK, 0, "Rolled back at step 1 of 2, 25 %"),
        (State.DONE, 1, "All 2 steps are complete, and the rollout is 100 %"),
    ):
        for reason, end in ((why, f" — {why}"), ("", ".")):
            Plan.objects.update(state=state, step=step, reason=reason)
            assert f"{sentence}{end}" in head(page(operator, plan_url(running)))


def test_page_shows_the_figures_at_a_trip_and_not_those_since(
    operator: Client, running: Plan
) -> None:
    run_id = run_of()
    trip()
    for number in (500, 501):
        FailedUnit.objects.create(run_id=run_id, guard=0, inside=True, unit=number)
    html = page(operator, plan_url(running))
    assert re.search(r"Rolled back at step 1 of 2, 25 % — .*20 of \d+ users", head(html))
    assert re.search(r"%20 of (39|40|41) users", table(html, ">Guards<")[0][1])


def test_page_after_a_roll_back_by_a_person_shows_what_was_measured(
    operator: Client, running: Plan
) -> None:
    see_users()
    fail(run_of(), inside=True, users=41)
    with acting_as("ann", reason="broken baskets"):
        rollouts.rollback(KEY)
    html = page(operator, plan_url(running))
    assert "Rolled back at step 1 of 2, 25 % — broken baskets" in head(html)
    assert "41 of" in table(html, ">Guards<")[0][1]
    assert "ann" in events_of(html)[0]


def test_page_shows_who_was_left_out_and_who_is_new(operator: Client, running: Plan) -> None:
    see_users()
    fail(run_of(), inside=True, users=41)
    see(run_of(), inside=False, users=9_000, left_out=True)
    failed = FailedUnit.objects.filter(inside=True)
    failed.update(is_new=True)
    failed.filter(pk__in=failed.values("pk")[:11]).update(is_counted=False)
    text = text_of(page(operator, plan_url(running)))
    assert "30 of 30 visitors are new" in text
    assert "users were left out, because others of their networks came first" in text


def test_page_shows_what_a_step_could_have_seen(operator: Client, running: Plan) -> None:
    Plan.objects.update(required_users=100)
    see_users()
    for guard in (0, 2):
        fail(run_of(), inside=True, users=10, guard=guard)
        fail(run_of(), inside=False, users=31, guard=guard)
    text = head(page(operator, plan_url(running)))
    assert re.search(r"four of five cases if users with the flag fail [\d.]+ times as often", text)


def test_page_of_unguarded_plan_warns_with_the_command(operator: Client, running: Plan) -> None:
    assert "Unguarded" not in page(operator, plan_url(running))
    leave_unguarded()
    html = page(operator, plan_url(running))
    assert head(html).startswith(f"{KEY} unguarded")
    assert "Unguarded: run-jobs does not watch this plan" in text_of(html)
    assert "<code>manage.py flags run-jobs --loop</code>" in html


def test_page_of_pending_plan_says_what_to_do_first(operator: Client, pending: Plan) -> None:
    drive_recently(minutes=6)
    html = page(operator, plan_url(pending))
    assert "The plan cannot start, because run-jobs does not run." in html
    assert "because a rule can grant it" not in html
    FeatureFlag.objects.update(enabled=False, rules=RULES)
    html = page(operator, plan_url(pending))
    assert "The flag is off. The start of the plan turns it on." in html
    assert "A roll back also turns the flag off, because a rule can grant it." in html
    FeatureFlag.objects.all().delete()
    html = page(operator, plan_url(pending))
    assert "The flag no longer exists. Delete this plan." in html


def test_few_users_are_named_where_a_step_cannot_reach_the_required_number(
    operator: Client, pending: Plan
) -> None:
    first = 10**6
    User.objects.bulk_create(User(pk=pk, username=f"u{pk}") for pk in range(first, first + 199))
    for required, is_few in ((60, True), (40, False)):
        Plan.objects.update(required_users=required)
        text = f"25 % of the 200 users of this site are fewer than the required {required}"
        assert (text in text_of(page(operator, plan_url(pending)))) is is_few


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        ({"steps": "no list"}, "The steps that the plan has stored cannot be read"),
        ({"step": 99}, "The plan is at step 100 of 2; create the plan again"),
        ({"guards": [{"kind": 1}]}, "1 is not a kind of guard"),
        ({"guards": 5}, "The guards that the plan has stored cannot be read"),
        ({"state": "odd"}, "The plan has the unknown state odd; delete the plan"),
    ],
)
def test_plan_that_cannot_be_read_is_listed_and_says_why(
    operator: Client, running: Plan, broken: dict[str, object], problem: str
) -> None:
    Plan.objects.update(**broken)
    assert column(page(operator, PLANS), "flag") == [KEY]
    assert problem in head(page(operator, plan_url(running)))
    assert page(operator, FLAGS)
    assert page(operator, flag_url(FeatureFlag.objects.get()))


def test_stored_texts_are_shown_in_english_beside_the_german_kind(
    operator: Client, running: Plan
) -> None:
    why = "waits for users: 1,234 of 56,789"
    Plan.objects.update(state=State.HOLDING, reason=why, reason_kind="held")
    PlanEvent.objects.create(plan=running, kind="held", message=why)
    with override_settings(LANGUAGE_CODE="de"):
        html = page(operator, plan_url(running))
        assert events_of(html)[0].startswith(f"angehalten: {why}")
        assert f"Schritt 1 von 2, 25 % \N{EN DASH} {why}" in text_of(html)
        assert why in text_of(page(operator, PLANS))


def test_page_of_missing_plan_redirects_with_a_message(operator: Client) -> None:
    for path in ("77/change/", "77/start/", "77/delete/", "77/history/"):
        response = operator.get(PLANS + path, follow=True)
        assert "exist" in messages_of(response)[0]


def test_history_of_a_plan_is_among_the_recent_changes(operator: Client, running: Plan) -> None:
    make_flag("other")
    rollouts.create("other", STEPS)
    events = events_of(page(operator, f"{PLANS}{running.pk}/history/"))
    assert [event.split()[:4] for event in events] == [
        [KEY, "rollout", "plan", "started:"],
        [KEY, "rollout", "plan", "created"],
    ]


@pytest.mark.parametrize("guarded", [True, False])
def test_pages_have_no_inline_style_or_script(
    guarded: bool, operator: Client, running: Plan
) -> None:
    see_users()
    if not guarded:
        leave_unguarded()
    make_flag("other")
    other = rollouts.create("other", STEPS)
    for url in (
        *(PLANS, plan_url(running), plan_url(other), f"{PLANS}add/?key={KEY}"),
        *(action_url(other, "start"), action_url(running, "roll-back")),
    ):
        # Django's own breadcrumbs and scripts are files.
        [content] = re.findall(r'<div id="content".*', page(operator, url), re.DOTALL)
        assert INLINE.findall(content) == [], url


# The list and the page of flags.


@pytest.mark.parametrize(
    ("happens", "text"),
    [
        (trip, r"rolled back at 25 %: .*20 of \d+ users.*"),
        (hold, "plan holds at 25 %"),
        (pause_by_a_change, "flag is at 60 %, plan paused at 25 %"),
        (leave_unguarded, "plan unguarded at 25 %"),
    ],
)
def test_plan_that_was_stopped_is_red_in_the_list_and_on_the_page_of_its_flag(
    happens: Any, text: str, operator: Client, running: Plan, flag: FeatureFlag
) -> None:
    def red() -> list[str]:
        css = r'(?:small class="flagstaff-alert"|p class="flagstaff-notice flagstaff-alarm")[^>]*'
        html = page(operator, FLAGS) + page(operator, flag_url(flag))
        return [text_of(one) for one in re.findall(rf"<{css}>(.*?)</(?:small|p)>", html)]

    assert red() == []
    happens()
    shown = red()
    assert len(shown) == 2
    for one in shown:
        assert re.fullmatch(text, one)


def test_list_of_flags_shows_the_plan_until_a_person_rolls_it_back(
    operator: Client, flag: FeatureFlag
) -> None:
    def state() -> list[str]:
        return [one.removeprefix(KEY).strip() for one in column(page(operator), "flag")]

    rollouts.create(KEY, STEPS)
    assert state() == ["plan: pending"]
    rollouts.start(KEY)
    assert state() == ["plan: 25 %, running"]
    rollouts.rollback(KEY)
    assert state() == [""]


def test_pages_say_where_flag_and_plan_are(
    operator: Client, running: Plan, flag: FeatureFlag
) -> None:
    rollouts.pause(KEY)
    text = "flag is at 60 %, plan paused at 25 %"
    assert text not in text_of(page(operator, plan_url(running)))
    changes.flags.set_rollout(KEY, 60)
    for url in (PLANS, plan_url(running), FLAGS, flag_url(flag)):
        assert text in text_of(page(operator, url)).replace("Flag is", "flag is")
    changes.flags.disable(KEY)
    assert "Flag is off, plan paused at 25 %" in text_of(page(operator, plan_url(running)))


def test_flags_make_one_query_for_all_plans(
    operator: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in (KEY, "a", "b", "c", "d"):
        FeatureFlag.objects.get_or_create(key=key, defaults={"enabled": True})
        rollouts.start(key, STEPS)
    trip("a")
    urls = (FLAGS, flag_url(flag))
    with_plans = [count_queries(operator, url) for url in urls]
    monkeypatch.setattr(entries, "PLANNED_FLAGS", ())
    flags = admin.site.get_model_admin(FeatureFlag)
    others = [part for part in flags.bound_parts if not isinstance(part, FlagPlan)]  # type: ignore[attr-defined]
    monkeypatch.setattr(flags, "bound_parts", others)
    assert [count_queries(operator, url) + 1 for url in urls] == with_plans


def test_page_of_a_flag_shows_its_active_plan(operator: Client, flag: FeatureFlag) -> None:
    plan = rollouts.start(KEY, STEPS)
    Plan.objects.create(
        flag_pk=str(flag.pk), key=KEY, state=State.DONE, steps=plan_of().steps, step=1
    )
    html = page(operator, flag_url(flag))
    assert f'<a href="{plan_url(plan)}">Open the plan</a>' in html
    assert "Another change of this flag pauses the plan." in html
    assert "running Step 1 of 2, 25 %, until " in text_of(html)
    assert "Plan a rollout" not in html


def test_page_of_a_flag_without_an_active_plan_offers_one(
    operator: Client, flag: FeatureFlag
) -> None:
    offer = f'<a href="{PLANS}add/?key={KEY}">Plan a rollout</a>'
    assert offer in page(operator, flag_url(flag))
    html = page(staff("view_featureflag"), flag_url(flag))
    assert "There is no rollout plan." in html
    assert "Plan a rollout" not in html
    rollouts.start(KEY, STEPS)
    plan = rollouts.rollback(KEY)
    html = page(operator, flag_url(flag))
    assert "Rolled back at step 1 of 2, 25 %." in html
    assert plan_url(plan) in html
    assert offer in html


def test_broken_plan_does_not_hide_the_others(operator: Client, running: Plan) -> None:
    make_flag("other")
    rollouts.start("other", STEPS)
    trip("other")
    Plan.objects.filter(key=KEY).update(steps="no list", state=State.HOLDING, reason_kind="held")
    assert page(operator, FLAGS).count("flagstaff-alert") == 2


# A change of the flag by hand.


def test_confirmations_of_a_change_of_the_flag_say_that_the_plan_is_paused(
    operator: Client, running: Plan, flag: FeatureFlag
) -> None:
    paused = ["running", "paused"]
    for path in ("kill/", "release/", "rollout/?percent=100"):
        assert preview_of(operator.get(f"{FLAGS}{flag.pk}/{path}"))["plan"] == paused
    rollouts.pause(KEY)
    assert "plan" not in preview_of(operator.get(f"{FLAGS}{flag.pk}/kill/"))


def test_confirmation_of_several_flags_says_which_plans_are_paused(
    operator: Client, running: Plan, flag: FeatureFlag
) -> None:
    other = make_flag("other")
    data = {"action": "kill", "index": "0", "_selected_action": [flag.pk, other.pk]}
    [(lines, _heading), _uses] = operator.post(FLAGS, data).context["tables"]
    assert ["paused" in line.after for line in lines] == [True, False]


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
