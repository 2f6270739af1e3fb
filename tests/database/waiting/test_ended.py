"""What a change would end is said before it, and what it has ended is said in its receipt."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from flagstaff import changes
from flagstaff.models import WaitingAction
from flagstaff.rollouts import plans
from flagstaff.rollouts.models import Plan
from tests.support.admin_pages import act, flag_url, messages_of, notes_of, question
from tests.support.experiments import KEY as EXPERIMENT
from tests.support.experiments import experiment_url
from tests.support.plans import STEPS, action_url, drive_recently
from tests.support.screen import Screen
from tests.support.shop import STAFF, Shop
from tests.support.sql import statements_of
from tests.support.terminals import asked, document, run
from tests.support.waiting import TOMORROW, ask, state_of

# An action that waits compares the versions of the history.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("plain_terminal")]

KEY = "summer_banner"
NEXT_WEEK = f"{timezone.now() + timedelta(days=7):%Y-%m-%dT%H:%M}"
ENDS = f"{KEY}: Save the bucketing unit"


@pytest.fixture(autouse=True)
def flag(shop: Shop) -> None:
    shop.user("ana")
    shop.flag(KEY, rollout_percent=5)


@pytest.fixture
def waiting(*, is_on: bool) -> WaitingAction:
    """An action that a kill ends, because it turns off the flag or because the flag is off."""
    if is_on:
        changes.flags.enable(KEY)
    waiting = ask(f"unit {KEY} visitor --at {NEXT_WEEK}")
    # A kill does not end it.
    ask(f"rollout {KEY} 1 --at {NEXT_WEEK}")
    return waiting


each_kill = pytest.mark.parametrize("is_on", [True, False], ids=["on", "off"])
each_line = pytest.mark.parametrize("is_later", [False, True], ids=["now", "later"])


@each_kill
def test_dry_run_of_a_kill_names_what_it_would_end(waiting: WaitingAction) -> None:
    assert f"{waiting.pk}: {ENDS}: would not run\n" in run(f"kill {KEY} --dry-run").err
    assert [row["id"] for row in document("kill", KEY, "--dry-run")["waiting"]] == [waiting.pk]
    assert state_of(waiting) == "waiting"


@each_kill
def test_receipt_of_a_kill_names_what_it_has_ended(waiting: WaitingAction, *, is_on: bool) -> None:
    why = "will not run: " if is_on else "cancelled: the flag was turned off again"
    assert f"{waiting.pk}: {ENDS}: {why}" in run(f"kill {KEY} --no-wait").err


@each_kill
def test_document_of_a_kill_has_what_it_has_ended(waiting: WaitingAction, *, is_on: bool) -> None:
    [ended] = document("kill", KEY, "--no-wait")["waiting"]
    assert (ended["id"], ended["state"]) == (waiting.pk, "waiting" if is_on else "cancelled")
    assert bool(ended["obstacle"]) is is_on


@each_kill
def test_page_of_a_kill_and_its_message_name_what_it_ends(
    waiting: WaitingAction, shop: Shop, *, is_on: bool
) -> None:
    client, url = shop.client("ben"), flag_url(shop.flag(KEY), "kill")
    note = f"If you change it now, this will not run: {ENDS}: runs at "
    staying = f"Actions that still wait afterwards: {KEY}: Roll out to 1 %: runs at "
    texts = notes_of(client.get(url))
    assert [text[: len(note)] for text in texts if ENDS in text] == [note]
    assert [text[: len(staying)] for text in texts if "Roll out to 1 %" in text] == [staying]
    why = "will not run: " if is_on else "cancelled: the flag was turned off again"
    messages = messages_of(client.post(url, follow=True))
    assert [text for text in messages if f"{ENDS}: {why}" in text]
    assert not [text for text in messages if "Roll out" in text]


def test_page_of_a_kill_names_all_that_it_ends_in_one_line(shop: Shop) -> None:
    changes.flags.enable(KEY)
    for line in (f"unit {KEY} visitor", f"rollout {KEY} 60"):
        ask(f"{line} --at {NEXT_WEEK}")
    texts = notes_of(shop.client("ben").get(flag_url(shop.flag(KEY), "kill")))
    [text] = [text for text in texts if "these will not run:" in text]
    assert ENDS in text
    assert f"{KEY}: Roll out to 60 %" in text


def test_page_of_a_rollout_names_what_waits_before_a_percentage_is_typed(shop: Shop) -> None:
    changes.flags.enable(KEY)
    ask(f"unit {KEY} visitor --at {NEXT_WEEK}")
    client, url = shop.client("ben"), flag_url(shop.flag(KEY), "rollout")
    [text] = notes_of(client.get(url))
    assert text.startswith(f"Waiting actions: {ENDS}: runs at ")
    texts = notes_of(client.get(f"{url}?percent=50"))
    assert [text for text in texts if f"this will not run: {ENDS}" in text]


def test_page_that_starts_a_plan_names_what_still_waits_for_its_flag(shop: Shop) -> None:
    drive_recently()
    changes.flags.enable(KEY)
    plan = plans.create(KEY, STEPS)
    ask(f"off {KEY} --at {NEXT_WEEK}")
    texts = notes_of(shop.client("ben").get(action_url(plan, "start")))
    staying = f"Actions that still wait afterwards: Turn off {KEY}: runs at "
    assert [text for text in texts if text.startswith(staying)]


def test_page_of_a_kill_queries_once_more_if_nothing_waits(shop: Shop) -> None:
    changes.flags.enable(KEY)
    client, url = shop.client("ben"), flag_url(shop.flag(KEY), "kill")
    statements = statements_of(lambda: client.get(url))
    assert len([text for text in statements if 'FROM "flagstaff_waitingaction"' in text]) == 1


@each_line
def test_plan_in_front_of_others_names_what_its_start_would_end(
    shop: Shop, *, is_later: bool
) -> None:
    drive_recently()
    plan = plans.create(KEY, STEPS)
    ask(f"unit {KEY} visitor --at {NEXT_WEEK}")
    time = f"--at {TOMORROW} --as ana" if is_later else "--dry-run"
    printed = run(f"plan start {KEY} --enable {time}").err
    assert (f"will not run: {ENDS}" if is_later else f"{ENDS}: would not run") in printed
    client, url = shop.client("ben"), action_url(plan, "start")
    page = question(client, url, _at=TOMORROW) if is_later else client.get(url)
    assert f"will not run: {ENDS}" in Screen(page).text


def test_receipt_of_a_plan_that_starts_names_what_it_has_ended(shop: Shop) -> None:
    drive_recently()
    plan = plans.create(KEY, STEPS)
    ask(f"rollout {KEY} 50 --at {NEXT_WEEK}")
    assert f"{KEY}: Roll out to 50 %: will not run: " in run(f"plan start {KEY} --enable").err
    plans.rollback(KEY)
    ask(f"rollout {KEY} 60 --at {NEXT_WEEK}")
    messages = messages_of(act(shop.client("ben"), action_url(plan, "resume")))
    assert [text for text in messages if f"{KEY}: Roll out to 60 %: will not run: " in text]


# What never waits is not asked about, so its receipt alone says what it has ended.


@pytest.fixture
def plan(shop: Shop) -> Plan:
    """A plan that runs, before which its flag was to get another bucketing unit."""
    drive_recently()
    changes.flags.enable(KEY)
    plan = shop.plan(KEY)
    ask(f"unit {KEY} visitor --at {NEXT_WEEK}")
    return plan


def test_receipt_of_a_roll_back_names_what_it_has_ended(plan: Plan) -> None:
    printed = run(f"plan roll-back {plan.key} --no-wait").err
    assert f"{ENDS}: will not run: " in printed


def test_message_after_a_roll_back_names_what_it_has_ended(plan: Plan, shop: Shop) -> None:
    response = shop.client("ben").post(action_url(plan, "roll-back"), follow=True)
    assert [text for text in messages_of(response) if f"{ENDS}: will not run: " in text]


def test_receipt_of_a_roll_back_names_what_it_has_cancelled(plan: Plan) -> None:
    """The flag is off already, so there is no change that would end it."""
    changes.flags.update(KEY, rules=[{"conditions": [STAFF]}])
    changes.flags.disable(KEY)
    waiting = ask(f"unit {KEY} organization --at {TOMORROW}")
    printed = run(f"plan roll-back {plan.key} --no-wait").err
    assert f"{waiting.pk}: {ENDS}: cancelled: the flag was turned off again" in printed


each_state = pytest.mark.parametrize(
    ("state", "line", "ends"),
    [
        ("running", "grow {} 100 --yes", "will not run: "),
        ("draft", "start {} --yes", "cancelled: the experiment was stopped again"),
    ],
)


@each_state
def test_receipt_of_a_stop_names_what_it_has_ended(
    shop: Shop, state: str, line: str, ends: str
) -> None:
    shop.experiment(state=state, traffic_percent=20)
    waiting = ask(f"experiment {line.format(EXPERIMENT)}")
    dry = run(f"experiment stop {EXPERIMENT} --dry-run").err
    assert re.search(rf"^{waiting.pk}: .*: would not run$", dry, re.MULTILINE)
    printed = run(f"experiment stop {EXPERIMENT} --no-wait").err
    assert re.search(rf"^{waiting.pk}: .*: {ends}", printed, re.MULTILINE)


@each_state
def test_message_after_a_stop_names_what_it_has_ended(
    shop: Shop, state: str, line: str, ends: str
) -> None:
    experiment = shop.experiment(state=state, traffic_percent=20)
    ask(f"experiment {line.format(EXPERIMENT)}")
    response = shop.client("ben").post(experiment_url(experiment, "stop"), follow=True)
    assert [text for text in messages_of(response) if f": {ends}" in text]


def test_receipt_of_a_cancellation_names_what_was_to_run_after_it() -> None:
    first = ask(f"rollout {KEY} 50 --at {TOMORROW}")
    second = ask(f"rollout {KEY} 60 --at {NEXT_WEEK}")
    text = f"{KEY}: Roll out to 60 %: will not run: {first.pk} was to run before it: cancelled"
    printed = run(f"waiting cancel {first.pk}").err
    assert f"{second.pk}: {text}" in printed
    assert printed.count(f"{first.pk}: {KEY}: Roll out to 50 %") == 1


def test_question_names_what_the_change_would_end() -> None:
    changes.flags.enable(KEY)
    waiting = ask(f"unit {KEY} visitor --at {NEXT_WEEK}")
    printed = asked(f"release {KEY}", "n").err
    assert f"{waiting.pk}: {ENDS}: would not run\n" in printed
    assert state_of(waiting) == "waiting"


def test_question_about_a_row_of_an_app_names_what_the_change_would_end(shop: Shop) -> None:
    shop.experiment(traffic_percent=20)
    waiting = ask(f"experiment grow {EXPERIMENT} 100 --yes")
    printed = asked(f"experiment ship {EXPERIMENT} treatment", "n").err
    assert re.search(rf"^{waiting.pk}: .*: would not run$", printed, re.MULTILINE)


def test_question_of_an_undo_names_what_it_would_end() -> None:
    changes.flags.enable(KEY)
    changes.flags.release(KEY)
    changes.flags.set_rollout(KEY, 0)
    waiting = ask(f"unit {KEY} visitor --at {NEXT_WEEK}")
    assert f"{waiting.pk}: {ENDS}: would not run\n" in asked(f"undo {KEY}", "n").err
