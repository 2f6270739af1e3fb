"""What the driver does to one locked plan. To be called in a transaction."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, cast

from django.db import DataError, IntegrityError, InternalError, transaction

from flagstaff._attribution.writes import acting_as
from flagstaff._tables.rows import FlagRow, find_row
from flagstaff._words.text import Text
from flagstaff.conf import conf
from flagstaff.rollouts import transitions
from flagstaff.rollouts.clock import database_now
from flagstaff.rollouts.evidence import has_lost_for_good, read_evidence
from flagstaff.rollouts.flag_changes import foreign_change
from flagstaff.rollouts.functions import GuardOutcome
from flagstaff.rollouts.guards import guards_from_json
from flagstaff.rollouts.models import Plan, PlanEvent, ReasonKind, State, StepRun
from flagstaff.rollouts.releases import release_change
from flagstaff.rollouts.reports import PlanReport, report_of
from flagstaff.rollouts.results import StepEvidence, StepVerdict, figures_of
from flagstaff.rollouts.stored import steps_of
from flagstaff.rollouts.transitions import record
from flagstaff.rollouts.unguarded import GUARDED_FOR
from flagstaff.rollouts.verdict import judge

#: The actor of the changes that the driver makes, in the history.
ACTOR = "rollout plan"
_SOURCE = "plan"

# Each write makes every worker load the plans, so the time is not written at every run.
_RENEW_BELOW = timedelta(minutes=4)
_ALL = 100


def advance(plan: Plan, outcomes: Sequence[GuardOutcome] | None) -> PlanReport | None:
    """Does what is due for a locked plan, and returns the report. Locks its flag.

    A trip is stored only: `carry_out_trip` rolls back. `outcomes` are those of the function guards;
    None if they are called later: then only a trip is due. Raises database errors, and
    NoHistoryError if the history does not record the flag any more.
    """
    # Before the lock of the flag, because a kill would wait for it.
    now = database_now()
    run = StepRun.objects.using(conf.database).get(pk=cast("int", plan.run_id))
    evidence = read_evidence(run, now)
    guards = guards_from_json(plan.guards)
    verdict = judge(
        steps_of(plan), plan.step or 0, guards, evidence, plan.required_users, run.number
    )
    is_due = plan.due_at is not None and plan.due_at <= now
    decision = decide(verdict, outcomes or (), is_due=is_due)
    figures = figures_of(evidence, verdict)
    if decision.action == "rollback":
        return _store_trip(plan, now, decision.why, figures)
    if outcomes is None:
        return None
    return _go_on(plan, run, evidence, decision, figures, now)


def carry_out_trip(plan: Plan) -> PlanReport:
    """Rolls back a locked plan whose trip is stored, and returns the report. Locks its flag.

    Pauses the plan instead if somebody else has changed the flag. Raises database errors.
    """
    now, flag = database_now(), _locked_flag(plan)
    if changed := foreign_change(plan, flag):
        why = Text(
            "{what}; so it was not rolled back, although harm was found: {why}",
            what=changed,
            why=plan.trip_reason,
        )
        return _pause(plan, now, why)

    def roll_back(why: str, figures: dict[str, Any]) -> PlanReport:
        # The reason begins with the guard that has tripped.
        message = Text("rolled back: {why}", why=why)
        plan.trip_run_id, plan.trip_reason, plan.trip_figures = None, why, figures
        with acting_as(ACTOR, reason=message, source=_SOURCE):
            transitions.roll_back(plan, flag, now, message)
            record(plan, PlanEvent.Kind.TRIPPED, message, figures)
        return report_of(plan, PlanEvent.Kind.TRIPPED, message)

    return _whatever_the_text(roll_back, plan.trip_reason, plan.trip_figures or {})


def _locked_flag(plan: Plan) -> FlagRow | None:
    return cast("FlagRow | None", find_row(conf.flag_model, plan.key, lock=True))


def _enter_step(  # noqa: PLR0913 (the step and its event)
    plan: Plan,
    index: int,
    now: datetime,
    kind: PlanEvent.Kind,
    message: str,
    *,
    figures: dict[str, Any],
) -> PlanReport:
    """Enters a step with an event, whose text is the reason in the flag's history."""
    with acting_as(ACTOR, reason=message, source=_SOURCE):
        transitions.enter_step(plan, index, now, expect_version=plan.flag_version)
        record(plan, kind, message, figures)
    return report_of(plan, kind, message)


