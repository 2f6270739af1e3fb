"""Drives the plans: makes steps, holds, and rolls back.

Each plan has a transaction of its own. Its row is locked, so that several drivers make each step
once, and a driver that is killed leaves nothing half done. A trip has two transactions: one stores
it, and the other, perhaps of another driver, rolls back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from threading import Event
from typing import Any, Literal, cast

from django.db import Error, InterfaceError, OperationalError
from django.db.models import Q
from django.utils.translation import override

from flagstaff._attribution import acting_as
from flagstaff._tables.database import db
from flagstaff._tables.rows import FlagRow
from flagstaff._text import Sentence, as_stored, joined, say
from flagstaff._workers.status import propagation_messages
from flagstaff._workers.wait import wait_for_workers
from flagstaff.exceptions import FlagstaffError, PropagationError
from flagstaff.extensions import JobReport
from flagstaff.rollouts import transitions
from flagstaff.rollouts.evidence import (
    GuardOutcome,
    call_guards,
    has_functions,
    has_lost_for_good,
    release_change,
    verdict_of,
)
from flagstaff.rollouts.models import (
    ACTOR,
    GUARDED_FOR,
    WATCHED_STATES,
    ClockTimestamp,
    DriverRun,
    Plan,
    PlanEvent,
    State,
    StepRun,
)
from flagstaff.rollouts.steps_and_guards import ALL, StepVerdict
from flagstaff.rollouts.transitions import foreign_change, record

# Where the changes that the driver makes come from, in the history.
_SOURCE = "plan"

# Each write makes every worker load the plans, so the time is not written at every run.
_RENEW_BELOW = timedelta(minutes=4)
# A step that holds for ten times its time has no further tenths.
_LAST_TENTH = 109
# Seconds for which workers may take to apply a trip before the event says which have not.
_WAIT = 5.0
# A person's open transaction must not keep the other plans waiting for longer.
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '5s'"


@dataclass(frozen=True)
class PlanReport(JobReport):
    """What a run of the driver did to one plan."""

    plan: str
    state: str
    #: The kind of the event that happened in this run, or None.
    event: str | None = None
    #: What happened, or why the plan holds.
    text: str = ""
    #: Why the plan could not be driven in this run, or None. The next run tries again.
    error: str | None = None

    @property
    def is_news(self) -> bool:
        """Whether something happened."""
        return self.event is not None or self.error is not None


def report_of(plan: Plan, event: PlanEvent.Kind | None = None, text: str = "") -> PlanReport:
    """Returns the report of a plan in its present state."""
    kind = None if event is None else event.value
    return PlanReport(plan.key, str(plan.state), kind, text or plan.reason)


def run_plans(*, stop: Event | None = None) -> list[PlanReport]:
    """Does what is due for each plan: at most one step, a hold, or a rollback.

    However late the run is, a plan makes one step, whose dwell time starts then. Runs may overlap.
    Functions of the project are called last, so that a slow one does not delay what the others
    have found. Blocks for up to 30 s for each of them, and after a trip for up to 5 s until the
    workers have applied it. `stop` ends the run earlier, between two plans. Does nothing on
    SQLite. Raises RuntimeError inside a transaction, and database errors; an error of a single
    plan is in its report.
    """
    if not db.is_postgresql:
        return []
    # The texts are stored.
    with override(None):
        _record_run()
        reports: list[PlanReport] = []
        waiting = _due_plans()
        for calls_functions in (False, True):
            remaining, waiting = waiting, []
            for due in remaining:
                if stop is not None and stop.is_set():
                    return reports
                report = _drive(due, calls_functions=calls_functions)
                if report is None:
                    waiting.append(due)
                else:
                    reports.append(report)
        return reports


def _record_run() -> None:
    """Writes the time of this run, in a transaction of its own."""
    with db.atomic(durable=True):
        db.rows(DriverRun).bulk_create(
            [DriverRun(pk=1, last_run_at=ClockTimestamp())],
            update_conflicts=True,
            unique_fields=["id"],
            update_fields=["last_run_at"],
        )


def _due_plans() -> list[tuple[int, str, str]]:
    """Returns the primary key, the key and the state of each plan that may need something.

    Not the columns that a row may have broken for all of them.
    """
    due = Q(state__in=WATCHED_STATES) | Q(state=State.PAUSED, trip_run_id__isnull=False)
    return [*Plan.objects.filter(due).order_by("id").values_list("pk", "key", "state")]


def _drive(due: tuple[int, str, str], *, calls_functions: bool) -> PlanReport | None:
    """Returns the report of a plan, or None if somebody else has it or was quicker.

    A plan with functions is only looked at for a trip until they are called, and the others not any
    more then.
    """
    pk, key, state = due
    try:
        plan = Plan.objects.filter(pk=pk).first()
        if plan is not None and plan.problem and not plan.has_tripped:
            return PlanReport(key, state, error=plan.problem)
        if plan is None or (calls_functions and not has_functions(plan)):
            return None
        report = None if plan.has_tripped else _advance(plan, calls_functions=calls_functions)
        if plan.has_tripped or (report is not None and report.event == PlanEvent.Kind.TRIPPED):
            report = _carry_out_trip(plan)
            if report is not None and report.state == State.ROLLED_BACK:
                _wait_for_workers(plan)
    except Exception as error:  # noqa: BLE001 (a broken row must not leave other plans unguarded)
        # Only the type of most errors: their message may quote data.
        text = str(error) if isinstance(error, FlagstaffError) else type(error).__name__
        return PlanReport(key, state, error=text)
    return report


def _advance(seen: Plan, *, calls_functions: bool) -> PlanReport | None:
    is_later = not calls_functions and has_functions(seen)
    outcomes = None if is_later else call_guards(seen)
    # A guard of the project may be fine in the next run, so its trip waits for the plan.
    waits = any(
        outcome.fine is False and outcome.guard.action == "rollback" for outcome in outcomes or ()
    )
    with _locked(seen, *WATCHED_STATES, waits=waits) as plan:
        # The guards were called for the run that was seen.
        if plan is None or plan.run_id != seen.run_id:
            return None
        if plan.has_tripped:
            return report_of(plan, PlanEvent.Kind.TRIPPED)
        return advance(plan, outcomes)


def _carry_out_trip(seen: Plan) -> PlanReport | None:
    with _locked(seen, *WATCHED_STATES, State.PAUSED) as plan:
        return carry_out_trip(plan) if plan is not None and plan.has_tripped else None


@contextmanager
def _locked(seen: Plan, *states: State, waits: bool = False) -> Iterator[Plan | None]:
    """Yields a plan, locked in a transaction of its own; None if it is locked or not so any more.

    With `waits`, waits for the lock.
    """
    with db.atomic(durable=True):
        with db.connection.cursor() as cursor:
            cursor.execute(_LOCK_TIMEOUT)
        plans = Plan.objects.locked(skip_locked=not waits)
        yield plans.filter(pk=seen.pk, state__in=states).first()


def _wait_for_workers(plan: Plan) -> None:
    """Waits until the workers have applied a trip, and records which have."""
    try:
        propagation = wait_for_workers(_WAIT)
    except PropagationError as error:
        message, figures = say("the workers cannot be listed: {why}", why=error.message), {}
    else:
        message = joined([*propagation_messages(propagation)], " ")
        figures = propagation.as_dict()
    with acting_as(ACTOR, source=_SOURCE):
        record(plan, PlanEvent.Kind.PROPAGATED, message, figures)


# What is done to one locked plan.


def advance(plan: Plan, outcomes: Sequence[GuardOutcome] | None) -> PlanReport | None:
    """Does what is due for a locked plan, and returns the report. Locks its flag.

    A trip is stored only: `carry_out_trip` rolls back. `outcomes` are those of the function guards;
    None if they are called later: then only a trip is due. Raises database errors, and
    NoHistoryError if the history does not record the flag any more.
    """
    # The evidence is read before the lock of the flag, because a kill would wait for it.
    is_due = plan.due_at is not None and plan.due_at <= plan.now
    run = db.rows(StepRun).get(pk=cast("int", plan.run_id))
    _note_tenth(plan, run)
    verdict = verdict_of(plan, run)
    decision = decide(verdict, outcomes or (), is_due=is_due)
    if decision.action == "rollback":
        return _store_trip(plan, decision.why, verdict.figures())
    if outcomes is None:
        return None
    version = plan.flag_version
    if problem := foreign_change(plan, plan.locked_flag()):
        return _pause(plan, problem)
    if plan.flag_version != version:
        transitions.save(plan)
    if decision.trip is None and (why := _why_again(plan, run, verdict, is_due=is_due)):
        step = plan.step or 0
        message = say("step {number} starts again: {why}", number=step + 1, why=why)
        return _enter_step(plan, step, PlanEvent.Kind.CONTINUED, message, verdict)
    if decision.action == "proceed":
        return _proceed(plan, decision.why, verdict)
    return _hold(plan, decision.why, verdict) if decision.action == "hold" else _wait(plan)


def _note_tenth(plan: Plan, run: StepRun) -> None:
    """Writes how many tenths of the dwell time are over, if that is news.

    What workers write from now on belongs to the new tenth. A pause is in none.
    """
    seconds = plan.read_steps()[plan.step or 0].seconds
    if run.percent >= ALL or plan.due_at is None:
        return
    over = seconds - (plan.due_at - plan.now).total_seconds()
    tenth = min(int(10 * over / seconds), _LAST_TENTH)
    if tenth > run.tenth:
        run.tenth = tenth
        run.save(using=db.alias, update_fields=["tenth"])


def carry_out_trip(plan: Plan) -> PlanReport:
    """Rolls back a locked plan whose trip is stored, and returns the report. Locks its flag.

    Pauses the plan instead if somebody else has changed the flag. Raises database errors.
    """
    flag = plan.locked_flag()
    changed = foreign_change(plan, flag)

    def pause(why: str, _figures: dict[str, Any]) -> PlanReport:
        reason = say(
            "{what}; so it was not rolled back, although harm was found: {why}",
            what=changed or "",
            why=why,
        )
        return _pause(plan, reason)

    def roll_back(why: str, figures: dict[str, Any]) -> PlanReport:
        # The reason begins with the guard that has tripped.
        message = say("rolled back: {why}", why=why)
        plan.trip_run_id, plan.trip_reason, plan.trip_figures = None, why, figures
        with acting_as(ACTOR, reason=message, source=_SOURCE):
            wrote = transitions.roll_back(plan, cast("FlagRow", flag), message)
            record(plan, PlanEvent.Kind.TRIPPED, message, figures, wrote=wrote)
        return report_of(plan, PlanEvent.Kind.TRIPPED, message)

    write = roll_back if changed is None else pause
    return _whatever_the_text(write, plan.trip_reason, plan.trip_figures or {})


def _enter_step(
    plan: Plan, index: int, kind: PlanEvent.Kind, message: str, verdict: StepVerdict
) -> PlanReport:
    """Enters a step with an event, whose text is the reason in the flag's history."""
    with acting_as(ACTOR, reason=message, source=_SOURCE):
        wrote = transitions.enter_step(plan, index, expect_version=plan.flag_version)
        record(plan, kind, message, verdict.figures(), wrote=wrote)
    return report_of(plan, kind, message)


