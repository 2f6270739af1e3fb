"""What has a history: flags, with their allowed users, values, and segments."""

from __future__ import annotations

from enum import Enum

from django.db.models import Model

from flagstaff._tables.model_fields import segment_model
from flagstaff._tables.rows import Row, existing_row, find_row
from flagstaff.conf import conf

#: The relation of the entries that hold users instead of rows.
ALLOWED_USERS = "m"


class Kind(Enum):
    """A flag, a value or a segment. The allowed users are part of the flag."""

    FLAG = "flag"
    VALUE = "value"
    SEGMENT = "segment"

    @property
    def relations(self) -> tuple[str, ...]:
        """The relations of all entries about this kind."""
        return _RELATIONS[self]

    @property
    def row_relation(self) -> str:
        """The relation of the entries that hold rows."""
        return self.relations[0]

    @property
    def model(self) -> type[Model]:
        """FLAG_MODEL, VALUE_MODEL or the model of segments."""
        if self is Kind.FLAG:
            return conf.flag_model
        return conf.value_model if self is Kind.VALUE else segment_model()

    def row(self, key: str, *, lock: bool = False) -> Row:
        """Returns the row of a key. Raises the error about an unknown key of this kind."""
        return existing_row(self.model, key, lock=lock)

    def find(self, key: str, *, lock: bool = False) -> Row | None:
        """Returns the row of a key, or None if there is none."""
        return find_row(self.model, key, lock=lock)

    @classmethod
    def of(cls, relation: str) -> Kind:
        """Returns the kind that entries of this relation are about."""
        return next(kind for kind, relations in _RELATIONS.items() if relation in relations)

    @classmethod
    def of_noun(cls, noun: str) -> Kind | None:
        """Returns the kind with this word; None for rows without a history."""
        return next((kind for kind in cls if kind.value == noun), None)

    @classmethod
    def of_model(cls, model: type[Model]) -> Kind | None:
        """Returns the kind whose rows are of this model; None for another model."""
        return next((kind for kind in cls if kind.model is model), None)


_RELATIONS = {Kind.FLAG: ("f", ALLOWED_USERS), Kind.VALUE: ("k",), Kind.SEGMENT: ("s",)}