def _pause(plan: Plan, now: datetime, reason: str) -> PlanReport:
    with acting_as(ACTOR, source=_SOURCE):
        transitions.forget_trip(plan)
        transitions.pause(plan, now, reason, ReasonKind.PAUSED)
    return report_of(plan, PlanEvent.Kind.PAUSED, reason)


def _go_on(  # noqa: PLR0913, PLR0917 (all that was found)
    plan: Plan,
    run: StepRun,
    evidence: StepEvidence,
    decision: Decision,
    figures: dict[str, Any],
    now: datetime,
) -> PlanReport:
    """Does what is due for a plan that has not tripped."""
    version = plan.flag_version
    if problem := foreign_change(plan, _locked_flag(plan)):
        return _pause(plan, now, problem)
    if plan.flag_version != version:
        transitions.save(plan, now)
    if decision.trip is None and (why := _why_again(plan, run, evidence, now)):
        message = Text("step {number} starts again: {why}", number=(plan.step or 0) + 1, why=why)
        return _enter_step(
            plan, plan.step or 0, now, PlanEvent.Kind.CONTINUED, message, figures=figures
        )
    if decision.action == "hold":
        return _hold(plan, now, decision, figures)
    if decision.action == "wait":
        return _wait(plan, now)
    return _proceed(plan, now, decision, figures)


def _why_again(plan: Plan, run: StepRun, evidence: StepEvidence, now: datetime) -> Text | None:
    """Returns why the evidence of a run cannot let its step pass, or None."""
    # At 100 % nothing is compared.
    if run.percent >= _ALL:
        return None
    if evidence.lost_workers and has_lost_for_good(run, now):
        return Text("a worker stopped without its last report, so the counts were incomplete")
    # Until the dwell time has ended, the run may still trip.
    is_due = plan.due_at is not None and plan.due_at <= now
    if is_due and evidence.dropped:
        return Text("workers had no memory left for all counts, so the counts were incomplete")
    return release_change(plan, run)


def _store_trip(plan: Plan, now: datetime, why: str, figures: dict[str, Any]) -> PlanReport:
    """Stores a trip. `carry_out_trip` rolls back in another transaction, or in a later run.

    So no trip is lost if the process ends, or if a guard is fine in the next run.
    """

    def store(why: str, figures: dict[str, Any]) -> PlanReport:
        plan.trip_run_id, plan.trip_reason, plan.trip_figures = plan.run_id, str(why), figures
        plan.reason, plan.reason_kind = str(transitions.trip_text(plan)), ReasonKind.TRIPPED
        transitions.save(plan, now)
        return report_of(plan, PlanEvent.Kind.TRIPPED)

    return _whatever_the_text(store, why, figures)


def _whatever_the_text(
    write: Callable[[str, dict[str, Any]], PlanReport], why: str, figures: dict[str, Any]
) -> PlanReport:
    """Writes a trip with its reason and figures, or without them if they cannot be written."""
    try:
        with transaction.atomic(using=conf.database):
            return write(why, figures)
    except (DataError, IntegrityError, InternalError, TypeError, ValueError):
        # In ASCII, which every server can store.
        return write(Text("a guard whose reason cannot be stored"), {})


