"""The pages of the actions of a plan: what they ask, and what they do."""

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from flagstaff import changes, rollouts
from flagstaff.models import FeatureFlag
from flagstaff.rollouts.models import Plan, PlanEvent, State
from flagstaff.rollouts.steps_and_guards import USUAL
from tests.support.admin_pages import (
    act,
    asks,
    errors_of,
    messages_of,
    notes_of,
    page,
    preview_of,
    problems_of,
    production,
    staff,
    text_of,
    text_to_type,
    typed,
    undo_urls,
)
from tests.support.guards import ORDERS_FINE
from tests.support.history import flag_history
from tests.support.plans import (
    KEY,
    PLANS,
    action_url,
    actions_of,
    do,
    drive_recently,
    go_to,
    make_flag,
    plan_of,
    plan_url,
    rollout,
)
from tests.support.screen import Screen
from tests.support.shop import STAFF
from tests.support.users import create_users

ADD = f"{PLANS}add/?key={KEY}"
CONDITION = {"attribute": "is_authenticated", "operator": "in", "values": [True]}
LOGGED_IN = [{"name": "all", "conditions": [CONDITION], "rollout_percent": 100}]

pytestmark = pytest.mark.usefixtures("flag")


def state_of_plan() -> tuple[str, int | None, int]:
    """The state and the step of the newest plan, and the rollout of its flag."""
    plan = plan_of()
    return plan.state, plan.step, rollout()


def test_unchanged_form_creates_the_default_plan(operator: Client, admin_user: User) -> None:
    response = act(operator, ADD, _reason="launch")
    plan = plan_of()
    assert response.redirect_chain == [(plan_url(plan), 302)]
    [message] = messages_of(response)
    assert message.startswith("“new_checkout”: created with the steps 5 % for 1 d, 25 % for 1 d")
    assert undo_urls(response) == [action_url(plan, "delete")]
    assert (plan.state, plan.required_users, rollout()) == (State.PENDING, 100, 0)
    assert plan.steps == [*map(str, USUAL.steps)]
    assert plan.guards == ["errors,limit=2,action=rollback"]
    event = PlanEvent.objects.get()
    assert event.actor == str(admin_user.pk)
    # No other row has it.
    assert event.message.endswith("; reason: launch")


@pytest.mark.parametrize("guards", [None, ["latency=0.7,action=hold"]], ids=["default", "last"])
def test_unchanged_form_creates_the_plan_at_the_first_press(
    guards: list[str] | None, operator: Client
) -> None:
    if guards:
        Plan.objects.filter(pk=rollouts.create(KEY, guards=guards).pk).update(state=State.DONE)
    before = Plan.objects.count()
    assert operator.post(ADD, typed(operator, ADD)).status_code == 302
    assert Plan.objects.count() == before + 1


def test_new_plan_is_shown_as_a_table_before_it_is_created(operator: Client) -> None:
    fields = {"steps": "5:90m\n\n 100 ", "guards": "latency=0.5,action=hold"}
    response = operator.post(ADD, typed(operator, ADD, **fields))
    assert asks(response)
    assert preview_of(response) == {
        "Step 1": ["", "5 % for 1 h 30 min"],
        "Step 2": ["", "100 %"],
        "Guard": ["", "latency over 0.5 s, holds the plan, limit: 2 times as often"],
    }
    assert not Plan.objects.exists()
    act(operator, ADD, **fields)
    assert plan_of().steps == ["5:1h30m", "100"]


def rows_of(html: str, name: str) -> list[list[str]]:
    """What is filled in, in each row of the steps or of the guards."""
    groups = Screen(html).all(f".field-{name} [role=group]")
    return [[*group.fields().values()] for group in groups]


def test_rows_of_steps_and_guards_are_the_plan(operator: Client) -> None:
    html = page(operator, ADD)
    assert rows_of(html, "steps")[-3:] == [["100", ""], ["", ""], ["", ""]]
    assert rows_of(html, "guards")[0] == ["errors", "", "2", "rollback"]
    rows = {"steps-0-time": "2h", "guards-1-kind": "latency", "guards-1-value": "0.5"}
    act(operator, ADD, **rows)
    assert plan_of().steps[:2] == ["5:2h", "25:1d"]
    assert plan_of().guards[1] == "latency=0.5,limit=2,action=rollback"


def test_text_replaces_the_rows_and_stays_text_if_rows_cannot_show_it(operator: Client) -> None:
    fields = typed(operator, ADD)
    html = operator.post(ADD, fields | {"steps": "7:1h\r\n100"}).content.decode()
    assert rows_of(html, "steps") == [["7", "1h"], ["100", ""], ["", ""], ["", ""]]
    for text in ("speed", "errors,limti=2"):
        html = operator.post(ADD, fields | {"guards": text}).content.decode()
        assert rows_of(html, "guards") == [["", "", "", "rollback"]] * 2
        assert Screen(html).part("#id_guards").text == text


