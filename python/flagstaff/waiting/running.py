"""The job of `run-jobs` that runs what is due: each action once, or not at all.

What an action writes and its state "done" are one transaction. It locks the rows of the action
first and its own row after them, as a kill does, and compares what it stands on last. A process
that is killed leaves the action waiting.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
from flagstaff._tables.rows import Kind
from flagstaff._text import as_stored, joined, plain_numbers, say, some
from flagstaff._text.times import Column, Record, TimeValue, aware
from flagstaff.actions.commit import BEGIN, commit, look_at, seen_by
from flagstaff.actions.table import Expected, Look, Run, Written
from flagstaff.changes.consequence import Consequence
from flagstaff.changes.locking import read_rows
from flagstaff.changes.row_states import Impact
from flagstaff.changes.rule_use import InUseError
from flagstaff.exceptions import ConflictError, FlagstaffError
from flagstaff.extensions import Job, JobReport
from flagstaff.history.log import Change
from flagstaff.models import WaitingAction
from flagstaff.waiting.actions import JOB_TIMEOUT
from flagstaff.waiting.outlook import MAX_DELAY, foresee, takings, unnamed
from flagstaff.waiting.rights import require_approver, require_right, users_with_rights
from flagstaff.waiting.standing import footprint_of_stored, is_own, source_of
from flagstaff.waiting.stored import OPEN, PROBLEMS, State, action_text, announce, stored_run

logger = logging.getLogger("flagstaff")

_CLAIM = "SELECT pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended(%s, 0))"
# The guards of plans must not wait for longer.
_MAX_SECONDS = 60.0
# What an action does to users, without their number: not everybody may count them.
_REACHED = {
    Consequence.NONE: say("nobody"),
    Consequence.FEWER: say("nobody gains something"),
    Consequence.MORE: say("some users"),
    Consequence.MOST: say("more than half of the users"),
}
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

    Takes about a minute at most: the next run goes on with the others. Then only what takes away
    runs, which counts no users. Runs of several processes may overlap. Raises database errors of
    finding the actions.
    """
    if not db.is_postgresql:
        return []
    deadline = monotonic() + _MAX_SECONDS
    # The results are stored.
    with override(None), plain_numbers():
        reports = [*_end_what_is_over()]
        for pk, takes_away in [*_due().values_list("pk", "takes_away")]:
            if stop.is_set():
                break
            if (takes_away or monotonic() < deadline) and (report := _run_one(pk)):
                reports.append(report)
    return reports


def _end_what_is_over() -> Iterator[WaitingReport]:
    """Ends what will never run, before its time: then people know, and the history may end."""
    for waiting in foresee(WaitingAction.objects.using(db.alias).filter(state__in=OPEN)):
        if waiting.is_over and not (waiting.run_at and aware(waiting.run_at) <= timezone.now()):
            with db.atomic():
                is_ended = _end(waiting, State.FAILED, waiting.obstacle)
            if is_ended:
                yield WaitingReport(
                    waiting.pk, action_text(waiting), State.FAILED, waiting.obstacle
                )


def _due() -> QuerySet[WaitingAction]:
    """Returns what is to run or has expired, by the clock of the database, in its order.

    What takes away does not expire.
    """
    late = Q(run_at__lt=Now() - MAX_DELAY, takes_away=False)
    return (
        WaitingAction.objects.using(db.alias)
        .annotate(is_late=ExpressionWrapper(late, output_field=BooleanField()))
        .filter(Q(state=State.WAITING, run_at__lte=Now()) | late, state__in=OPEN)
        .order_by("run_at", "id")
    )


def _run_one(pk: int) -> WaitingReport | None:
    """Runs an action that was due, and returns its report; None if it still has to wait."""
    waiting: Any = None
    try:
        with db.atomic(durable=True):
            waiting = _claimed(pk)
            if waiting is None or (waiting.waits_for and not waiting.is_late):
                return None
            state, result = _outcome(waiting)
            # What is done is stored with what it wrote.
            if state != State.DONE and not _end(waiting, state, result):
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
    rows = WaitingAction.objects.using(db.alias).filter(pk=waiting.pk, state=waiting.state)
    if not rows.update(state=state, result=as_stored(result), entries=[*entries], **end):
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
    waiting = _due().filter(pk=pk).first() if is_free else None
    return None if waiting is None else foresee([waiting])[0]


def _outcome(waiting: Any) -> tuple[str, str]:
    """Runs an action, and returns its state, and what it did or why not."""
    if waiting.is_late:
        text = say("its time has passed, so it did not run")
        return State.EXPIRED, joined(filter(None, [text, waiting.result]), "; ")
    try:
        # A savepoint, so that the outcome can be stored after an error of the database.
        with db.atomic():
            return State.DONE, _write(waiting)
    except OperationalError:
        raise
    except UncountedError as error:
        return State.WAITING, error.message
    except InUseError as error:
        return State.FAILED, unnamed(error).message
    except FlagstaffError as error:
        # Without the terminal's advice to expect another version.
        text = error.problem if isinstance(error, ConflictError) else error.message
        if "events" in text.values:
            # In words, instead of the versions of a conflict.
            text = say("{key} was changed after this was asked for: {events}", **text.values)
        return State.FAILED, text
    except _EndedMeanwhileError:
        raise
    except Exception as error:
        # Of code of the project, whose message may contain data.
        logger.exception("flagstaff: waiting action %s failed", waiting.pk)
        return State.FAILED, type(error).__name__


