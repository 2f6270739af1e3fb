"""What a person does with a rollout plan; the tables of plans, and their system checks."""

from datetime import datetime, timedelta, timezone
from threading import Event
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.checks import CheckMessage, Tags, run_checks
from django.db import IntegrityError
from django.db.models import JSONField, Value

from flagstaff import acting_as, changes, rollouts
from flagstaff._jobs import RetentionJob, RetentionReport
from flagstaff._tables.rows import all_rows
from flagstaff._text.rules import can_grant
from flagstaff.exceptions import InvalidPlanError, PlanError, UnknownFlagError, UnknownPlanError
from flagstaff.history import forget_user, prune
from flagstaff.history.deleted import deleted_rows
from flagstaff.history.retention import prune_in_batches
from flagstaff.models import FeatureFlag
from flagstaff.rollouts import hooks
from flagstaff.rollouts.driver import run_plans
from flagstaff.rollouts.looks import look_at_roll_back, look_at_start
from flagstaff.rollouts.models import FailedNetwork, Plan, PlanEvent, State, StepRun, database_now
from flagstaff.rollouts.plans import find_plan
from flagstaff.rollouts.status import plan_record
from tests.support.fixtures import COMMITTED
from tests.support.history import flag_history
from tests.support.plans import (
    KEY,
    RULES,
    STEPS,
    drive_recently,
    end_dwell_time,
    events,
    go_to,
    leave_unguarded,
    make_flag,
    plan_of,
    rollout,
    run_of,
    see_enough,
)
from tests.support.shop import Shop
from tests.support.sql import Tokens, rows


def test_created_plan_is_pending_and_measures(flag: FeatureFlag) -> None:
    plan = rollouts.create(KEY, STEPS, guards=["errors", "latency=0.5"], required_users=50)
    plan.refresh_from_db()
    assert (plan.state, plan.step, plan.required_users) == (State.PENDING, None, 50)
    assert plan.flag_pk == str(flag.pk)
    assert plan.latency_limits == {"2": 0.5}
    [run] = StepRun.objects.filter(plan=plan)
    assert (plan.run_id, run.step, run.percent, run.ended_at) == (run.pk, None, 0, None)
    assert (rollout(), events()) == (0, ["created"])


def test_plan_gets_or_needs_steps_from_the_present_rollout_on() -> None:
    flag = make_flag(rollout_percent=6)
    with pytest.raises(InvalidPlanError, match="begin with 6 % or more"):
        rollouts.create(KEY, STEPS)
    FeatureFlag.objects.update(rollout_percent=100)
    with pytest.raises(InvalidPlanError, match="new_checkout is at 100 % already"):
        rollouts.create(KEY)
    assert not Plan.objects.exists()
    flag.save()
    assert rollouts.create(KEY).steps == ["25:1d", "50:1d", "100"]


@pytest.mark.parametrize("users", [0, True, 10**12])
def test_required_users_must_be_a_positive_number(flag: FeatureFlag, users: Any) -> None:
    with pytest.raises(InvalidPlanError, match="write a whole number from 1 to 2,000,000,000"):
        rollouts.create(KEY, STEPS, required_users=users)
    with pytest.raises(InvalidPlanError):
        rollouts.create(KEY, required_users=users)


def test_missing_flag_or_plan_is_refused_with_the_command(flag: FeatureFlag) -> None:
    with pytest.raises(UnknownFlagError):
        rollouts.create("new_chekout", STEPS)
    with pytest.raises(UnknownFlagError):
        rollouts.pause("new_chekout")
    with pytest.raises(UnknownPlanError, match="flags plan start new_checkout"):
        rollouts.pause(KEY)


def test_started_plan_makes_the_first_step(running: Plan) -> None:
    plan = plan_of()
    assert (plan.state, plan.step, rollout()) == (State.RUNNING, 0, 5)
    assert running.flag_version == flag_history(KEY)[0].version
    assert plan.due_at is not None
    assert plan.guarded_until is not None
    run = StepRun.objects.get(ended_at=None)
    assert (run.pk, run.step, run.percent) == (plan.run_id, 0, 5)
    assert plan.due_at - run.started_at == timedelta(hours=1)
    assert plan.guarded_until - run.started_at == timedelta(minutes=5)
    assert StepRun.objects.get(step=None).ended_at == run.started_at
    assert events() == ["created", "started"]


