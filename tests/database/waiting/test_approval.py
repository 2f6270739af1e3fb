"""A second person approves an action, refuses it, or nobody does."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from flagstaff import changes
from flagstaff.models import FeatureFlag, WaitingAction
from tests.support.admin_pages import permit
from tests.support.terminals import asked, document, run
from tests.support.waiting import ask, make_due, run_jobs

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_terminal")]


@pytest.fixture(autouse=True)
def people() -> None:
    FeatureFlag.objects.create(key="pay", enabled=True, rollout_percent=5)
    # None of these keys is in 10 % of the users of "pay".
    ana, bob, _eve = (
        User.objects.create_user(name, pk=pk)
        for pk, name in enumerate(("ana", "bob", "eve"), start=2_000_003)
    )
    for user in (ana, bob):
        permit(user, "change_featureflag")


def percent() -> int:
    return FeatureFlag.objects.get(key="pay").rollout_percent


def state() -> str:
    return str(WaitingAction.objects.get().state)


def approve(waiting: WaitingAction, options: str = "--as bob") -> str:
    return run(f"waiting approve {waiting.pk} {options}").err


def test_approved_action_runs_at_once() -> None:
    waiting = ask("release pay --request")
    assert run_jobs() == []
    assert state() == "approval"
    assert approve(waiting, "--as bob --reason fine").startswith(
        f"{waiting.pk}: Release pay to everybody: runs at "
    )
    assert [report["state"] for report in run_jobs()] == ["done"]
    assert percent() == 100
    record = document("waiting", "show", str(waiting.pk))
    assert (record["approved_by_name"], record["approval"]) == ("bob", "fine")
    # Once is enough.
    assert "is done: pay: rollout 5 → 100 % already" in approve(waiting)
    assert run_jobs() == []


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("--as ana", "another user than the one who asked"),
        ("--as eve", "user eve lacks the right to change pay"),
        ("--as-name deploy", "this needs a user"),
        ("", "this needs a user"),
    ],
)
@pytest.mark.parametrize("verb", ["approve", "refuse"])
def test_only_another_user_with_the_right_decides(verb: str, options: str, why: str) -> None:
    waiting = ask("release pay --request")
    assert why in run(f"waiting {verb} {waiting.pk} {options}").err
    assert state() == "approval"


def test_refused_action_never_runs() -> None:
    waiting = ask("release pay --request")
    ran = run(f'waiting refuse {waiting.pk} --as bob --reason "not today"')
    assert ran.err == f"{waiting.pk}: Release pay to everybody: refused: not today\n"
    assert "already" in approve(waiting)
    make_due()
    assert run_jobs() == []
    assert percent() == 5


def test_approval_is_refused_after_a_change_of_the_flag() -> None:
    waiting = ask("release pay --request")
    changes.flags.set_rollout("pay", 6)
    assert "pay changed after this was asked for, so it cannot run" in approve(waiting)
    assert state() == "approval"


@pytest.mark.parametrize("loses", ["ana", "bob"])
def test_both_need_the_right_when_it_runs(loses: str) -> None:
    approve(ask("release pay --request"))
    User.objects.get(username=loses).user_permissions.clear()
    [report] = run_jobs()
    assert (report["state"], percent()) == ("failed", 5)
    assert f"user {loses} lacks the right to change pay" in report["result"]


def test_request_with_a_time_expires_an_hour_after_it() -> None:
    waiting = ask("release pay")
    WaitingAction.objects.update(state="approval", needs_approval=True)
    make_due(minutes=61)
    run_jobs()
    assert state() == "expired"
    assert "already" in approve(waiting)


def test_question_of_an_approval_shows_the_users_then_and_now() -> None:
    FeatureFlag.objects.update(rollout_percent=0)
    waiting = ask("release pay --request")
    User.objects.bulk_create(User(username=f"user {number}") for number in range(10))
    ran = asked(f"waiting approve {waiting.pk} --as bob", "y")
    assert "then: 0 → 100 %: 3 users gain the flag. Afterwards 3 of 3 users have it." in ran.err
    assert "Afterwards 13 of 13 users have it." in ran.err
    assert state() == "waiting"


def by_tag(_action: Any, rows: Any, _consequence: Any) -> bool:
    return any("payments" in row.tags for row in rows)


def broken(*_given: Any) -> bool:
    raise ValueError("no")


@pytest.mark.parametrize(
    ("rule", "line", "needs"),
    [
        (None, "release pay", False),
        ("always", "details pay --owner ana", True),
        ("always", "rollout pay 0", False),
        ("always", "off pay", False),
        ("more", "details pay --owner ana", False),
        ("more", "rollout pay 10", True),
        ("most", "rollout pay 10", False),
        ("most", "release pay", True),
        (f"{__name__}.by_tag", "release pay", False),
        (f"{__name__}.broken", "release pay", True),
    ],
)
def test_setting_decides_what_needs_an_approval(
    rule: str | None, line: str, *, needs: bool, settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "APPROVAL": rule}
    assert ask(line).needs_approval is needs


def test_setting_that_asks_for_an_approval_since_then_stops_the_action(settings: Any) -> None:
    ask("release pay")
    FeatureFlag.objects.filter(key="pay")
    make_due()
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "APPROVAL": "most"}
    [report] = run_jobs()
    assert (report["state"], percent()) == ("failed", 5)
    assert "it needs an approval now" in report["result"]


def breaks_the_transaction(*_given: Any) -> bool:
    return FeatureFlag.objects.extra(where=["no_such_column"]).exists()


def test_function_that_breaks_the_transaction_stops_its_action_only(settings: Any) -> None:
    ask("release pay")
    ask("off pay")
    make_due()
    name = f"{__name__}.{breaks_the_transaction.__name__}"
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "APPROVAL": name}
    assert [report["state"] for report in run_jobs()] == ["failed", "done"]


def test_action_that_needs_neither_time_nor_approval_is_not_stored() -> None:
    ran = run("waiting cancel 987654321")
    assert "there is no waiting action '987654321'" in ran.err