def test_form_copies_the_last_plan_of_the_flag(operator: Client) -> None:
    guards = ["latency=0.7", "errors,limit=3", f"function={ORDERS_FINE}"]
    last = rollouts.create(KEY, ["2:1d12h", "100"], guards=guards, required_users=77)
    Plan.objects.update(state=State.DONE)
    make_flag("other")
    rollouts.create("other")
    act(operator, ADD)
    plan = plan_of()
    assert plan.pk != last.pk
    assert (plan.steps, plan.guards, plan.required_users) == (last.steps, last.guards, 77)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": "5:1h\n25:1y"}, "Line 2: '25:1y' is not a step"),
        ({"guards": "errors\n\nspeed"}, "Line 3: 'speed' is not a guard"),
        ({"required_users": "many"}, "expected a number such as 20000"),
        ({"key": "no_such_flag"}, "there is no flag"),
        ({"key": ""}, "This field is required."),
        ({"key": "at_all", "steps": ""}, "at_all is at 100 % already"),
    ],
)
def test_mistake_is_explained_and_nothing_is_created(
    fields: dict[str, str], message: str, operator: Client
) -> None:
    make_flag("at_all", rollout_percent=100)
    response = act(operator, ADD, **fields)
    assert any(message in error for error in errors_of(response)), errors_of(response)
    assert not Plan.objects.exists()


def test_page_says_at_once_what_keeps_a_plan_from_its_start(
    operator: Client, pending: Plan
) -> None:
    make_flag("other")
    drive_recently(minutes=6)
    new = operator.get(f"{PLANS}add/?key=other")
    assert "run-jobs has not run" in " ".join(notes_of(new)).lower()
    why = "un-jobs has not run in the last 5 minutes"
    assert why in notes_of(operator.get(action_url(pending, "start")))[0]
    [refusal] = errors_of(do(operator, pending, "start"))
    assert why in refusal
    Plan.objects.update(state=State.PAUSED, step=0)
    assert why in notes_of(operator.get(action_url(pending, "resume")))[0]
    # And that the flag is above the first step.
    Plan.objects.update(state=State.PENDING, step=None)
    changes.flags.set_rollout(KEY, 6)
    [why] = errors_of(operator.get(action_url(pending, "start")))
    assert "the first step is 5 %" in why
    assert why.endswith("delete this plan, and plan one that begins with 6 % or more.")


def test_unknown_build_is_said_once_where_the_plan_starts(operator: Client, pending: Plan) -> None:
    make_flag("other")
    new = f"{PLANS}add/?key=other"
    creation = operator.post(new, typed(operator, new, steps="5:90m\n100"))
    assert asks(creation)
    text = "not known which build the workers run"
    assert text not in Screen(creation).text
    assert text not in text_of(page(operator, plan_url(pending)))
    assert text in " ".join(notes_of(operator.get(action_url(pending, "start"))))


def test_fields_of_a_new_plan_say_what_they_are_for(operator: Client) -> None:
    labels = Screen(operator.get(ADD)).texts("label")
    assert {
        "Continue a step after a new build",
        "What the guards compare",
        "Seconds or path (none for errors)",
    } <= {*labels}


def test_start_counts_the_users_of_the_next_and_of_the_last_step(
    operator: Client, admin_user: User, pending: Plan
) -> None:
    create_users(200, first_pk=10**6)
    response = operator.get(action_url(pending, "start"))
    rows = preview_of(response)
    assert rows["rollout"] == ["0 %", "5 % for 1 h"]
    assert rows["users at the last step, 100 %"] == ["0 of 201", "201 of 201"]
    notes = " ".join(notes_of(response))
    assert "The plan can continue to its last step, 100 %, without another" in notes
    response = do(operator, pending, "start", _reason="campaign")
    message, *_notes = messages_of(response)
    expected = (
        r"rollout 0 → 5 %; reason: campaign\. \d+ users gain the flag\. Afterwards \d+ of 201"
    )
    assert re.search(expected, message)
    assert undo_urls(response) == [action_url(pending, "roll-back")]
    event = flag_history(KEY)[0]
    assert (event.actor, event.source, event.reason) == (str(admin_user.pk), "admin", "campaign")


@pytest.mark.parametrize(
    ("last", "note"),
    [
        ("100", "Rule 1 keeps 75 % of its users out, also at a rollout of 100 %."),
        ("30", "Rule 1 gives the flag to 25 % of its users, not 30 %."),
        ("20", ""),
    ],
)
def test_start_names_rules_that_give_less_than_the_last_step(
    last: str, note: str, operator: Client
) -> None:
    FeatureFlag.objects.update(rules=[{"conditions": [STAFF], "rollout_percent": 25}])
    plan = rollouts.create(KEY, ["5:1h", f"{last}:1h"])
    notes = notes_of(operator.get(action_url(plan, "start")))
    assert [text for text in notes if text.startswith("Rule 1")] == ([note] if note else [])


