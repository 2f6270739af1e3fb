"""An action that waits runs once, or never and says why."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.db.models.functions import Now
from django.utils.translation import override

from flagstaff import acting_as, changes
from flagstaff.actions import action, all_actions
from flagstaff.actions.table import Run
from flagstaff.admin import FeatureFlagAdmin
from flagstaff.changes.preview import previewed
from flagstaff.history.kinds import Kind
from flagstaff.history.retention import forget_user
from flagstaff.models import Change, FeatureFlag, KeyValueStore, Segment, WaitingAction
from flagstaff.waiting import running
from flagstaff.waiting.actions import ask as ask_for
from flagstaff.waiting.prospect import Prospect
from tests.support.admin_pages import permit
from tests.support.history import flag_history
from tests.support.terminals import run
from tests.support.waiting import TOMORROW, ask, make_due, run_jobs

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_terminal")]


STAFF = {"attribute": "is_staff", "operator": "in", "values": [True]}


@pytest.fixture(autouse=True)
def ana() -> User:
    user = User.objects.create_user("ana", is_staff=True)
    permit(user, "change_featureflag")
    return user


@pytest.fixture(autouse=True)
def pay(ana: User) -> FeatureFlag:
    User.objects.bulk_create(User(username=f"user {number}") for number in range(20))
    return FeatureFlag.objects.create(key="pay", enabled=True, rollout_percent=5)


def stored() -> tuple[bool, int]:
    flag = FeatureFlag.objects.get(key="pay")
    return flag.enabled, flag.rollout_percent


def test_action_runs_at_its_time_and_is_recorded_for_the_one_who_asked(ana: User) -> None:
    waiting = ask("release pay --reason launch")
    assert run_jobs() == []
    assert stored() == (True, 5)
    make_due()
    [report] = run_jobs()
    assert report["state"] == "done"
    assert stored() == (True, 100)
    [event, *_] = flag_history("pay")
    assert (event.actor, event.reason) == (str(ana.pk), "launch")
    assert event.source == f"waiting {waiting.pk}"
    waiting.refresh_from_db()
    assert waiting.entries == [event.version]
    assert waiting.result == "pay: rollout 5 → 100 %"
    # A further run has nothing to do.
    changes.flags.set_rollout("pay", 5)
    assert run_jobs() == []
    assert stored() == (True, 5)


def test_several_rows_are_changed_together_or_not_at_all() -> None:
    FeatureFlag.objects.create(key="ship", enabled=True)
    ask("release pay ship")
    changes.flags.set_rollout("ship", 1)
    make_due()
    [report] = run_jobs()
    assert report["state"] == "failed"
    assert stored() == (True, 5)


def change_the_flag(_ana: User) -> None:
    changes.flags.set_rollout("pay", 6)


def change_the_flag_by_sql(_ana: User) -> None:
    FeatureFlag.objects.filter(key="pay").update(rollout_percent=6)


def kill_the_flag(_ana: User) -> None:
    run("kill pay")


def delete_the_flag(_ana: User) -> None:
    changes.flags.delete("pay")


def replace_the_flag(_ana: User) -> None:
    changes.flags.delete("pay")
    changes.flags.create("pay", enabled=True)


def take_the_right(ana: User) -> None:
    ana.user_permissions.clear()


def deactivate(ana: User) -> None:
    User.objects.filter(pk=ana.pk).update(is_active=False)


def delete_the_user(ana: User) -> None:
    ana.delete()


def forget(ana: User) -> None:
    pk = ana.pk
    ana.delete()
    forget_user(pk)


def rename_the_action(_ana: User) -> None:
    WaitingAction.objects.update(action="give-away")


def rename_an_argument(_ana: User) -> None:
    WaitingAction.objects.update(arguments={"share": 50})


@pytest.mark.parametrize(
    ("meanwhile", "why"),
    [
        (change_the_flag, "pay was changed after this was asked for: "),
        (change_the_flag_by_sql, "pay was changed after this was asked for: "),
        (kill_the_flag, "pay was changed after this was asked for: "),
        (delete_the_flag, "there is no flag 'pay'"),
        (replace_the_flag, "pay was changed after this was asked for: "),
        (take_the_right, "user ana lacks the right to toggle pay"),
        (deactivate, "user ana is not active"),
        (delete_the_user, "no longer exists"),
        (forget, "the user who asked for it, or approved it, was deleted"),
        (rename_the_action, "there is no action give-away of a flag any more"),
        (rename_an_argument, "the arguments of rollout have changed"),
    ],
)
@pytest.mark.one_in(4)
def test_action_that_may_not_run_any_more_says_why_and_is_not_tried_again(
    meanwhile: Callable[[User], None], why: str, ana: User
) -> None:
    ask("rollout pay 50")
    meanwhile(ana)
    make_due()
    last = Change.objects.latest("id").pk
    run_jobs()
    [waiting] = WaitingAction.objects.all()
    assert waiting.state == "failed"
    assert why in waiting.result
    assert Change.objects.latest("id").pk == last
    assert run_jobs() == []
    # It is listed until a person has seen it.
    assert str(waiting.pk) in run("waiting list").out
    run(f"waiting cancel {waiting.pk}")
    assert run("waiting list").out == ""


def test_kill_of_a_flag_that_is_off_cancels_what_waits_for_it(ana: User) -> None:
    changes.flags.disable("pay")
    waiting = ask("release pay")
    run("kill pay --as ana --dry-run")
    waiting.refresh_from_db()
    assert waiting.state == "waiting"
    run("kill pay --as ana")
    make_due()
    assert run_jobs() == []
    waiting.refresh_from_db()
    assert (waiting.state, waiting.ended_by) == ("cancelled", str(ana.pk))
    assert stored() == (False, 5)


def test_action_that_would_reach_more_users_than_when_it_was_asked_for_does_not_run() -> None:
    rules = [{"conditions": [{"segment": "few"}], "rollout_percent": 100}]
    Segment.objects.create(key="few", conditions=[STAFF])
    FeatureFlag.objects.filter(key="pay").update(rules=rules, enabled=False)
    ask("on pay")
    Segment.objects.update(conditions=[{**STAFF, "negate": True}])
    make_due()
    [report] = run_jobs()
    assert report["state"] == "failed"
    assert "it would reach more users than when it was asked for; then: " in report["result"]
    assert stored() == (False, 5)


@pytest.mark.parametrize(("since", "state", "status"), [(59, "done", 0), (61, "expired", 8)])
def test_action_whose_time_passed_more_than_an_hour_ago_does_not_run(
    since: float, state: str, status: int
) -> None:
    ask("rollout pay 50")
    make_due(minutes=since)
    ran = run("run-jobs --json")
    [report] = json.loads(ran.out)["waiting"]
    assert (report["state"], ran.status) == (state, status)
    assert stored() == (True, 50 if state == "done" else 5)


def test_action_waits_for_users_that_cannot_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    ask("rollout pay 10")
    make_due()
    with monkeypatch.context() as context:
        context.setattr("flagstaff.waiting.prospect._COUNT_TIMEOUT", 0.0)
        [report] = run_jobs()
    assert report["state"] == "waiting"
    assert "the users could not be counted at" in report["error"]
    assert run_jobs()[0]["state"] == "done"


def test_short_runs_come_to_each_action(monkeypatch: pytest.MonkeyPatch) -> None:
    FeatureFlag.objects.create(key="ship", enabled=True)
    ask("rollout pay 10")
    ask("rollout ship 10")
    make_due()
    monkeypatch.setattr(running, "_MAX_SECONDS", 0.0)
    monkeypatch.setattr("flagstaff.waiting.prospect._COUNT_TIMEOUT", 0.0)
    tried = [[report["what"] for report in run_jobs()] for _ in range(2)]
    assert tried == [["pay: Roll out to 10 %"], ["ship: Roll out to 10 %"]]


def test_database_error_leaves_an_action_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    ask("rollout pay 50")
    make_due()

    def fail(*_given: object) -> None:
        raise OperationalError("deadlock detected")

    with monkeypatch.context() as context:
        context.setattr(running, "_write", fail)
        [report] = run_jobs()
    assert (report["state"], report["error"]) == ("waiting", "OperationalError")
    assert run_jobs()[0]["state"] == "done"


def test_error_of_the_project_is_stored_without_its_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ask("rollout pay 50")
    make_due()

    def fail(*_given: object, **_more: object) -> None:
        raise ValueError("card 4711")

    monkeypatch.setattr(FeatureFlag, "save", fail)
    [report] = run_jobs()
    assert (report["state"], report["result"]) == ("failed", "ValueError")


def test_read_only_environment_runs_nothing(settings: Any) -> None:
    ask("rollout pay 50")
    make_due()
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "READ_ONLY": True}
    [report] = run_jobs()
    assert report["state"] == "failed"
    assert stored() == (True, 5)


def test_rights_of_the_projects_own_admin_are_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    class OwnAdmin(FeatureFlagAdmin):
        def has_change_permission(self, request: Any, obj: Any = None) -> bool:
            return True

    OwnAdmin.has_change_permission.__module__ = "shop.admin"
    registry: dict[Any, Any] = admin.site._registry
    monkeypatch.setitem(registry, FeatureFlag, OwnAdmin(FeatureFlag, admin.site))
    ran = run(f"release pay --as ana --at {TOMORROW}")
    assert ran.status == 4
    assert "OwnAdmin decides about rights by its own methods" in ran.err


def test_right_for_the_flags_of_a_segment_is_needed(ana: User) -> None:
    permit(ana, "change_segment")
    Segment.objects.create(key="few", conditions=[STAFF])
    rules = [{"conditions": [{"segment": "few"}], "rollout_percent": 100}]
    FeatureFlag.objects.filter(key="pay").update(rules=rules)
    waiting = ask("segment details few Friends")
    conditions = json.dumps([{**STAFF, "attribute": "is_superuser"}])
    ask(f"segment conditions few {shlex.quote(conditions)}")
    ana.user_permissions.remove(*ana.user_permissions.filter(codename="change_featureflag"))
    make_due()
    done, failed = run_jobs()
    assert (done["id"], done["state"], failed["state"]) == (waiting.pk, "done", "failed")
    # Its readers may not see all flags.
    assert failed["result"] == "user ana lacks the right to change all that uses few"


def test_stored_refusal_does_not_name_what_uses_a_segment(ana: User) -> None:
    permit(ana, "delete_segment")
    Segment.objects.create(key="few", conditions=[STAFF])
    waiting = ask("segment delete few --yes")
    rules = [{"conditions": [{"segment": "few"}], "rollout_percent": 100}]
    FeatureFlag.objects.filter(key="pay").update(rules=rules)
    make_due()
    run_jobs()
    waiting.refresh_from_db()
    assert waiting.state == "failed"
    assert "is used by the rules of flags, values and experiments" in waiting.result
    assert "pay" not in waiting.result


def test_forgotten_user_leaves_the_arguments(ana: User) -> None:
    bob, eve = (User.objects.create(username=name) for name in ("bob", "eve"))
    waiting = ask("allow pay bob eve")
    pk = bob.pk
    bob.delete()
    forget_user(pk)
    make_due()
    assert run_jobs()[0]["state"] == "done"
    waiting.refresh_from_db()
    assert waiting.arguments == {"users": [eve.pk]}


def test_old_actions_are_deleted_with_the_history(settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "HISTORY_DAYS": 30}
    old, new, still_open = (ask("rollout pay 50") for _ in range(3))
    old_ones = WaitingAction.objects.filter(pk=old.pk)
    old_ones.update(state="done", ended_at=Now() - timedelta(days=31))
    WaitingAction.objects.filter(pk=new.pk).update(state="done", ended_at=Now())
    run("run-jobs")
    left = WaitingAction.objects.order_by("pk").values_list("pk", flat=True)
    assert [*left] == [new.pk, still_open.pk]


def test_secret_value_never_waits() -> None:
    KeyValueStore.objects.create(key="password", value="old", secret=True)
    for line in (
        "value set password '\"new\"'",
        "value create other '\"new\"' --secret",
        "value delete password --yes",
    ):
        ran = run(f"{line} --as ana --at {TOMORROW}")
        assert ran.status == 2
        assert "of a secret value cannot wait" in ran.err
    assert not WaitingAction.objects.exists()


def test_arguments_are_deleted_when_the_value_becomes_secret(ana: User) -> None:
    permit(ana, "change_keyvaluestore")
    KeyValueStore.objects.create(key="gateway", value="old")
    old = ask("value set gateway '\"hunter1\"'")
    make_due()
    run_jobs()
    waiting = ask("value set gateway '\"hunter2\"'")
    with previewed():
        changes.values.update("gateway", {"secret": True})
    waiting.refresh_from_db()
    assert waiting.state == "waiting"
    run("value details gateway --secret")
    waiting.refresh_from_db()
    assert (waiting.state, waiting.arguments) == ("cancelled", {})
    old.refresh_from_db()
    assert (old.state, old.arguments, old.result) == ("done", {}, "the value has become secret")


def test_scheduled_off_of_a_flag_that_is_off_already_is_done() -> None:
    ask("off pay")
    changes.flags.disable("pay")
    make_due()
    [report] = run_jobs()
    assert (report["state"], report["result"]) == ("done", "nothing had to be changed")


def test_action_with_another_expected_version_is_not_stored() -> None:
    ran = run(f"release pay --expect-version 987654321 --as ana --at {TOMORROW}")
    assert "version 987654321 was expected" in ran.err
    assert not WaitingAction.objects.exists()


@pytest.mark.parametrize("hour", [0, 1])
def test_hour_that_the_clock_shows_twice_is_stored_exactly(
    hour: int, ana: User, pay: FeatureFlag, settings: Any
) -> None:
    settings.USE_TZ, settings.TIME_ZONE = False, "Europe/Berlin"
    at = datetime(2027, 10, 31, hour, 30, tzinfo=timezone.utc)
    release = next(one for one in all_actions(Kind.FLAG) if one.name == "release")
    with acting_as(ana):
        ask_for(Prospect.of(Run(release, ["pay"], [pay], {})), at)
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM run_at) FROM flagstaff_waitingaction")
        assert cursor.fetchone() == (at.timestamp(),)


def test_users_are_stored_in_english() -> None:
    with override("de"):
        waiting = ask("release pay")
    assert "users gain the flag" in waiting.users


def test_label_of_a_project_with_a_percent_sign_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    @action(Kind.FLAG, "widen pay", label="Widen to 60 %")
    def widen(key: str) -> changes.Changed:
        """Widen a flag."""
        return changes.flags.set_rollout(key, 60)

    for module in ("cli.main", "waiting.stored"):
        monkeypatch.setattr(f"flagstaff.{module}.all_actions", lambda _kind: [widen])
    ask("widen pay")
    assert "pay: Widen to 60 %" in run("waiting list").out


def test_list_leaves_out_no_action() -> None:
    waiting = ask("release pay")
    fields = {name: value for name, value in vars(waiting).items() if name not in {"_state", "id"}}
    WaitingAction.objects.bulk_create(WaitingAction(**fields) for _number in range(1_000))
    assert len(run("waiting list --all").out.splitlines()) == 1_002
