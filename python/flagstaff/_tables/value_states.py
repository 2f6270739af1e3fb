"""The state of a value: what decides which users get which result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flagstaff._tables.bucket_units import USER


@dataclass(frozen=True)
class ValueState:
    """The fields of a value that decide about results."""

    #: The value itself, which users have for whom no rule decides.
    value: Any
    #: Whatever JSON SQL has written.
    rules: Any = field(default_factory=list)
    bucket_by: str = USER
    #: Whether no text may show the value or what its rules give.
    is_secret: bool = False

    @classmethod
    def of(cls, row: Any) -> ValueState:
        """Returns the state of a row of VALUE_MODEL."""
        return cls(row.value, row.rules, row.bucket_by, row.secret)

    @property
    def has_rules(self) -> bool:
        """Whether the value has rules, be they readable or not."""
        return bool(self.rules != [])
