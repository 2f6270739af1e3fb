"""A waiting action as a record and in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flagstaff._tables.user_lookup import actor_table
from flagstaff._words.cells import Column, Record, with_fields
from flagstaff._words.text import Text
from flagstaff._words.times import full_time
from flagstaff.models import WaitingAction

State = WaitingAction.State
OPEN = WaitingAction.OPEN
#: The states that a person has to look at.
PROBLEMS = (State.FAILED, State.EXPIRED)


def _style(record: Record) -> str | None:
    return "WARNING" if record["state"] in PROBLEMS else None


#: Of the list.
COLUMNS = (
    Column("id", align_right=True),
    Column("state", style=_style),
    Column("what"),
    Column("run_at"),
    Column("asked_by_name", header="ASKED BY"),
    Column("result", truncate=True, style=_style),
)
#: Of one action.
ALL_COLUMNS = (
    *(Column(name) for name in ("id", "state", "what", "arguments", "users", "reason")),
    *(Column(name) for name in ("run_at", "needs_approval", "asked_by_name", "asked_at")),
    *(Column(name) for name in ("approved_by_name", "approved_at", "approval")),
    *(Column(name) for name in ("ended_by_name", "ended_at", "result", "entries")),
)


def state_text(waiting: WaitingAction) -> Text:
    """Returns what the action waits for, such as "runs at 2026-12-01 09:00:00 CET"."""
    at = "" if waiting.run_at is None else full_time(waiting.run_at)
    if waiting.state == State.APPROVAL:
        if at:
            return Text("waits for approval, and runs at {time}", time=at)
        return Text("waits for approval")
    if waiting.state == State.WAITING:
        return Text("runs at {time}", time=at)
    if not waiting.result:
        return Text(waiting.state)
    return Text("{state}: {why}", state=waiting.state, why=waiting.result)


def sentence(waiting: WaitingAction) -> Text:
    """Returns its number, what it does, and what it waits for or what became of it."""
    return Text(
        "{number}: {action}: {state}",
        number=waiting.key,
        action=what(waiting),
        state=state_text(waiting),
    )


def what(waiting: WaitingAction) -> str:
    """Returns the words of the action, such as "flag release new_checkout"."""
    return " ".join([waiting.kind, waiting.action, *waiting.keys])


def records_of(found: Iterable[WaitingAction]) -> list[Record]:
    """Returns actions as records. Queries the users."""
    rows = [*found]
    people = ("asked_by", "approved_by", "ended_by")
    names = actor_table().names({getattr(row, one) for row in rows for one in people})
    return [
        with_fields(
            row,
            {
                "id": row.pk,
                "what": what(row),
                **{f"{one}_name": _name_of(getattr(row, one), names) for one in people},
            },
        )
        for row in rows
    ]


def _name_of(pk: str, names: Mapping[str, str]) -> str:
    return names.get(pk, pk)
