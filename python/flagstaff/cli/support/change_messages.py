"""The sentences that a verb prints about a change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from django.core.exceptions import FieldDoesNotExist
from django.db.models import Field

from flagstaff._tables.bucket_units import BUCKET_BY
from flagstaff._tables.rows import PrimaryKey
from flagstaff._words.cells import as_json
from flagstaff._words.json_text import UnreadableJson
from flagstaff._words.lists import join_some
from flagstaff._words.mask import MASK
from flagstaff._words.truncated import MAX_VALUE, truncated
from flagstaff.changes import Changed
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.conf import conf
from flagstaff.history.describe import describe_json_change, describe_value

#: What a new bucketing unit does.
REASSIGNED = (
    "the new unit reassigns every user; if the flag is on for a percentage, some users gain it and "
    "others lose it"
)
# The field that is always shown.
_VALUE = "value"

# The key begins the line, and the time of creation says nothing about the state.
_UNNAMED = ("key", "created_at")

#: Usernames by primary key, of the users that may be named.
Names = Mapping[PrimaryKey, str]


def change_messages(changed: Changed, names: Names) -> Iterator[str]:
    """Yields a line for each field, and for users that were skipped. Secret values are masked."""
    for text in _differences(changed, names) if changed.written else [_up_to_date(changed)]:
        yield f"{changed.key}: {text}"
    if changed.missing:
        yield f"skipped users that do not exist: {join_some(changed.missing)}"


def _differences(changed: Changed, names: Names) -> Iterator[str]:
    if changed.field:
        yield _field(changed, changed.field, changed.old, changed.new, names)
    elif changed.new is None:
        yield "deleted"
    elif changed.old is None:
        yield ", ".join(["created", *_created(changed, names)])
    else:
        for name, new in changed.new.items():
            yield _field(changed, name, changed.old.get(name), new, names)
        if BUCKET_BY in changed.new:
            yield REASSIGNED


def _created(changed: Changed, names: Names) -> Iterator[str]:
    """The value, and the fields of a new row that differ from their defaults."""
    for name, new in changed.new.items():
        if name == ALLOWED:
            yield _allowed(new, (), names)
        elif name == _VALUE or not (name in _UNNAMED or _is_default(changed, name, new)):
            yield f"{name} {_text(changed, name, new)}"


def _is_default(changed: Changed, name: str, new: object) -> bool:
    model = conf.value_model if _VALUE in changed.new else conf.flag_model
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:  # the column of a foreign key
        return not new
    return not new or (isinstance(field, Field) and bool(new == field.get_default()))


def _up_to_date(changed: Changed) -> str:
    if not changed.field:
        return "already deleted" if changed.new is None else "already up to date"
    if changed.field == ALLOWED:
        return "the allowed users are already up to date"
    return f"{changed.field} is already {_text(changed, changed.field, changed.new)}"


def _field(changed: Changed, name: str, old: object, new: object, names: Names) -> str:
    if name == ALLOWED:
        return _allowed(new, old, names)
    is_value = name == _VALUE and not changed.secret
    parts = describe_json_change(old, new) if is_value else None
    if parts is not None:
        return f"{name} {parts}"
    return f"{name} {_text(changed, name, old)} → {_text(changed, name, new)}"


def _allowed(added: object, removed: object, names: Names) -> str:
    signs = (("+", added), ("-", removed))
    users = [
        join_some(f"{sign}{names.get(pk, pk)}" for pk in pks)
        for sign, pks in signs
        if isinstance(pks, Sequence) and pks
    ]
    return f"allowed users: {', '.join(users)}"


def _text(changed: Changed, name: str, value: object) -> str:
    if isinstance(value, UnreadableJson):
        return describe_value(value)
    return MASK if changed.hides(name) else truncated(as_json(value), MAX_VALUE)
