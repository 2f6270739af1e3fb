"""What people do with actions that wait: ask for one, approve, refuse, or cancel it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Final

from django.db.models.functions import Now
from django.utils.translation import override

from flagstaff._attribution import current_actor, current_reason
from flagstaff._tables.database import db
from flagstaff._text import is_whole_number, say, some
from flagstaff.actions import Action, Done, action
from flagstaff.actions.commit import look_at
from flagstaff.actions.look import Look, look_at_nothing
from flagstaff.actions.table import EXPECT_VERSION, Run
from flagstaff.changes import Undo
from flagstaff.changes.consequence import Consequence
from flagstaff.changes.fields import rejections
from flagstaff.changes.locking import require_version
from flagstaff.exceptions import (
    ConflictError,
    FlagstaffError,
    InvalidArgumentError,
    InvalidChangeError,
)
from flagstaff.history.kinds import Kind
from flagstaff.history.log import require_history
from flagstaff.history.user_names import HasPermissions, may_see_users
from flagstaff.models import WaitingAction
from flagstaff.waiting.hooks import announce
from flagstaff.waiting.rights import (
    is_approval_needed,
    is_of_secret,
    require_approver,
    require_right,
    require_user,
)
from flagstaff.waiting.stored import (
    OPEN,
    PROBLEMS,
    State,
    action_text,
    records_of,
    state_text,
    stored_run,
)
from flagstaff.waiting.times import is_shown_twice

#: The kind of row, and the verb that has the actions.
KIND: Final = "waiting"
_action = partial(action, KIND, can_wait=False)

#: Seconds for a count of users for which nobody waits.
JOB_TIMEOUT: Final = 5.0


class UnknownWaitingActionError(FlagstaffError, LookupError):
    """there is no waiting action with this number"""


def ask(run: Run, look: Look, at: datetime | None, *, approval: bool = False) -> Done:
    """Stores an action of the present actor, who must be a user with the right for it.

    `approval` also asks for one where the settings do not. Raises ConflictError if a row has
    changed since the look, or NoHistoryError without a history: the action is refused if a row has
    another version when it runs.
    """
    require_history()
    _require_may_wait(run, at)
    asked_by = require_user(current_actor())
    for change in look.changed:
        if change.before is not None and (row := change.before.row):
            expected = look.expected.get(row.key, {})
            require_version(change.kind, row.key, row.pk, expected.get(EXPECT_VERSION))
    if not look.is_counted:
        # For a person who may not see them, or not within a second. The job compares them.
        look = replace(look_at(run, timeout=JOB_TIMEOUT), expected=look.expected)
    require_right(run, look, asked_by)
    approval = approval or is_approval_needed(run, look)
    if at is None and not approval:
        raise InvalidArgumentError("this needs neither a time nor an approval: do it now")
    [row, *_others] = look.rows
    row_kind = Kind.of_model(row if isinstance(row, type) else type(row))
    with override(None):
        users = look.users_text()
    waiting = WaitingAction(
        kind=run.action.noun,
        action=run.action.name,
        row_kind=run.action.noun if row_kind is None else row_kind.value,
        keys=[*run.keys],
        arguments=dict(run.arguments),
        versions=dict(look.expected),
        consequence=look.largest_consequence,
        users=users,
        asked_by=asked_by,
        reason=current_reason(),
        run_at=at,
        needs_approval=approval,
        state=State.APPROVAL if approval else State.WAITING,
    )
    with db.atomic(), rejections(secret=False):
        done = _saved(waiting, "asked")
    twice = say("the clock shows this time twice that day, and it runs the first time")
    notes = [twice] if at is not None and is_shown_twice(at) else []
    return replace(done, undo=Undo((KIND, "cancel", waiting.key)), notes=notes)


def _require_may_wait(run: Run, at: datetime | None) -> None:
    """Raises InvalidArgumentError or InvalidChangeError for what is done at once or never."""
    name = run.action.name
    if not run.action.can_wait and at is None:
        raise InvalidChangeError(
            "this needs an approval, and {name} cannot wait; ask for what it does as an action of "
            "its own",
            name=name,
        )
    if not run.action.can_wait:
        raise InvalidArgumentError("{name} never waits: do it now", name=name)
    if is_of_secret(run):
        raise InvalidArgumentError(
            "{name} of a secret value cannot wait: its arguments would be stored, so do it now",
            name=name,
        )


def find(key: str, *, lock: bool = False) -> WaitingAction:
    """Returns the waiting action with a number. Raises FlagstaffError."""
    rows: Any = WaitingAction.objects.using(db.alias)
    rows = rows.select_for_update() if lock else rows
    waiting: WaitingAction | None = (
        rows.filter(pk=int(key)).first() if is_whole_number(key) else None
    )
    if waiting is None:
        raise UnknownWaitingActionError(
            'there is no waiting action {key}; "manage.py flags waiting list" lists them',
            key=repr(key),
        )
    return waiting


def present_look(
    waiting: WaitingAction, *, viewer: HasPermissions | None = None
) -> tuple[Run, Look]:
    """Returns what an action would do now. Raises FlagstaffError if it could not run."""
    run = stored_run(waiting)
    look = look_at(run, viewer=viewer, timeout=JOB_TIMEOUT)
    expected = waiting.versions
    if keys := [key for key in expected if look.expected.get(key) != expected[key]]:
        raise ConflictError(
            say(
                "{keys} changed after this was asked for, so it cannot run; refuse it, and ask for "
                "it again",
                keys=some(keys),
            ),
            key=keys[0],
        )
    return run, look


def _look_at_approval(key: str, *, viewer: HasPermissions | None = None) -> Look:
    """Returns what the action would do, with what it would have done when it was asked for."""
    waiting = _require_state(find(key), State.APPROVAL)
    _run, look = present_look(waiting, viewer=viewer)
    with override(None):
        is_same = look.users_text() == waiting.users
    # The stored sentences are in English, and have exact numbers.
    then = ""
    if waiting.users and (viewer is None or may_see_users(viewer)):
        users = look.users_text() if is_same else waiting.users
        then = say("When asked: {users}", users=users).local
    # Of rows with a history, everybody shows what it does now.
    now = "" if look.changed or look.at_once else look.users_text()
    return replace(
        look,
        expected={key: {"expect_consequence": int(look.largest_consequence)}},
        notes=[action_text(waiting), *filter(None, [then, now]), *look.notes],
        asks=True,
        question="Approve it?",
        # What is written is the action that waits, and nothing that they decide.
        consequence=Consequence.NONE,
        rows=(),
        footprint={},
    )


@_action(
    "waiting approve 12 --as alice",
    'waiting approve 12 --as alice --reason "tests are green"',
    look=_look_at_approval,
    label=say("Approve").lazy,
    button=say("Approve"),
)
def approve(key: str, *, expect_consequence: int | None = None) -> Done:
    """Approve a waiting action of another user, so that it runs at its time or at once.

    Needs --as USER with the right for the action.
    """
    waiting = _require_state(find(key), State.APPROVAL)
    # Before the lock, because a kill may wait for it.
    run, look = present_look(waiting)
    approver = require_user(current_actor())
    require_approver(run, look, approver, waiting.asked_by)
    require_right(run, look, waiting.asked_by)
    if expect_consequence is not None and look.largest_consequence > expect_consequence:
        raise ConflictError(say("the number of users has grown; look at it again"), key=key)
    with _locked(key, State.APPROVAL) as waiting:
        with override(None):
            waiting.consequence, waiting.users = int(look.largest_consequence), look.users_text()
        waiting.approved_by, waiting.approval = approver, current_reason()
        waiting.state, waiting.approved_at = State.WAITING, Now()
        waiting.run_at = waiting.run_at or Now()
        return _saved(waiting, "approved")


@_action(
    "waiting refuse 12 --as alice",
    'waiting refuse 12 --as alice --reason "not before the sale"',
    look=look_at_nothing,
    label=say("Refuse").lazy,
    button=say("Refuse"),
)
def refuse(key: str) -> Done:
    """Refuse a waiting action of another user, so that it never runs.

    Needs --as USER with the right for the action.
    """
    waiting, user = _require_state(find(key), State.APPROVAL), require_user(current_actor())
    run = stored_run(waiting)
    require_approver(run, look_at(run), user, waiting.asked_by)
    with _locked(key, State.APPROVAL) as waiting:
        return _end(waiting, State.REFUSED, "refused")


@_action(
    "waiting cancel 12",
    'waiting cancel 12 --reason "asked for it again"',
    look=look_at_nothing,
    always_runs=True,
    label=say("Cancel").lazy,
    button=say("Cancel"),
)
def cancel(key: str) -> Done:
    """Cancel an action that waits, or take one that did not run off the overview."""
    with _locked(key, *OPEN, *PROBLEMS) as waiting:
        return _end(waiting, State.CANCELLED)


@contextmanager
def _locked(key: str, *states: str) -> Iterator[WaitingAction]:
    """Yields an action in one of these states, locked in a transaction. Raises FlagstaffError."""
    with db.atomic():
        yield _require_state(find(key, lock=True), *states)


def _require_state(waiting: WaitingAction, *states: str) -> WaitingAction:
    if waiting.state not in states:
        state = state_text(waiting)
        raise InvalidChangeError("{key} is {state} already", key=waiting.key, state=state)
    return waiting


def _end(waiting: WaitingAction, state: str, event: str = "") -> Done:
    # Why an action did not run stays.
    waiting.result = waiting.result or current_reason()
    waiting.state, waiting.ended_by, waiting.ended_at = state, current_actor(), Now()
    return _saved(waiting, event)


def _saved(waiting: WaitingAction, event: str) -> Done:
    """Saves an action, and returns its number, what it does, and what it waits for."""
    waiting.save(using=db.alias)
    if event:
        announce(waiting, event)
    waiting.refresh_from_db(using=db.alias)
    description, state = action_text(waiting), state_text(waiting)
    text = say("{number}: {action}: {state}", number=waiting.key, action=description, state=state)
    return Done(waiting.key, [text], records_of([waiting])[0], title=description)


#: In the order of the help.
ACTIONS: tuple[Action, ...] = (approve, refuse, cancel)
