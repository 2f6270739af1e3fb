"""Plans and experiments start at a time, or after an approval."""

from __future__ import annotations

from threading import Event
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flagstaff import changes, experiments
from flagstaff.admin import question
from flagstaff.experiments.models import Experiment
from flagstaff.models import Change, FeatureFlag, WaitingAction
from flagstaff.rollouts import plans
from flagstaff.rollouts.models import DriverRun, Plan
from flagstaff.waiting import running
from flagstaff.waiting.times import future_time
from tests.support.admin_pages import act, flag_url, page, permit, staff
from tests.support.concurrency import in_threads
from tests.support.plan_pages import action_url, plan_url
from tests.support.rollouts import KEY, STEPS, drive_recently, events, make_flag, rollout
from tests.support.screen import Screen
from tests.support.terminals import run
from tests.support.waiting import TOMORROW, ask, make_due, run_jobs

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("plain_terminal", "metrics"),
]
START = f"plan start {KEY}"
BUTTON = "checkout_button"


@pytest.fixture(autouse=True)
def flag() -> FeatureFlag:
    drive_recently()
    for name in ("ana", "bob"):
        permit(User.objects.create_user(name), "toggle_featureflag", "change_experiment")
    return make_flag()


@pytest.fixture
def plan(flag: FeatureFlag) -> Plan:
    return plans.create(KEY, STEPS)


@pytest.fixture
def button() -> Experiment:
    return experiments.create(BUTTON)


@pytest.fixture
def metrics(settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "METRICS": {}}


def why() -> str:
    [report] = run_jobs()
    assert report["state"] == "failed"
    return str(report["result"])


# Plans.


@pytest.mark.usefixtures("plan")
def test_plan_starts_at_its_time_for_the_user_who_asked() -> None:
    waiting = ask(f"{START} --reason launch")
    assert "Afterwards" in waiting.users
    assert run_jobs() == []
    assert rollout() == 0
    make_due()
    assert run_jobs()[0]["state"] == "done"
    assert rollout() == 5
    entry = Change.objects.latest("id")
    assert (entry.source, entry.reason) == (f"waiting {waiting.pk}", "launch")
    waiting.refresh_from_db()
    text = f"{KEY}: started: rollout 0 → 5 %; reason: launch"
    assert (waiting.entries, waiting.result) == ([entry.pk], text)


def test_plan_that_is_given_with_the_start_is_created_then() -> None:
    FeatureFlag.objects.update(enabled=False)
    ask(f"{START} --enable --step 10:1h --step 100")
    assert not Plan.objects.exists()
    make_due()
    assert run_jobs()[0]["state"] == "done"
    assert rollout() == 10
    assert FeatureFlag.objects.get().enabled


