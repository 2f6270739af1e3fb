"""Drives the plans: makes steps, holds, and rolls back.

Each plan has a transaction of its own. Its row is locked, so that several drivers make each step
once, and a driver that is killed leaves nothing half done. A trip has two transactions: one stores
it, and the other, perhaps of another driver, rolls back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

from django.db.models import Q
from django.utils.translation import override

from flagstaff._tables.database import db
from flagstaff._text import joined, say
from flagstaff._workers.wait import wait_for_workers
from flagstaff._workers.words import propagation_messages
from flagstaff.exceptions import FlagstaffError, PropagationError
from flagstaff.rollouts.advance import PlanReport, advance, carry_out_trip, report_of
from flagstaff.rollouts.clock import ClockTimestamp
from flagstaff.rollouts.functions import call_guards, has_functions
from flagstaff.rollouts.models import WATCHED_STATES, DriverRun, Plan, PlanEvent, State
from flagstaff.rollouts.transitions import record

# Seconds for which workers may take to apply a trip before the event says which have not.
_WAIT = 5.0
# A person's open transaction must not keep the other plans waiting for longer.
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '5s'"


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
    record(plan, PlanEvent.Kind.PROPAGATED, message, figures)