def test_pending_plan_is_started_with_its_own_steps_only(flag: FeatureFlag) -> None:
    created = rollouts.create(KEY, STEPS)
    with pytest.raises(PlanError, match="has a rollout plan already, which is pending"):
        rollouts.create(KEY, STEPS)
    with pytest.raises(PlanError, match="plan delete new_checkout"):
        rollouts.start(KEY, ["50:1h"])
    assert rollout() == 0
    assert rollouts.start(KEY) == created
    assert rollout() == 5


@pytest.mark.parametrize(
    ("state", "change", "problem"),
    [
        ("pending", rollouts.pause, "is pending; pause needs a plan that is running / holding"),
        ("running", rollouts.start, "is running; start needs a plan that is pending"),
        ("running", rollouts.resume, "is running; resume needs .* paused / rolled back"),
        ("running", rollouts.delete, "runs; pause it before you delete it: .* pause"),
        ("rolled_back", rollouts.pause, "is rolled back; pause needs a plan"),
        ("rolled_back", rollouts.rollback, "is rolled back; roll-back needs"),
    ],
)
def test_change_that_the_state_does_not_allow_is_refused(
    state: str, change: Any, problem: str, shop: Shop, flag: FeatureFlag
) -> None:
    shop.plan(KEY, state)
    with pytest.raises(PlanError, match=problem):
        change(KEY)


def test_plan_does_not_start_or_resume_without_a_driver(pending: Plan) -> None:
    drive_recently(minutes=5, seconds=1)
    with pytest.raises(PlanError, match="run-jobs has not run in the last 5 minutes"):
        rollouts.start(KEY)
    assert rollout() == 0
    Plan.objects.update(state=State.PAUSED, step=0)
    with pytest.raises(PlanError, match="run-jobs has not run"):
        rollouts.resume(KEY)


def test_plan_does_not_start_without_what_it_needs(flag: FeatureFlag) -> None:
    rollouts.create(KEY, STEPS)
    changes.flags.set_rollout(KEY, 6)
    with pytest.raises(
        PlanError, match="the first step is 5 %, and new_checkout is at 6 % already"
    ):
        rollouts.start(KEY)
    changes.flags.set_rollout(KEY, 0)
    changes.flags.disable(KEY)
    with pytest.raises(PlanError, match="the flag is off; turn it on with"):
        rollouts.start(KEY)
    changes.flags.enable(KEY)
    rows("DROP TRIGGER flagstaff_history_update_v1 ON flagstaff_featureflag")
    with pytest.raises(PlanError, match="the history does not record"):
        rollouts.start(KEY)
    assert rollout() == 0


def test_paused_plan_keeps_the_rollout_and_stops_measuring(running: Plan) -> None:
    with acting_as("ana", reason="support is busy"):
        rollouts.pause(KEY)
    plan = plan_of()
    assert (plan.state, plan.reason, rollout()) == (State.PAUSED, "support is busy", 5)
    assert (plan.run_id, plan.due_at, plan.guarded_until) == (None, None, None)
    paused = PlanEvent.objects.latest("id")
    assert (paused.kind, paused.message, paused.actor) == (
        "paused",
        "paused: support is busy",
        "ana",
    )


def test_plan_that_a_person_has_paused_continues_its_run(running: Plan) -> None:
    before = run_of()
    see_enough()
    rollouts.pause(KEY)
    Plan.objects.update(seconds_left=60)
    changes.flags.update(KEY, {"description": "the new checkout"})
    plan = rollouts.resume(KEY)
    assert (plan.state, plan.step, plan.run_id) == (State.RUNNING, 0, before)
    assert StepRun.objects.get(pk=before).ended_at is None
    assert PlanEvent.objects.latest("id").message == "resumed at 5 %"
    run_plans()
    assert plan_of().state == State.RUNNING
    # The rest of the dwell time.
    assert plan.due_at is not None
    assert timedelta(seconds=50) < plan.due_at - database_now() <= timedelta(seconds=60)
    end_dwell_time()
    run_plans()
    assert rollout() == 25


