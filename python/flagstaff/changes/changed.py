"""The result of a change, and the command that undoes it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

from flagstaff._stored_value_schema import SECRET_FIELDS
from flagstaff._tables.rows import PrimaryKey
from flagstaff._words.text import Text
from flagstaff.history.kinds import Kind

#: The option of a command that takes the key of a flag or, with it, of a value or a segment.
KIND_OPTIONS = {Kind.FLAG: (), Kind.VALUE: ("--value",), Kind.SEGMENT: ("--segment",)}
#: The verb that deletes a flag, a value or a segment.
DELETE_VERBS = {
    Kind.FLAG: ("delete",),
    Kind.VALUE: ("value", "delete"),
    Kind.SEGMENT: ("segment", "delete"),
}


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


def undo_by_version(kind: Kind, key: str, version: int | None) -> Undo | None:
    """Returns the `undo` command for a version; None without a history."""
    if not version:
        return None
    return Undo(("undo", key, str(version), *KIND_OPTIONS[kind]))


def combined_undo(changed: Iterable[Changed]) -> Undo | None:
    """Returns the command that undoes several changes of one transaction.

    It also undoes everything else that the transaction did to flags and values. Returns None if
    nothing was written, or if one of the changes cannot be undone, such as that of a secret value.
    """
    written = [change for change in changed if change.written]
    if not written or any(change.undo is None or not change.version for change in written):
        return None
    return Undo(("undo", "--transaction", str(max(change.version or 0 for change in written))))
