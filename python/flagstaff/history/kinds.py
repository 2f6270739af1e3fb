"""What has a history: flags, with their allowed users, and values."""

from __future__ import annotations

from enum import Enum

from django.db.models import Model

from flagstaff._tables.rows import Row, find_row, flag_row, value_row
from flagstaff.conf import conf

__all__ = ["ALLOWED_USERS", "Kind"]

#: The relation of the entries that hold users instead of rows.
ALLOWED_USERS = "m"


class Kind(Enum):
    """A flag or a value. The allowed users are part of the flag."""

    FLAG = "flag"
    VALUE = "value"

    @property
    def relations(self) -> tuple[str, ...]:
        """The relations of all entries about this kind."""
        return ("f", ALLOWED_USERS) if self is Kind.FLAG else ("k",)

    @property
    def row_relation(self) -> str:
        """The relation of the entries that hold rows."""
        return self.relations[0]

    @property
    def model(self) -> type[Model]:
        """FLAG_MODEL or VALUE_MODEL."""
        return conf.flag_model if self is Kind.FLAG else conf.value_model

    def row(self, key: str, *, lock: bool = False) -> Row:
        """Returns the row of a key. Raises UnknownFlagError or UnknownValueError."""
        return flag_row(key, lock=lock) if self is Kind.FLAG else value_row(key, lock=lock)

    def find(self, key: str, *, lock: bool = False) -> Row | None:
        """Returns the row of a key, or None if there is none."""
        return find_row(self.model, key, lock=lock)

    @classmethod
    def of(cls, relation: str) -> Kind:
        """Returns the kind that entries of this relation are about."""
        return cls.VALUE if relation in cls.VALUE.relations else cls.FLAG
