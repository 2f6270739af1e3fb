"""Changes values: set_value, update_value, create_value, delete_value."""

from __future__ import annotations

import json
from typing import Any

from flagstaff._tables.model_fields import RULES
from flagstaff._tables.rows import Fields
from flagstaff._words.text import MAX_VALUE
from flagstaff.changes.changed import Changed
from flagstaff.changes.row_changes import create_row, delete_row, set_field, update_row
from flagstaff.changes.undo import restore_row, undo_event
from flagstaff.history.kinds import Kind


def set_value(
    key: str, value: object, *, everyone: bool = False, expect_version: int | None = None
) -> Changed:
    """Sets a value to anything that JSON can hold, except None.

    Users for whom a rule decides keep the value of the rule, as `kept_by_rules` of the result says.
    With `everyone`, the rules are removed, too, so that all users get the value.

    Raises UnknownValueError, ConflictError, or InvalidChangeError if JSON cannot hold it.
    """
    if everyone:
        return update_row(Kind.VALUE, key, {"value": value, RULES: []}, expect_version)

    def undo_arguments(old: object) -> tuple[str, ...] | None:
        text = None if old is None else _as_argument(old)
        # argparse takes -5 for a number, and -1e-05 for an option.
        is_an_option = text is not None and text.startswith("-") and "e" in text
        return None if text is None or is_an_option else ("value", "set", key, text)

    return set_field(Kind.VALUE, key, "value", value, expect_version, undo_arguments)


def update_value(
    key: str,
    fields: Fields,
    *,
    expect_version: int | None = None,
    expect: Fields | None = None,
) -> Changed:
    """Changes several fields of a value's row at once. `expect` works as in `update`.

    Raises UnknownValueError, ConflictError, or InvalidChangeError.
    """
    return update_row(Kind.VALUE, key, fields, expect_version, expect)


def create_value(key: str, value: object, **fields: Any) -> Changed:
    """Creates a value. Does nothing if an equal one exists.

    Raises InvalidChangeError if a different value, a flag or an experiment has the key, or if a
    field is not valid.
    """
    return create_row(Kind.VALUE, key, {"value": value, **fields})


def delete_value(key: str, *, expect_version: int | None = None) -> Changed:
    """Deletes a value, so that `get_value` returns its default. Does nothing the second time.

    Raises UnknownValueError if it never existed, or ConflictError.
    """
    return delete_row(Kind.VALUE, key, expect_version)


def undo(key: str, version: int | None = None, *, expect_version: int | None = None) -> Changed:
    """Undoes one event of a value: that of the entry `version`, or the newest.

    Newer changes of other fields stay. Raises UnknownValueError, NoHistoryError, ConflictError if
    the same fields were changed again, and InvalidChangeError for another version.
    """
    return undo_event(Kind.VALUE, key, version, expect_version=expect_version)


def restore(key: str, *, to: int, expect_version: int | None = None) -> Changed:
    """Restores a value as the entry `to` left it: undoes all newer entries.

    Raises as `undo`.
    """
    return restore_row(Kind.VALUE, key, to=to, expect_version=expect_version)


def _as_argument(value: object) -> str | None:
    """The text that `value set` reads as this value; None if it is long."""
    text = json.dumps(value, ensure_ascii=False)
    text = text if text.isprintable() else json.dumps(value)
    return text if len(text) <= MAX_VALUE else None
