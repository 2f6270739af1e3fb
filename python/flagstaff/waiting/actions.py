"""The actions of waiting actions: approve, refuse, cancel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from django.db import transaction
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from flagstaff._attribution.context import current_actor, current_reason
from flagstaff._words.text import Text, is_whole_number, some
from flagstaff.actions import Action, Done, Question, action
from flagstaff.changes.consequence import impact_lines
from flagstaff.conf import conf
from flagstaff.exceptions import ConflictError, FlagstaffError, InvalidChangeError
from flagstaff.models import WaitingAction
from flagstaff.waiting.hooks import announce
from flagstaff.waiting.prospect import Prospect, require_user
from flagstaff.waiting.records import (
    OPEN,
    PROBLEMS,
    State,
    records_of,
    sentence,
    state_text,
    what,
)
from flagstaff.waiting.stored import stored_run

#: The kind of row, and the verb that has the actions.
KIND: Final = "waiting"
# The digits of the largest number.
_MAX_DIGITS = 18
_action = partial(action, KIND)


class UnknownWaitingActionError(FlagstaffError, LookupError):
    """there is no waiting action with this number"""


def find(key: str) -> WaitingAction:
    """Returns the waiting action with a number. Raises FlagstaffError."""
    return _find(WaitingAction.objects.using(conf.database), key)


def _find(rows: Any, key: str) -> WaitingAction:
    is_number = is_whole_number(key, _MAX_DIGITS)
    found: WaitingAction | None = rows.filter(pk=int(key)).first() if is_number else None
    if found is None:
        raise UnknownWaitingActionError(
            'there is no waiting action {key}; "manage.py flags waiting list" lists them',
            key=repr(key),
        )
    return found


def prospect_for_approval(waiting: WaitingAction) -> Prospect:
    """Returns what an action would do now. Raises FlagstaffError if it could not run."""
    prospect = Prospect.of(stored_run(waiting))
    present = prospect.outlook.expected
    if changed := [name for name, one in waiting.versions.items() if present.get(name) != one]:
        # Of an action of an app, the names are those of arguments.
        keys = [name for name in changed if name in waiting.keys] or waiting.keys
        raise ConflictError(
            Text(
                "{keys} changed after this was asked for, so it cannot run; refuse it, and ask for "
                "it again",
                keys=some(keys),
            ),
            key=keys[0],
        )
    return prospect


def _question(key: str) -> Question | None:
    waiting = find(key)
    prospect = prospect_for_approval(waiting)
    lines = [what(waiting), f"then: {waiting.users}" if waiting.users else ""]
    if prospect.run.action.outlook is None:
        lines += impact_lines(prospect.impact)
    else:
        lines.append(f"now: {prospect.users}")
    expected = {"expect_consequence": int(prospect.consequence)}
    return Question("Approve it?", [*filter(None, lines)], prospect.outlook.typed, expected)


@_action(
    "waiting approve 12 --as alice",
    'waiting approve 12 --as alice --reason "tests are green"',
    question=_question,
    label=_("Approve"),
    button=_("Approve"),
)
def approve(key: str, *, expect_consequence: int | None = None) -> Done:
    """Approve a waiting action of another user, so that it runs at its time or at once.

    Needs --as USER with the right for the action.
    """
    waiting = _require_state(find(key), State.APPROVAL)
    # Before the lock, because a kill may wait for it.
    prospect = prospect_for_approval(waiting)
    approver = require_user(current_actor())
    prospect.require_approver(approver, waiting.asked_by)
    prospect.require_right(waiting.asked_by)
    if expect_consequence is not None and prospect.consequence > expect_consequence:
        raise ConflictError(Text("the number of users has grown; look at it again"), key=key)
    with _locked(key, State.APPROVAL) as waiting:
        waiting.consequence, waiting.users = int(prospect.consequence), prospect.users
        waiting.approved_by, waiting.approval = approver, current_reason()
        waiting.state, waiting.approved_at = State.WAITING, Now()
        if waiting.run_at is None:
            waiting.run_at = Now()
        return _saved(waiting, "approved")


@_action(
    "waiting refuse 12 --as alice",
    'waiting refuse 12 --as alice --reason "not before the sale"',
    label=_("Refuse"),
    button=_("Refuse"),
)
def refuse(key: str) -> Done:
    """Refuse a waiting action of another user, so that it never runs.

    Needs --as USER with the right for the action.
    """
    waiting, user = _require_state(find(key), State.APPROVAL), require_user(current_actor())
    Prospect.of(stored_run(waiting)).require_approver(user, waiting.asked_by)
    with _locked(key, State.APPROVAL) as waiting:
        return _end(waiting, State.REFUSED, user, "refused")


@_action(
    "waiting cancel 12",
    'waiting cancel 12 --reason "asked for it again"',
    always_runs=True,
    label=_("Cancel"),
    button=_("Cancel"),
)
def cancel(key: str) -> Done:
    """Cancel an action that waits, or take one that did not run off the overview."""
    with _locked(key, *OPEN, *PROBLEMS) as waiting:
        return _end(waiting, State.CANCELLED, current_actor())


@contextmanager
def _locked(key: str, *states: str) -> Iterator[WaitingAction]:
    """Yields an action in one of these states, locked in a transaction. Raises FlagstaffError."""
    with transaction.atomic(using=conf.database):
        rows = WaitingAction.objects.using(conf.database).select_for_update()
        yield _require_state(_find(rows, key), *states)


def _require_state(waiting: WaitingAction, *states: str) -> WaitingAction:
    if waiting.state not in states:
        state = state_text(waiting)
        raise InvalidChangeError("{key} is {state} already", key=waiting.key, state=state)
    return waiting


def _end(waiting: WaitingAction, state: str, actor: str, event: str = "") -> Done:
    # Why an action did not run stays.
    waiting.result = waiting.result or current_reason()
    waiting.state, waiting.ended_by, waiting.ended_at = state, actor, Now()
    return _saved(waiting, event)


def _saved(waiting: WaitingAction, event: str) -> Done:
    waiting.save(using=conf.database)
    if event:
        announce(waiting, event)
    waiting.refresh_from_db(using=conf.database)
    [record] = records_of([waiting])
    return Done(waiting.key, [sentence(waiting)], record)


#: In the order of the help.
ACTIONS: tuple[Action, ...] = (approve, refuse, cancel)
