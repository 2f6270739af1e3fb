"""What a file says, checked as far as that goes without the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flagstaff.history.describe import SECRET
from flagstaff.history.kinds import Kind
from flagstaff.serialization.problems import Path, Problem, Problems

__all__ = ["FORMAT", "MASK", "SECTIONS", "Document", "Entry", "Problem", "UserRef"]

#: What a file of this version says under "flagstaff". What is added later raises it.
FORMAT = 1
#: Stands for a secret value. It is never written to the database.
MASK = SECRET
SECTIONS = {Kind.FLAG: "flags", Kind.VALUE: "values"}


@dataclass(frozen=True)
class UserRef:
    """Somebody on an allow-list: a username, or where that would not do a primary key."""

    name: str | None = None
    pk: Any = None

    def __str__(self) -> str:
        return repr(self.pk) if self.name is None else repr(self.name)


@dataclass(frozen=True)
class Entry:
    """What a file says of one flag or value. What it does not name is left as it is."""

    kind: Kind
    key: str
    #: By the names of the model's fields, as JSON has them.
    fields: Mapping[str, Any]
    users: tuple[UserRef, ...] | None = None
    #: The version that the file was written at.
    version: int | None = None

    @property
    def path(self) -> Path:
        """Where it stands."""
        return SECTIONS[self.kind], self.key


@dataclass(frozen=True)
class Document:
    """A file that was read, together with what is wrong with it."""

    entries: tuple[Entry, ...]
    #: The sections that it has. One that it has not is left alone.
    kinds: frozenset[Kind]
    #: Whether it has some keys alone, so that what it lacks means nothing.
    partial: bool = False
    problems: Problems = field(default_factory=Problems, compare=False, repr=False)
