"""An action that waits runs once, or never and says why."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any, cast
from unittest.mock import Mock

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import OperationalError
from django.db.models.functions import Now
from django.utils.translation import override

from flagstaff import acting_as, changes, serialization
from flagstaff._tables.rows import Kind
from flagstaff.actions import action, all_actions
from flagstaff.actions.commit import look_at
from flagstaff.actions.table import Run
from flagstaff.admin import FeatureFlagAdmin
from flagstaff.changes.consequence import Consequence
from flagstaff.history.retention import forget_user
from flagstaff.models import Change, FeatureFlag, KeyValueStore, WaitingAction
from flagstaff.waiting import running
from flagstaff.waiting.actions import ask as ask_for
from tests.support.admin_pages import permit
from tests.support.history import flag_history, newest_entry
from tests.support.plans import rollout
from tests.support.shop import STAFF, Shop
from tests.support.sql import rows
from tests.support.terminals import json_word, refused, run
from tests.support.waiting import TOMORROW, ask, make_due, run_jobs, state_of

pytestmark = pytest.mark.usefixtures("plain_terminal")


KEY = "search_v2"
FEW = [{"conditions": [{"segment": "staff"}], "rollout_percent": 100}]


@pytest.fixture(autouse=True)
def ana(shop: Shop) -> User:
    """The user who asks, beside twenty others."""
    User.objects.bulk_create(User(pk=pk, username=f"user {pk}") for pk in range(100, 120))
    user = shop.user("ana", is_superuser=False)
    permit(user, "change_featureflag")
    return user


@pytest.fixture(autouse=True)
def flag(shop: Shop) -> FeatureFlag:
    return shop.flag(KEY, rollout_percent=5)


def test_action_runs_at_its_time_and_is_recorded_for_the_user_who_asked(ana: User) -> None:
    waiting = ask(f"release {KEY} --reason launch")
    assert run_jobs() == []
    assert rollout(KEY) == 5
    make_due()
    [report] = run_jobs()
    assert report["state"] == "done"
    assert rollout(KEY) == 100
    [event, *_] = flag_history(KEY)
    assert (event.actor, event.reason) == (str(ana.pk), "launch")
    assert event.source == f"waiting {waiting.pk}"
    waiting.refresh_from_db()
    assert waiting.entries == [event.version]
    assert waiting.result == f"{KEY}: rollout 5 → 100 %"
    # A further run has nothing to do.
    changes.flags.set_rollout(KEY, 5)
    assert run_jobs() == []
    assert rollout(KEY) == 5


def test_several_rows_are_changed_together_or_not_at_all(shop: Shop) -> None:
    shop.flag("dark_mode")
    ask(f"release {KEY} dark_mode")
    changes.flags.set_rollout("dark_mode", 1)
    make_due()
    [report] = run_jobs()
    assert report["state"] == "failed"
    assert rollout(KEY) == 5


def replace_the_flag(_ana: User) -> None:
    changes.flags.delete(KEY)
    changes.flags.create(KEY, enabled=True)


def forget(ana: User) -> None:
    pk = ana.pk
    ana.delete()
    forget_user(pk)


OBSTACLES: dict[str, tuple[Callable[[User], object], str]] = {
    "change": (lambda _ana: changes.flags.set_rollout(KEY, 6), f"changed rollout of {KEY} at "),
    "SQL": (
        lambda _ana: FeatureFlag.objects.update(rollout_percent=6),
        f"postgres (database user) changed rollout of {KEY} at ",
    ),
    "kill": (lambda _ana: run(f"kill {KEY} --as ana"), f"ana turned {KEY} off at "),
    "no flag": (lambda _ana: changes.flags.delete(KEY), f"deleted {KEY} at "),
    "another flag": (replace_the_flag, f"deleted {KEY} at "),
    "no right": (
        lambda ana: ana.user_permissions.clear(),
        f"user ana lacks the right to toggle {KEY}",
    ),
    "inactive user": (
        lambda _ana: User.objects.filter(username="ana").update(is_active=False),
        "user ana is not active",
    ),
    "no user": (lambda ana: ana.delete(), "no longer exists"),
    "forgotten user": (forget, "the user who asked for it, or approved it, was deleted"),
    "no action": (
        lambda _ana: WaitingAction.objects.update(action="give-away"),
        "there is no action give-away of a flag any more",
    ),
    "another argument": (
        lambda _ana: WaitingAction.objects.update(arguments={"share": 50}),
        "the arguments of rollout have changed",
    ),
}


@pytest.mark.parametrize(("meanwhile", "why"), OBSTACLES.values(), ids=OBSTACLES)
@pytest.mark.one_in(4)
def test_action_that_may_not_run_any_more_says_why_and_is_not_tried_again(
    meanwhile: Callable[[User], object], why: str, ana: User
) -> None:
    ask(f"rollout {KEY} 50")
    meanwhile(ana)
    make_due()
    last = newest_entry()
    run_jobs()
    [waiting] = WaitingAction.objects.all()
    assert (waiting.state, why in waiting.result) == ("failed", True), waiting.result
    assert newest_entry() == last
    assert run_jobs() == []
    # It is listed until a person has seen it.
    assert str(waiting.pk) in run("waiting list").out
    run(f"waiting cancel {waiting.pk}")
    assert run("waiting list").out == ""


def test_kill_of_a_flag_that_is_off_cancels_what_waits_for_it(ana: User) -> None:
    changes.flags.disable(KEY)
    waiting = ask(f"on {KEY}")
    run(f"kill {KEY} --as ana --dry-run")
    assert state_of(waiting) == "waiting"
    run(f"kill {KEY} --as ana")
    make_due()
    assert run_jobs() == []
    waiting.refresh_from_db()
    assert (waiting.state, waiting.ended_by) == ("cancelled", str(ana.pk))
    assert not FeatureFlag.objects.get().enabled


@pytest.mark.parametrize(
    "problem",
    [
        (
            "CREATE ROLE web; GRANT SELECT, UPDATE ON flagstaff_featureflag TO web;"
            "GRANT SELECT ON flagstaff_featureflag_allowed_users, flagstaff_change TO web;"
            "SET LOCAL ROLE web"
        ),
        "ALTER TABLE flagstaff_waitingaction RENAME TO elsewhere",
    ],
    ids=["no right", "no table"],
)
def test_kill_succeeds_if_what_waits_cannot_be_cancelled(problem: str, shop: Shop) -> None:
    shop.flag("dark_mode")
    changes.flags.disable(KEY)
    rows(problem)
    assert run(f"kill {KEY} dark_mode --no-wait").status == 0
    rows("RESET ROLE")
    assert not FeatureFlag.objects.filter(enabled=True).exists()


def test_action_that_would_reach_more_users_than_when_it_was_asked_for_does_not_run(
    ana: User, shop: Shop
) -> None:
    permit(ana, "view_user")
    shop.segment("staff")
    FeatureFlag.objects.update(rules=FEW, enabled=False)
    ask(f"on {KEY}")
    User.objects.update(is_staff=True)
    make_due()
    [report] = run_jobs()
    assert report["state"] == "failed"
    # Without numbers: not all who read it may count users.
    reached = "then: some users; now: more than half of the users"
    assert report["result"].endswith(f"reach more users than when it was asked for; {reached}")
    assert not FeatureFlag.objects.get().enabled


@pytest.mark.parametrize("name", ["user", "nobody"])
def test_state_of_an_action_does_not_say_whether_a_user_matches_to_who_may_not_count(
    name: str, ana: User, shop: Shop
) -> None:
    permit(ana, "change_segment")
    shop.segment("staff")
    FeatureFlag.objects.update(rules=FEW, enabled=False)
    conditions = [{"attribute": "username", "operator": "startswith", "values": [name]}]
    ask(f"segment conditions staff {json_word(conditions)}")
    waiting = WaitingAction.objects.get()
    assert waiting.rough_users == ""
    make_due()
    [report] = run_jobs()
    assert report["state"] == "done"


def test_change_that_changes_nothing_then_cannot_wait() -> None:
    refused(f"rollout {KEY} 5 --as ana --at {TOMORROW}", 2, "it would change nothing then")
    ask(f"rollout {KEY} 50 --at 2026-12-24T09:00")
    refused(f"rollout {KEY} 50 --as ana --at 2026-12-24T10:00", 2, "it would change nothing then")
    ask(f"rollout {KEY} 5 --at 2026-12-24T10:00")


def test_same_action_at_the_same_time_is_refused() -> None:
    waiting = ask(f"release {KEY} --request")
    why = f"{waiting.pk} waits already, and does the same"
    refused(f"release {KEY} --as ana --request", 4, why)
    run(f"waiting cancel {waiting.pk}")
    ask(f"release {KEY} --request")


@pytest.mark.parametrize(("since", "state", "status"), [(59, "done", 0), (61, "expired", 8)])
def test_action_whose_time_passed_more_than_an_hour_ago_does_not_run(
    since: float, state: str, status: int
) -> None:
    ask(f"rollout {KEY} 50")
    make_due(minutes=since)
    ran = run("run-jobs --json")
    [report] = json.loads(ran.out)["waiting"]
    assert (report["state"], ran.status) == (state, status)
    assert rollout(KEY) == (50 if state == "done" else 5)


def test_action_waits_for_users_that_cannot_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its fields, it may reach more users than when it was asked for."""
    ask(f"rollout {KEY} 10")
    make_due()
    WaitingAction.objects.update(consequence=Consequence.NONE)
    with monkeypatch.context() as context:
        context.setattr("flagstaff.waiting.running.JOB_TIMEOUT", 0.0)
        [report] = run_jobs()
    assert report["state"] == "waiting"
    assert "the users could not be counted at" in report["error"]
    assert "it would reach more users" in run_jobs()[0]["result"]