def _pause(plan: Plan, reason: str) -> PlanReport:
    with acting_as(ACTOR, source=_SOURCE):
        transitions.forget_trip(plan)
        transitions.pause(plan, reason)
    return report_of(plan, PlanEvent.Kind.PAUSED, reason)


def _why_again(plan: Plan, run: StepRun, verdict: StepVerdict, *, is_due: bool) -> Sentence | None:
    """Returns why the evidence of a run cannot let its step pass, or None."""
    # At 100 % nothing is compared.
    if run.percent >= ALL:
        return None
    if verdict.evidence.lost_workers and has_lost_for_good(run, plan.now):
        return say("a worker stopped without its last report, so the counts were incomplete")
    # Until the dwell time has ended, the run may still trip.
    if is_due and verdict.evidence.dropped:
        return say("workers had no memory left for all counts, so the counts were incomplete")
    return release_change(plan, run)


def _store_trip(plan: Plan, why: str, figures: dict[str, Any]) -> PlanReport:
    """Stores a trip. `carry_out_trip` rolls back in another transaction, or in a later run.

    So no trip is lost if the process ends, or if a guard is fine in the next run.
    """

    def store(why: str, figures: dict[str, Any]) -> PlanReport:
        plan.trip_run_id, plan.trip_reason, plan.trip_figures = plan.run_id, as_stored(why), figures
        plan.reason = as_stored(transitions.trip_text(plan))
        transitions.save(plan)
        return report_of(plan, PlanEvent.Kind.TRIPPED)

    return _whatever_the_text(store, why, figures)


