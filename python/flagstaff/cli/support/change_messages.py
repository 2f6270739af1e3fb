"""The sentences that a verb prints about a change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from flagstaff._text.json_text import UnreadableJson
from flagstaff._text.lists import join_some
from flagstaff._text.truncated import MAX_VALUE, truncated
from flagstaff.changes import Changed
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.cli.support.cells import as_json
from flagstaff.history.describe import SECRET, describe_value

__all__ = ["VALUE", "change_messages"]

#: The field that may be secret.
VALUE = "value"


def change_messages(changed: Changed) -> Iterator[str]:
    """Yields a line for each field, and for users that were skipped. Secret values are masked."""
    for text in _differences(changed) if changed.written else [_up_to_date(changed)]:
        yield f"{changed.key}: {text}"
    if changed.missing:
        yield f"skipped users that do not exist: {join_some(changed.missing)}"


def _differences(changed: Changed) -> Iterator[str]:
    if changed.field:
        yield _field(changed, changed.field, changed.old, changed.new)
    elif changed.new is None:
        yield "deleted"
    elif changed.old is None:
        yield "created"
        for name, new in _filled(changed.new):
            yield _field(changed, name, None, new)
    else:
        for name, new in changed.new.items():
            yield _field(changed, name, changed.old.get(name), new)


def _filled(fields: Mapping[str, object]) -> list[tuple[str, object]]:
    """Returns the fields of a new row that are not empty."""
    return [(name, value) for name, value in fields.items() if value and name != "key"]


def _up_to_date(changed: Changed) -> str:
    if not changed.field:
        return "already deleted" if changed.new is None else "already up to date"
    if changed.field == ALLOWED:
        return "allowed_users is already up to date"
    return f"{changed.field} is already {_text(changed, changed.field, changed.new)}"


def _field(changed: Changed, name: str, old: object, new: object) -> str:
    if name == ALLOWED:
        return f"allowed_users {_added_and_removed(new, old)}"
    return f"{name} {_text(changed, name, old)} → {_text(changed, name, new)}"


def _added_and_removed(added: object, removed: object) -> str:
    signs = (("+", added), ("-", removed))
    return " ".join(
        f"{sign}{join_some(pks)}" for sign, pks in signs if isinstance(pks, Sequence) and pks
    )


def _text(changed: Changed, name: str, value: object) -> str:
    if isinstance(value, UnreadableJson):
        return describe_value(value)
    return SECRET if changed.secret and name == VALUE else truncated(as_json(value), MAX_VALUE)
