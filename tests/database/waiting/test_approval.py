"""A second person approves an action, refuses it, or nobody does."""

from typing import Any

import pytest
from django.contrib.auth.models import User

from flagstaff import changes
from flagstaff.models import FeatureFlag, WaitingAction
from tests.support.admin_pages import permit
from tests.support.plans import rollout
from tests.support.shop import Shop
from tests.support.terminals import asked, document, run
from tests.support.waiting import ask, make_due, run_jobs

pytestmark = pytest.mark.usefixtures("plain_terminal")

KEY = "search_v2"


@pytest.fixture(autouse=True)
def people(shop: Shop) -> None:
    """Ana and ben may change flags, and carol may not. None of them is in 10 % of the flag."""
    shop.flag(KEY, rollout_percent=5)
    for name in ("ana", "ben"):
        permit(shop.user(name, is_superuser=False), "change_featureflag")
    shop.user("carol")


def test_approved_action_runs_at_once() -> None:
    waiting = ask(f"release {KEY} --request")
    approve = f"waiting approve {waiting.pk} --as ben"
    assert run_jobs() == []
    assert WaitingAction.objects.get().state == "approval"
    printed = run(f"{approve} --reason fine").err
    assert printed.startswith(f"{waiting.pk}: Release {KEY} to everybody: due now, runs with ")
    assert [report["state"] for report in run_jobs()] == ["done"]
    assert rollout(KEY) == 100
    record = document("waiting", "show", str(waiting.pk))
    assert (record["approved_by_name"], record["approval"]) == ("ben", "fine")
    # Once is enough.
    assert f"is already done: {KEY}: rollout 5 → 100 %" in run(approve).err
    assert run_jobs() == []


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("--as ana", "another user than the one who asked"),
        ("--as carol", f"user carol lacks the right to change {KEY}"),
        ("--as-name deploy", "this needs a user"),
        ("", "this needs a user"),
    ],
)
@pytest.mark.parametrize("verb", ["approve", "refuse"])
def test_only_another_user_with_the_right_decides(verb: str, options: str, why: str) -> None:
    waiting = ask(f"release {KEY} --request")
    assert why in run(f"waiting {verb} {waiting.pk} {options}").err
    assert WaitingAction.objects.get().state == "approval"


def test_refused_action_never_runs() -> None:
    waiting = ask(f"release {KEY} --request")
    ran = run(f'waiting refuse {waiting.pk} --as ben --reason "not today"')
    assert ran.err == f"{waiting.pk}: Release {KEY} to everybody: refused: not today\n"
    assert "already" in run(f"waiting approve {waiting.pk} --as ben").err
    make_due()
    assert run_jobs() == []
    assert rollout(KEY) == 5


def test_approval_is_refused_after_a_change_of_the_flag() -> None:
    waiting = ask(f"release {KEY} --request")
    changes.flags.set_rollout(KEY, 6)
    ran = run(f"waiting approve {waiting.pk} --as ben")
    assert f"it will not run: postgres (database user) changed rollout of {KEY} at " in ran.err
    assert WaitingAction.objects.get().state == "approval"


@pytest.mark.parametrize("loses", ["ana", "ben"])
def test_both_need_the_right_when_it_runs(loses: str) -> None:
    run(f"waiting approve {ask(f'release {KEY} --request').pk} --as ben")
    User.objects.get(username=loses).user_permissions.clear()
    [report] = run_jobs()
    assert (report["state"], rollout(KEY)) == ("failed", 5)
    assert f"user {loses} lacks the right to change {KEY}" in report["result"]


def test_request_with_a_time_expires_an_hour_after_it() -> None:
    waiting = ask(f"release {KEY}")
    WaitingAction.objects.update(state="approval", needs_approval=True)
    make_due(minutes=61)
    run_jobs()
    assert WaitingAction.objects.get().state == "expired"
    assert "already" in run(f"waiting approve {waiting.pk} --as ben").err


def test_question_of_an_approval_shows_the_users_then_and_now() -> None:
    FeatureFlag.objects.update(rollout_percent=0)
    waiting = ask(f"release {KEY} --request")
    User.objects.bulk_create(User(username=f"user {number}") for number in range(10))
    ran = asked(f"waiting approve {waiting.pk} --as ben", "y")
    assert (
        "When asked: 0 → 100 %: 3 users gain the flag. Afterwards 3 of 3 users have it." in ran.err
    )
    assert "Afterwards 13 of 13 users have it." in ran.err
    assert WaitingAction.objects.get().state == "waiting"


def by_tag(_action: Any, rows: Any, _consequence: Any) -> bool:
    return any("payments" in row.tags for row in rows)


def broken(*_arguments: Any) -> bool:
    """Fails, and leaves the transaction in which it is called unusable."""
    return FeatureFlag.objects.extra(where=["no_such_column"]).exists()


@pytest.mark.parametrize(
    ("rule", "line", "needs"),
    [
        (None, f"release {KEY}", False),
        ("always", f"details {KEY} --owner ana", True),
        ("always", f"rollout {KEY} 0", False),
        ("always", f"off {KEY}", False),
        ("more", f"details {KEY} --owner ana", False),
        ("more", f"rollout {KEY} 10", True),
        ("most", f"rollout {KEY} 10", False),
        ("most", f"release {KEY}", True),
        (f"{__name__}.by_tag", f"release {KEY}", False),
        (f"{__name__}.broken", f"release {KEY}", True),
    ],
)
def test_setting_decides_what_needs_an_approval(
    rule: str | None, line: str, *, needs: bool, settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "APPROVAL": rule}
    assert ask(line).needs_approval is needs


@pytest.mark.parametrize("rule", ["most", f"{__name__}.broken"])
def test_setting_that_asks_for_an_approval_since_then_stops_its_action_only(
    rule: str, settings: Any
) -> None:
    ask(f"release {KEY}")
    ask(f"off {KEY}")
    make_due()
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "APPROVAL": rule}
    stopped, done = run_jobs()
    assert (stopped["state"], done["state"], rollout(KEY)) == ("failed", "done", 5)
    assert "it needs an approval now" in stopped["result"]
