"""A flag as the verbs show it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import Count

from flagstaff._tables.rows import all_rows
from flagstaff._tables.states import State, state_label, state_of
from flagstaff.cli.cells import Column, Record, with_fields
from flagstaff.conf import conf

__all__ = ["STATE", "flag_record", "flag_records", "who_has_it"]

_ROLES = {
    State.ALL: "SUCCESS",
    State.ROLLOUT: "WARNING",
    State.ALLOWED_USERS: "WARNING",
    State.NO_USERS: "WARNING",
}


def flag_records(**matching: Any) -> Iterator[dict[str, Any]]:
    """The flags that match, by key."""
    flags = all_rows(conf.flag_model).filter(**matching).order_by("key")
    # A name that no model has, and that the record leaves out.
    for flag in flags.annotate(flagstaff_allowed=Count("allowed_users")):
        yield _record(flag, flag.flagstaff_allowed)


def flag_record(flag: Any) -> dict[str, Any]:
    """One flag."""
    return _record(flag, flag.allowed_users.count())


def who_has_it(record: Record) -> str:
    """Who has the flag, in one sentence."""
    percent, allowed = record["rollout_percent"], record["allowed"]
    users = f"{allowed:,} allowed user{'' if allowed == 1 else 's'}"
    return {
        State.OFF: "Nobody has it: it is off.",
        State.ALL: "Everybody has it.",
        State.ROLLOUT: f"{percent} % of all users have it"
        + (f", and {users} in any case." if allowed else "."),
        State.ALLOWED_USERS: f"Only {users} {'has' if allowed == 1 else 'have'} it.",
        State.NO_USERS: "Nobody has it: it is on, but at 0 % and with no allowed user.",
    }[State(record["state"])]


def _record(flag: Any, allowed: int) -> dict[str, Any]:
    # A NULL is possible in a project's own table.
    percent = flag.rollout_percent or 0
    state = state_of(enabled=flag.enabled, rollout_percent=percent, allowed=allowed)
    return with_fields(
        flag,
        {
            "key": flag.key,
            "state": state.value,
            "enabled": flag.enabled,
            "rollout_percent": flag.rollout_percent,
            "allowed": allowed,
        },
    )


def _state_in_words(record: Record) -> str:
    return state_label(State(record["state"]), record["rollout_percent"])


STATE = Column(
    "state", shown=_state_in_words, role=lambda record: _ROLES.get(State(record["state"]))
)
