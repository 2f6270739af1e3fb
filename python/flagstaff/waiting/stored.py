"""A stored action: what it runs in the present code, its record, its words, and its end.

Also what retention and the deletion of a user do to it, and what apps hear of it.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from copy import copy
from datetime import datetime
from typing import Any, Final

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from flagstaff._declared import declared_value
from flagstaff._tables.database import Reading, db
from flagstaff._tables.rows import Kind, all_rows
from flagstaff._tables.user_lookup import actor_table
from flagstaff._text import MASK, Sentence, StoredText, local_list, say, some
from flagstaff._text.times import Column, Record, TimeValue, with_fields
from flagstaff.actions import Action, all_actions
from flagstaff.actions.table import SAVE, Run, present_rows
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError
from flagstaff.extensions import WAITING_EVENTS, Retention
from flagstaff.models import WaitingAction
from flagstaff.validators import is_secret
from flagstaff.waiting.standing import USERS

logger = logging.getLogger("flagstaff")

#: The kind of row, and the verb that has the actions.
KIND: Final = "waiting"
# The rows that one transaction deletes.
_BATCH = 1_000
State = WaitingAction.State
OPEN = WaitingAction.OPEN
PROBLEMS = WaitingAction.PROBLEMS
_NOT_RUN = say("no run-jobs has run it")


def stored_run(waiting: WaitingAction, rows: Sequence[Any] | None = None) -> Run:
    """Returns what a stored action runs now, on its present rows or on others.

    Raises FlagstaffError if a new version of the code has no such action or argument, or if a row
    is gone.
    """
    action = stored_action(waiting)
    declared, stored = action.arguments(), waiting.arguments.keys()
    unknown = stored - declared.keys()
    missing = {name for name, (_argument, required) in declared.items() if required} - stored
    if unknown or missing:
        raise FlagstaffError(
            "the arguments of {name} have changed since this was asked for: {arguments}; cancel "
            "this one, and ask for it again",
            name=waiting.action,
            arguments=some(sorted(unknown | missing)),
        )
    if rows is None:
        rows = present_rows(action, waiting.keys)
    return Run(action, waiting.keys, rows if action.look is None else [], waiting.arguments)


def stored_action(waiting: WaitingAction) -> Action:
    """Returns the action of this name. Raises FlagstaffError if the code has none any more."""
    kind = Kind.of_noun(waiting.kind) or waiting.kind
    action = next((action for action in all_actions(kind) if action.name == waiting.action), None)
    if action is None:
        raise FlagstaffError(
            "there is no action {name} of a {kind} any more; cancel this one, and ask for another",
            name=waiting.action,
            kind=waiting.kind,
        )
    return action


def readings_of_apps(actions: Iterable[WaitingAction]) -> dict[str, Reading]:
    """Returns what reads the rows of apps that actions change, by the kind of the actions."""
    presents, keys = dict[str, Any](), defaultdict[str, set[str]](set)
    for waiting in actions:
        # A new version of the code may have no such action any more.
        with suppress(FlagstaffError):
            if (present := stored_action(waiting).present) is not None:
                presents[waiting.kind] = present
                keys[waiting.kind].update(waiting.keys)
    return {kind: present(keys[kind]) for kind, present in presents.items()}


# In words.


def action_text(waiting: WaitingAction) -> str:
    """Returns what an action does, such as "pay: Roll out to 50 %", in the active language."""
    keys = local_list(waiting.keys)
    try:
        action = stored_action(waiting)
        text = str(action.label)
        if action.button is not SAVE:
            text = say(action.button, **{**waiting.arguments, "key": keys}).local
    except (FlagstaffError, KeyError):
        # A new version of the code has no such action, or other arguments.
        text = waiting.action
    return text if keys in text else f"{keys}: {text}"


def result_text(waiting: WaitingAction) -> str:
    """Returns what an action wrote, or why it did not run; or the reason of who ended it."""
    is_of_person = waiting.state in {State.REFUSED, State.CANCELLED}
    return waiting.result if is_of_person else StoredText(waiting.result)


def state_text(waiting: WaitingAction) -> Sentence:
    """Returns what the action waits for, such as "runs at 2026-12-01 09:00:00 CET".

    Of one that waits, whether it will run at all is known after `outlook.foresee`.
    """
    at = waiting.run_at and TimeValue(waiting.run_at)
    if waiting.state not in OPEN:
        state = say("failed") if waiting.state == State.FAILED else say(waiting.state)
        if not waiting.result:
            return state
        return say("{state}: {why}", state=state, why=result_text(waiting))
    if waiting.obstacle:
        return say("will not run: {why}", why=waiting.obstacle)
    if waiting.state == State.APPROVAL:
        text = say("waits for approval, and runs at {time}") if at else say("waits for approval")
    elif waiting.is_overdue:
        text = say("due since {time}: {why}")
    elif waiting.is_due:
        text = say("due now, runs with the next run-jobs")
    else:
        text = say("runs at {time}")
    why = result_text(waiting) if waiting.result else say(_NOT_RUN)
    return say(text, time=at, why=why)


def action_line(waiting: WaitingAction, state: str = "") -> Sentence:
    """Returns the number of an action, what it does, and what it waits for or another state."""
    return say(
        "{number}: {action}: {state}",
        number=waiting.key,
        action=action_text(waiting),
        state=state or state_text(waiting),
    )


def _style(record: Record) -> str | None:
    return "WARNING" if record["needs_attention"] else None


#: Of the list.
COLUMNS = (
    Column("id", align_right=True),
    Column("shown_state", header="STATE", style=_style),
    Column("what"),
    Column("run_at"),
    Column("asked_by_name", header="ASKED BY"),
    Column("why", header="RESULT", truncate=True, style=_style),
)


def without_secrets(actions: Iterable[WaitingAction]) -> list[WaitingAction]:
    """Returns actions to show: copies without what a value is, of values that are secret now.

    A trigger deletes it when a value becomes secret; this is for where triggers were disabled, and
    for what only code says is secret. A query, if there are actions of values.
    """
    shown = [copy(action) for action in actions]
    of_values = [action for action in shown if action.row_kind == Kind.VALUE.value]
    keys = {key for action in of_values for key in action.keys if action.arguments}
    rows = all_rows(Kind.VALUE.model).filter(key__in=keys, secret=True)
    secret = {*rows.values_list("key", flat=True)} if keys else set[str]()
    secret.update(key for key in keys if is_secret(declared_value(key)))
    for action in of_values:
        if action.arguments and not secret.isdisjoint(action.keys):
            action.arguments = dict.fromkeys(action.arguments, MASK)
            action.result = action.result and MASK
    return shown


def records_of(rows: Sequence[WaitingAction]) -> list[Record]:
    """Returns actions as records. Queries the users."""
    rows = without_secrets(rows)
    names, people = names_of(rows), ("asked_by", "approved_by", "ended_by")
    return [
        with_fields(
            row,
            {
                "id": row.pk,
                "what": action_text(row),
                "obstacle": row.obstacle,
                "shown_state": row.shown_state[0],
                "needs_attention": row.needs_attention,
                "why": row.obstacle or row.result or (str(_NOT_RUN) if row.is_overdue else ""),
                **{f"{role}_name": names[getattr(row, role)] for role in people},
            },
        )
        for row in rows
    ]


def names_of(rows: Iterable[WaitingAction]) -> dict[str, str]:
    """Returns who asked, approved and ended actions: names by primary key. A query.

    Without a name, it is the primary key.
    """
    pks = {pk for row in rows for pk in (row.asked_by, row.approved_by, row.ended_by)}
    return {pk: pk for pk in pks} | actor_table().names(pks)


def announce(waiting: WaitingAction, event: str) -> None:
    """Tells apps what happened to an action. In its transaction, which no app can break."""
    try:
        with db.atomic():
            for notify in WAITING_EVENTS:
                notify(waiting, event)
    except Exception:
        logger.exception("flagstaff: “%s” of a waiting action was not announced", event)


def _rows() -> QuerySet[WaitingAction]:
    # In the order in which people lock the two actions of a period.
    return WaitingAction.objects.using(db.alias).order_by("pk")


def retention() -> Retention:
    """Returns how long actions that have ended are kept: as long as the history."""
    return Retention("waiting actions", conf.history_days, _prune, by_setting=False)


def _prune(before: datetime) -> Iterator[int]:
    while pks := [*_rows().filter(ended_at__lt=before).values_list("pk", flat=True)[:_BATCH]]:
        yield _rows().filter(pk__in=pks).delete()[0]


def forget_user(pk: str) -> None:
    """Removes a deleted user: who asked and who decided, and from the users of the arguments.

    What waits because of the user does not run.
    """
    of_user = Q(asked_by=pk) | Q(approved_by=pk)
    text = say("the user who asked for it, or approved it, was deleted")
    for waiting in _rows().filter(of_user, state__in=WaitingAction.OPEN).select_for_update():
        waiting.state, waiting.result, waiting.ended_at = WaitingAction.State.FAILED, text, Now()
        waiting.save(using=db.alias, update_fields=["state", "result", "ended_at"])
        announce(waiting, "failed")
    for name in ("asked_by", "approved_by", "ended_by"):
        _rows().filter(**{name: pk}).update(**{name: ""})
    for waiting in _rows().filter(arguments__has_key=USERS).select_for_update():
        users = waiting.arguments[USERS]
        remaining = [user for user in users if str(user) != pk]
        if remaining != users:
            waiting.arguments[USERS] = remaining
            waiting.save(using=db.alias, update_fields=["arguments"])
