"""What people do with actions that wait: ask for one, approve, refuse, or cancel it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final

from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import override

from flagstaff._attribution import current_actor, current_reason
from flagstaff._tables.database import db
from flagstaff._tables.rows import Kind, all_rows, is_stored
from flagstaff._text import is_whole_number, local_list, localized, plain_numbers, quoted, say
from flagstaff._text.times import is_shown_twice
from flagstaff.actions import Action, Done, action, all_actions
from flagstaff.actions.commit import look_at, rough, seen_by
from flagstaff.actions.table import EXPECT_VERSION, Line, Look, Run
from flagstaff.changes import Undo
from flagstaff.changes.consequence import Consequence, flag_text
from flagstaff.changes.fields import count_allowed_users, rejections
from flagstaff.changes.locking import footprint_of, read_rows, require_version, row_to_change
from flagstaff.changes.row_states import Impact, RowState, previewed
from flagstaff.exceptions import (
    ConflictError,
    FlagstaffError,
    InvalidArgumentError,
    InvalidChangeError,
)
from flagstaff.history.describe import HasPermissions, may_see_users
from flagstaff.history.log import require_history
from flagstaff.models import WaitingAction
from flagstaff.validators import is_secret
from flagstaff.waiting.outlook import expected_at, foresee, foresee_if_possible, row_kind
from flagstaff.waiting.rights import (
    is_approval_needed,
    is_of_secret,
    is_reverse,
    require_approver,
    require_right,
    require_user,
    users_with_rights,
)
from flagstaff.waiting.standing import only_takes, own_rows, stored_footprint
from flagstaff.waiting.stored import (
    KIND,
    OPEN,
    PROBLEMS,
    State,
    action_line,
    action_text,
    announce,
    names_of,
    records_of,
    state_text,
    stored_run,
    without_secrets,
)

_action = partial(action, KIND, can_wait=False)

#: Seconds for a count of users for which nobody waits.
JOB_TIMEOUT: Final = 5.0


class UnknownWaitingActionError(FlagstaffError, LookupError):
    """there is no waiting action with this number"""


def ask(  # noqa: PLR0913 (the action, when it runs, and who asks)
    run: Run,
    look: Look,
    at: datetime | None,
    *,
    until: datetime | None = None,
    approval: bool = False,
    again: WaitingAction | None = None,
) -> Done:
    """Stores an action of the present actor, who must be a user with the right for it.

    `until` also stores the action that ends it then; one approval and one cancellation are for
    both. `approval` asks for one also where the settings do not. An action that is asked for
    `again` is cancelled if it does not run. Raises ConflictError if a row has changed since the
    look, NoHistoryError if changes leave no entry, or NotAllowedError.
    """
    require_history()
    _require_may_wait(run, at)
    if until is not None and (at is None or until <= at or not run.action.ended_by):
        raise InvalidArgumentError("a period begins at a time, and ends later")
    for row in look.rows:
        if (kind := Kind.of_model(type(row))) is not None:
            expected = look.expected.get(row.key, {})
            require_version(kind, row.key, row.pk, expected.get(EXPECT_VERSION))
    with db.atomic():
        # Before what waits for them, as all lock them.
        _require_public(run)
        if again is not None and foresee([again])[0].can_be_asked_again:
            cancel.write(again.key)
        begin = _asked(run, look, at, approval=approval)
        _require_no_other(begin)
        with rejections(secret=False):
            done = _saved([begin], "asked")
        if until is not None:
            end = _asked(_end_of(run), Look(), until, begun_by=begin)
            with rejections(secret=False):
                ended = _saved([end], "asked")
            done = replace(done, messages=[*done.messages, *ended.messages])
    is_twice = any(time is not None and is_shown_twice(time) for time in (at, until))
    text = say("the clock shows this time twice that day, and it runs the first time")
    undo = Undo((KIND, "cancel", begin.key))
    return replace(done, undo=undo, notes=[text] if is_twice else [])


def _require_public(run: Run) -> None:
    """Locks values, so that none becomes secret before its action is stored."""
    pks = [str(row.pk) for row in run.rows if run.action.kind is Kind.VALUE]
    rows = read_rows(((Kind.VALUE, pk) for pk in pks), lock=True) if pks else {}
    # What code declares as a secret is one without a row, too.
    declared = (row for row in run.rows if not is_stored(row))
    _require_storable(replace(run, rows=[*rows.values(), *declared]))


def _require_no_other(waiting: WaitingAction) -> None:
    """Raises InvalidChangeError if an action that does the same at the same time waits already."""
    db.lock(f"flagstaff ask {waiting.kind} {waiting.keys}")
    rows = WaitingAction.objects.using(db.alias).filter(state__in=OPEN)
    names = ("kind", "action", "keys", "run_at", "arguments")
    for other in rows.filter(**{name: getattr(waiting, name) for name in names}):
        raise InvalidChangeError("{number} waits already, and does the same", number=other.key)


def _end_of(run: Run) -> Run:
    """Returns the action that ends what another one begins."""
    name = run.action.ended_by
    action = next(action for action in all_actions(run.action.kind) if action.name == name)
    return Run(action, run.keys, run.rows, {})


def _asked(
    run: Run,
    look: Look,
    at: datetime | None,
    *,
    approval: bool = False,
    begun_by: WaitingAction | None = None,
) -> WaitingAction:
    """Returns an action to store, with what it does to the rows as those before it leave them."""
    asked_by = require_user(current_actor())
    noun = row_kind(look.rows or run.rows, run)
    rows, before = expected_at(noun, run, at)
    if rows is not None or not (look.rows and look.is_counted):
        # Also for a person who may not see the users, or not within a second.
        with previewed(rows):
            look = replace(look_at(run, timeout=JOB_TIMEOUT), expected=look.expected)
    if look.changed and not any(change.written for change in look.changed):
        raise InvalidArgumentError("it would change nothing then, so it cannot wait")
    takes_away = all(map(only_takes, look.changed))
    if not look.changed:
        takes_away = run.action.always_runs is True
    user = require_right(run, look, asked_by, Impact([], []) if takes_away else None)
    # The job compares it, and says whether it has grown.
    consequence = Consequence.FEWER if takes_away else seen_by(look, user).largest_consequence
    if any(map(is_reverse, look.rows)):
        # Whoever loses such a flag gains what it holds back.
        consequence = Consequence.MOST
    approval = approval or is_approval_needed(run, look.rows, consequence)
    if begun_by is not None:
        # One approval is for both.
        approval = begun_by.needs_approval and not takes_away
    if at is None and not approval:
        raise InvalidArgumentError("this needs neither a time nor an approval: do it now")
    with previewed(rows):
        states = [
            RowState(kind, row_to_change(kind, row.key))
            for row in look.rows
            if not look.changed and (kind := Kind.of_model(type(row))) is not None
        ]
        footprint = {**look.footprint, **footprint_of(Impact(states, states))}
    return WaitingAction(
        kind=run.action.noun,
        action=run.action.name,
        row_kind=noun,
        keys=[*run.keys],
        arguments=dict(run.arguments),
        expected=run.expected(),
        stands_on=stored_footprint(own_rows(look.rows) if takes_away else footprint),
        rests_on=[] if takes_away else before,
        takes_away=takes_away,
        begun_by=begun_by and begun_by.pk,
        consequence=consequence,
        **_users_texts(look),
        asked_by=asked_by,
        reason=current_reason(),
        run_at=at,
        needs_approval=approval,
        state=State.APPROVAL if approval else State.WAITING,
    )


def _users_texts(look: Look) -> dict[str, str]:
    """Returns the sentences about the users, for those who may view them and for others."""
    with override(None), plain_numbers():
        return {"users": look.users_text(), "rough_users": rough(look).users_text()}


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
    _require_storable(run)


def _require_storable(run: Run) -> None:
    """Raises InvalidArgumentError if the arguments may have a secret value."""
    if is_of_secret(run) and not any(map(is_secret, run.rows)) and not run.action.creates:
        raise InvalidArgumentError(
            "a value and its mark as secret cannot wait together, because the value would be "
            "stored: ask for the mark alone, and set the value when it is secret"
        )
    if is_of_secret(run):
        raise InvalidArgumentError(
            "{name} of a secret value cannot wait: its arguments would be stored, so do it now",
            name=run.action.name,
        )


def asked_together(waiting: WaitingAction, *, lock: bool = False) -> list[WaitingAction]:
    """Returns an action, and of a period also the one that ends it, in their order. A query."""
    begin = waiting.begun_by or waiting.pk
    rows = WaitingAction.objects.using(db.alias).filter(Q(pk=begin) | Q(begun_by=begin))
    return [*(rows.select_for_update() if lock else rows).order_by("pk")]


def begin_of(waiting: WaitingAction) -> WaitingAction:
    """Returns what people decide about: of the end of a period its begin. A query for an end."""
    rows = WaitingAction.objects.using(db.alias).filter(pk=waiting.begun_by or waiting.pk)
    return (waiting.begun_by and rows.first()) or waiting


def find(key: str) -> WaitingAction:
    """Returns the waiting action with a number. Raises FlagstaffError."""
    rows = WaitingAction.objects.using(db.alias)
    waiting = rows.filter(pk=int(key)).first() if is_whole_number(key) else None
    if waiting is None:
        raise UnknownWaitingActionError(
            'there is no waiting action {key}; "manage.py flags waiting list" lists them',
            key=repr(key),
        )
    return waiting


def present_look(
    waiting: WaitingAction, *, viewer: HasPermissions | None = None
) -> tuple[Run, Look]:
    """Returns what an action would do at its time. Raises ConflictError if it will not run."""
    foresee([waiting])
    if waiting.obstacle:
        text = say("it will not run: {why}; ask for it again", why=waiting.obstacle)
        raise ConflictError(text, key=waiting.keys[0])
    run = stored_run(waiting)
    rows, _before = expected_at(waiting.row_kind, run, waiting.run_at, waiting.pk)
    with previewed(rows):
        return run, look_at(run, viewer=viewer, timeout=JOB_TIMEOUT)


def _look_at_approval(key: str, *, viewer: HasPermissions | None = None) -> Look:
    """Returns what the action would do, with what it would have done when it was asked for."""
    waiting = _require_state(begin_of(find(key)), State.APPROVAL)
    _run, look = present_look(waiting, viewer=viewer)
    actor = current_actor()
    decider = viewer or users_with_rights([actor]).get(actor)
    seen = look if decider is None else seen_by(look, decider)
    then = users_when_asked(waiting, viewer)
    with override(None), plain_numbers():
        is_same = look.users_text() == then
    # The stored sentences are in English.
    then = then and say("When asked: {users}", users=look.users_text() if is_same else then).local
    # Of rows with a history, everybody shows what it does now.
    now = "" if look.changed or look.at_once else look.users_text()
    # The heading of a page says what it is.
    what = action_text(waiting) if viewer is None else ""
    asked = say("Asked by {name}", name=names_of([waiting])[waiting.asked_by]).local
    why = asked if not waiting.reason else f"{asked}: {quoted(waiting.reason)}"
    # The end of a period is approved with it.
    waits = [
        f"{action_text(row)}: {localized(state_text(row))}"
        for row in foresee(asked_together(waiting))
        if row.run_at is not None
    ]
    return replace(
        look,
        expected={key: {"expect_consequence": int(seen.largest_consequence)}},
        notes=[*filter(None, [what, why, *waits, now, then]), *look.notes],
        asks=True,
        question="Approve it?",
        # What is written is the action that waits, and nothing that they decide.
        consequence=Consequence.NONE,
        rows=(),
        footprint={},
    )


def users_when_asked(waiting: WaitingAction, viewer: HasPermissions | None) -> str:
    """Returns for how many users an action was asked, or approved, in English."""
    sees_all = viewer is None or may_see_users(viewer)
    return waiting.users if sees_all else waiting.rough_users


@_action(
    "waiting approve 12 --as alice",
    'waiting approve 12 --as alice --reason "tests are green"',
    look=_look_at_approval,
    label=say("Approve").lazy,
    button=say("Approve"),
)
def approve(key: str, *, expect_consequence: int | None = None) -> Done:
    """Approve a waiting action of another user, so that it runs at its time or at once.

    Needs --as USER with the right for the action. A period is approved as a whole.
    """
    waiting = _require_state(begin_of(find(key)), State.APPROVAL)
    # Before the lock, because a kill may wait for it.
    run, look = present_look(waiting)
    approver = require_user(current_actor())
    user = require_approver(run, look, approver, waiting.asked_by)
    require_right(run, look, waiting.asked_by)
    consequence = int(seen_by(look, user).largest_consequence)
    if expect_consequence is not None and consequence > expect_consequence:
        raise ConflictError(say("the number of users has grown; look at it again"), key=key)
    with _locked(waiting.key, State.APPROVAL) as period:
        waiting = period[0]
        waiting.consequence = consequence
        for name, text in _users_texts(look).items():
            setattr(waiting, name, text)
        waiting.run_at = waiting.run_at or Now()
        # An end that takes away waits for nobody.
        approved = [row for row in period if row.state == State.APPROVAL]
        for row in approved:
            row.approved_by, row.approval = approver, current_reason()
            row.state, row.approved_at = State.WAITING, Now()
        return _saved(approved, "approved")


def _look_at_refusal(key: str, *, viewer: HasPermissions | None = None) -> Look:
    """Returns what will not happen if an action is refused, and what stays as it is."""
    return _look_at_end(_require_state(begin_of(find(key)), State.APPROVAL), viewer)


def _look_at_cancellation(key: str, *, viewer: HasPermissions | None = None) -> Look:
    """Returns the same of an action that is cancelled, or taken off the overview."""
    return _look_at_end(_require_state(find(key), *OPEN, *PROBLEMS), viewer)


def _look_at_end(waiting: WaitingAction, viewer: HasPermissions | None) -> Look:
    is_open = waiting.state in OPEN
    period = [row for row in asked_together(waiting) if row.state in OPEN] if is_open else [waiting]
    after = say("will not run") if is_open else say("taken off the overview")
    lines = [
        Line(action_text(row), localized(state_text(row)), after.local)
        for row in without_secrets(foresee_if_possible(period))
    ]
    cancels = [row.pk for row in period]
    # The terminal says what it has done.
    notes = [] if viewer is None else [*_what_stays(waiting)]
    return Look(lines=lines, notes=notes, cancels=cancels)


def _what_stays(waiting: WaitingAction) -> Iterator[str]:
    """Yields that the end of an action changes no row, and who has a single flag."""
    kind = Kind.of_noun(waiting.row_kind)
    # What is to be created does not exist yet.
    rows = [] if kind is None else [*all_rows(kind.model).filter(key__in=waiting.keys)]
    if keys := [row.key for row in rows]:
        shown = local_list(map(quoted, keys))
        yield say("This changes nothing about {keys}.", keys=shown).local
    if kind is Kind.FLAG and len(rows) == 1:
        yield flag_text(rows[0], count_allowed_users(rows[0]))


@_action(
    "waiting refuse 12 --as alice",
    'waiting refuse 12 --as alice --reason "not before the sale"',
    look=_look_at_refusal,
    label=say("Refuse").lazy,
    button=say("Refuse"),
)
def refuse(key: str) -> Done:
    """Refuse a waiting action of another user, so that it never runs.

    Needs --as USER with the right for the action. A period is refused as a whole.
    """
    waiting = _require_state(begin_of(find(key)), State.APPROVAL)
    run = stored_run(waiting)
    require_approver(run, look_at(run), require_user(current_actor()), waiting.asked_by)
    with _locked(waiting.key, State.APPROVAL) as period:
        return _end(period, State.REFUSED, "refused")


@_action(
    "waiting cancel 12",
    'waiting cancel 12 --reason "asked for it again"',
    look=_look_at_cancellation,
    always_runs=True,
    label=say("Cancel").lazy,
    button=say("Cancel the action"),
)
def cancel(key: str) -> Done:
    """Cancel an action that waits, or take one that did not run off the overview.

    A period is cancelled as a whole.
    """
    with _locked(key, *OPEN, *PROBLEMS) as period:
        return _end(period, State.CANCELLED)


@contextmanager
def _locked(key: str, *states: str) -> Iterator[list[WaitingAction]]:
    """Yields an action in one of these states, locked in a transaction. Raises FlagstaffError.

    While it waits, the other one of its period follows: the end without its begin, and the begin
    without its end, are not what was asked for.
    """
    with db.atomic():
        asked = find(key)
        # In one order: an approval and a cancellation cannot deadlock.
        period = {row.pk: row for row in asked_together(asked, lock=True)}
        waiting = _require_state(period.pop(asked.pk), *states)
        others = period.values() if waiting.state in OPEN else ()
        yield [waiting, *(row for row in others if row.state in OPEN)]


def _require_state(waiting: WaitingAction, *states: str) -> WaitingAction:
    if waiting.state not in states:
        state = state_text(waiting)
        raise InvalidChangeError("{key} is already {state}", key=waiting.key, state=state)
    return waiting


def _end(period: Sequence[WaitingAction], state: str, event: str = "") -> Done:
    for waiting in period:
        # Why an action did not run stays.
        waiting.result = waiting.result or current_reason()
        waiting.state, waiting.ended_by, waiting.ended_at = state, current_actor(), Now()
    return replace(_saved(period, event), cancelled=[waiting.pk for waiting in period])


def _saved(period: Sequence[WaitingAction], event: str) -> Done:
    """Saves actions, and returns the number of the first, and what each does and waits for."""
    for waiting in period:
        waiting.save(using=db.alias)
        if event:
            announce(waiting, event)
        waiting.refresh_from_db(using=db.alias)
    first, [record] = period[0], records_of(period[:1])
    return Done(first.key, [*map(action_line, period)], record, title=action_text(first))


#: In the order of the help.
ACTIONS: tuple[Action, ...] = (approve, refuse, cancel)