def test_short_run_comes_to_what_takes_away(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.flag("dark_mode")
    ask(f"rollout {KEY} 10")
    ask("rollout dark_mode 10")
    make_due()
    monkeypatch.setattr(running, "_MAX_SECONDS", 0.0)
    assert [report["what"] for report in run_jobs()] == ["dark_mode: Roll out to 10 %"]


@pytest.mark.parametrize(
    ("error", "state", "shown"),
    [
        # It is tried again.
        (OperationalError("deadlock detected"), "waiting", {"error": "OperationalError"}),
        (ValueError("card 4711"), "failed", {"result": "ValueError"}),
    ],
)
def test_error_while_an_action_is_written_is_shown_without_its_message(
    error: Exception, state: str, shown: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(f"rollout {KEY} 50")
    make_due()
    with monkeypatch.context() as context:
        context.setattr(FeatureFlag, "save", Mock(side_effect=error))
        [report] = run_jobs()
    assert {"state": state, **shown}.items() <= report.items()
    assert [report["state"] for report in run_jobs()] == ["done"] * (state == "waiting")


def test_read_only_environment_runs_nothing(settings: Any) -> None:
    ask(f"rollout {KEY} 50")
    make_due()
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "READ_ONLY": True}
    [report] = run_jobs()
    assert (report["state"], report["result"]) == ("failed", "READ_ONLY is set here")
    assert rollout(KEY) == 5


def test_rights_of_the_projects_own_admin_are_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    class OwnAdmin(FeatureFlagAdmin):
        def has_change_permission(self, request: Any, obj: Any = None) -> bool:
            return True

    OwnAdmin.has_change_permission.__module__ = "shop.admin"
    registry: dict[Any, Any] = admin.site._registry
    monkeypatch.setitem(registry, FeatureFlag, OwnAdmin(FeatureFlag, admin.site))
    refused(
        f"release {KEY} --as ana --at {TOMORROW}",
        4,
        "OwnAdmin decides about rights by its own methods",
    )


def test_right_for_the_flags_of_a_segment_is_needed(ana: User, shop: Shop) -> None:
    permit(ana, "change_segment")
    shop.segment("staff")
    FeatureFlag.objects.update(rules=FEW)
    waiting = ask("segment details staff Friends")
    ask(f"segment conditions staff {json_word([{**STAFF, 'attribute': 'is_superuser'}])}")
    ana.user_permissions.remove(*ana.user_permissions.filter(codename="change_featureflag"))
    make_due()
    done, failed = run_jobs()
    assert (done["id"], done["state"], failed["state"]) == (waiting.pk, "done", "failed")
    # Its readers may not see all flags.
    assert failed["result"] == "user ana lacks the right to change all that uses staff"


def test_stored_refusal_does_not_name_what_uses_a_segment(ana: User, shop: Shop) -> None:
    permit(ana, "delete_segment")
    shop.segment("staff")
    waiting = ask("segment delete staff --yes")
    FeatureFlag.objects.update(rules=FEW)
    make_due()
    run_jobs()
    assert state_of(waiting) == "failed"
    assert "is used by the rules of flags, values and experiments" in waiting.result
    assert KEY not in waiting.result


def test_forgotten_user_leaves_the_arguments(shop: Shop) -> None:
    bob, carol = shop.user("bob"), shop.user("carol")
    waiting = ask(f"allow {KEY} bob carol")
    pk = bob.pk
    bob.delete()
    forget_user(pk)
    make_due()
    assert run_jobs()[0]["state"] == "done"
    waiting.refresh_from_db()
    assert waiting.arguments == {"users": [carol.pk]}


def test_old_actions_are_deleted_with_the_history(settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "HISTORY_DAYS": 30}
    old, new, still_open = (ask(f"rollout {KEY} {percent}") for percent in (50, 51, 52))
    for waiting, days in ((old, 31), (new, 0)):
        ended = {"state": "done", "ended_at": Now() - timedelta(days=days)}
        WaitingAction.objects.filter(pk=waiting.pk).update(**ended)
    run("run-jobs")
    assert {*WaitingAction.objects.values_list("pk", flat=True)} == {new.pk, still_open.pk}


@pytest.mark.parametrize(
    "line",
    [
        "value set mail_password '\"new\"'",
        "value create other '\"new\"' --secret",
        "value delete mail_password --yes",
    ],
)
def test_secret_value_never_waits(line: str, shop: Shop) -> None:
    shop.value("mail_password")
    refused(f"{line} --as ana --at {TOMORROW}", 2, "of a secret value cannot wait")
    assert not WaitingAction.objects.exists()


def _mark_by_orm() -> None:
    value = KeyValueStore.objects.get(key="payment_gateway")
    value.secret = True
    value.save()


def _mark_by_import() -> None:
    document = serialization.export()
    document["values"]["payment_gateway"]["secret"] = True
    serialization.apply(document)


@pytest.mark.parametrize(
    "mark",
    [
        lambda: run("value details payment_gateway --secret"),
        lambda: KeyValueStore.objects.update(secret=True),
        lambda: KeyValueStore.objects.update(secret=True, key="gateway"),
        _mark_by_orm,
        _mark_by_import,
        lambda: changes.values.undo("payment_gateway", Change.objects.get(actor="bob").pk),
    ],
    ids=["action", "sql", "with another key", "orm", "import", "undo"],
)
def test_value_that_becomes_secret_ends_what_waits_and_leaves_no_arguments_and_results(
    mark: Callable[[], object], ana: User, shop: Shop
) -> None:
    permit(ana, "change_keyvaluestore")
    shop.value("payment_gateway", secret=True)
    with acting_as("bob"):
        changes.values.update("payment_gateway", {"secret": False})
    old = ask("value set payment_gateway '\"hunter1\"'")
    make_due()
    run_jobs()
    waiting = ask("value set payment_gateway '\"hunter2\"'")
    mark()
    waiting.refresh_from_db()
    old.refresh_from_db()
    why = "the value has become secret"
    assert (waiting.state, waiting.arguments, waiting.result) == ("cancelled", {}, why)
    assert (old.state, old.arguments, old.result) == ("done", {}, why)
    assert "hunter" not in str([*WaitingAction.objects.values(), *Change.objects.values()])


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE flagstaff_keyvaluestore SET secret = true",
        "INSERT INTO flagstaff_keyvaluestore (key, value, secret) VALUES ('new', '1', true)",
    ],
)
def test_value_becomes_secret_before_the_table_of_what_waits_exists(
    statement: str, shop: Shop
) -> None:
    shop.value("payment_gateway")
    rows("ALTER TABLE flagstaff_waitingaction RENAME TO elsewhere")
    rows(statement)
    assert KeyValueStore.objects.filter(secret=True).count() == 1


