"""A flag as a record, and the sentence about its users."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from django.db.models import Count, Q

from flagstaff._engine import forced_off
from flagstaff._tables.bucket_units import BUCKET_BY
from flagstaff._tables.flag_states import (
    FlagState,
    ReleaseState,
    state_label,
    state_of,
    state_summary,
)
from flagstaff._tables.rows import all_rows
from flagstaff._words.cells import Column, Record, as_json, with_fields
from flagstaff._words.rule_text import rules_text
from flagstaff.changes.allowed_users import count_allowed_users
from flagstaff.cli.support.ownership import TAGS_COLUMN
from flagstaff.conf import conf

_STYLES = {
    ReleaseState.ALL: "SUCCESS",
    ReleaseState.ROLLOUT: "WARNING",
    ReleaseState.BY_RULES: "WARNING",
    ReleaseState.ALLOWED_USERS: "WARNING",
    ReleaseState.NO_USERS: "WARNING",
}


def flag_records(condition: Q) -> Iterator[Record]:
    """Yields the flags that match, by key. One query."""
    flags = all_rows(conf.flag_model).filter(condition).order_by("key")
    # The annotation's name must not clash with a field of the project's model.
    for flag in flags.annotate(flagstaff_allowed=Count("allowed_users")):
        yield _record(flag, flag.flagstaff_allowed)


def flag_record(flag: Any, allowed: Collection[object] | None = None) -> Record:
    """Returns one flag. Queries the number of its allowed users, unless they are given."""
    return _record(flag, count_allowed_users(flag) if allowed is None else len(allowed))


def flag_summary(record: Record) -> str:
    """Returns the sentence that says which users have the flag."""
    summary = state_summary(FlagState.of_fields(record), record["allowed"])
    if record["forced_off"]:
        summary += f" In this process it is forced off by {forced_off.VARIABLE}."
    return summary


def _record(flag: Any, allowed: int) -> Record:
    return with_fields(
        flag,
        {
            "key": flag.key,
            "state": state_of(FlagState.of(flag), allowed).value,
            "enabled": flag.enabled,
            "rollout_percent": flag.rollout_percent,
            "allowed": allowed,
            "forced_off": flag.key in forced_off.keys,
        },
    )


def record_unit(record: Record) -> str:
    """Returns the bucketing unit of a flag."""
    return str(record[BUCKET_BY])


def _state_text(record: Record) -> str:
    label = state_label(FlagState.of_fields(record), record["allowed"])
    return f"{label} (forced off)" if record["forced_off"] else label


def _rules_text(record: Record) -> str:
    return rules_text(record["rules"]) or as_json(record["rules"])


def _state_style(record: Record) -> str | None:
    return None if record["forced_off"] else _STYLES.get(ReleaseState(record["state"]))


#: The state of a flag, in words and in colour.
STATE = Column("state", _state_text, style=_state_style)

_RULES = Column("rules", _rules_text)


def flag_columns(record: Record) -> list[Column]:
    """Returns a column for each field of a flag. A terminal shows some of them in words."""
    in_words = {one.name: one for one in (_RULES, TAGS_COLUMN, STATE)}
    return [in_words.get(name) or Column(name) for name in record]
