"""Rows as they are, would be, or are expected to be: in memory, without a lock or a write.

The rows before and after a change make an impact, which `changes.impact` counts. The functions that
write plan on such rows in a `previewed` block.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from django.db.models import Model

from flagstaff._tables.rows import (
    CONDITIONS,
    RULES,
    Fields,
    Kind,
    Row,
    find_field,
    model_of,
    segment_model,
)
from flagstaff._tables.states import FlagState, ValueState

#: The kind and the key of a flag, a value or a segment; None is an experiment.
Key: TypeAlias = "tuple[Kind | None, str]"
#: Whether it is a segment, and the key: flags and values have no keys in common.
Place: TypeAlias = tuple[bool, str]


@dataclass(frozen=True)
class RowState:
    """A row as it is or would be, in memory."""

    kind: Kind
    #: None if there is no row.
    row: Any
    #: The primary keys of the allowed users of a flag; None for those in the database.
    allowed_users: Collection[object] | None = None

    def after(self, fields: Mapping[str, object]) -> RowState:
        """Returns the state with these fields in place of its own. Does not validate."""
        row = copied(self.row)
        assign(row, fields)
        return replace(self, row=row)

    @property
    def place(self) -> Place | None:
        """What no two rows have in common; None if there is no row."""
        return None if self.row is None else (self.kind is Kind.SEGMENT, str(self.row.key))

    @property
    def state(self) -> FlagState | ValueState | None:
        """What decides about the results of a flag or a value; None if there is no row."""
        if self.row is None:
            return None
        return FlagState.of(self.row) if self.kind is Kind.FLAG else ValueState.of(self.row)


def copied(row: Any) -> Any:
    """Returns a copy of a row. Django's own needs an installed app with the model."""
    new = object.__new__(type(row))
    vars(new).update(vars(row), _state=copy(row._state))
    return new


def assign(row: Row, fields: Fields) -> None:
    """Sets these fields of a row in memory."""
    for name, new in fields.items():
        # Of a foreign key, the history has the value of the column.
        field = None if isinstance(new, Model) else find_field(model_of(row), name)
        setattr(row, getattr(field, "attname", name), new)


def key_of(state: RowState) -> Key:
    return state.kind, state.row.key


def rules_of(row: Any) -> object:
    """Returns the rules of a row, or the conditions of a segment."""
    return getattr(row, CONDITIONS if isinstance(row, segment_model()) else RULES, None)


@dataclass(frozen=True, eq=False)
class RuleUse:
    """A flag, a value, an experiment or a segment whose rules name a segment or a flag."""

    #: None for an experiment.
    kind: Kind | None
    #: The row of a flag, a value or a segment; the `OtherRules` of an experiment.
    row: Any

    @property
    def key(self) -> str:
        """The key of the flag, value, experiment or segment."""
        return str(self.row.key)

    @property
    def rules(self) -> object:
        """Its rules, or the conditions of a segment."""
        return rules_of(self.row)

    @property
    def row_id(self) -> tuple[Kind | None, str]:
        """The kind and the primary key of the row; the key of an experiment."""
        return self.kind, self.key if self.kind is None else str(self.row.pk)

    @property
    def model(self) -> type[Model]:
        """The model of the row that has the rules."""
        return self.row.model if self.kind is None else self.kind.model

    @property
    def is_active(self) -> bool:
        """Whether its rules decide about results now."""
        if self.kind is None:
            return bool(self.row.is_active)
        return bool(getattr(self.row, "enabled", True))

    def label(self, key: str = "") -> str:
        """Returns the key of a flag, or of another row with what it is, or another text for it."""
        text = key or self.key
        return text if self.kind is Kind.FLAG else f"{self.model._meta.verbose_name} {text}"


