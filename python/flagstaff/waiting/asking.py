"""Stores an action that somebody has asked for, to run later or after an approval."""

from __future__ import annotations

from datetime import datetime

from flagstaff._attribution.context import current_actor, current_reason
from flagstaff._words.text import Text
from flagstaff.actions.running import Run
from flagstaff.actions.table import Done
from flagstaff.changes import Undo
from flagstaff.changes.fields import rejections
from flagstaff.changes.locking import require_version
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidArgumentError
from flagstaff.history.kinds import Kind
from flagstaff.history.log import require_history
from flagstaff.models import WaitingAction
from flagstaff.waiting.hooks import announce
from flagstaff.waiting.prospect import Prospect, is_approval_needed, is_of_secret, require_user
from flagstaff.waiting.records import State, records_of, sentence
from flagstaff.waiting.times import is_shown_twice


def ask(prospect: Prospect, at: datetime | None, *, approval: bool = False) -> Done:
    """Stores an action of the present actor, who must be a user with the right for it.

    `approval` also asks for one where the settings do not. Raises ConflictError if a row has
    changed since the prospect, or NoHistoryError without a history: the action is refused if a row
    has another version when it runs.
    """
    require_history()
    run, outlook = prospect.run, prospect.outlook
    _require_may_wait(run)
    asked_by = require_user(current_actor())
    if isinstance(run.action.kind, Kind):
        for row in run.rows:
            require_version(run.action.kind, row.key, row.pk, outlook.expected.get(row.key))
    prospect.require_right(asked_by)
    approval = approval or is_approval_needed(prospect)
    if at is None and not approval:
        raise InvalidArgumentError("this needs neither a time nor an approval: do it now")
    with rejections(secret=False):
        waiting = WaitingAction.objects.using(conf.database).create(
            kind=run.action.noun,
            action=run.action.name,
            row_kind=prospect.row_kind,
            keys=[*run.keys],
            arguments=dict(run.arguments),
            versions=dict(outlook.expected),
            consequence=prospect.consequence,
            users=prospect.users,
            asked_by=asked_by,
            reason=current_reason(),
            run_at=at,
            needs_approval=approval,
            state=State.APPROVAL if approval else State.WAITING,
        )
    announce(waiting, "asked")
    waiting.refresh_from_db()
    [record], undo = records_of([waiting]), Undo(("waiting", "cancel", waiting.key))
    twice = Text("the clock shows this time twice that day, and it runs the first time")
    notes = [twice] if at is not None and is_shown_twice(at) else []
    return Done(waiting.key, [sentence(waiting)], record, undo, notes=notes)


def _require_may_wait(run: Run) -> None:
    """Raises InvalidArgumentError for what is done at once or never."""
    name = run.action.name
    if not run.action.can_wait:
        raise InvalidArgumentError("{name} never waits: do it now", name=name)
    if is_of_secret(run):
        raise InvalidArgumentError(
            "{name} of a secret value cannot wait: its arguments would be stored, so do it now",
            name=name,
        )