@pytest.mark.parametrize("is_undone", [False, True])
def test_plan_of_a_changed_flag_starts_its_step_again_with_new_evidence(
    running: Plan, *, is_undone: bool
) -> None:
    go_to(25)
    before = run_of()
    rollouts.pause(KEY)
    changes.flags.set_rollout(KEY, 40)
    if is_undone:
        changes.flags.set_rollout(KEY, 25)
    plan = rollouts.resume(KEY)
    assert (plan.state, plan.step, rollout()) == (State.RUNNING, 1, 25)
    assert plan.run_id not in {None, before}
    assert StepRun.objects.get(pk=before).ended_at is not None
    assert plan.due_at is not None
    assert plan.due_at - StepRun.objects.latest("id").started_at == timedelta(hours=1)
    assert plan.flag_version == flag_history(KEY)[0].version
    text = f"resumed, and step 2 starts again: rollout {25 if is_undone else 40} → 25 %"
    assert PlanEvent.objects.latest("id").message == text


def test_plan_that_the_driver_has_paused_starts_its_step_again(running: Plan) -> None:
    before = run_of()
    changes.flags.allow(KEY, [User.objects.create_user("bo")])
    run_plans()
    assert plan_of().state == State.PAUSED
    rollouts.resume(KEY)
    assert run_of() != before
    assert run_plans()[0].state == State.RUNNING


def test_rollback_sets_no_rollout_and_ends_the_plan(running: Plan) -> None:
    go_to(25)
    # Somebody else's change does not keep the plan from it.
    changes.flags.set_rollout(KEY, 80)
    with acting_as("ana", reason="orders fail"):
        rollouts.rollback(KEY)
    plan, flag = plan_of(), FeatureFlag.objects.get()
    assert (plan.state, plan.reason, plan.run_id) == (State.ROLLED_BACK, "orders fail", None)
    assert (flag.rollout_percent, flag.enabled) == (0, True)
    assert plan.ended_at
    assert flag_history(KEY)[0].actor == "ana"
    assert events()[-1] == "rolled_back"
    # It is resumed at its first step.
    plan = rollouts.resume(KEY)
    assert (plan.state, plan.step, plan.ended_at, rollout()) == (State.RUNNING, 0, None, 5)


@pytest.mark.parametrize(
    ("rules", "can"),
    [
        ([{**RULES[0], "rollout_percent": 1}], True),
        ([{**RULES[0], "rollout_percent": 0}], False),
        ({"not": "a list"}, True),
        ([], False),
    ],
)
def test_rule_can_grant_a_flag_unless_it_is_for_nobody(rules: Any, can: bool) -> None:
    assert can_grant(rules) is can


def test_actor_is_the_primary_key_of_the_user_until_it_is_forgotten(flag: FeatureFlag) -> None:
    def actors() -> set[str]:
        return {plan_of().actor, *PlanEvent.objects.values_list("actor", flat=True)}

    ana = User.objects.create_user("ana")
    with acting_as(ana):
        rollouts.start(KEY, STEPS)
    assert actors() == {str(ana.pk)}
    forget_user(ana)
    assert actors() == {"a deleted user"}


def test_plan_can_begin_at_the_present_rollout() -> None:
    make_flag(rollout_percent=5)
    rollouts.start(KEY, STEPS)
    assert (plan_of().state, plan_of().percent, rollout()) == (State.RUNNING, 5, 5)


@pytest.mark.parametrize("state", [State.PENDING, State.RUNNING, State.PAUSED, State.ROLLED_BACK])
@pytest.mark.parametrize("is_used_again", [False, True])
def test_plan_of_a_deleted_flag_can_only_be_deleted(
    running: Plan, state: str, *, is_used_again: bool
) -> None:
    Plan.objects.update(state=state, step=None if state == State.PENDING else 0)
    FeatureFlag.objects.all().delete()
    if is_used_again:
        make_flag(rollout_percent=70)
    # After a plan that has ended, a start creates another one.
    starts = [] if state == State.ROLLED_BACK else [rollouts.start]
    for act in (*starts, rollouts.pause, rollouts.resume, rollouts.rollback):
        with pytest.raises((PlanError, UnknownFlagError)):
            act(KEY)
    assert not is_used_again or rollout() == 70
    rollouts.delete(KEY)
    assert not Plan.objects.exists()