def _write(waiting: WaitingAction) -> str:
    """Runs an action, stores what it did, and returns it. Raises FlagstaffError."""
    _require_no_obstacle(waiting)
    run = stored_run(waiting, rows=() if waiting.takes_away else None)
    # What takes away is neither counted nor compared.
    look = Look() if waiting.takes_away else look_at(run, timeout=JOB_TIMEOUT)
    if not waiting.takes_away:
        require_consequence(waiting, look)
    source, texts = source_of(waiting.pk), list[str]()

    def write(expected: Expected) -> Written:
        written, left_out = _written(waiting, run, expected)
        texts.extend(left_out)
        return written

    def finish(done: Written) -> None:
        messages = [message for change in done if change.written for message in change.messages]
        texts[:0] = messages or [say("nothing had to be changed")]
        _end_in_front(waiting)
        if not _end(waiting, State.DONE, joined(texts, "; "), _entries(source)):
            raise _EndedMeanwhileError
        _move_on(waiting, run)

    def require_rights(reached: Impact) -> None:
        require_right(run, look, waiting.asked_by, reached)
        if waiting.needs_approval:
            require_approver(run, look, waiting.approved_by, waiting.asked_by, reached)

    with acting_as(waiting.asked_by, reason=waiting.reason, source=source):
        if waiting.takes_away:
            finish(write({}))
        else:
            expected = look.expecting(dict.fromkeys(run.keys, waiting.expected)).expected
            footprint = look.footprint
            if run.action.look is None:
                # Its rows are locked, and compared without what does not decide.
                expected, footprint = {}, footprint_of_stored(waiting.stands_on)
            seen = replace(look, write=write, expected=expected, footprint=footprint)
            commit(seen, finish=finish, require_rights=require_rights)
    return joined(texts, "; ")


def _written(waiting: WaitingAction, run: Run, expected: Expected) -> tuple[Written, list[str]]:
    """Locks the rows, asks for the last time whether it will run, and writes.

    Returns what was written, and which rows were left out. The plan or the experiment of an app
    locks itself, and refuses by `expected`, also another version of its flag.
    """
    if run.action.look is None:
        own = [row for row in waiting.stands_on if is_own(waiting, row)]
        locked = read_rows(((Kind(row["kind"]), row["pk"]) for row in own), lock=True)
        run = replace(run, rows=[*locked.values()])
    _require_no_obstacle(foresee([waiting])[0])
    if not waiting.takes_away:
        return run.write(expected), []
    if run.action.look is None:
        rows = {row.key: row for row in run.rows}
        present = replace(run, keys=[key for key in waiting.keys if key in rows])
        keys = [change.key for change in takings(present.preview())]
        run = replace(present, keys=keys, rows=[rows[key] for key in keys])
    left_out = [key for key in waiting.keys if key not in run.keys]
    texts = [str(say("left out: {keys}", keys=some(left_out)))] if left_out else []
    return run.write(expected), texts


def _require_no_obstacle(waiting: WaitingAction) -> None:
    if waiting.obstacle:
        raise FlagstaffError(waiting.obstacle)


def _end_in_front(waiting: WaitingAction) -> None:
    """Ends what was to run before and did not: afterwards it would undo what has run."""
    rows = WaitingAction.objects.using(db.alias).filter(state__in=OPEN)
    before = Q(run_at__lt=waiting.run_at) | Q(run_at=waiting.run_at, pk__lt=waiting.pk)
    # With its own row, in the order in which people lock them.
    in_front = rows.of_rows(waiting.row_kind, waiting.keys).filter(
        Q(before, takes_away=False) | Q(pk=waiting.pk)
    )
    for other in in_front.order_by("pk").select_for_update():
        if other.pk != waiting.pk:
            text = say("{number}, which was to run after it, has run", number=waiting.key)
            _end(other, State.FAILED, text)


def _move_on(waiting: WaitingAction, run: Run) -> None:
    """Lets what rests on an action of an app expect the row as this one has left it."""
    if run.action.present is not None:
        rows = WaitingAction.objects.using(db.alias).filter(state__in=OPEN)
        resting = rows.filter(kind=waiting.kind, rests_on__contains=[waiting.pk])
        resting.update(expected=run.expected())


def _entries(source: str) -> list[int]:
    """Returns the numbers of the entries that this transaction has written as this source."""
    own = Change.objects.filter(transaction_id=_TRANSACTION, source=source)
    return [*own.order_by("id").values_list("pk", flat=True)]


def require_consequence(waiting: WaitingAction, look: Look) -> None:
    """Raises FlagstaffError if an action would mean more for the users than when it was asked.

    Raises UncountedError if the users can be counted at another time.
    """
    pk = waiting.approved_by or waiting.asked_by
    # As the person sees it who has decided, or the state of the action would say more.
    seen = seen_by(look, users_with_rights([pk])[pk])
    if seen.largest_consequence <= waiting.consequence:
        return
    if not look.is_counted:
        raise UncountedError(
            "the users could not be counted at {time}", time=TimeValue(timezone.now())
        )
    raise FlagstaffError(
        "it would reach more users than when it was asked for; then: {then}; now: {now}",
        then=_REACHED[Consequence(waiting.consequence)],
        now=_REACHED[seen.largest_consequence],
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