def test_preview_of_a_mark_as_secret_ends_nothing(ana: User, shop: Shop) -> None:
    permit(ana, "change_keyvaluestore")
    shop.value("payment_gateway")
    waiting = ask("value set payment_gateway '\"hunter2\"'")
    run("value details payment_gateway --secret --dry-run")
    assert state_of(waiting) == "waiting"


def test_mark_as_secret_alone_can_wait_and_ends_what_waits_beside_it(ana: User, shop: Shop) -> None:
    permit(ana, "change_keyvaluestore")
    shop.value("payment_gateway")
    other = ask("value set payment_gateway '\"hunter2\"' --at 2026-12-24T09:00")
    ask("value details payment_gateway --secret")
    WaitingAction.objects.exclude(pk=other.pk).update(run_at=Now() - timedelta(minutes=1))
    assert [report["state"] for report in run_jobs()] == ["failed", "done"]
    other.refresh_from_db()
    assert (other.arguments, other.result) == ({}, "the value has become secret")


def test_mark_as_secret_and_a_value_cannot_wait_together(shop: Shop) -> None:
    shop.value("payment_gateway")
    line = "value details payment_gateway --secret --value '\"hunter2\"'"
    refused(f"{line} --as ana --at {TOMORROW}", 2, "ask for the mark alone, and set the value when")


