"""The result of a change, the command that undoes it, and its description for people."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

from flagstaff._stored_value_schema import SECRET_FIELDS
from flagstaff._tables.rows import PrimaryKey
from flagstaff._words.text import MAX_VALUE, Text
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.history.differences import Difference, Users
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Action

#: The option of a command that takes the key of a flag or, with it, of a value or a segment.
KIND_OPTIONS = {Kind.FLAG: (), Kind.VALUE: ("--value",), Kind.SEGMENT: ("--segment",)}
# As many users as a person would type in a command, which is more than a text shows.
_MAX_USERS = 20


@dataclass(frozen=True)
class Undo:
    """The command that undoes a change."""

    #: The arguments after "manage.py flags".
    arguments: tuple[str, ...]

    @property
    def command(self) -> str:
        """The whole line for a terminal."""
        return command_line(*self.arguments)


@dataclass(frozen=True)
class Changed:
    """What a change did.

    `field` is "" if the change is about several fields: an update, a creation, a deletion or a
    restored version. Then `old` and `new` are dicts of the fields that differ; `old` is None for a
    created row, and `new` for a deleted one. For allowed users, `old` has the removed users, and
    `new` the added ones.
    """

    key: str
    field: str
    old: Any
    new: Any
    #: False if the row was like this already, so that nothing was written.
    written: bool
    #: The version after the change, or None without a history.
    version: int | None = dataclass_field(default=None, compare=False)
    #: None if nothing was written, or if the change cannot be undone.
    undo: Undo | None = dataclass_field(default=None, compare=False)
    #: True if `old` or `new` holds a secret value, or its choices. Do not show these fields unless
    #: a user asks for them.
    secret: bool = dataclass_field(default=False, compare=False)
    #: Primary keys that were left out, because no user has them.
    missing: tuple[PrimaryKey, ...] = dataclass_field(default=(), compare=False)
    #: Which rules give users another value than the new one; None without such rules.
    kept_by_rules: Text | None = dataclass_field(default=None, compare=False)

    def hides(self, name: str) -> bool:
        """Whether this field must be masked."""
        return self.secret and name in SECRET_FIELDS


def command_line(*arguments: str) -> str:
    """Returns the command with these arguments, as a line for a terminal."""
    return f"python manage.py flags {shlex.join(arguments)}"


def quoted_command(*arguments: str) -> str:
    """Returns the command with these arguments, in quotes for a message."""
    return f'"manage.py flags {shlex.join(arguments)}"'


def command_words(kind: Kind, *words: str) -> tuple[str, ...]:
    """Returns the arguments of an action of a kind of row, its name first."""
    return words if kind is Kind.FLAG else (kind.value, *words)


# Commands that undo.


def undo_by_version(kind: Kind, key: str, version: int | None) -> Undo | None:
    """Returns the `undo` command for a version; None without a history."""
    return Undo(command_words(kind, "undo", key, str(version))) if version else None


def undo_of_creation(kind: Kind, key: str) -> Undo:
    """Returns the command that deletes a row."""
    return Undo(command_words(kind, "delete", key, "--yes"))


def undo_of_field(key: str, name: str, old: object) -> Undo | None:
    """Returns the command that sets a field to its old value; None if a person cannot type it."""
    find = _ARGUMENTS.get(name)
    arguments = find and find(key, old)
    return Undo(arguments) if arguments else None


def undo_of_users(
    key: str, added: Sequence[PrimaryKey], removed: Sequence[PrimaryKey], version: int | None
) -> Undo | None:
    """Returns the command that removes the added users, or adds the removed ones."""
    typed = [str(pk) for pk in added or removed]
    if version and (len(typed) > _MAX_USERS or any(pk.startswith("-") for pk in typed)):
        return undo_by_version(Kind.FLAG, key, version)
    return Undo(("disallow" if added else "allow", key, *typed))


def _set_value(key: str, old: object) -> tuple[str, ...] | None:
    text = json.dumps(old, ensure_ascii=False)
    text = text if text.isprintable() else json.dumps(old)
    # argparse takes -5 for a number, and -1e-05 for an option.
    is_an_option = text.startswith("-") and "e" in text
    is_typed = old is not None and len(text) <= MAX_VALUE and not is_an_option
    return ("value", "set", key, text) if is_typed else None


_ARGUMENTS: dict[str, Callable[[str, Any], tuple[str, ...] | None]] = {
    "enabled": lambda key, old: ("on" if old else "off", key),
    "rollout_percent": lambda key, old: ("rollout", key, str(old)),
    "value": _set_value,
}


def combined_undo(changed: Iterable[Changed]) -> Undo | None:
    """Returns the command that undoes several changes of one transaction.

    It also undoes everything else that the transaction did to flags and values. Returns None if
    nothing was written, or if one of the changes cannot be undone, such as that of a secret value.
    """
    written = [change for change in changed if change.written]
    if not written or any(change.undo is None or not change.version for change in written):
        return None
    return Undo(("undo-transaction", str(max(change.version or 0 for change in written))))


# What a change wrote, in the shape of the event that it became: both are described alike.


@dataclass(frozen=True)
class WrittenChange:
    """A change for `describe_change`. Of many users it has the first primary keys."""

    action: Action
    differences: tuple[Difference, ...]
    added: Users
    removed: Users


def as_written(changed: Changed) -> WrittenChange:
    """Returns what a change, or the preview of one, wrote. Does not query."""
    name = changed.field
    old = {name: changed.old} if name else dict(changed.old or {})
    new = {name: changed.new} if name else dict(changed.new or {})
    removed, added = old.pop(ALLOWED, ()), new.pop(ALLOWED, ())
    action: Action = "change"
    if not name and (changed.old is None or changed.new is None):
        action = "create" if changed.old is None else "delete"
    differences = (
        # Choices and rules that are empty and stay so hide nothing.
        Difference(name, None, None, secret=True)
        if changed.hides(name) and (name == "value" or old.get(name) or new.get(name))
        else Difference(name, old.get(name), new.get(name))
        for name in new or old
    )
    return WrittenChange(action, tuple(differences), _users(added), _users(removed))


def _users(pks: Sequence[object]) -> Users:
    return Users(len(pks), tuple(pks[:_MAX_USERS]))
