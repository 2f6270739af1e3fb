"""What a person does with a rollout plan: create, start, pause, resume, roll back, delete.

What has started does not change: another course is another plan.

Each function locks the plan and then the flag, and is one transaction or part of the surrounding
one. `acting_as` and the middleware set the actor and the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from typing import Any

from django.db import IntegrityError
from django.db.models import Exists, OuterRef, TextField
from django.db.models.functions import Cast

from flagstaff._attribution import current_author, current_reason
from flagstaff._tables.database import Reading, db
from flagstaff._tables.rows import (
    RULES,
    FlagRow,
    Kind,
    all_rows,
    find_row,
    flag_row,
    is_stored,
    store,
)
from flagstaff._text import Sentence, joined, say
from flagstaff.actions.table import Present
from flagstaff.changes.fields import Changed, quoted_command
from flagstaff.changes.locking import block_of_change, require_version
from flagstaff.conf import conf
from flagstaff.exceptions import ConflictError, InvalidPlanError, PlanError, UnknownPlanError
from flagstaff.history.deleted import delete_but_events
from flagstaff.history.log import version_of
from flagstaff.rollouts import transitions
from flagstaff.rollouts.models import (
    ACTIVE_STATES,
    WATCHED_STATES,
    FailedUnit,
    Plan,
    PlanEvent,
    State,
    StepRun,
    state_text,
)
from flagstaff.rollouts.requirements import (
    enabling_message,
    fields_of_start,
    present_rollout,
    problem_of_database,
    problem_of_driver,
    problem_of_first_step,
    problem_of_flag,
    require,
)
from flagstaff.rollouts.status import users_a_day
from flagstaff.rollouts.steps_and_guards import (
    ALL,
    ERRORS,
    USUAL,
    Defaults,
    defaults_for,
    latency_limits,
    parse_guards,
    parse_steps,
    require_functions,
)
from flagstaff.rollouts.transitions import (
    continue_run,
    digest_of,
    enter_step,
    foreign_change,
    record,
    with_flags,
)
from flagstaff.rollouts.verdict import COMPARISONS

_MAX_USERS = 2_000_000_000
#: What the actions of a plan stand on: the plan, its state, and where it is.
EXPECT_PLAN = "expect_plan"
#: The states in which a plan can be changed so, the most important action first.
STATES: dict[str, tuple[State, ...]] = {
    say("start"): (State.PENDING,),
    say("resume"): (State.PAUSED, State.ROLLED_BACK),
    say("roll-back"): (*WATCHED_STATES, State.PAUSED),
    say("pause"): WATCHED_STATES,
}


def create(  # noqa: PLR0913 (what a plan is)
    key: str,
    steps: Iterable[str] | None = None,
    *,
    guards: Iterable[str] | None = None,
    required_users: int | None = None,
    compare: str | None = None,
    ignore_releases: bool | None = None,
) -> Plan:
    """Creates a pending plan for a flag. The workers begin to measure.

    Steps are texts such as "5:1h", by default those that fit the users whom an earlier plan has
    counted; guards are texts such as "errors" or "latency=0.5". With
    `ignore_releases` a step goes on when a new release appears. Guards compare users and requests,
    or only what `compare` names. Raises UnknownFlagError, InvalidPlanError, or PlanError if the
    flag has a plan already.
    """
    with db.atomic():
        _makes_row(key, None)
        flag = flag_row(key)
        plan = new_plan(
            flag,
            steps,
            guards=guards,
            required_users=required_users,
            compare=compare,
            ignore_releases=ignore_releases,
        )
        _insert(plan)
        runs, percent = db.rows(StepRun), present_rollout(flag)
        plan.run_id = runs.create(plan_id=plan.pk, percent=percent).pk
        plan.save(using=db.alias, update_fields=["run_id"])
        texts = joined([step.text for step in plan.read_steps()])
        text = say("created with the steps {steps}", steps=texts)
        record(plan, PlanEvent.Kind.CREATED, _with_reason(text))
        return plan


def new_plan(  # noqa: PLR0913 (what a plan is)
    flag: FlagRow,
    steps: Iterable[str] | None = None,
    *,
    guards: Iterable[str] | None = None,
    required_users: int | None = None,
    compare: str | None = None,
    ignore_releases: bool | None = None,
) -> Plan:
    """Returns the plan that `create` would create, unsaved. Raises InvalidPlanError."""
    if steps is None:
        defaults = default_plan(flag)
        plan_steps = defaults.steps
        if required_users is None:
            required_users = defaults.required_users
    else:
        plan_steps = parse_steps(steps)
    plan_guards = parse_guards((ERRORS,) if guards is None else guards)
    require_functions(plan_guards)
    if problem := problem_of_first_step(flag, plan_steps[0], is_created=False):
        raise InvalidPlanError(problem)
    return Plan(
        flag_pk=str(flag.pk),
        key=flag.key,
        steps=[*map(str, plan_steps)],
        guards=[*map(str, plan_guards)],
        latency_limits=latency_limits(plan_guards),
        required_users=_valid_users(required_users),
        compare=_valid_comparison(compare),
        ignore_releases=bool(ignore_releases),
        seen_flag=digest_of(flag),
        flag_version=version_of(Kind.FLAG, flag.pk),
        actor=current_author(),
    )


def start(  # noqa: PLR0913 (the plan, and the conditions of its start)
    key: str,
    steps: Iterable[str] | None = None,
    *,
    guards: Iterable[str] | None = None,
    required_users: int | None = None,
    compare: str | None = None,
    ignore_releases: bool | None = None,
    enable: bool = False,
    delete_bucket_rules: bool = False,
    expect_version: int | None = None,
) -> Plan:
    """Starts the pending plan of a flag, or creates one and starts it.

    With `enable`, the change that sets the first step also enables a disabled flag: its allowed
    users and the users of its rules get it, too. With `delete_bucket_rules`, it also deletes the
    rules that select by the bucket of the flag, whose users a plan does not compare.

    Raises UnknownFlagError, InvalidPlanError, PlanError if the plan cannot start, for example
    because run-jobs does not run, or ConflictError if the flag has another version than expected.
    """
    options = {
        "steps": steps,
        "guards": guards,
        "required_users": required_users,
        "compare": compare,
        "ignore_releases": ignore_releases,
    }

    def make(**options: Any) -> Plan:
        nonlocal expect_version
        if _makes_row(key, expect_version):
            expect_version = None
        return create(key, **options)

    with block_of_change():
        plan = plan_to_start(key, make, options, lock=True)
        flag_of(plan, lock=True)
        flag = _flag_of(plan, expect_version)
        first, enables = plan.read_steps()[0], enable and not flag.enabled
        also = fields_of_start(flag, enable=enable, delete_rules=delete_bucket_rules)
        problem = problem_of_flag(flag, enable=enables)
        problem = problem or problem_of_first_step(flag, first, is_created=plan.pk is not None)
        require(plan.key, problem_of_database(), problem_of_driver(), problem)
        old = present_rollout(flag)
        wrote = enter_step(plan, 0, also=also)
        text = (
            say("started at {percent} %", percent=first.percent)
            if old == first.percent
            else say("started: rollout {old} → {new} %", old=old, new=first.percent)
        )
        if enables:
            text = say("{text}; {enabled}", text=text, enabled=enabling_message(flag))
        if RULES in also:
            text = say("{text}; the rules by the bucket of the flag were deleted", text=text)
        record(plan, PlanEvent.Kind.STARTED, _with_reason(text), wrote=wrote)
        return plan


def _makes_row(key: str, expect_version: int | None) -> bool:
    """Makes the row of a declared flag without one, and returns whether it did.

    Raises UnknownFlagError, or ConflictError if the row has another version than expected.
    """
    flag = flag_row(key)
    if is_stored(flag):
        return False
    require_version(Kind.FLAG, key, flag.pk, expect_version, "read the flag again")
    return store(flag)


def plan_to_start(
    key: str, make: Callable[..., Plan], options: Mapping[str, Any], *, lock: bool = False
) -> Plan:
    """Returns the pending plan of a flag, or the one that `make` returns for these options.

    Raises PlanError if the flag has another plan, or a pending one beside options.
    """
    plan = find_plan(key, lock=lock)
    if plan is None or plan.state not in ACTIVE_STATES:
        plan = make(**options)
    elif plan.state == State.PENDING and any(option is not None for option in options.values()):
        raise PlanError(
            "{key} has a pending plan already; start it without new options, or delete it "
            "first: {command}",
            key=key,
            command=quoted_command("plan", "delete", key),
        )
    _require_state(plan, "start")
    require(key, plan.problem)
    return plan


def pause(key: str) -> Plan:
    """Pauses a plan until `resume`. The rollout stays as it is.

    Raises UnknownPlanError, or PlanError unless the plan is running or holding.
    """
    with _locked_plan(key) as plan:
        _require_state(plan, "pause")
        flag_of(plan, lock=True)
        transitions.pause(plan, current_reason())
        return plan


def resume(key: str, *, expect_version: int | None = None) -> Plan:
    """Continues a paused plan at its present step, or a rolled back one at its first step.

    A paused plan goes on where it was: it keeps what it has counted, and the rest of its dwell
    time. If somebody else has changed who has the flag since the plan saw it, the evidence is about
    other users: the plan sets the rollout of its step again, and the step starts again. Raises
    UnknownPlanError, UnknownFlagError, PlanError if the plan cannot continue, or ConflictError if
    the flag has another version than expected.
    """
    with _locked_plan(key) as plan:
        require_resumable(plan)
        flag_of(plan, lock=True)
        is_paused = plan.state != State.ROLLED_BACK
        if not is_paused:
            _make_active(plan)
        flag = _flag_of(plan, expect_version)
        require(key, problem_of_database(), problem_of_driver(), problem_of_flag(flag))
        old = flag.rollout_percent
        if is_paused and foreign_change(plan, flag) is None and continue_run(plan):
            text = say("resumed at {percent} %", percent=old)
            record(plan, PlanEvent.Kind.RESUMED, _with_reason(text))
            return plan
        index = (plan.step or 0) if is_paused else 0
        wrote = enter_step(plan, index)
        message = say(
            "resumed, and step {number} starts again: rollout {old} → {new} %",
            number=index + 1,
            old=old,
            new=plan.read_steps()[index].percent,
        )
        record(plan, PlanEvent.Kind.RESUMED, _with_reason(message), wrote=wrote)
        return plan


def require_resumable(plan: Plan) -> None:
    """Raises PlanError unless a plan can be resumed in its state."""
    _require_state(shown(plan), "resume")
    require(plan.key, plan.problem)


def rollback(key: str) -> Plan:
    """Sets the rollout to 0 % at once, and ends the plan until `resume`.

    Writes the flag of the plan only, found by its primary key, and disables it if a rule can grant
    it. Does not wait for the workers. Raises UnknownPlanError, or PlanError if the plan has not
    started or has ended, or its flag was deleted.
    """
    plan, _before, _changed = rolled_back(key)
    return plan


def rolled_back(key: str) -> tuple[Plan, str, list[Changed]]:
    """Does the same, and also returns the state before and the changes of the flag."""
    with _locked_plan(key) as plan:
        _require_state(plan, "roll-back")
        before = plan.state
        transitions.forget_trip(plan)
        changed = transitions.roll_back(plan, flag_of(plan, lock=True), current_reason())
        effect = say("rollout 0 %")
        if any("enabled" in (change.new or {}) for change in changed):
            effect = say("rollout 0 %, and the flag was turned off, because a rule can grant it")
        text = say("rolled back: {what}", what=effect)
        record(plan, PlanEvent.Kind.ROLLED_BACK, _with_reason(text), wrote=changed)
        return plan, before, changed


def _with_reason(text: Sentence) -> Sentence:
    """Returns the text of an event with the reason of the person."""
    reason = current_reason()
    return say("{what}; reason: {reason}", what=text, reason=reason) if reason else text


def delete(key: str) -> None:
    """Deletes a plan with its counts. The rollout stays as it is, and the events are kept.

    Raises UnknownPlanError, or PlanError while the plan is running or holding and has its flag.
    """
    with _locked_plan(key) as plan:
        if shown(plan).state in WATCHED_STATES and plan.own_flag is not None:
            raise PlanError(
                "the rollout plan of {key} runs; pause it before you delete it: {command}",
                key=key,
                command=quoted_command("plan", "pause", key),
            )
        _keep_workers_from_writing()
        _record_deletion(plan)
        delete_but_events(
            plan,
            PlanEvent,
            flag_pk=plan.flag_pk,
            state=State.DONE if plan.state in ACTIVE_STATES else plan.state,
            # SQL may have written the null of JSON, which would be saved as NULL.
            steps=plan.steps or [],
            step=plan.step,
            guards=plan.guards or [],
            reason="deleted",
            ended_at=plan.now,
        )


def _record_deletion(plan: Plan) -> None:
    text = say("deleted; it was {state}", state=state_text(shown(plan).state))
    if plan.percent is not None:
        text = say("{text} at {percent} %", text=text, percent=plan.percent)
    record(plan, PlanEvent.Kind.DELETED, _with_reason(text))


def _keep_workers_from_writing() -> None:
    """Lets flushes end and others wait until the transaction ends: they add rows to a run."""
    if db.is_postgresql:
        with db.connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {db.table(FailedUnit)} IN SHARE ROW EXCLUSIVE MODE")


@contextmanager
def unchanged(key: str, expected: str | None) -> Iterator[Plan | None]:
    """Yields the plan of a flag, or None, in a transaction that locks it.

    Raises ConflictError if it is not the `expected` one: its `version`, or "" without one.
    None expects nothing.
    """
    with db.atomic():
        plan = find_plan(key, lock=True)
        if expected not in {None, "" if plan is None else plan.version}:
            text = (
                "the rollout plan of {key} has been changed since the question; run the command "
                "again"
            )
            raise ConflictError(say(text, key=key), key=key)
        yield plan


def find_plan(key: str, *, lock: bool = False) -> Plan | None:
    """Returns the active plan of a flag, or else its newest one. With `lock`, it stays locked.

    Without one, returns that of an earlier flag with this key.
    """
    of_key = (Plan.objects.locked() if lock else Plan.objects.all()).filter(key=key)
    newest = of_key.order_by("-id")
    flag = find_row(conf.flag_model, key)
    if flag is not None:
        own = newest.filter(flag_pk=str(flag.pk))
        if plan := own.filter(state__in=ACTIVE_STATES).first() or own.first():
            return plan
    return newest.filter(state__in=ACTIVE_STATES).first() or newest.first()


def shown(plan: Plan) -> Plan:
    """Returns a copy of a plan in the state that people see."""
    return with_flags([copy(plan)])[0]


def present(keys: Collection[str]) -> Reading:
    """Reads by what the actions of plans would be refused now."""
    # As text, because a flag may have another type of primary key.
    flags = all_rows(conf.flag_model).filter(key=OuterRef("key"))
    own = Exists(flags.annotate(text=Cast("pk", TextField())).filter(text=OuterRef("flag_pk")))
    columns = ("key", "state", "step", "run_id", "trip_run_id")
    plans = yield Plan.objects.filter(key__in=keys).only(*columns).annotate(is_own=own)
    # As `find_plan` finds it.
    ranked = sorted(plans, key=lambda plan: (plan.is_own, plan.state in ACTIVE_STATES, plan.pk))
    versions = {**dict.fromkeys(keys, ""), **{plan.key: plan.version for plan in ranked}}
    return {key: Present(expected={EXPECT_PLAN: text}) for key, text in versions.items()}


def no_plan_text(key: str) -> Sentence:
    """Returns the message about a flag without a plan. Raises UnknownFlagError without a flag."""
    flag_row(key)
    return say(
        "the flag {key} has no rollout plan; start one: {command}",
        key=key,
        command=quoted_command("plan", "start", key),
    )


def _valid_users(number: object) -> int:
    if number is None:
        return USUAL.required_users
    if type(number) is int and 1 <= number <= _MAX_USERS:
        return number
    raise InvalidPlanError(
        "the number of required users is {value}; write a whole number from 1 to {limit}",
        value=repr(number),
        limit=_MAX_USERS,
    )


def _valid_comparison(compare: str | None) -> str:
    if compare in {None, "", *COMPARISONS}:
        return compare or ""
    raise InvalidPlanError(
        "a plan cannot compare {value}; write users or requests, or nothing for both",
        value=repr(compare),
    )


def _insert(plan: Plan) -> None:
    try:
        with db.atomic():
            plan.save(using=db.alias, force_insert=True)
    except IntegrityError as error:
        if active := Plan.objects.active().filter(flag_pk=plan.flag_pk).first():
            problem = say(
                "{key} has a rollout plan already, which is {state}; end it and delete it before "
                "you create another: {command}",
                key=plan.key,
                state=state_text(active.state),
                command=quoted_command("plan", "delete", plan.key),
            )
            raise PlanError(problem) from error
        raise


def _make_active(plan: Plan) -> None:
    """Makes an ended plan the active one of its flag, or raises PlanError if there is another.

    To be called before the flag is locked: a start of another plan locks the flag after its plan.
    """
    try:
        with db.atomic():
            Plan.objects.filter(pk=plan.pk).update(state=State.PAUSED)
    except IntegrityError as error:
        command = quoted_command("plan", "show", plan.key)
        problem = say(
            "{key} has a newer rollout plan; see it: {command}", key=plan.key, command=command
        )
        raise PlanError(problem) from error


def default_plan(flag: FlagRow) -> Defaults:
    """Returns what fits the users of a flag, with the steps from its present rollout on.

    Makes a few queries if an earlier plan has counted them. Raises InvalidPlanError at 100 %.
    """
    now = present_rollout(flag)
    if now >= ALL:
        raise InvalidPlanError(
            "{key} is at 100 % already, so a plan has no steps; lower its rollout first",
            key=flag.key,
        )
    defaults = defaults_for(users_a_day(flag))
    return replace(defaults, steps=tuple(step for step in defaults.steps if step.percent >= now))


def _flag_of(plan: Plan, expect_version: int | None) -> FlagRow:
    """Returns the flag of a plan, locked.

    Raises PlanError if it was deleted or renamed, or ConflictError for another version.
    """
    flag = named_flag(plan, lock=True)
    require_version(Kind.FLAG, plan.key, flag.pk, expect_version, "read the flag again")
    return flag


def named_flag(plan: Plan, *, lock: bool = False) -> FlagRow:
    """Returns the flag of a plan. Raises PlanError if it was deleted or renamed."""
    flag = flag_of(plan, lock=lock)
    if flag.key != plan.key:
        raise PlanError(
            "the flag {key} was renamed to {new} after the start of its plan; delete the plan: "
            "{command}",
            key=plan.key,
            new=flag.key,
            command=quoted_command("plan", "delete", plan.key),
        )
    return flag


def flag_of(plan: Plan, *, lock: bool = False) -> FlagRow:
    """Returns the flag of a plan. Raises PlanError if it was deleted."""
    flag = plan.locked_flag() if lock else plan.own_flag
    if flag is None:
        raise PlanError(
            "the flag {key} was deleted after its plan was created; delete the plan: {command}",
            key=plan.key,
            command=quoted_command("plan", "delete", plan.key),
        )
    return flag


def _require_state(plan: Plan, action: str) -> None:
    """Raises PlanError unless the plan is in a state of the action."""
    if plan.state not in STATES[action]:
        raise PlanError(
            "the rollout plan of {key} is {state}; {action} needs a plan that is {states}",
            key=plan.key,
            state=state_text(plan.state),
            action=say(action),
            states=joined(map(state_text, STATES[action]), " / "),
        )


@contextmanager
def _locked_plan(key: str) -> Iterator[Plan]:
    """Yields the plan of a flag, locked until the surrounding transaction ends."""
    with block_of_change():
        plan = find_plan(key, lock=True)
        if plan is None:
            raise UnknownPlanError(no_plan_text(key))
        yield plan
