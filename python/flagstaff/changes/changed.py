"""The result of a change, in the shape of its event, and the command that undoes it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

from flagstaff._tables.rows import Kind, PrimaryKey
from flagstaff._text import Sentence, say
from flagstaff._value_schema import SECRET_FIELDS, VALUE, is_secret
from flagstaff.changes.fields import ALLOWED
from flagstaff.changes.row_states import RowState
from flagstaff.history.describe import MAX_SHORT_VALUE, describe_change
from flagstaff.history.differences import Difference, Users
from flagstaff.history.log import Action

#: The option of a command that takes the key of a flag or, with it, of a value or a segment.
KIND_OPTIONS = {Kind.FLAG: (), Kind.VALUE: ("--value",), Kind.SEGMENT: ("--segment",)}
# More users than a text names.
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
    """What a change of a flag, a value or a segment did."""

    kind: Kind
    key: str
    #: The fields that differ, as they were; None for a created row. Of allowed users, the removed.
    old: Mapping[str, Any] | None
    #: The same fields as they are now; None for a deleted row. Of allowed users, the added.
    new: Mapping[str, Any] | None
    #: False if the row was like this already: then `old` and `new` are equal.
    written: bool
    #: The version after the change, or None without a history.
    version: int | None = dataclass_field(default=None, compare=False)
    #: Primary keys that were left out, because no user has them.
    missing: tuple[PrimaryKey, ...] = dataclass_field(default=(), compare=False)
    #: Columns of the history that an undo left out: the table lacks them, or the caller named them.
    left_out: tuple[str, ...] = dataclass_field(default=(), compare=False)
    #: Which rules give users another value than the new one; None without such rules.
    kept_by_rules: Sentence | None = dataclass_field(default=None, compare=False)
    #: The numbers of actions that waited for the row, and that it has cancelled or would cancel.
    cancelled: tuple[int, ...] = dataclass_field(default=(), compare=False)
    #: The row before and after, for its impact and to know a secret value; None if unknown.
    before: RowState | None = dataclass_field(default=None, compare=False, repr=False)
    after: RowState | None = dataclass_field(default=None, compare=False, repr=False)

    @property
    def messages(self) -> tuple[Sentence]:
        """What it did, in a sentence with the key; of long values the beginning."""
        change = describe_change(self, limit=MAX_SHORT_VALUE)
        return (say("{key}: {change}", key=self.key, change=change),)

    @property
    def secret(self) -> bool:
        """Whether `old` or `new` holds a secret value, or its choices, which no text may show."""
        return any(is_secret(state.row) for state in (self.before, self.after) if state)

    @property
    def undo(self) -> Undo | None:
        """The command that undoes it; None if nothing was written, or without a history.

        Also None for a secret value: the history does not have what it was.
        """
        is_lost = any(map(self.hides, self.old or ()))
        if not self.written or not self.version or is_lost:
            return None
        return Undo(command_words(self.kind, "undo", self.key, str(self.version)))

    def hides(self, name: str) -> bool:
        """Whether this field must be masked."""
        return self.secret and name in SECRET_FIELDS

    # As of an event of the history, so that both are described alike.

    @property
    def action(self) -> Action:
        """Whether it created, changed or deleted the row."""
        if self.old is None:
            return "create"
        return "delete" if self.new is None else "change"

    @property
    def differences(self) -> tuple[Difference, ...]:
        """The changed fields but the allowed users. Secret values are left out."""
        old, new = self.old or {}, self.new or {}
        return tuple(
            # Choices and rules that are empty and stay so hide nothing.
            Difference(name, None, None, secret=True)
            if self.hides(name) and (name == VALUE or old.get(name) or new.get(name))
            else Difference(name, old.get(name), new.get(name))
            for name in new or old
            if name != ALLOWED
        )

    @property
    def added(self) -> Users:
        """The users that were added; of many the first ones."""
        return _users(self.new)

    @property
    def removed(self) -> Users:
        """The users that were removed; of many the first ones."""
        return _users(self.old)


def _users(side: Mapping[str, Any] | None) -> Users:
    pks = (side or {}).get(ALLOWED, ())
    return Users(len(pks), tuple(pks[:_MAX_USERS]))


def combined_undo(changed: Iterable[Changed]) -> Undo | None:
    """Returns the command that undoes several changes of one transaction.

    It also undoes everything else that the transaction did to flags and values. Returns None if
    nothing was written, or if one of the changes cannot be undone, such as that of a secret value.
    """
    written = [change for change in changed if change.written]
    if not written or any(change.undo is None for change in written):
        return None
    return Undo(("undo-transaction", str(max(change.version or 0 for change in written))))


def command_line(*arguments: str) -> str:
    """Returns the command with these arguments, as a line for a terminal."""
    return f"python manage.py flags {_joined(arguments)}"


def quoted_command(*arguments: str) -> str:
    """Returns the command with these arguments, in quotes for a message."""
    return f'"manage.py flags {_joined(arguments)}"'


def _joined(arguments: Sequence[str]) -> str:
    # A declared key is no plain text, which `shlex` needs.
    return shlex.join(map(str, arguments))


def command_words(kind: Kind, *words: str) -> tuple[str, ...]:
    """Returns the arguments of an action of a kind of row, its name first."""
    return words if kind is Kind.FLAG else (kind.value, *words)
