"""Rollout plans in the admin: the list, the page of a plan with its buttons, and flags."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client, RequestFactory, override_settings

from flagstaff import acting_as, changes, rollouts
from flagstaff.admin import FeatureFlagAdmin
from flagstaff.admin.part import AppPart
from flagstaff.exceptions import PlanError
from flagstaff.models import FeatureFlag
from flagstaff.rollouts.admin.flag_parts import FlagPlan
from flagstaff.rollouts.clock import ClockTimestamp
from flagstaff.rollouts.models import FailedUnit, Plan, PlanEvent, State, StepRun
from flagstaff.stale import facts
from tests.support.action_pages import button_names
from tests.support.admin_pages import (
    FLAGS,
    column,
    count_queries,
    flag_url,
    messages_of,
    notes_of,
    page,
    permit,
    preview_of,
    problems_of,
    production,
    staff,
)
from tests.support.history import flag_history
from tests.support.plan_pages import INLINE, PLANS, plan_url, press, table, text_of
from tests.support.rollouts import (
    KEY,
    RULES,
    drive_recently,
    end_dwell_time,
    fail,
    go_to,
    leave_unguarded,
    make_flag,
    plan_of,
    rollout,
    run_of,
    see,
)

pytestmark = pytest.mark.django_db

STEPS = ["5:4h", "25:1d", "100"]
GUARDS = ["errors", "latency=0.5,limit=1.5,action=hold"]


@pytest.fixture
def pending(flag: FeatureFlag) -> Plan:
    return rollouts.create(KEY, STEPS, guards=GUARDS)


@pytest.fixture
def running(pending: Plan) -> Plan:
    return rollouts.start(KEY)


def see_users() -> None:
    """Writes what 200 users inside and 3,800 outside have done."""
    see(run_of(), inside=True, users=200)
    see(run_of(), inside=False, users=3800)


def fail_users(inside: int = 41, guard: int = 0) -> None:
    fail(run_of(), inside=True, users=inside, guard=guard)
    fail(run_of(), inside=False, users=40, guard=guard)


# The list.


def test_list_shows_state_step_and_guards_and_labels_its_cells_for_a_phone(
    operator: Client, admin_user: User
) -> None:
    make_flag()
    with acting_as(admin_user):
        rollouts.start(KEY, STEPS, guards=GUARDS)
    html = page(operator, PLANS)
    assert "Select rollout plan to change" not in html
    assert "<h1>Rollout plans</h1>" in html
    assert re.findall(r'data-label="(.*?)"', html) == ["Step", "Due", "Guards", "By"]
    names = ("flag", "shown_state", "shown_step", "due", "shown_guards", "started_by")
    step, guards = "5 % · 1 of 3", "errors, latency over 0.5 s"
    expected = [KEY, "running", step, "in 3 hours", guards, "admin"]
    assert [cell for name in names for cell in column(html, name)] == expected


def test_list_shows_why_a_plan_holds_or_warns(operator: Client, running: Plan) -> None:
    Plan.objects.update(state=State.HOLDING, reason="waits for users", reason_kind="held")
    html = page(operator, PLANS)
    assert column(html, "shown_state") == ["plan holds at 5 % waits for users"]
    assert re.findall(r'data-label="(.*?)"', html) == ["Step", "Due", "Guards"]
    Plan.objects.update(state=State.RUNNING, reason="", reason_kind="")
    leave_unguarded()
    assert column(page(operator, PLANS), "shown_state") == ["plan unguarded at 5 %"]


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


def test_page_of_pending_plan_shows_steps_and_guards(operator: Client, flag: FeatureFlag) -> None:
    plan = rollouts.create(KEY, STEPS, guards=["errors,limit=3,tolerated=1.5", GUARDS[1]])
    html = page(operator, plan_url(plan))
    assert "Not started: the workers measure" in html
    assert [row[:3] for row in table(html, "flagstaff-steps")] == [
        ["1", "5 %", "4 h"],
        ["2", "25 %", "1 d"],
        ["3", "100 %", "ends at once"],
    ]
    passes = "users with the flag fail less than 3 times as often; up to 1.5 times is tolerated"
    slower = "users with the flag fail less than 1.5 times as often"
    assert [row[0] for row in table(html, ">Guards<")] == [
        "Errors rolls back",
        "Latency over 0.5 s holds the plan",
    ]
    assert f"Errors: {passes}Latency over 0.5 s: {slower}" in text_of(html)
    assert "Required users: 1,000." in html
    assert "Each plan also has a brake" in html


def test_page_shows_the_present_step_its_end_and_what_it_waits_for(
    operator: Client, running: Plan
) -> None:
    html = page(operator, plan_url(running))
    assert re.search(r"Step 1 of 3, 5 %, until .* or later", text_of(html))
    first, second, _third = table(html, "flagstaff-steps")
    assert (first[3].startswith("since "), second[3].endswith("at the earliest")) == (True, True)
    end_dwell_time()
    FeatureFlag.objects.update(enabled=False)
    html = page(operator, plan_url(running))
    assert "Step 1 of 3, 5 %: the dwell time has ended." in html
    assert "The flag is off, so the rollout has no effect." in html
    assert "Waits for data" in html
    rollouts.pause(KEY)
    html = page(operator, plan_url(running))
    assert "Waits for data" not in html
    assert re.search(r"Measured from .+ to .+\.", text_of(html))


def test_page_says_the_state_and_why(operator: Client, running: Plan) -> None:
    why = "too few users"
    for state, step, reason, sentence in (
        (State.HOLDING, 0, why, "Step 1 of 3, 5 % — too few users"),
        (State.PAUSED, 0, why, "Paused at step 1 of 3, 5 % — too few users"),
        (State.ROLLED_BACK, 0, why, "rolled back By a person at step 1 of 3, 5 % — too few users"),
        (State.ROLLED_BACK, 0, "", "rolled back By a person at step 1 of 3, 5 %"),
        (State.DONE, 2, why, "All 3 steps are complete, and the rollout is 100 % — too few users"),
    ):
        Plan.objects.update(state=state, step=step, reason=reason)
        assert sentence in text_of(page(operator, plan_url(running)))


def test_counts_of_a_guard_are_left_out_on_a_phone_until_a_user_is_counted(
    operator: Client, running: Plan
) -> None:
    row = '<tr class="flagstaff-uncounted">'
    assert row in page(operator, plan_url(running))
    see(run_of(), inside=True, users=3)
    assert row not in page(operator, plan_url(running))


def test_stored_texts_are_shown_in_english_beside_the_german_kind(
    operator: Client, running: Plan
) -> None:
    why = "waits for users: 1,234 of 56,789"
    Plan.objects.update(state=State.HOLDING, reason=why, reason_kind="held")
    PlanEvent.objects.create(plan=running, kind="held", message=why)
    with override_settings(LANGUAGE_CODE="de"):
        html = page(operator, plan_url(running))
        assert ["angehalten", why] in [row[1:3] for row in table(html, ">Ereignisse<")]
        assert f"Schritt 1 von 3, 5 % \N{EN DASH} {why}" in text_of(html)
        assert why in text_of(page(operator, PLANS))
        shown = text_of(page(operator, "/admin/flagstaff/featureflag/changes/"))
        assert f"angehalten: {why}" in shown


def test_page_has_a_line_for_each_guard(operator: Client, running: Plan) -> None:
    see_users()
    fail_users()
    errors, latency = table(page(operator, plan_url(running)), "<h2>Guards")
    assert errors[0].startswith("Errors")
    assert [re.sub(r"[\d.,]+", "9", cell) for cell in errors[1:]] == [
        *("9 % · 9 of 9 users",) * 2,
        "9 at most 9; limit 9",
        "harm found",
    ]
    assert [cell.split()[3] for cell in errors[1:3]] == ["41", "40"]
    assert latency[3:] == ["\N{EN DASH}", "no failures yet"]
    rollouts.rollback(KEY)
    assert "41 of " in text_of(page(operator, plan_url(running)))


def test_page_shows_who_was_left_out_and_who_is_new(operator: Client, running: Plan) -> None:
    see_users()
    fail_users()
    see(run_of(), inside=False, users=9_000, left_out=True)
    failed = FailedUnit.objects.filter(inside=True)
    failed.update(is_new=True)
    failed.filter(pk__in=failed.values("pk")[:11]).update(is_counted=False)
    text = text_of(page(operator, plan_url(running)))
    assert "30 of 30 visitors who failed with the flag have a new cookie" in text
    assert "users were left out, because others of their networks came first" in text


def test_page_shows_what_a_step_could_have_seen(operator: Client, running: Plan) -> None:
    Plan.objects.update(required_users=100)
    see_users()
    for guard in (0, 2):
        fail_users(inside=3, guard=guard)
    text = text_of(page(operator, plan_url(running)))
    assert re.search(r"four of five cases if users with the flag fail [\d.]+ times as often", text)


def test_page_before_the_start_says_how_many_users_the_first_step_meets(
    operator: Client, pending: Plan
) -> None:
    assert "users a day evaluate" not in page(operator, plan_url(pending))
    StepRun.objects.update(started_at=ClockTimestamp() - timedelta(hours=12))
    see(run_of(), inside=False, users=4000)
    text = text_of(page(operator, plan_url(pending)))
    [users, inside] = re.findall(
        r"About ([\d,]+) users a day evaluate this flag. At 5 % about (\d+) of them have it; "
        r"the step needs 1,000.",
        text,
    )[0]
    assert int(users.replace(",", "")) == pytest.approx(8000, rel=0.1)
    assert int(inside) == pytest.approx(400, rel=0.1)


def test_page_of_unguarded_plan_warns_with_the_command(operator: Client, running: Plan) -> None:
    assert "Unguarded" not in page(operator, plan_url(running))
    assert count_queries(operator, plan_url(running)) <= 20
    leave_unguarded()
    html = page(operator, plan_url(running))
    [warning] = re.findall(r'role="alert">(.*?)</p>', html)
    assert text_of(warning).startswith("Unguarded: run-jobs does not watch this plan")
    assert "<code>manage.py flags run-jobs --loop</code>" in warning


def test_page_of_pending_plan_says_what_to_do_first(operator: Client, pending: Plan) -> None:
    drive_recently(minutes=6)
    html = page(operator, plan_url(pending))
    assert "The plan cannot start, because run-jobs does not run." in html
    assert "because a rule can grant it" not in html
    FeatureFlag.objects.update(enabled=False, rules=RULES)
    html = page(operator, plan_url(pending))
    assert "Turn the flag on" not in html
    assert "A roll back also turns the flag off, because a rule can grant it." in html
    FeatureFlag.objects.all().delete()
    html = page(operator, plan_url(pending))
    assert "The flag no longer exists. Delete this plan." in html


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        ({"steps": "no list"}, "The steps that the plan has stored cannot be read"),
        ({"step": 99}, "The plan is at step 100 of 3; create the plan again"),
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
    assert problem in text_of(page(operator, plan_url(running)))


def test_plan_that_cannot_be_read_is_stopped_and_deleted(operator: Client, running: Plan) -> None:
    Plan.objects.update(guards=5)
    assert button_names(page(operator, plan_url(running))) == ["pause", "rollback"]
    press(operator, running, "pause")
    assert button_names(page(operator, plan_url(running))) == ["rollback"]
    press(operator, running, "rollback")
    assert (plan_of().state, rollout()) == (State.ROLLED_BACK, 0)
    Plan.objects.update(state="odd")
    problem = r"is odd and cannot be paused; .* plan delete new_checkout"
    with pytest.raises(PlanError, match=problem):
        rollouts.pause(KEY)
    assert "odd" in page(operator, f"{PLANS}{running.pk}/delete/")
    operator.post(f"{PLANS}{running.pk}/delete/", {"_confirmed": "1", "_delete": "1"})
    assert not Plan.objects.exists()


def test_page_of_missing_plan_redirects_with_a_message(operator: Client) -> None:
    response = operator.get(f"{PLANS}77/change/", follow=True)
    assert "exist" in messages_of(response)[0]


@pytest.mark.parametrize("guarded", [True, False])
def test_pages_have_no_inline_style_or_script(
    guarded: bool, operator: Client, running: Plan
) -> None:
    see_users()
    fail_users()
    if not guarded:
        leave_unguarded()
    make_flag("other")
    other = rollouts.create("other", STEPS)
    for path in ("", f"{running.pk}/change/", f"{other.pk}/change/", "add/", f"{other.pk}/delete/"):
        # Django's own breadcrumbs and scripts are files.
        [content] = re.findall(r'<div id="content".*', page(operator, PLANS + path), re.DOTALL)
        assert INLINE.findall(content) == [], path


# The buttons.


def stored() -> tuple[str, int | None, int]:
    plan = plan_of()
    return plan.state, plan.step, rollout()


def version(operator: Client, plan: Plan) -> str:
    html = page(operator, plan_url(plan))
    return html.partition('name="expect_version" value="')[2].partition('"')[0]


def test_start_begins_at_the_first_step_for_the_user_with_a_reason(
    operator: Client, admin_user: User, pending: Plan
) -> None:
    assert button_names(page(operator, plan_url(pending))) == ["start"]
    response = press(operator, pending, "start", _reason="campaign")
    assert messages_of(response) == [f"The plan of “{KEY}” has started."]
    assert stored() == (State.RUNNING, 0, 5)
    event = flag_history(KEY)[0]
    assert (event.actor, event.source, event.reason) == (str(admin_user.pk), "admin", "campaign")
    assert PlanEvent.objects.get(kind="started").actor == str(admin_user.pk)
    started, created = table(response.content.decode(), ">Events<")
    assert (started[1], started[3], created[1]) == ("started", "admin", "created")


def test_change_that_gives_the_flag_asks_first(operator: Client, pending: Plan) -> None:
    def start_and_pause() -> None:
        rollouts.start(KEY)
        rollouts.pause(KEY)

    for name, then in (("start", start_and_pause), ("resume", None)):
        before = stored()
        data = {
            "_button": name,
            "expect_version": version(operator, pending),
            "_reason": "campaign",
        }
        html = operator.post(plan_url(pending), data).content.decode()
        assert 'value="campaign"' in html
        assert table(html, "flagstaff-preview")[1][0] == "rollout"
        assert stored() == before
        if then is not None:
            then()


@pytest.mark.parametrize(("last", "typed"), [("100", KEY), ("30", "")])
def test_last_step_decides_about_the_typed_key_in_production(
    last: str, typed: str, operator: Client, flag: FeatureFlag, settings: Any
) -> None:
    production(settings)
    # Fixed primary keys, because they decide who is in the 25 %.
    User.objects.bulk_create(User(pk=pk, username=f"user{pk}") for pk in range(10**6, 10**6 + 20))
    plan = rollouts.create(KEY, ["5:4h", "25:1d", f"{last}:1h"])
    before = stored()
    response = press(operator, plan, "start")
    if typed:
        assert problems_of(response) == [f"Not confirmed: type “{KEY}” exactly."]
        assert stored() == before
        press(operator, plan, "start", _typed_key=typed)
    assert stored() == (State.RUNNING, 0, 5)
    operator.post(plan_url(plan), {"_button": "pause"})
    press(operator, plan, "resume", _typed_key=typed)
    assert stored() == (State.RUNNING, 0, 5)


def test_resume_counts_the_users_and_sets_the_step_again(operator: Client, running: Plan) -> None:
    go_to(25)
    rollouts.pause(KEY)
    changes.flags.set_rollout(KEY, 5)
    data = {"_button": "resume", "expect_version": version(operator, running)}
    response = operator.post(plan_url(running), data)
    note, last, few = notes_of(response)
    assert note.startswith("5 → 25 %: ")
    assert "1 user" in note
    assert last == "The plan can continue to its last step, 100 %, without another confirmation."
    assert few.startswith("25 % of 1 users are 0, fewer than the required 1,000")
    rows = preview_of(response)
    assert rows["users at the next step, 25 %"][1].endswith(" of 1")
    assert rows["users at the last step, 100 %"][1] == "1 of 1"
    press(operator, running, "resume")
    assert stored() == (State.RUNNING, 1, 25)
    assert button_names(page(operator, plan_url(running))) == ["pause", "rollback"]
    Plan.objects.update(state=State.DONE)
    assert button_names(page(operator, plan_url(running))) == []


def test_plan_is_paused_resumed_rolled_back_and_begun_again(
    operator: Client, running: Plan
) -> None:
    url = plan_url(running)
    operator.post(url, {"_button": "pause", "_reason": "support is busy"})
    assert stored() == (State.PAUSED, 0, 5)
    html = page(operator, url)
    assert "support is busy" in text_of(html)
    assert button_names(html) == ["resume", "rollback"]
    press(operator, running, "resume")
    assert stored() == (State.RUNNING, 0, 5)
    go_to(25)
    operator.post(url, {"_button": "rollback", "_reason": "calls"})
    assert stored() == (State.ROLLED_BACK, 1, 0)
    html = page(operator, url)
    assert button_names(html) == ["resume"]
    assert "Begin again" in html
    press(operator, running, "resume")
    assert stored() == (State.RUNNING, 0, 5)


def test_unknown_or_outdated_button_changes_nothing(operator: Client, running: Plan) -> None:
    outdated = version(operator, running)
    rollouts.pause(KEY)
    response = operator.post(plan_url(running), {"_button": "explode"}, follow=True)
    assert messages_of(response)[0].startswith("Not saved: the plan has changed")
    for more in ({}, {"_confirmed": "1"}):
        data = {"_button": "resume", "expect_version": outdated, **more}
        response = operator.post(plan_url(running), data)
        assert problems_of(response)[0].startswith("Not saved: the plan has changed")
    assert stored() == (State.PAUSED, 0, 5)


def test_change_that_is_refused_shows_the_reason(operator: Client, pending: Plan) -> None:
    drive_recently(minutes=6)
    [message] = messages_of(press(operator, pending, "start"))
    assert message.startswith("Not saved: ")
    assert "run-jobs has not run" in message
    assert stored() == (State.PENDING, None, 0)


def test_older_plan_has_no_button_but_is_deleted(operator: Client, running: Plan) -> None:
    rollouts.rollback(KEY)
    newer = rollouts.create(KEY, STEPS)
    assert button_names(page(operator, plan_url(running))) == []
    assert button_names(page(operator, plan_url(newer))) == ["start"]
    operator.post(plan_url(running), {"_button": "resume", "_confirmed": "1"})
    assert plan_of().state == State.PENDING
    operator.post(f"{PLANS}{running.pk}/delete/", {"_confirmed": "1"})
    assert [plan.pk for plan in Plan.objects.all()] == [newer.pk]


def test_deletion_needs_a_pause_asks_and_leaves_the_flag(operator: Client, running: Plan) -> None:
    url = f"{PLANS}{running.pk}/delete/"
    assert "deletelink" not in page(operator, plan_url(running))
    response = operator.post(url, {"_confirmed": "1"}, follow=True)
    problem = f"The plan of “{KEY}” is running. Pause it before you delete it."
    assert messages_of(response) == [problem]
    rollouts.pause(KEY)
    html = page(operator, url)
    assert "The flag stays as it is." in html
    assert table(html, "flagstaff-preview")[1] == ["rollout", "5 %", "5 %"]
    response = operator.post(url, {"_confirmed": "1"}, follow=True)
    assert messages_of(response) == [f"The plan of “{KEY}” was deleted. The flag stays as it is."]
    assert (Plan.objects.count(), rollout()) == (0, 5)
    assert [entry.object_repr for entry in LogEntry.objects.all()] == [str(running)]


def test_deletion_that_is_refused_is_not_logged(
    operator: Client, running: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollouts.pause(KEY)
    delete = rollouts.delete

    def resume_first(key: str) -> None:
        rollouts.resume(key)
        delete(key)

    monkeypatch.setattr("flagstaff.rollouts.plans.delete", resume_first)
    response = operator.post(f"{PLANS}{running.pk}/delete/", {"_confirmed": "1"}, follow=True)
    assert messages_of(response)[0].startswith("Not saved: ")
    assert plan_of().state == State.RUNNING
    assert not LogEntry.objects.exists()


# The list and the page of flags.


def test_list_of_flags_shows_the_plan_and_its_roll_back(
    operator: Client, flag: FeatureFlag
) -> None:
    def state() -> list[str]:
        return [one.removeprefix(KEY) for one in column(page(operator), "flag")]

    rollouts.create(KEY, STEPS)
    assert state() == ["plan: pending"]
    rollouts.start(KEY)
    assert state() == ["plan: 5 %, running"]
    leave_unguarded()
    assert state() == ["plan unguarded at 5 %"]
    rollouts.rollback(KEY)
    assert state() == ["rolled back by a person at 5 %, just now"]


def test_flags_make_one_query_for_all_plans(
    operator: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in (KEY, "a", "b", "c", "d"):
        FeatureFlag.objects.get_or_create(key=key, defaults={"enabled": True})
        rollouts.start(key, STEPS)
    urls = (FLAGS, flag_url(flag))
    with_plans = [count_queries(operator, url) for url in urls]
    monkeypatch.setattr(facts, "PLANNED_FLAGS", ())
    flags = admin.site.get_model_admin(FeatureFlag)
    others = [part for part in flags.bound_parts if not isinstance(part, FlagPlan)]  # type: ignore[attr-defined]
    monkeypatch.setattr(flags, "bound_parts", others)
    assert [count_queries(operator, url) + 1 for url in urls] == with_plans


def test_page_of_a_flag_shows_chart_state_and_link(operator: Client, flag: FeatureFlag) -> None:
    plan = rollouts.start(KEY, STEPS)
    html = page(operator, flag_url(flag))
    assert 'aria-labelledby="flagstaff-steps-title flagstaff-steps-desc"' in html
    assert f'<a href="{plan_url(plan)}">Open the plan</a>' in html
    assert "Another change of this flag pauses the plan." in html
    assert "Step 1 of 3, 5 %, until " in text_of(html)
    assert "?flag=" not in html
    assert "flagstaff/rollouts.css" in html
    panel = html.partition('<div class="flagstaff-panel">')[2].partition("</div>")[0]
    assert "<svg" in panel
    assert INLINE.findall(panel) == []
    leave_unguarded()
    assert "flagstaff-tripped" in page(operator, flag_url(flag))


def test_page_of_a_flag_without_an_active_plan_offers_one(
    operator: Client, flag: FeatureFlag
) -> None:
    offer = f'<a href="{PLANS}add/?flag={KEY}">Plan a rollout</a>'
    assert offer in page(operator, flag_url(flag))
    html = page(staff("view_featureflag"), flag_url(flag))
    assert "There is no rollout plan." in html
    assert "Plan a rollout" not in html
    rollouts.start(KEY, STEPS)
    plan = rollouts.rollback(KEY)
    html = page(operator, flag_url(flag))
    assert "By a person at step 1 of 3, 5 % · " in html
    assert plan_url(plan) in html
    assert "Plan a rollout" in html


def test_page_of_a_flag_prefers_the_active_plan(operator: Client, flag: FeatureFlag) -> None:
    active = rollouts.start(KEY, STEPS)
    Plan.objects.create(
        flag_pk=str(flag.pk), key=KEY, state=State.DONE, steps=plan_of().steps, step=2
    )
    assert plan_url(active) in page(operator, flag_url(flag))


def test_panel_of_a_site_without_plans_has_no_link(
    rf: RequestFactory, admin_user: User, flag: FeatureFlag
) -> None:
    rollouts.start(KEY, STEPS)
    request = rf.get("/")
    request.user = admin_user
    flags = FeatureFlagAdmin(FeatureFlag, AdminSite("without plans"))
    panel = FlagPlan(flags).panel(request, flag)
    assert "Step 1 of 3" in panel
    assert "<a " not in panel


def test_form_of_a_new_flag_has_no_panel(operator: Client) -> None:
    assert "rollout plan" not in page(operator, f"{FLAGS}add/").partition('id="content"')[2].lower()


def test_app_without_a_part_adds_nothing(rf: RequestFactory, flag: FeatureFlag) -> None:
    part = AppPart(FeatureFlagAdmin(FeatureFlag, admin.site))
    assert (part.panel(rf.get("/"), flag), part.notes([flag])) == ("", {})


# Permissions.


def test_permission_to_change_flags_is_needed_to_change_plans(running: Plan) -> None:
    viewer = staff("view_featureflag")
    html = page(viewer, plan_url(running))
    assert (button_names(html), "deletelink" in html) == ([], False)
    assert viewer.post(plan_url(running), {"_button": "pause"}).status_code == 403
    assert viewer.get(f"{PLANS}{running.pk}/delete/").status_code == 403
    assert viewer.get(f"{PLANS}add/").status_code == 403
    assert plan_of().state == State.RUNNING
    permit(User.objects.get(username="staff"), "change_featureflag")
    assert button_names(page(viewer, plan_url(running))) == ["pause", "rollback"]
    assert column(page(viewer, PLANS), "flag") == [KEY]


def test_permissions_of_plans_alone_open_no_page(running: Plan) -> None:
    other = staff("view_plan", "change_plan", "add_plan", "delete_plan")
    for path in ("", "add/", f"{running.pk}/change/", f"{running.pk}/delete/"):
        assert other.get(PLANS + path).status_code == 403
