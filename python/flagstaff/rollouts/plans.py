"""What a person does with a rollout plan: create, start, pause, resume, jump, roll back, delete.

Each function locks the plan and then the flag, and is one transaction or part of the surrounding
one. `acting_as` and the middleware set the actor and the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import cast

from django.conf import settings
from django.db import IntegrityError, connections, transaction
from django.db.models import QuerySet
from django.utils import timezone

from flagstaff._attribution.context import current_actor, current_reason, current_source
from flagstaff._connection.vendor import is_postgresql
from flagstaff._tables.rows import FlagRow, find_row, flag_row
from flagstaff._time_fields import MAX_YEAR
from flagstaff._words.message import Message
from flagstaff.changes.locking import require_version
from flagstaff.conf import conf
from flagstaff.exceptions import ConflictError, InvalidPlanError, PlanError, UnknownPlanError
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import version_of
from flagstaff.rollouts import messages, refusal_messages, transitions
from flagstaff.rollouts.clock import database_now
from flagstaff.rollouts.conditions import (
    problem_of_database,
    problem_of_driver,
    problem_of_first_step,
    problem_of_flag,
    require,
)
from flagstaff.rollouts.flag_changes import foreign_change, see_flag, what_decides
from flagstaff.rollouts.guards import Guard, guards_as_json, latency_limits, valid_guards
from flagstaff.rollouts.models import (
    ACTIVE_STATES,
    WATCHED_STATES,
    FailedUnit,
    Plan,
    PlanEvent,
    State,
    StepRun,
)
from flagstaff.rollouts.refusals import exists_already, plan_command, wrong_state
from flagstaff.rollouts.steps import DEFAULT_STEPS, Step, steps_as_json, valid_steps
from flagstaff.rollouts.transitions import record, steps_of, trip_text

# The source of what users do in the admin.
_ADMIN = "admin"
#: The number of users inside that a step needs if its guards cannot bound the harm before.
REQUIRED_USERS = 1000

_MAX_USERS = 2_000_000_000


def create(  # noqa: PLR0913 (the plan, and the conditions of its start)
    key: str,
    steps: Iterable[Step | str] | None = None,
    *,
    guards: Iterable[Guard | str] = ("errors",),
    required_users: int = REQUIRED_USERS,
    starts_at: datetime | None = None,
    expect_version: int | None = None,
) -> Plan:
    """Creates a pending plan for a flag. The workers begin to measure.

    Steps are texts such as "5:1h"; guards are texts such as "errors" or "latency=0.5". With
    `starts_at` the driver starts the plan at this time; otherwise `start` does. Raises
    UnknownFlagError, InvalidPlanError, PlanError if the flag has a plan already, or ConflictError
    if the plan is to start at a time and the flag has another version than expected.
    """
    with transaction.atomic(using=conf.database):
        plan = _create(key, steps, guards, required_users)
        if starts_at is not None:
            _schedule(plan, starts_at, expect_version)
        return plan


def start(  # noqa: PLR0913 (the plan, and the conditions of its start)
    key: str,
    steps: Iterable[Step | str] | None = None,
    *,
    guards: Iterable[Guard | str] | None = None,
    required_users: int | None = None,
    starts_at: datetime | None = None,
    expect_version: int | None = None,
) -> Plan:
    """Starts the pending plan of a flag, or creates one and starts it.

    With `starts_at` the driver starts it at this time. Raises UnknownFlagError, InvalidPlanError,
    PlanError if the plan cannot start, for example because run-jobs does not run, or ConflictError
    if the flag has another version than expected.
    """
    with transaction.atomic(using=conf.database):
        plan = _active_plan(key)
        if plan is None:
            given = ("errors",) if guards is None else guards
            users = REQUIRED_USERS if required_users is None else required_users
            plan = _create(key, steps, given, users)
        elif plan.state != State.PENDING:
            raise wrong_state(plan, "start")
        elif not (steps is None and guards is None and required_users is None):
            command = plan_command(key, "delete")
            raise PlanError(refusal_messages.EXISTS_PENDING(key=key, command=command))
        if starts_at is not None:
            _schedule(plan, starts_at, expect_version)
        else:
            _start(plan, expect_version)
        return plan


def pause(key: str) -> Plan:
    """Pauses a plan until `resume`. The rollout stays as it is.

    Raises UnknownPlanError, or PlanError unless the plan is running, holding or scheduled.
    """
    with _locked_plan(key) as plan:
        is_scheduled = plan.state == State.PENDING and plan.starts_at is not None
        if plan.state not in WATCHED_STATES and not is_scheduled:
            raise wrong_state(plan, "pause")
        transitions.pause(plan, database_now(), current_reason())
        return plan


def resume(key: str, *, expect_version: int | None = None) -> Plan:
    """Continues a paused plan at its present step, or a rolled back one at its first step.

    Sets the rollout of the step again. Its dwell time and measuring start again. Raises
    UnknownPlanError, UnknownFlagError, PlanError if the plan cannot continue, or ConflictError if
    the flag has another version than expected.
    """
    with _locked_plan(key) as plan:
        if plan.state not in {State.PAUSED, State.ROLLED_BACK}:
            raise wrong_state(plan, "resume")
        if plan.step is None:
            _start(plan, expect_version)
            return plan
        is_paused = plan.state == State.PAUSED
        if not is_paused:
            _make_active(plan)
        flag = _flag_of(plan, expect_version)
        require(key, problem_of_database(), problem_of_driver(), problem_of_flag(flag))
        index = plan.step if is_paused else 0
        old = flag.rollout_percent
        transitions.enter_step(plan, index, database_now())
        step = steps_of(plan)[index]
        message = (
            messages.RESUMED(number=index + 1, old=old, new=step.percent)
            if is_paused
            else messages.RESUMED_AT_FIRST(old=old, new=step.percent)
        )
        record(plan, PlanEvent.Kind.RESUMED, message)
        return plan


def jump(key: str, percent: int, *, expect_version: int | None = None) -> Plan:
    """Goes to the step with this percentage at once, forward or back. Measuring starts again.

    Raises UnknownPlanError, InvalidPlanError without such a step, ConflictError if somebody has
    changed the flag or if it has another version than expected, or PlanError if the plan is not
    running or has tripped.
    """
    with _locked_plan(key) as plan:
        if plan.state not in WATCHED_STATES:
            raise wrong_state(plan, "jump")
        if plan.has_tripped:
            # The caller may not know of it: run-jobs can have stored it a moment before.
            raise PlanError(_cannot_jump(key, trip_text(plan)))
        percents = [step.percent for step in steps_of(plan)]
        if percent not in percents:
            steps = [messages.STEP_AT_ONCE(percent=of_step) for of_step in percents]
            raise InvalidPlanError(
                refusal_messages.NO_SUCH_STEP(key=key, percent=str(percent), steps=steps)
            )
        flag = _flag_of(plan, expect_version)
        if change := foreign_change(plan, flag):
            raise ConflictError(_cannot_jump(key, change), key=key)
        require(key, problem_of_driver(), problem_of_flag(flag))
        index, old = percents.index(percent), flag.rollout_percent
        transitions.enter_step(plan, index, database_now(), expect_version=plan.flag_version)
        record(
            plan,
            PlanEvent.Kind.JUMPED,
            messages.JUMPED(number=index + 1, old=old, new=percent),
        )
        return plan


def _cannot_jump(key: str, why: str) -> Message:
    command = plan_command(key, "pause")
    return refusal_messages.CANNOT_JUMP_BECAUSE(key=key, why=why, command=command)


def rollback(key: str) -> Plan:
    """Sets the rollout to 0 % at once, and ends the plan until `resume`.

    Disables the flag if a rule can grant it. Does not wait for the workers. Raises
    UnknownPlanError, or PlanError if the plan has not started or has ended.
    """
    with _locked_plan(key) as plan:
        if plan.state not in {*WATCHED_STATES, State.PAUSED} or plan.step is None:
            raise wrong_state(plan, "rollback")
        flag = cast("FlagRow | None", find_row(conf.flag_model, plan.key, lock=True))
        reason = current_reason()
        changed = transitions.roll_back(
            plan, flag, database_now(), reason or messages.ROLLED_BACK_BY_PERSON()
        )
        what = messages.AT_ZERO()
        if changed is None:
            what = messages.WITHOUT_FLAG(key=key)
        elif changed.field == "enabled":
            what = messages.AT_ZERO_AND_DISABLED()
        message = (
            messages.ROLLED_BACK_WHY(what=what, reason=reason)
            if reason
            else messages.ROLLED_BACK(what=what)
        )
        record(plan, PlanEvent.Kind.ROLLED_BACK, message)
        return plan


def delete(key: str) -> None:
    """Deletes a plan with its events and counts. The rollout stays as it is.

    Raises UnknownPlanError, or PlanError while the plan is running or holding.
    """
    with _locked_plan(key) as plan:
        if plan.state in WATCHED_STATES:
            raise wrong_state(plan, "delete")
        _keep_workers_from_writing()
        plan.delete(using=conf.database)


def _keep_workers_from_writing() -> None:
    """Lets flushes end and others wait until the transaction ends: they add rows to a run."""
    connection = connections[conf.database]
    if is_postgresql(connection):
        table = connection.ops.quote_name(FailedUnit._meta.db_table)
        with connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")


def find_plan(key: str, *, lock: bool = False) -> Plan | None:
    """Returns the active plan of a flag, or else its newest one. With `lock`, it stays locked."""
    return _active_plan(key, lock=lock) or _plans(key, lock=lock).order_by("-id").first()


def no_plan_text(key: str) -> Message:
    """Returns the message about a flag without a plan. Raises UnknownFlagError without a flag."""
    flag_row(key)
    return refusal_messages.NO_PLAN(key=key, command=plan_command(key, "start"))


def _create(
    key: str,
    steps: Iterable[Step | str] | None,
    guards: Iterable[Guard | str],
    required_users: int,
) -> Plan:
    flag = flag_row(key)
    plan_steps = _default_steps(flag) if steps is None else valid_steps(steps)
    plan_guards = valid_guards(guards)
    if type(required_users) is not int or not 1 <= required_users <= _MAX_USERS:
        raise InvalidPlanError(
            refusal_messages.USERS_NOT_VALID(value=repr(required_users), limit=_MAX_USERS)
        )
    if problem := problem_of_first_step(flag, plan_steps[0]):
        raise InvalidPlanError(problem)
    plan = Plan(
        flag_pk=str(flag.pk),
        key=flag.key,
        steps=steps_as_json(plan_steps),
        guards=guards_as_json(plan_guards),
        latency_limits=latency_limits(plan_guards),
        required_users=required_users,
        seen_flag=what_decides(flag),
        flag_version=version_of(Kind.FLAG, flag.pk),
        actor=current_actor(),
    )
    _insert(plan)
    run = StepRun.objects.using(conf.database).create(plan_id=plan.pk, percent=flag.rollout_percent)
    plan.run_id = run.pk
    plan.save(using=conf.database, update_fields=["run_id"])
    message = messages.CREATED(steps=[step.text for step in plan_steps])
    record(plan, PlanEvent.Kind.CREATED, message)
    return plan


def _insert(plan: Plan) -> None:
    try:
        with transaction.atomic(using=conf.database):
            plan.save(using=conf.database, force_insert=True)
    except IntegrityError as error:
        active = Plan.objects.using(conf.database).filter(
            flag_pk=plan.flag_pk, state__in=ACTIVE_STATES
        )
        if found := active.first():
            raise exists_already(found) from error
        raise


def _make_active(plan: Plan) -> None:
    """Makes an ended plan the active one of its flag, or raises PlanError if there is another.

    To be called before the flag is locked: a start of another plan locks the flag after its plan.
    """
    try:
        with transaction.atomic(using=conf.database):
            of_plan = Plan.objects.using(conf.database).filter(pk=plan.pk)
            of_plan.update(state=State.PAUSED)
    except IntegrityError as error:
        command = plan_command(plan.key, "status")
        problem = refusal_messages.HAS_NEWER_PLAN(key=plan.key, command=command)
        raise PlanError(problem) from error


def _default_steps(flag: FlagRow) -> tuple[Step, ...]:
    steps = tuple(step for step in DEFAULT_STEPS if step.percent > flag.rollout_percent)
    if not steps:
        raise InvalidPlanError(refusal_messages.AT_ALL_ALREADY(key=flag.key))
    return steps


def _schedule(plan: Plan, starts_at: datetime, expect_version: int | None) -> None:
    """Lets the driver start the plan. What the plan has seen is the present flag.

    The driver asks again whether a user of the admin may release the flag; code is trusted.
    """
    require(plan.key, problem_of_database())
    if settings.USE_TZ and timezone.is_naive(starts_at):
        starts_at = timezone.make_aware(starts_at)
    if starts_at.year >= MAX_YEAR:
        raise InvalidPlanError(refusal_messages.START_TOO_LATE(year=str(starts_at.year)))
    plan.starts_at = starts_at
    see_flag(plan, version_of(Kind.FLAG, _flag_of(plan, expect_version).pk))
    plan.scheduled_by = current_actor() if current_source() == _ADMIN else None
    transitions.save(plan, database_now())
    message = messages.SCHEDULED(time=starts_at.isoformat(timespec="seconds"))
    record(plan, PlanEvent.Kind.SCHEDULED, message)


def _start(plan: Plan, expect_version: int | None) -> None:
    flag = _flag_of(plan, expect_version)
    first = steps_of(plan)[0]
    require(plan.key, problem_of_database(), problem_of_driver(), problem_of_flag(flag, first))
    old = flag.rollout_percent
    transitions.enter_step(plan, 0, database_now())
    record(plan, PlanEvent.Kind.STARTED, messages.STARTED(old=old, new=first.percent))


def _flag_of(plan: Plan, expect_version: int | None) -> FlagRow:
    """Returns the flag of a plan, locked.

    Raises UnknownFlagError, PlanError for another one, or ConflictError for another version.
    """
    flag = flag_row(plan.key, lock=True)
    if str(flag.pk) != plan.flag_pk:
        command = plan_command(plan.key, "delete")
        raise PlanError(refusal_messages.FLAG_CREATED_AGAIN(key=plan.key, command=command))
    require_version(Kind.FLAG, plan.key, flag.pk, expect_version, "read the flag again")
    return flag


@contextmanager
def _locked_plan(key: str) -> Iterator[Plan]:
    """Yields the plan of a flag, locked until the surrounding transaction ends."""
    with transaction.atomic(using=conf.database):
        plan = find_plan(key, lock=True)
        if plan is None:
            raise UnknownPlanError(no_plan_text(key))
        yield plan


def _active_plan(key: str, *, lock: bool = True) -> Plan | None:
    active = _plans(key, lock=lock).filter(state__in=ACTIVE_STATES)
    return active.order_by("-id").first()


def _plans(key: str, *, lock: bool) -> QuerySet[Plan]:
    plans = Plan.objects.using(conf.database).filter(key=key)
    return plans.select_for_update() if lock else plans
