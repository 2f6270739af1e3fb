"""What a change wrote, in the shape of the event that it became: both are described alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from flagstaff._stored_value_schema import SECRET_FIELDS
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.changes.changed import Changed
from flagstaff.history.differences import Difference, Users
from flagstaff.history.log import Action

# As many as an undo command contains, which is more than a text shows.
_MAX_USERS: Final = 20


@dataclass(frozen=True)
class WrittenChange:
    """A change for `describe_change`. Of many users it has the first primary keys."""

    action: Action
    differences: tuple[Difference, ...]
    added: Users
    removed: Users


def as_written(changed: Changed) -> WrittenChange:
    """Returns what a change, or the preview of one, wrote. Does not query."""
    is_field = bool(changed.field)
    old = {changed.field: changed.old} if is_field else dict(changed.old or {})
    new = {changed.field: changed.new} if is_field else dict(changed.new or {})
    removed, added = old.pop(ALLOWED, ()), new.pop(ALLOWED, ())
    return WrittenChange(
        _action(changed),
        tuple(
            _difference(name, old.get(name), new.get(name), secret=changed.secret)
            for name in new or old
        ),
        _users(added),
        _users(removed),
    )


def _difference(name: str, old: object, new: object, *, secret: bool) -> Difference:
    """The difference of a field; without its values if they are secret, and not empty lists."""
    if secret and name in SECRET_FIELDS and (name == "value" or old or new):
        return Difference(name, None, None, secret=True)
    return Difference(name, old, new)


def _action(changed: Changed) -> Action:
    if changed.field or (changed.old is not None and changed.new is not None):
        return "change"
    return "create" if changed.old is None else "delete"


def _users(pks: Sequence[object]) -> Users:
    return Users(len(pks), tuple(pks[:_MAX_USERS]))
