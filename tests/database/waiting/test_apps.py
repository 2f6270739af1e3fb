"""Plans and experiments start at a time, or after an approval.

tests/database/actions runs all of their actions later; the pages of both apps are the same code.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flagstaff import changes, experiments
from flagstaff.admin import action_page
from flagstaff.models import Change, FeatureFlag, WaitingAction
from flagstaff.rollouts import plans
from flagstaff.rollouts.models import DriverRun, Plan
from flagstaff.waiting.outlook import foresee
from tests.support.admin_pages import act, flag_url, permit, question
from tests.support.experiments import KEY as EXPERIMENT
from tests.support.plans import KEY, STEPS, action_url, drive_recently, make_flag, plan_url, rollout
from tests.support.screen import Screen
from tests.support.shop import STAFF, Shop
from tests.support.terminals import refused, run
from tests.support.waiting import TOMORROW, ask, make_due, run_jobs, state_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("plain_terminal")]

START = f"plan start {KEY}"
LIST = "/admin/flagstaff/waitingaction/"


@pytest.fixture(autouse=True)
def plan(shop: Shop, settings: Any) -> Plan:
    """A plan that may start; ana and ben may start it, and an experiment."""
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "METRICS": {}}
    drive_recently()
    for name in ("ana", "ben"):
        user = shop.user(name, is_superuser=False)
        permit(user, "toggle_featureflag", "change_experiment")
    make_flag()
    return plans.create(KEY, STEPS)


def test_plan_starts_at_its_time_for_the_user_who_asked() -> None:
    waiting = ask(f"{START} --reason launch")
    assert "Afterwards" in waiting.users
    make_due()
    assert run_jobs()[0]["state"] == "done"
    assert rollout() == 5
    entry = Change.objects.latest("id")
    assert (entry.source, entry.reason) == (f"waiting {waiting.pk}", "launch")
    waiting.refresh_from_db()
    text = f"{KEY}: started: rollout 0 → 5 %; reason: launch"
    assert (waiting.entries, waiting.result) == ([entry.pk], text)


def test_plan_that_is_given_with_the_start_is_created_then(shop: Shop) -> None:
    shop.flag("summer_banner", rollout_percent=0)
    ask("plan start summer_banner --enable --step 10:1h --step 100")
    assert Plan.objects.count() == 1
    make_due()
    assert run_jobs()[0]["state"] == "done"
    flag = shop.flag("summer_banner")
    assert (flag.enabled, flag.rollout_percent) == (True, 10)


def test_plan_that_starts_before_touches_no_segment_with_the_key_of_its_flag(shop: Shop) -> None:
    shop.segment(KEY, conditions=[STAFF])
    rules = [{"conditions": [{"segment": KEY}]}]
    changes.flags.update(KEY, {"rules": rules})
    shop.flag("summer_banner", rollout_percent=5, rules=rules)
    ask(START)
    later = ask("rollout summer_banner 50")
    [later] = foresee([later])
    assert not later.obstacle


def replace_the_plan() -> None:
    plans.delete(KEY)
    plans.create(KEY, ["50:1h", "100:1h"])


def take_the_right() -> None:
    User.objects.get(username="ana").user_permissions.clear()


@pytest.mark.parametrize(
    ("meanwhile", "why"),
    [
        (
            lambda: changes.flags.update(KEY, {"bucket_by": "visitor"}),
            f"changed bucketing unit of {KEY} at ",
        ),
        (replace_the_plan, f"plan {KEY} has been changed meanwhile"),
        (partial(plans.start, KEY), f"changed rollout of {KEY} at "),
        (take_the_right, f"user ana lacks the right to toggle {KEY}"),
        (lambda: drive_recently(minutes=6), "run-jobs"),
    ],
    ids=["changed flag", "another plan", "started", "right", "no run-jobs"],
)
def test_plan_that_may_not_start_any_more_says_why(
    meanwhile: Callable[[], object], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(START)
    meanwhile()
    if why == "run-jobs":
        # This run of the jobs counts as one.
        monkeypatch.setattr(DriverRun, "is_recent", classmethod(lambda _cls: False))
    make_due()
    before = Change.objects.latest("id").pk
    [report] = run_jobs()
    assert (report["state"], why in report["result"]) == ("failed", True)
    assert Change.objects.latest("id").pk == before


def test_kill_of_a_flag_that_is_off_cancels_the_start_of_its_plan() -> None:
    changes.flags.disable(KEY)
    waiting = ask(f"{START} --enable")
    run(f"kill {KEY}")
    assert state_of(waiting) == "cancelled"
    make_due()
    assert run_jobs() == []


def test_page_of_a_plan_requests_an_approval_and_a_time_and_says_what_waits(
    operator: Client, plan: Plan, settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "APPROVAL": "most"}
    assert "Request approval" in Screen(operator.get(action_url(plan, "start"))).buttons
    act(operator, action_url(plan, "start"), _at=TOMORROW)
    waiting = WaitingAction.objects.get()
    assert (waiting.kind, waiting.row_kind, waiting.keys) == ("plan", "flag", [KEY])
    for url in (plan_url(plan), flag_url(FeatureFlag.objects.get())):
        links = Screen(operator.get(url)).attributes("a", "href")
        assert f"{LIST}{waiting.pk}/change/" in links
    assert rollout() == 0


def test_page_of_a_plan_refuses_a_time_after_another_change(
    operator: Client, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change_first(*_arguments: Any) -> bool:
        changes.flags.set_rollout(KEY, 1)
        return False

    url = action_url(plan, "start")
    shown = Screen(question(operator, url, _at=TOMORROW)).fields()
    monkeypatch.setattr(action_page, "is_approval_needed", change_first)
    response = operator.post(url, shown)
    assert "has changed since the page was shown" in Screen(response).text
    assert not WaitingAction.objects.exists()


def test_experiment_that_was_edited_does_not_start(shop: Shop) -> None:
    shop.experiment(state="draft")
    assert ask(f"experiment start {EXPERIMENT}").users == "100 % of all units take part."
    run(f"experiment edit {EXPERIMENT} --traffic-percent 20")
    make_due()
    [report] = run_jobs()
    assert f"{EXPERIMENT} has been changed meanwhile" in report["result"]
    assert (report["state"], shop.experiment().state) == ("failed", "draft")


def test_stop_of_an_experiment_that_does_not_run_cancels_its_start(shop: Shop) -> None:
    shop.experiment(state="draft")
    waiting = ask(f"experiment start {EXPERIMENT}")
    run(f"experiment stop {EXPERIMENT} --dry-run")
    assert state_of(waiting) == "waiting"
    run(f"experiment stop {EXPERIMENT}")
    waiting.refresh_from_db()
    assert (waiting.state, waiting.result) == ("cancelled", "the experiment was stopped again")
    make_due()
    assert run_jobs() == []
    assert shop.experiment().state == "draft"


def test_experiment_cannot_be_asked_to_shrink(shop: Shop) -> None:
    shop.experiment()
    refused(f"experiment grow {EXPERIMENT} 50 --yes --as ana --at {TOMORROW}", 4, "can only grow")
    assert not WaitingAction.objects.exists()


def test_experiment_is_shipped_after_an_approval(
    operator: Client, shop: Shop, settings: Any
) -> None:
    url = f"/admin/flagstaff_experiments/experiment/{shop.experiment().pk}"
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "APPROVAL": "most"}

    act(operator, f"{url}/ship/", winner="treatment", report="on")
    waiting = WaitingAction.objects.get()
    assert (waiting.state, waiting.users) == ("approval", "All units get treatment.")
    assert "waits for approval" in Screen(operator.get(f"{url}/change/")).text
    ben = shop.client("ben")
    assert EXPERIMENT in Screen(ben.get(f"{LIST}{waiting.pk}/change/")).heading
    act(ben, f"{LIST}{waiting.pk}/approve/")
    assert run_jobs()[0]["state"] == "done"
    assert shop.experiment().winner == "treatment"
    act(operator, f"{url}/stop/")
    assert shop.experiment().state == "stopped"


@pytest.mark.parametrize(
    ("permission", "seen", "unseen"),
    [("view_featureflag", KEY, EXPERIMENT), ("view_experiment", EXPERIMENT, KEY)],
)
def test_user_sees_what_waits_for_rows_of_apps_by_the_rights_for_them(
    permission: str, seen: str, unseen: str, shop: Shop
) -> None:
    experiments.create(EXPERIMENT)
    ask(START)
    ask(f"experiment start {EXPERIMENT}")
    shown = Screen(shop.client("bob", permission).get(LIST)).text
    assert seen in shown
    assert unseen not in shown


def test_experiment_is_stopped_late_but_no_other_run_of_it(shop: Shop) -> None:
    shop.experiment()
    for change in ("grow", "restart"):
        waiting = ask(f"experiment stop {EXPERIMENT}")
        assert waiting.takes_away
        run(f"experiment {change} {EXPERIMENT} {'100' if change == 'grow' else ''} --yes")
        make_due(minutes=61)
        run_jobs()
        waiting.refresh_from_db()
        run(f"experiment undo {EXPERIMENT} --yes")
    results = [*WaitingAction.objects.order_by("id").values_list("state", "result")]
    assert [state for state, _result in results] == ["done", "failed"]
    assert results[1][1] == f"experiment {EXPERIMENT} has been changed meanwhile"


def test_experiment_grows_twice(shop: Shop) -> None:
    shop.experiment(traffic_percent=20)
    for percent in (50, 100):
        ask(f"experiment grow {EXPERIMENT} {percent} --yes")
    make_due()
    assert [report["state"] for report in run_jobs()] == ["done", "done"]
    assert shop.experiment().traffic_percent == 100