def _whatever_the_text(
    write: Callable[[str, dict[str, Any]], PlanReport], why: str, figures: dict[str, Any]
) -> PlanReport:
    """Writes a trip with its reason and figures, or without them if they are rejected.

    A constraint or a trigger of the project must not keep a trip from rolling back.
    """
    try:
        with db.atomic():
            return write(why, figures)
    except (OperationalError, InterfaceError):
        # Such as a lock that was not free in time. The next run tries again.
        raise
    except (Error, TypeError, ValueError):
        return write(say("a guard whose reason cannot be stored"), {})


def _hold(plan: Plan, why: str, verdict: StepVerdict) -> PlanReport:
    """Holds a plan. While it holds, the reason is written now and then."""
    if plan.state == State.HOLDING:
        _renew(plan, reason=as_stored(why))
        return report_of(plan, None, why)
    text = say("held: {why}", why=why)
    return _change(plan, State.HOLDING, why, PlanEvent.Kind.HELD, text, verdict.figures())


def _wait(plan: Plan) -> PlanReport:
    """Waits for the dwell time. What the plan was holding for is over."""
    if plan.state != State.HOLDING:
        _renew(plan)
        return report_of(plan)
    text = say("continued; it held because: {why}", why=plan.reason)
    return _change(plan, State.RUNNING, "", PlanEvent.Kind.CONTINUED, text, {})