def test_deletion_keeps_the_events_and_their_actors_until_the_user_is_forgotten(
    running: Plan,
) -> None:
    user = User.objects.create(username="ana")
    kinds = [*PlanEvent.objects.values_list("kind", flat=True), "paused", "deleted"]
    with acting_as(user):
        rollouts.pause(KEY)
        rollouts.delete(KEY)
    events = all_rows(PlanEvent).order_by("id")
    assert [event.kind for event in events] == kinds
    assert {event.plan.key for event in events} == {f"{KEY} (deleted {running.pk})"}
    assert (events[len(kinds) - 1].actor, StepRun.objects.exists()) == (str(user.pk), False)
    # Managers hide them, as the plan.
    assert (find_plan(KEY), PlanEvent.objects.exists()) == (None, False)
    forget_user(user)
    assert str(user.pk) not in {event.actor for event in events.all()}


def test_events_of_a_plan_that_was_deleted_long_ago_are_pruned_with_the_history(
    pending: Plan,
) -> None:
    rollouts.delete(KEY)
    rollouts.create(KEY, STEPS)
    assert prune(timedelta(days=90)) == 0
    deleted_rows(Plan).update(ended_at=database_now() - timedelta(days=100))
    assert prune(timedelta(days=90)) == 1
    assert [event.plan.key for event in all_rows(PlanEvent)] == [KEY]


def test_plan_whose_steps_sql_has_made_null_can_be_deleted(pending: Plan) -> None:
    Plan.objects.update(steps=Value(None, JSONField()), guards=Value(None, JSONField()))
    rollouts.delete(KEY)
    assert not Plan.objects.exists()


