"""What has a history: flags, with their allow-lists, and values."""

from __future__ import annotations

from enum import Enum
from typing import Any

from django.db.models import Model

from flagstaff._tables.rows import flag_row, value_row
from flagstaff.conf import conf

__all__ = ["ALLOWED_USERS", "Kind"]

#: The relation of the entries that hold users, not rows.
ALLOWED_USERS = "m"


class Kind(Enum):
    """A flag or a value. A flag's allow-list is a part of it."""

    FLAG = "flag"
    VALUE = "value"

    @property
    def relations(self) -> tuple[str, ...]:
        """What the entries say that they are about."""
        return ("f", ALLOWED_USERS) if self is Kind.FLAG else ("k",)

    @property
    def row_relation(self) -> str:
        """The relation of those entries that hold rows."""
        return self.relations[0]

    @property
    def model(self) -> type[Model]:
        """The model whose rows they are."""
        return conf.flag_model if self is Kind.FLAG else conf.value_model

    def row(self, key: str, *, lock: bool = False) -> Any:
        """The row that has the key. Raises UnknownFlagError or UnknownValueError."""
        return (flag_row if self is Kind.FLAG else value_row)(key, lock=lock)

    @classmethod
    def of(cls, relation: str) -> Kind:
        """The kind that entries of this relation are about."""
        return cls.VALUE if relation in cls.VALUE.relations else cls.FLAG