def test_scheduled_off_of_a_flag_that_is_off_already_is_done() -> None:
    ask(f"off {KEY}")
    changes.flags.disable(KEY)
    make_due()
    [report] = run_jobs()
    assert (report["state"], report["result"]) == ("done", "nothing had to be changed")


def test_action_with_another_expected_version_is_not_stored() -> None:
    ran = run(f"release {KEY} --expect-version 987654321 --as ana --at {TOMORROW}")
    assert "version 987654321 was expected" in ran.err
    assert not WaitingAction.objects.exists()


@pytest.mark.parametrize("hour", [0, 1])
def test_hour_that_the_clock_shows_twice_is_stored_exactly(
    hour: int, ana: User, flag: FeatureFlag, settings: Any
) -> None:
    settings.USE_TZ, settings.TIME_ZONE = False, "Europe/Berlin"
    at = datetime(2027, 10, 31, hour, 30, tzinfo=timezone.utc)
    release = next(action for action in all_actions(Kind.FLAG) if action.name == "release")
    with acting_as(ana):
        release_now = Run(release, [KEY], [flag], {})
        ask_for(release_now, look_at(release_now), at)
    stored = rows("SELECT extract(epoch FROM run_at) FROM flagstaff_waitingaction")
    assert stored == [(at.timestamp(),)]


