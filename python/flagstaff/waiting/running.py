"""The job of `run-jobs` that runs what is due: each action once, or not at all.

What an action writes and its state "done" are one transaction. It locks the rows of the action
first and its own row after them, as a kill does, and compares what it stands on last. A process
that is killed leaves the action waiting.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from threading import Event
from typing import Any

from django.db import DatabaseError, OperationalError
from django.db.models import (
    BigIntegerField,
    BooleanField,
    Count,
    ExpressionWrapper,
    Func,
    Q,
    QuerySet,
)
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import override

from flagstaff._attribution import acting_as
from flagstaff._core import monotonic
from flagstaff._tables.database import db
from flagstaff._text import joined, say
from flagstaff._text.cells import Column, Record
from flagstaff._text.times import full_time
from flagstaff.actions.commit import BEGIN, commit, look_at
from flagstaff.actions.look import Look, Written
from flagstaff.changes.row_states import Impact
from flagstaff.changes.segment_use import SegmentInUseError
from flagstaff.exceptions import ConflictError, FlagstaffError
from flagstaff.extensions import Job, JobReport
from flagstaff.history.log import Change
from flagstaff.models import WaitingAction
from flagstaff.waiting.actions import JOB_TIMEOUT
from flagstaff.waiting.hooks import announce
from flagstaff.waiting.rights import is_approval_needed, require_approver, require_right
from flagstaff.waiting.stored import OPEN, PROBLEMS, State, action_text, stored_run

logger = logging.getLogger("flagstaff")

#: An action whose time has passed by more than this does not run.
MAX_DELAY = timedelta(hours=1)
_CLAIM = "SELECT pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended(%s, 0))"
# The guards of plans must not wait for longer.
_MAX_SECONDS = 60.0
_TRANSACTION = Func(
    template="pg_catalog.pg_current_xact_id()::text::bigint", output_field=BigIntegerField()
)


class UncountedError(FlagstaffError):
    """the users could not be counted"""


class _EndedMeanwhileError(Exception):
    """A person, or a kill, has ended the action: nothing of it is written."""


@dataclass(frozen=True)
class WaitingReport(JobReport):
    """What a run did with one action."""

    id: int
    what: str
    state: str
    result: str
    #: Why it still waits, for the next run to try again.
    error: str | None = None

    @property
    def has_given_up(self) -> bool:
        return self.state in PROBLEMS


def run_due(stop: Event) -> Sequence[WaitingReport]:
    """Runs each action that is due, one after the other, until `stop` is set.

    Takes about a minute at most: the next run goes on with the others. Runs of several processes
    may overlap. Raises database errors of finding the actions.
    """
    reports: list[WaitingReport] = []
    if not db.is_postgresql:
        return reports
    deadline = monotonic() + _MAX_SECONDS
    # The results are stored.
    with override(None):
        for pk in [*_due().values_list("pk", flat=True)]:
            if stop.is_set():
                break
            if report := _run_one(pk):
                reports.append(report)
            if monotonic() >= deadline:
                break
    return reports


def _due() -> QuerySet[WaitingAction]:
    """Returns what is to run or has expired, by the clock of the database."""
    late = Q(run_at__lt=Now() - MAX_DELAY)
    return (
        WaitingAction.objects.using(db.alias)
        .annotate(is_late=ExpressionWrapper(late, output_field=BooleanField()))
        .filter(Q(state=State.WAITING, run_at__lte=Now()) | late, state__in=OPEN)
        # One that could not be counted waits for the others: its result says when that was.
        .order_by("result", "run_at", "id")
    )


def _run_one(pk: int) -> WaitingReport | None:
    """Runs an action that was due, and returns its report; None if somebody else has it."""
    waiting: Any = None
    try:
        with db.atomic(durable=True):
            waiting = _claimed(pk)
            if waiting is None:
                return None
            state, result, is_ended = _outcome(waiting)
            if not (is_ended or _end(waiting, state, result)):
                return None
    except _EndedMeanwhileError:
        return None
    except DatabaseError as error:
        # Such as a lock that was not free in time, a deadlock, or a connection that is gone.
        if waiting is None:
            raise
        name = type(error.__cause__ or error).__name__
        return WaitingReport(pk, action_text(waiting), State.WAITING, "", error=name)
    error_text = result if state == State.WAITING else None
    return WaitingReport(pk, action_text(waiting), state, result, error=error_text)


def _end(waiting: Any, state: str, result: str, entries: Sequence[int] = ()) -> bool:
    """Stores what became of an action; False if a person, or a kill, has ended it meanwhile."""
    end = {} if state == State.WAITING else {"ended_at": Now()}
    open_one = WaitingAction.objects.using(db.alias).filter(pk=waiting.pk, state=waiting.state)
    if not open_one.update(state=state, result=result, entries=[*entries], **end):
        return False
    if end:
        announce(waiting, "done" if state == State.DONE else "failed")
    return True


def _claimed(pk: int) -> WaitingAction | None:
    """Returns an action that is still due; None if another process is at it.

    The claim only saves the work of counting twice: the state decides who runs it.
    """
    with db.connection.cursor() as cursor:
        cursor.execute(BEGIN)
        cursor.execute(_CLAIM, [f"flagstaff waiting {pk}"])
        [is_free] = cursor.fetchone()
    return _due().filter(pk=pk).first() if is_free else None


def _outcome(waiting: Any) -> tuple[str, str, bool]:
    """Runs an action, and returns its state, what it did or why not, and whether that is stored."""
    if waiting.is_late:
        text = say("its time has passed, so it did not run")
        return State.EXPIRED, joined(filter(None, [text, waiting.result]), "; "), False
    try:
        # A savepoint, so that the outcome can be stored after an error of the database.
        with db.atomic():
            return State.DONE, _write(waiting), True
    except OperationalError:
        raise
    except UncountedError as error:
        return State.WAITING, error.message, False
    except SegmentInUseError as error:
        # Stored without the keys of what uses it: a reader may not see all of them.
        others = say("flags, values and experiments")
        return State.FAILED, SegmentInUseError(error.key, others).message, False
    except FlagstaffError as error:
        # Without the terminal's advice to expect another version.
        text = error.problem if isinstance(error, ConflictError) else error.message
        if "events" in text.values:
            # In words, instead of the versions of a conflict.
            text = say("{key} was changed after this was asked for: {events}", **text.values)
        return State.FAILED, text, False
    except _EndedMeanwhileError:
        raise
    except Exception as error:
        # Of code of the project, whose message may contain data.
        logger.exception("flagstaff: waiting action %s failed", waiting.pk)
        return State.FAILED, type(error).__name__, False


def _write(waiting: WaitingAction) -> str:
    """Runs an action, stores what it did, and returns it. Raises FlagstaffError."""
    run = stored_run(waiting)
    look = look_at(run, timeout=JOB_TIMEOUT)
    user = require_right(run, look, waiting.asked_by)
    if waiting.needs_approval:
        require_approver(run, look, waiting.approved_by, waiting.asked_by)
    elif is_approval_needed(run, look):
        raise FlagstaffError(
            "it needs an approval now, because of the setting APPROVAL; ask for it again"
        )
    require_consequence(waiting, look)
    source, result = f"{WaitingAction.SOURCE} {waiting.pk}", [say("nothing had to be changed")]

    def finish(done: Written) -> None:
        messages = [message for change in done if change.written for message in change.messages]
        if messages:
            result[0] = joined(messages, "; ")
        if not _end(waiting, State.DONE, result[0], _entries(source)):
            raise _EndedMeanwhileError

    def require_rights(reached: Impact) -> None:
        require_right(run, look, waiting.asked_by, reached)
        if waiting.needs_approval:
            require_right(run, look, waiting.approved_by, reached)

    with acting_as(user, reason=waiting.reason, source=source):
        expected = replace(look, expected=waiting.versions)
        commit(expected, finish=finish, require_rights=require_rights)
    return result[0]


def _entries(source: str) -> list[int]:
    """Returns the numbers of the entries that this transaction has written as this source."""
    own = Change.objects.filter(transaction_id=_TRANSACTION, source=source)
    return [*own.order_by("id").values_list("pk", flat=True)]


def require_consequence(waiting: WaitingAction, look: Look) -> None:
    """Raises FlagstaffError if an action would mean more for the users than when it was asked.

    Raises UncountedError if the users can be counted at another time.
    """
    if look.largest_consequence <= waiting.consequence:
        return
    if not look.is_counted:
        raise UncountedError(
            "the users could not be counted at {time}", time=full_time(timezone.now())
        )
    raise FlagstaffError(
        "it would reach more users than when it was asked for; then: {then}; now: {now}",
        then=waiting.users or say("no user"),
        now=look.users_text(),
    )


def _backlog() -> dict[str, int]:
    overdue = Q(state=State.WAITING, run_at__lt=Now() - WaitingAction.OVERDUE_AFTER)
    states = {"pending": Q(state__in=OPEN) & ~overdue, "overdue": overdue}
    states |= {state.value: Q(state=state) for state in PROBLEMS}
    counts = {state: Count("pk", filter=condition) for state, condition in states.items()}
    return WaitingAction.objects.using(db.alias).aggregate(**counts)


def _style(record: Record) -> str | None:
    return "WARNING" if record["error"] or record["state"] in PROBLEMS else None


WAITING = Job(
    name="waiting",
    run=run_due,
    columns=(
        Column("id", align_right=True),
        Column("what"),
        Column("state", style=_style),
        Column("result", truncate=True),
        Column("error", truncate=True, style=_style),
    ),
    backlog=_backlog,
    is_quiet=True,
    # Each action counts users, and the guards of plans come first.
    is_slow=True,
)
