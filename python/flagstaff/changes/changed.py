"""What a change did, and what takes it back."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field as with_rule
from typing import Any

from flagstaff.history.kinds import Kind

__all__ = ["Changed", "Undo", "combined_undo", "undo_by_version"]

_VALUE_OPTION = {Kind.FLAG: (), Kind.VALUE: ("--value",)}


@dataclass(frozen=True)
class Undo:
    """What takes a change back."""

    #: What is typed after "manage.py flags".
    arguments: tuple[str, ...]

    @property
    def command(self) -> str:
        """The line for a terminal."""
        return f"manage.py flags {shlex.join(self.arguments)}"


@dataclass(frozen=True)
class Changed:
    """What a change did.

    `field` is "" where it is about more than one: a flag that was edited, created, deleted or
    restored. Then `old` and `new` are dicts of the fields that differ, or None where there was no
    flag before, or is none after. For allowed users, `old` has the removed users, and `new` the
    added ones.
    """

    key: str
    field: str
    old: Any
    new: Any
    #: False where it was so already, and nothing was written.
    written: bool
    #: The version of the flag or value now, or None where there is no history.
    version: int | None = with_rule(default=None, compare=False)
    #: None where nothing was written, or where it cannot be taken back.
    undo: Undo | None = with_rule(default=None, compare=False)
    #: Whether a value in it is secret, and is to be shown to nobody who has not asked for it.
    secret: bool = with_rule(default=False, compare=False)
    #: Users who are not there any more, and were left out.
    missing: tuple[Any, ...] = with_rule(default=(), compare=False)


def undo_by_version(kind: Kind, key: str, version: int | None) -> Undo | None:
    """Whatever it was, the history can take it back."""
    if not version:
        return None
    return Undo(("undo", key, str(version), *_VALUE_OPTION[kind]))


def combined_undo(changed: Iterable[Changed]) -> Undo | None:
    """What takes back several changes of one transaction; None where a secret would not come back.

    It takes back whatever else that transaction did to flags and values, too.
    """
    written = [one for one in changed if one.written]
    if not written or any(one.undo is None or not one.version for one in written):
        return None
    return Undo(("undo", "--transaction", str(max(one.version or 0 for one in written))))