def _change(  # noqa: PLR0913, PLR0917 (the state and its event)
    plan: Plan,
    state: State,
    reason: str,
    event: PlanEvent.Kind,
    text: str,
    figures: dict[str, Any],
) -> PlanReport:
    """Writes that a plan holds, or goes on, with an event."""
    plan.state, plan.reason, plan.guarded_until = state, as_stored(reason), plan.now + GUARDED_FOR
    transitions.save(plan)
    with acting_as(ACTOR, source=_SOURCE):
        record(plan, event, text, figures)
    return report_of(plan, event)


def _renew(plan: Plan, **fields: str) -> None:
    """Writes from time to time that the driver still watches a plan, and these fields."""
    until = plan.guarded_until
    # A longer time than the driver writes would hide that it has stopped.
    if until is None or not _RENEW_BELOW <= until - plan.now <= GUARDED_FOR:
        vars(plan).update(fields, guarded_until=plan.now + GUARDED_FOR)
        transitions.save(plan)


def _proceed(plan: Plan, why: str, verdict: StepVerdict) -> PlanReport:
    """Enters the next step, or ends the plan after the last one."""
    steps, index = plan.read_steps(), (plan.step or 0) + 1
    if index < len(steps):
        message = say(
            "step {number} of {count}: rollout {old} → {new} %; {why}",
            number=index + 1,
            count=len(steps),
            old=steps[index - 1].percent,
            new=steps[index].percent,
            why=why,
        )
        return _enter_step(plan, index, PlanEvent.Kind.STEP, message, verdict)
    transitions.end(plan, State.DONE)
    message = say("done; {why}", why=why)
    with acting_as(ACTOR, source=_SOURCE):
        record(plan, PlanEvent.Kind.DONE, message, verdict.figures())
    return report_of(plan, PlanEvent.Kind.DONE, message)


# What the driver does with a running plan, from the verdict and the function guards. Pure.

#: Roll back, hold, wait for the dwell time, or proceed to the next step or to the end.
_Action = Literal["rollback", "hold", "wait", "proceed"]


@dataclass(frozen=True)
class Decision:
    """What to do, and a message that says why."""

    action: _Action
    why: str
    #: The guard that tripped, "brake", or None.
    trip: str | None = None


def decide(verdict: StepVerdict, outcomes: Sequence[GuardOutcome], *, is_due: bool) -> Decision:
    """Returns what to do. A rollback comes before a hold, and a hold before the dwell time."""
    trips = [
        Decision(
            "rollback" if outcome.guard.action == "rollback" else "hold",
            outcome.why,
            outcome.guard.path,
        )
        for outcome in outcomes
        if outcome.fine is False
    ]
    if verdict.trip is not None:
        trips.insert(0, Decision(verdict.trip_action or "rollback", verdict.why, verdict.trip))
    if trips:
        return min(trips, key=lambda trip: trip.action != "rollback")
    for outcome in outcomes:
        if outcome.fine is None:
            return Decision("hold", outcome.why)
    if not is_due:
        return Decision("wait", verdict.why)
    return Decision("proceed" if verdict.passed else "hold", verdict.why)
