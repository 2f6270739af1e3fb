"""The state of a value: what decides which users get which result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flagstaff._tables.bucket_units import BUCKET_BY, USER
from flagstaff._tables.decoding import is_secret
from flagstaff._tables.optional_fields import RULES, value_rule_fields
from flagstaff.conf import conf


@dataclass(frozen=True)
class ValueState:
    """The fields of a value that decide about results.

    NULL in a project's own columns is no rules, and the unit "user".
    """

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
        fields = value_rule_fields(conf.value_model)
        rules, unit = (getattr(row, one) if one in fields else None for one in (RULES, BUCKET_BY))
        unit = USER if unit is None else unit
        return cls(row.value, [] if rules is None else rules, unit, is_secret(row))

    @property
    def has_rules(self) -> bool:
        """Whether the value has rules, be they readable or not."""
        return bool(self.rules != [])