@pytest.mark.usefixtures("plan")
def test_plan_does_not_start_if_run_jobs_does_not_drive_plans(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ask(START)
    make_due()
    drive_recently(minutes=6)
    monkeypatch.setattr(DriverRun, "is_recent", classmethod(lambda _cls: False))
    assert "run-jobs" in why()
    assert rollout() == 0


def change_the_flag() -> None:
    changes.flags.update(KEY, {"owner": "ana"})


def replace_the_plan() -> None:
    plans.delete(KEY)
    plans.create(KEY, ["50:1h", "100:1h"])


def take_the_right() -> None:
    User.objects.get(username="ana").user_permissions.clear()


def start_it() -> None:
    plans.start(KEY)


@pytest.mark.usefixtures("plan")
@pytest.mark.parametrize(
    ("meanwhile", "text"),
    [
        (change_the_flag, f"{KEY} was changed after this was asked for: "),
        (replace_the_plan, f"the rollout plan of {KEY} has been changed"),
        (start_it, f"the rollout plan of {KEY}"),
        (take_the_right, f"user ana lacks the right to toggle {KEY}"),
    ],
)
def test_plan_that_may_not_start_any_more_says_why(meanwhile: Any, text: str) -> None:
    ask(START)
    meanwhile()
    make_due()
    before = Change.objects.latest("id").pk
    assert text in why()
    assert Change.objects.latest("id").pk == before


def test_kill_of_a_flag_that_is_off_cancels_the_start_of_its_plan() -> None:
    changes.flags.disable(KEY)
    waiting = ask(f"{START} --enable")
    run(f"kill {KEY}")
    waiting.refresh_from_db()
    assert waiting.state == "cancelled"
    make_due()
    assert run_jobs() == []


def test_kill_while_a_plan_starts_that_enables_its_flag_wins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changes.flags.disable(KEY)
    waiting = ask(f"{START} --enable")
    make_due()
    compare = running.require_consequence

    def kill_after_the_count(*given: Any) -> None:
        compare(*given)
        in_threads(lambda: changes.flags.disable(KEY))

    monkeypatch.setattr(running, "require_consequence", kill_after_the_count)
    assert [*running.run_due(Event())] == []
    waiting.refresh_from_db()
    assert waiting.state == "cancelled"
    assert not FeatureFlag.objects.get().enabled


@pytest.mark.usefixtures("plan")
def test_jobs_of_several_processes_start_a_plan_once() -> None:
    ask(START)
    make_due()
    found = in_threads(*[lambda: [one.state for one in running.run_due(Event())]] * 4)
    assert [state for states in found for state in states] == ["done"]
    assert events() == ["created", "started"]


@pytest.mark.parametrize(
    ("line", "needs"),
    [
        (START, True),
        (f"plan resume {KEY}", True),
        (f"plan roll-back {KEY}", False),
        (f"plan pause {KEY}", False),
        (f"experiment start {BUTTON}", True),
        (f"experiment stop {BUTTON}", False),
    ],
)
@pytest.mark.usefixtures("plan", "button")
def test_what_takes_something_back_has_no_time(line: str, *, needs: bool) -> None:
    if "resume" in line:
        plans.start(KEY)
        plans.pause(KEY)
    ran = run(f"{line} --at {TOMORROW} --as ana")
    assert (ran.status == 0) is needs, ran.err
    assert WaitingAction.objects.exists() is needs


def test_page_of_a_plan_asks_for_a_time_and_says_what_waits(operator: Client, plan: Plan) -> None:
    act(operator, action_url(plan, "start"), _at=TOMORROW)
    waiting = WaitingAction.objects.get()
    assert (waiting.kind, waiting.row_kind, waiting.keys) == ("plan", "flag", [KEY])
    for url in (plan_url(plan), flag_url(FeatureFlag.objects.get())):
        assert f"/waitingaction/{waiting.pk}/" in page(operator, url)
    assert rollout() == 0
    make_due()
    assert run_jobs()[0]["state"] == "done"
    assert rollout() == 5


def test_page_of_a_plan_requests_an_approval_that_another_user_gives(
    operator: Client, plan: Plan, settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "APPROVAL": "most"}
    assert "Request approval" in page(operator, action_url(plan, "start"))
    act(operator, action_url(plan, "start"))
    waiting = WaitingAction.objects.get()
    assert waiting.state == "approval"
    url = f"/admin/flagstaff/waitingaction/{waiting.pk}"
    bob = Client()
    bob.force_login(User.objects.create_superuser("boss"))
    assert f"Start the plan of {KEY}" in page(bob, f"{url}/change/")
    act(bob, f"{url}/approve/")
    assert run_jobs()[0]["state"] == "done"
    assert rollout() == 5


def test_page_of_a_plan_refuses_a_time_after_another_change(
    operator: Client, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed_meanwhile(text: str) -> Any:
        changes.flags.set_rollout(KEY, 1)
        return future_time(text)

    shown = Screen(page(operator, action_url(plan, "start"))).fields()
    monkeypatch.setattr(question, "future_time", changed_meanwhile)
    response: Any = operator.post(action_url(plan, "start"), shown | {"_at": TOMORROW})
    assert "has changed since the page was shown" in response.content.decode()
    assert not WaitingAction.objects.exists()


# Experiments.


@pytest.mark.usefixtures("button")
def test_experiment_starts_at_its_time() -> None:
    waiting = ask(f"experiment start {BUTTON}")
    assert waiting.users == "100 % of all units take part."
    make_due()
    assert run_jobs()[0]["state"] == "done"
    assert Experiment.objects.get().state == "running"


@pytest.mark.usefixtures("button")
def test_experiment_that_was_edited_does_not_start() -> None:
    ask(f"experiment start {BUTTON}")
    run(f"experiment edit {BUTTON} --traffic-percent 20")
    make_due()
    assert f"{BUTTON} has been changed meanwhile" in why()
    assert Experiment.objects.get().state == "draft"


@pytest.mark.usefixtures("button")
def test_stop_of_an_experiment_that_does_not_run_cancels_its_start() -> None:
    waiting = ask(f"experiment start {BUTTON}")
    run(f"experiment stop {BUTTON} --dry-run")
    waiting.refresh_from_db()
    assert waiting.state == "waiting"
    run(f"experiment stop {BUTTON}")
    waiting.refresh_from_db()
    assert (waiting.state, waiting.result) == ("cancelled", "the experiment was stopped again")
    make_due()
    assert run_jobs() == []
    assert Experiment.objects.get().state == "draft"


@pytest.mark.usefixtures("button")
def test_experiment_cannot_be_asked_to_shrink() -> None:
    experiments.start(BUTTON)
    ran = run(f"experiment grow {BUTTON} 50 --yes --as ana --at {TOMORROW}")
    assert (ran.status, "can only grow" in ran.err) == (4, True)
    assert not WaitingAction.objects.exists()


@pytest.mark.usefixtures("button")
def test_experiment_is_shipped_after_an_approval(operator: Client, settings: Any) -> None:
    experiments.start(BUTTON)
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "APPROVAL": "most"}
    button = Experiment.objects.get()
    url = f"/admin/flagstaff_experiments/experiment/{button.pk}"
    act(operator, f"{url}/ship/", winner="treatment", report="on")
    waiting = WaitingAction.objects.get()
    assert (waiting.state, waiting.users) == ("approval", "All units get treatment.")
    assert "waits for approval" in page(operator, f"{url}/change/")
    run(f"waiting approve {waiting.pk} --as bob --yes")
    assert run_jobs()[0]["state"] == "done"
    assert Experiment.objects.get().winner == "treatment"
    act(operator, f"{url}/stop/")
    assert Experiment.objects.get().state == "stopped"


@pytest.mark.usefixtures("button", "plan")
def test_user_sees_what_waits_for_rows_of_apps_by_the_rights_for_them() -> None:
    ask(START)
    ask(f"experiment start {BUTTON}")
    url = "/admin/flagstaff/waitingaction/"
    shown = page(staff("view_featureflag"), url)
    assert KEY in shown
    assert BUTTON not in shown
    shown = page(staff("view_experiment", name="other"), url)
    assert BUTTON in shown
    assert KEY not in shown