def _hold(plan: Plan, now: datetime, decision: Decision, figures: dict[str, Any]) -> PlanReport:
    """Holds a plan. A reason that differs in its figures only is written now and then."""
    why = str(decision.why)
    is_news = plan.state != State.HOLDING or _without_figures(plan.reason) != _without_figures(why)
    if is_news:
        plan.state, plan.reason, plan.reason_kind = State.HOLDING, why, ReasonKind.HELD
        plan.guarded_until = now + GUARDED_FOR
        transitions.save(plan, now)
        with acting_as(ACTOR, source=_SOURCE):
            record(plan, PlanEvent.Kind.HELD, Text("holds: {why}", why=decision.why), figures)
    elif _is_renewal_due(plan, now):
        plan.reason, plan.guarded_until = why, now + GUARDED_FOR
        transitions.save(plan, now)
    return report_of(plan, PlanEvent.Kind.HELD if is_news else None, why)


def _wait(plan: Plan, now: datetime) -> PlanReport:
    """Waits for the dwell time. What the plan was holding for is over."""
    event = None
    if plan.state == State.HOLDING:
        event, message = (
            PlanEvent.Kind.CONTINUED,
            Text("continues; it held because: {why}", why=plan.reason),
        )
        plan.state, plan.reason, plan.reason_kind = State.RUNNING, "", ""
        plan.guarded_until = now + GUARDED_FOR
        transitions.save(plan, now)
        with acting_as(ACTOR, source=_SOURCE):
            record(plan, event, message)
    elif _is_renewal_due(plan, now):
        plan.guarded_until = now + GUARDED_FOR
        transitions.save(plan, now)
    return report_of(plan, event)


def _proceed(plan: Plan, now: datetime, decision: Decision, figures: dict[str, Any]) -> PlanReport:
    steps, index = steps_of(plan), (plan.step or 0) + 1
    if index == len(steps):
        return _finish(plan, now, decision, figures)
    message = Text(
        "step {number} of {count}: rollout {old} → {new} %; {why}",
        number=index + 1,
        count=len(steps),
        old=steps[index - 1].percent,
        new=steps[index].percent,
        why=decision.why,
    )
    return _enter_step(plan, index, now, PlanEvent.Kind.STEP, message, figures=figures)


def _finish(plan: Plan, now: datetime, decision: Decision, figures: dict[str, Any]) -> PlanReport:
    transitions.end_run(plan, now)
    plan.state, plan.reason, plan.reason_kind, plan.ended_at = State.DONE, "", "", now
    plan.due_at = plan.guarded_until = None
    transitions.save(plan, now)
    message = Text("done; {why}", why=decision.why)
    with acting_as(ACTOR, source=_SOURCE):
        record(plan, PlanEvent.Kind.DONE, message, figures)
    return report_of(plan, PlanEvent.Kind.DONE, message)


def _is_renewal_due(plan: Plan, now: datetime) -> bool:
    if plan.guarded_until is None:
        return True
    # A longer time than the driver writes would hide that it has stopped.
    return not _RENEW_BELOW <= plan.guarded_until - now <= GUARDED_FOR


def _without_figures(reason: str) -> str:
    """Returns a reason without the words that have a digit: two that differ in these are alike.

    The text that a guard of the project has returned can have figures, too.
    """
    return re.sub(r"\S*\d\S*", "", reason)


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
        Decision("rollback" if one.guard.action == "rollback" else "hold", one.why, one.guard.path)
        for one in outcomes
        if one.fine is False
    ]
    if verdict.trip is not None:
        action: _Action = "rollback" if verdict.trip_action == "rollback" else "hold"
        trips.insert(0, Decision(action, verdict.why, verdict.trip))
    if trips:
        return min(trips, key=lambda trip: trip.action != "rollback")
    for outcome in outcomes:
        if outcome.fine is None:
            return Decision("hold", outcome.why)
    if not is_due:
        return Decision("wait", verdict.why)
    return Decision("proceed" if verdict.passed else "hold", verdict.why)
