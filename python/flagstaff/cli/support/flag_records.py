"""A flag as a record, and the sentence about its users."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import Count

from flagstaff._engine import forced_off
from flagstaff._tables.model_fields import rules_field
from flagstaff._tables.rows import all_rows
from flagstaff._tables.states import State, state_label, state_of, state_summary
from flagstaff._text.rule_text import rules_text
from flagstaff.changes.allowed_users import count_allowed_users
from flagstaff.cli.support.cells import Column, Record, as_json, with_fields
from flagstaff.conf import conf

__all__ = ["STATE", "flag_columns", "flag_record", "flag_records", "flag_summary"]

_STYLES = {
    State.ALL: "SUCCESS",
    State.ROLLOUT: "WARNING",
    State.ALLOWED_USERS: "WARNING",
    State.NO_USERS: "WARNING",
}


def flag_records(**filters: str) -> Iterator[Record]:
    """Yields the flags that match, by key. One query."""
    flags = all_rows(conf.flag_model).filter(**filters).order_by("key")
    # The annotation's name must not clash with a field of the project's model.
    for flag in flags.annotate(flagstaff_allowed=Count("allowed_users")):
        yield _record(flag, flag.flagstaff_allowed)


def flag_record(flag: Any) -> Record:
    """Returns one flag. Queries the number of its allowed users."""
    return _record(flag, count_allowed_users(flag))


def flag_summary(record: Record) -> str:
    """Returns the sentence that says which users have the flag."""
    percent, allowed = record["rollout_percent"], record["allowed"]
    if rules := _rules_that_decide(record):
        verb = "decides" if rules == "1 rule" else "decide"
        summary = f"{rules} {verb} first; for users that match none, the rollout is {percent} %."
        if allowed:
            users = "1 allowed user has" if allowed == 1 else f"{allowed:,} allowed users have"
            summary += f" {users} the flag in any case."
    else:
        summary = state_summary(State(record["state"]), percent, allowed)
    if record["forced_off"]:
        summary += f" In this process it is forced off by {forced_off.VARIABLE}."
    return summary


def _record(flag: Any, allowed: int) -> Record:
    # A project's own table may contain NULL.
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
            "forced_off": flag.key in forced_off.keys,
        },
    )


def _state_text(record: Record) -> str:
    label = state_label(State(record["state"]), record["rollout_percent"])
    if rules := _rules_that_decide(record):
        label = f"{rules}, else {label}"
    return f"{label} (forced off)" if record["forced_off"] else label


def _rules_that_decide(record: Record) -> str:
    """Returns the number of rules in words; "" without rules, and for a disabled flag."""
    rules = record["rules"] if rules_field(conf.flag_model) is not None else None
    # SQL can write any JSON.
    if not record["enabled"] or rules in (None, []):
        return ""
    count = len(rules) if isinstance(rules, list) else None
    return {None: "rules", 1: "1 rule"}.get(count, f"{count} rules")


def _rules_text(record: Record) -> str:
    return rules_text(record["rules"]) or as_json(record["rules"])


def _state_style(record: Record) -> str | None:
    return None if record["forced_off"] else _STYLES.get(State(record["state"]))


#: The state of a flag, in words and in colour.
STATE = Column("state", _state_text, style=_state_style)

_RULES = Column("rules", _rules_text)


def flag_columns(record: Record) -> list[Column]:
    """Returns a column for each field of a flag. A terminal shows the state and rules in words."""
    # Another field of this name belongs to the project.
    in_words = [STATE] if rules_field(conf.flag_model) is None else [STATE, _RULES]
    shown = {column.name: column for column in in_words}
    return [shown.get(name) or Column(name) for name in record]
