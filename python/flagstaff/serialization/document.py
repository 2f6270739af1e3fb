"""The content of a file, validated as far as possible without the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flagstaff.exceptions import Path, Problem
from flagstaff.history.kinds import Kind
from flagstaff.serialization.problems import Problems

__all__ = ["FORMAT_VERSION", "SECTIONS", "Document", "Item", "Problem", "UserRef"]

#: The number under "flagstaff" at the top of a file. Any addition to the format raises it.
FORMAT_VERSION = 1
#: In the order of a file: segments first, because rules name them.
SECTIONS = {Kind.SEGMENT: "segments", Kind.FLAG: "flags", Kind.VALUE: "values"}


@dataclass(frozen=True)
class UserRef:
    """An allowed user in a file: by username, or by primary key if the username is not unique."""

    name: str | None = None
    pk: int | str | None = None

    def __str__(self) -> str:
        return repr(self.pk) if self.name is None else repr(self.name)


@dataclass(frozen=True)
class Item:
    """One flag, value or segment in a file. An import leaves the fields that it lacks unchanged."""

    kind: Kind
    key: str
    #: JSON values by the names of the model's fields.
    fields: Mapping[str, object]
    #: All allowed users; None leaves them unchanged.
    users: tuple[UserRef, ...] | None = None
    #: The version in the database when the file was exported.
    version: int | None = None

    @property
    def path(self) -> Path:
        """Its place in the file."""
        return SECTIONS[self.kind], self.key


@dataclass(frozen=True)
class Document:
    """A file that was read, with its problems."""

    items: tuple[Item, ...]
    #: The sections that the file has. An import ignores the others.
    kinds: frozenset[Kind]
    #: True if the file was exported with some keys only: missing keys then mean nothing.
    partial: bool = False
    problems: Problems = field(default_factory=Problems, compare=False, repr=False)