@dataclass(frozen=True)
class Effect:
    """What a change means for the users of one flag, value or experiment."""

    #: The number of users; None if they are not counted.
    users: int | None
    #: How many gain a flag, and how many lose it.
    gain: int = 0
    lose: int = 0
    #: How many have a flag before and after.
    on: tuple[int, int] = (0, 0)
    #: How many get another result.
    changed: int = 0
    #: Whether anonymous users have a flag before and after.
    anonymous: tuple[bool, bool] = (False, False)
    #: Whether anonymous users get another result.
    anonymous_changed: bool = False
    #: The attributes that only a call can answer: conditions on them count as false.
    ignored: tuple[str, ...] = ()
    #: Whether nothing is ignored before and after: no rule reads it, or the fields alone decide.
    is_certain: tuple[bool, ...] = (False, False)
    #: The flags that the rules need and that the environment sets in this process: they are counted
    #: as they are stored.
    forced: tuple[str, ...] = ()
    #: Whether the numbers are estimated from a sample of the users.
    is_estimate: bool = False
    #: Whether texts hide small numbers, from a person who may not view users.
    hides_small: bool = False
    #: Whether the rules read attributes of users: then every number is hidden from this person.
    reads_users: bool = False
    #: Why the users are not counted; empty if they are.
    problem: str = ""
    #: The code of the project that decides who has the flag unless it is off; mostly empty.
    code: str = ""

    def as_dict(self) -> dict[str, object]:
        """Returns the numbers as a dict that JSON can hold."""
        hidden = ("is_certain", "hides_small", "reads_users", "code")
        return {name: value for name, value in vars(self).items() if name not in hidden}


class Impact(dict[Key, Effect]):
    """The effects on flags, values and experiments whose results may differ, by kind and key."""

    def __init__(self, before: Iterable[RowState], after: Iterable[RowState]) -> None:
        super().__init__()
        #: The changed rows by kind and key; of what uses them, the same row in both.
        self.before: dict[Key, RowState] = {key_of(state): state for state in before if state.row}
        self.after: dict[Key, RowState] = {key_of(state): state for state in after if state.row}
        self.sides = self.before, self.after
        #: The keys of the rows that change themselves.
        self.rows: Sequence[Key] = [*dict.fromkeys([*self.before, *self.after])]
        #: What uses the segments and flags that change, also through others.
        self.uses: Sequence[RuleUse] = ()
        #: Those of it whose rights count: what never waits, such as a kill, needs its own only.
        self.given: Sequence[RuleUse] = ()
        #: How many different users get another result; None if they are not counted.
        self.changed: int | None = None

    def as_dict(self, kind: Kind | None, key: str) -> dict[str, object] | None:
        """Returns the effect on a row, and on all that uses it, as a dict for JSON."""
        effect = self.get((kind, key))
        own = None if effect is None else effect.as_dict()
        if not self.uses:
            return own
        uses = [
            {
                "kind": use.kind.value if use.kind else str(use.model._meta.verbose_name),
                "key": use.key,
                "active": use.is_active,
                "impact": effect and effect.as_dict(),
            }
            for use in self.uses
            for effect in (self.get((use.kind, use.key)),)
        ]
        return {**(own or {}), "different_users": self.changed, "uses": uses}


# Previews.


@dataclass
class ExpectedRows:
    """What previews read in the place of the database: then they make no queries for it."""

    #: By kind and key. A key that is missing has no row.
    rows: dict[tuple[Kind, str], RowState] = field(default_factory=dict)
    #: The primary keys of the users who exist, of those who would be allowed.
    users: AbstractSet[object] = frozenset()
    #: What uses each segment and flag; None before somebody asks.
    uses: defaultdict[Any, list[RuleUse]] | None = None


_present = ExpectedRows()
_in_memory: ContextVar[ExpectedRows | None] = ContextVar("flagstaff_in_memory", default=None)


@contextmanager
def previewed(expected: ExpectedRows | None = None) -> Iterator[None]:
    """Lets the functions that write validate and return, in the block, without lock or write.

    They take the rows of the database, or those that are `expected`, here or in a block around.
    """
    token = _in_memory.set(expected or _in_memory.get() or _present)
    try:
        yield
    finally:
        _in_memory.reset(token)


def is_preview() -> bool:
    """Returns True in a `previewed` block."""
    return _in_memory.get() is not None


def expectation() -> ExpectedRows | None:
    """Returns what a `previewed` block expects; None if it takes the rows of the database."""
    expected = _in_memory.get()
    return None if expected is _present else expected