def test_users_are_stored_in_english() -> None:
    with override("de"):
        waiting = ask(f"release {KEY}")
    assert "users gain the flag" in waiting.users


def test_numbers_of_users_are_stored_without_separators() -> None:
    User.objects.bulk_create(User(username=f"another {number}") for number in range(1500))
    waiting = ask(f"release {KEY}")
    total = User.objects.count()
    assert f"Afterwards {total} of {total} users have it." in waiting.users


def test_numbers_of_a_result_are_stored_without_separators() -> None:
    names = [f"another_{number}" for number in range(1000)]
    User.objects.bulk_create(User(username=name) for name in names)
    waiting = ask(f"allow {KEY} {' '.join(names)}")
    make_due()
    run_jobs()
    waiting.refresh_from_db()
    assert waiting.result == f"{KEY}: added 1000 allowed users"


def test_label_of_a_project_with_a_percent_sign_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    @action(Kind.FLAG, "widen search_v2", label="Widen to 60 %")
    def widen(key: str) -> changes.Changed:
        """Widen a flag."""
        return changes.flags.set_rollout(key, 60)

    for module in ("cli.main", "waiting.stored"):
        monkeypatch.setattr(f"flagstaff.{module}.all_actions", lambda _kind: [widen])
    ask(f"widen {KEY}")
    assert f"{KEY}: Widen to 60 %" in run("waiting list").out


def test_action_whose_preview_fails_stops_no_other(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As code of a project may do after an upgrade."""
    preview = Mock(side_effect=lambda key: changes.flags.set_rollout(key, 60))

    @action(Kind.FLAG, "widen search_v2")
    def widen(key: str) -> changes.Changed:
        """Widen a flag."""
        return cast("changes.Changed", preview(key))

    for module in ("cli.main", "waiting.stored"):
        monkeypatch.setattr(
            f"flagstaff.{module}.all_actions", lambda kind: [widen, *all_actions(kind)]
        )
    shop.flag("dark_mode")
    ask(f"widen {KEY}")
    ask("off dark_mode")
    preview.side_effect = ValueError("card 4711")
    assert run("waiting list").status == 0
    make_due()
    assert [report["state"] for report in run_jobs()] == ["failed", "done"]


def test_list_leaves_out_no_action() -> None:
    waiting = ask(f"release {KEY}")
    fields = {name: value for name, value in vars(waiting).items() if name not in {"_state", "id"}}
    WaitingAction.objects.bulk_create(WaitingAction(**fields) for _number in range(1_000))
    assert len(run("waiting list --all").out.splitlines()) == 1_002