def test_each_batch_of_deleted_plans_is_pruned_before_it_is_counted(
    pending: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flagstaff.history.retention._BATCH", 1)
    rollouts.delete(KEY)
    rollouts.create(KEY, STEPS)
    rollouts.delete(KEY)
    deleted_rows(Plan).update(ended_at=database_now() - timedelta(days=100))
    batches = prune_in_batches(database_now() - timedelta(days=90))
    left = [(count, deleted_rows(Plan).count()) for count in batches]
    assert [batch for batch in left if batch[0]] == [(1, 1), (1, 0)]


def test_rollback_of_a_renamed_flag_writes_that_flag_and_not_the_one_with_its_key(
    running: Plan,
) -> None:
    changes.flags.update(KEY, {"key": "renamed"})
    make_flag(rollout_percent=70)
    rollouts.rollback(KEY)
    assert (rollout("renamed"), rollout()) == (0, 70)


def test_run_that_starts_again_needs_more_evidence_for_a_trip(running: Plan) -> None:
    def run() -> tuple[int, int]:
        threshold = plan_record(plan_of())["evidence"]["guards"][0]["threshold"]
        return StepRun.objects.get(pk=run_of()).number, round(threshold)

    assert run() == (1, 100)
    rollouts.pause(KEY)
    rollouts.resume(KEY)
    assert run() == (1, 100)
    rollouts.rollback(KEY)
    rollouts.resume(KEY)
    assert run() == (2, 300)


def test_rollback_disables_a_flag_with_rules_and_resuming_needs_it_enabled() -> None:
    make_flag(rules=RULES)
    rollouts.start(KEY, STEPS)
    rollouts.rollback(KEY)
    flag = FeatureFlag.objects.get()
    assert (flag.enabled, flag.rollout_percent) == (False, 0)
    with pytest.raises(PlanError, match="the flag is off"):
        rollouts.resume(KEY)
    changes.flags.enable(KEY)
    assert rollouts.resume(KEY).state == State.RUNNING


def test_flag_that_was_created_again_needs_a_new_plan(flag: FeatureFlag) -> None:
    rollouts.create(KEY, STEPS)
    flag.delete()
    make_flag()
    with pytest.raises(PlanError, match="was deleted after its plan was created; delete the plan"):
        rollouts.start(KEY)
    plan = rollouts.create(KEY, STEPS)
    assert rollouts.start(KEY).pk == plan.pk


def test_new_plan_after_a_finished_one_is_the_plan_of_the_flag(running: Plan) -> None:
    rollouts.rollback(KEY)
    rollouts.create(KEY, STEPS)
    rollouts.start(KEY)
    assert Plan.objects.count() == 2
    assert rollouts.pause(KEY).pk != running.pk


# Plans of a disabled flag, which the start turns on.


@pytest.fixture
def disabled() -> FeatureFlag:
    """A flag that is disabled at 60 %."""
    return make_flag(enabled=False, rollout_percent=60)


@COMMITTED
def test_start_sets_the_first_step_and_turns_the_flag_on_with_one_undo(
    driver: None, disabled: FeatureFlag
) -> None:
    with acting_as("ana"):
        plan = rollouts.start(KEY, STEPS, enable=True)
    disabled.refresh_from_db()
    assert (plan.step, disabled.enabled, disabled.rollout_percent) == (0, True, 5)
    assert events() == ["created", "started"]
    text = "started: rollout 0 → 5 %; the flag is turned on"
    assert PlanEvent.objects.get(kind="started").message == text
    [event, creation] = flag_history(KEY)
    assert (event.actor, creation.action) == ("ana", "create")
    assert {difference.field for difference in event.differences} == {"enabled", "rollout_percent"}
    # The driver does not take it for a change by somebody else.
    assert run_plans()[0].state == "running"
    changes.flags.undo(KEY)
    disabled.refresh_from_db()
    assert (disabled.enabled, disabled.rollout_percent) == (False, 60)


def test_disabled_flag_counts_as_zero_percent_until_it_is_enabled(disabled: FeatureFlag) -> None:
    plan = rollouts.create(KEY)
    assert [step.percent for step in plan.read_steps()] == [5, 25, 50, 100]
    assert StepRun.objects.get().percent == 0
    changes.flags.enable(KEY)
    with pytest.raises(PlanError, match="the first step is 5 %, and new_checkout is at 60 %"):
        rollouts.start(KEY, enable=True)
    rollouts.delete(KEY)
    with pytest.raises(InvalidPlanError, match="begin with 60 % or more"):
        rollouts.create(KEY, STEPS)


@pytest.mark.parametrize(("rules", "users"), [(RULES, 0), ([], 1)])
def test_event_and_question_say_who_else_gets_a_disabled_flag(
    rules: Any, users: int, disabled: FeatureFlag
) -> None:
    FeatureFlag.objects.update(rules=rules)
    flag: Any = FeatureFlag.objects.get()
    flag.allowed_users.set([User.objects.create(username=f"user{n}") for n in range(users)])
    text = "flag is turned on, so its allowed users and the users of its rules have it, too"
    rollouts.create(KEY, STEPS)
    assert f"The {text}." in look_at_start(KEY, enable=True).notes
    rollouts.start(KEY, enable=True)
    assert PlanEvent.objects.get(kind="started").message.endswith(f"; the {text}")


BARE = """
import os, sys
from django.conf import settings
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}},
    INSTALLED_APPS=[
        "django.contrib.auth", "django.contrib.contenttypes", "flagstaff", *sys.argv[2:]
    ],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", USE_TZ=True, SECRET_KEY="x",
    MIDDLEWARE=["flagstaff.middleware.FlagstaffMiddleware"],
)
import django
django.setup()
from django.core.checks import run_checks
from django.core.management import call_command
call_command("migrate", verbosity=0)
assert run_checks(databases=["default"]) == []
"""


def test_sqlite_has_the_tables_and_refuses_to_start(tmp_path: Any, run_isolated: Any) -> None:
    script = f"""{BARE}
from flagstaff import rollouts
from flagstaff.exceptions import PlanError
from flagstaff.models import FeatureFlag
from flagstaff.rollouts.driver import run_plans
FeatureFlag.objects.create(key="new_checkout", enabled=True)
print(rollouts.create("new_checkout").state, run_plans())
try:
    rollouts.start("new_checkout")
except PlanError as error:
    print(error)
"""
    printed = run_isolated(script, str(tmp_path / "db"), "flagstaff.rollouts")
    assert printed == (
        "pending []\n"
        "the rollout plan of new_checkout cannot run: a plan needs PostgreSQL and the history, "
        "and database 'default' is SQLite; change the rollout by hand\n"
    )


def test_project_without_the_app_has_no_table_and_no_import(
    tmp_path: Any, run_isolated: Any
) -> None:
    script = f"""{BARE}
from django.db import connection
print([name for name in connection.introspection.table_names() if "rollouts" in name])
from flagstaff.cli.main import Verbs
print([name for name in Verbs() if name == "plan"])
print([name for name in sys.modules if name.startswith("flagstaff.rollouts")])
"""
    assert run_isolated(script, str(tmp_path / "db")) == "[]\n[]\n[]\n"


def test_changed_plan_writes_a_token_and_a_flag_has_at_most_one_active_plan() -> None:
    tokens, of_flag = Tokens(), {"flag_pk": "1", "key": KEY, "steps": ["5:1m"]}
    plan = Plan.objects.create(state=State.DONE, **of_flag)
    assert tokens() == ["p"]
    Plan.objects.filter(pk=plan.pk).update(reason="new")
    assert tokens() == ["p"]
    Plan.objects.create(state=State.PAUSED, **of_flag)
    with pytest.raises(IntegrityError):
        Plan.objects.create(state=State.PENDING, **of_flag)


def test_networks_are_deleted_a_day_after_the_end_of_their_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hooks, "_BATCH", 2)
    assert RetentionJob().run(Event()) == []
    plan = Plan.objects.create(flag_pk="1", key=KEY, steps=["5:1m"])
    now = datetime.now(timezone.utc)
    measuring, ended, old = (
        StepRun.objects.create(
            plan=plan, percent=5, ended_at=hours and now - timedelta(hours=hours)
        )
        for hours in (None, 23, 25)
    )
    FailedNetwork.objects.bulk_create(
        FailedNetwork(run=run, guard=guard, network=1)
        for run in (measuring, ended, old)
        for guard in range(5)
    )
    assert RetentionJob().run(Event()) == [RetentionReport("networks", 5)]
    left = FailedNetwork.objects.values_list("run", flat=True).distinct()
    assert set(left) == {measuring.pk, ended.pk}