@pytest.mark.parametrize(("last", "key"), [("100", KEY), ("30", "")])
def test_last_step_decides_about_the_typed_key_in_production(
    last: str, key: str, operator: Client, settings: Any
) -> None:
    production(settings)
    create_users(20, first_pk=10**6)
    plan = rollouts.create(KEY, ["5:4h", "25:1d", f"{last}:1h"])
    assert text_to_type(operator.get(action_url(plan, "start"))) == key
    response = do(operator, plan, "start")
    if key:
        assert problems_of(response) == [f"Not confirmed: type “{KEY}” exactly."]
        assert state_of_plan() == (State.PENDING, None, 0)
        do(operator, plan, "start", _typed_key=key)
    assert state_of_plan() == (State.RUNNING, 0, 5)


def test_start_turns_a_disabled_flag_on_as_one_change_of_the_person(
    operator: Client, admin_user: User, pending: Plan
) -> None:
    FeatureFlag.objects.update(enabled=False, rules=LOGGED_IN)
    changes.flags.allow(KEY, [admin_user.pk])
    assert 'role="alert"' not in page(operator, plan_url(pending))
    response = operator.get(action_url(pending, "start"))
    assert preview_of(response)["flag"] == ["off", "on"]
    assert preview_of(response)["users at the next step, 5 %"] == ["0 of 1", "1 of 1"]
    notes = " ".join(notes_of(response))
    assert "its allowed users and the users of its rules have it, too" in notes
    assert "No guard watches the last step, at 100 %." in notes
    do(operator, pending, "start")
    assert state_of_plan() == (State.RUNNING, 0, 5)
    [event, *_] = flag_history(KEY)
    assert (event.actor, len(event.differences)) == (str(admin_user.pk), 2)
    assert preview_of(operator.get(action_url(pending, "roll-back")))["flag"] == ["on", "off"]


def test_roll_back_that_turns_the_flag_off_offers_no_resume(
    operator: Client, running: Plan
) -> None:
    FeatureFlag.objects.update(rules=LOGGED_IN)
    response = do(operator, running, "roll-back")
    assert state_of_plan() == (State.ROLLED_BACK, 0, 0)
    assert undo_urls(response) == []
    html = response.content.decode()
    assert actions_of(html) == ["delete"]
    assert "The flag is off. To go on, turn it on, and open this page again." in text_of(html)


def test_question_is_asked_again_if_the_flag_or_the_plan_has_changed(
    operator: Client, pending: Plan
) -> None:
    def change_the_flag() -> None:
        changes.flags.set_rollout(KEY, 50)
        changes.flags.set_rollout(KEY, 0)

    def change_the_plan() -> None:
        rollouts.start(KEY)
        rollouts.pause(KEY)

    url = action_url(pending, "start")
    for change in (change_the_flag, change_the_plan):
        data = typed(operator, url)
        change()
        response = operator.post(url, data)
        assert problems_of(response)[0].startswith(f"“{KEY}” has changed since the page was shown.")
    assert state_of_plan() == (State.PAUSED, 0, 5)


def test_pause_shows_the_rollout_of_a_renamed_flag(operator: Client, running: Plan) -> None:
    changes.flags.update(KEY, {"key": "checkout"})
    asked = operator.get(action_url(running, "pause"))
    assert preview_of(asked) == {"plan": ["paused", "paused"], "rollout": ["5 %", "5 %"]}


def test_plan_is_paused_resumed_rolled_back_and_begun_again(
    operator: Client, running: Plan
) -> None:
    asked = operator.get(action_url(running, "pause"))
    assert preview_of(asked)["plan"] == ["running", "paused"]
    response = do(operator, running, "pause", _reason="support is busy")
    assert state_of_plan() == (State.PAUSED, 0, 5)
    assert undo_urls(response) == [action_url(running, "resume")]
    html = response.content.decode()
    assert re.search(r"busy\. On for .*5 %", messages_of(response)[0])
    assert "support is busy" in text_of(html)
    assert actions_of(html)[:2] == ["resume", "roll-back"]
    response = do(operator, running, "resume")
    assert re.match(r"“new_checkout”: resumed at 5 %\. On for .*5 %", messages_of(response)[0])
    assert undo_urls(response) == [action_url(running, "pause")]
    assert state_of_plan() == (State.RUNNING, 0, 5)
    go_to(25)
    response = do(operator, running, "roll-back", _reason="calls")
    assert state_of_plan() == (State.ROLLED_BACK, 1, 0)
    assert actions_of(response.content.decode()) == ["resume", "delete"]
    do(operator, running, "resume")
    assert state_of_plan() == (State.RUNNING, 0, 5)
    Plan.objects.update(state=State.DONE)
    assert actions_of(page(operator, plan_url(running))) == ["delete"]