def test_start_at_the_present_rollout_names_it_once(flag: FeatureFlag) -> None:
    changes.flags.set_rollout(KEY, 25)
    drive_recently()
    rollouts.start(KEY, ["25:1h", "100"])
    started = PlanEvent.objects.get(kind="started")
    assert started.message == "started at 25 %"


def test_unguarded_plan_is_reported(running: Plan) -> None:
    def messages() -> list[CheckMessage]:
        return run_checks(tags=[Tags.database], databases=["default"])

    assert messages() == []
    leave_unguarded()
    [message] = messages()
    assert (message.id, bool(message.hint)) == ("flagstaff.W044", True)
    assert message.msg == (
        "rollout plans are unguarded, because run-jobs has not driven them in the last 5 minutes: "
        "new_checkout"
    )
    # No run of the driver has written yet that this pauses the plan.
    changes.flags.set_rollout(KEY, 60)
    assert messages() == []


def test_look_at_the_plan_of_a_renamed_flag_does_not_show_the_flag_that_has_its_key_now(
    flag: FeatureFlag,
) -> None:
    rollouts.create(KEY, STEPS)
    FeatureFlag.objects.filter(pk=flag.pk).update(key="renamed")
    make_flag(KEY)
    with pytest.raises(PlanError, match="was renamed to renamed after the start of its plan"):
        look_at_start(KEY)


def test_look_at_a_rollback_of_a_renamed_flag_shows_that_flag_and_not_the_one_with_its_key(
    running: Plan,
) -> None:
    percent = rollout()
    changes.flags.update(KEY, {"key": "renamed"})
    make_flag(rollout_percent=70)
    look = look_at_roll_back(KEY)
    assert [row.key for row in look.rows] == ["renamed"]
    assert (f"{percent} %", "0 %") in [(line.now, line.after) for line in look.lines]