def test_roll_back_says_from_where_it_goes_to_0_percent_and_why(
    operator: Client, running: Plan
) -> None:
    changes.flags.set_rollout(KEY, 70)
    link = Screen(page(operator, plan_url(running))).link("Roll back 70 → 0 %…")
    assert link == action_url(running, "roll-back")
    response = operator.get(link)
    assert preview_of(response)["rollout"] == ["70 %", "0 %"]
    assert "goes to 0 %, and not to a step or a rollout before, because" in notes_of(response)[-1]
    Plan.objects.update(state=State.PENDING, step=None)
    assert "Roll back" not in page(operator, plan_url(running))


def test_roll_back_says_how_many_users_lose_the_flag(operator: Client, running: Plan) -> None:
    go_to(100)
    create_users(9, first_pk=10**6)
    response = operator.get(action_url(running, "roll-back"))
    assert preview_of(response)["users with the flag"] == ["10 of 10", "0 of 10"]
    assert notes_of(response)[0].startswith("100 → 0 %: 10 users lose the flag.")
    [message, *_notes] = messages_of(do(operator, running, "roll-back"))
    assert message.startswith(
        "“new_checkout”: rolled back: rollout 0 %. On for no users: the rollout is 0 %"
    )


def test_resume_sets_the_step_again_and_counts_its_users(operator: Client, running: Plan) -> None:
    go_to(25)
    rollouts.pause(KEY)
    changes.flags.set_rollout(KEY, 5)
    rows = preview_of(operator.get(action_url(running, "resume")))
    assert rows["rollout"] == ["5 %", "25 % for 1 h"]
    assert rows["users at the next step, 25 %"][1].endswith(" of 1")
    do(operator, running, "resume")
    assert state_of_plan() == (State.RUNNING, 1, 25)


def test_resume_of_a_started_plan_does_not_turn_the_flag_on(
    operator: Client, running: Plan
) -> None:
    changes.flags.disable(KEY)
    rollouts.pause(KEY)
    html = page(operator, plan_url(running))
    assert "The flag is off. To go on, undo what turned it off" in text_of(html)
    assert "resume" not in actions_of(html)
    [message] = errors_of(do(operator, running, "resume"))
    assert "the flag is off" in message


def test_deletion_needs_a_pause_asks_and_leaves_the_flag(operator: Client, running: Plan) -> None:
    assert "delete" not in actions_of(page(operator, plan_url(running)))
    [message] = errors_of(do(operator, running, "delete"))
    assert "runs; pause it before you delete it" in message
    rollouts.pause(KEY)
    response = operator.get(action_url(running, "delete"))
    assert Screen(response).heading == f"Delete the rollout plan of {KEY}"
    assert preview_of(response) == {"plan": ["paused", "deleted"], "rollout": ["5 %", "5 %"]}
    response = do(operator, running, "delete")
    assert response.redirect_chain == [(PLANS, 302)]
    assert messages_of(response)[0].startswith(f"The rollout plan of “{KEY}” was deleted.")
    assert (Plan.objects.count(), rollout()) == (0, 5)
    assert [entry.object_repr for entry in LogEntry.objects.all()] == [str(running)]


def test_page_of_an_older_plan_has_no_action(operator: Client, running: Plan) -> None:
    rollouts.rollback(KEY)
    newer = rollouts.create(KEY)
    assert actions_of(page(operator, plan_url(running))) == []
    assert actions_of(page(operator, plan_url(newer))) == ["start", "delete"]
    for name in ("resume", "delete"):
        assert operator.post(action_url(running, name), {"_confirmed": "1"}).status_code == 403
    assert Plan.objects.count() == 2


def test_right_to_toggle_the_flag_is_needed_to_use_its_plan(running: Plan) -> None:
    viewer = staff("view_featureflag")
    assert actions_of(page(viewer, plan_url(running))) == []
    for url in (
        *(action_url(running, name) for name in ("start", "pause", "resume", "roll-back")),
        *(action_url(running, "delete"), ADD),
    ):
        assert (viewer.get(url).status_code, viewer.post(url).status_code) == (403, 403)
    toggler = staff("view_featureflag", "toggle_featureflag", name="toggler")
    do(toggler, running, "pause")
    assert plan_of().state == State.PAUSED
    do(toggler, running, "resume")
    assert plan_of().state == State.RUNNING


def test_permissions_of_plans_alone_open_no_page(running: Plan) -> None:
    other = staff("view_plan", "change_plan", "add_plan", "delete_plan")
    for path in (
        "",
        "add/",
        *(f"{running.pk}/{name}/" for name in ("change", "pause", "delete", "history")),
    ):
        assert other.get(PLANS + path).status_code == 403
