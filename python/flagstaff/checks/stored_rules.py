"""The rules and conditions in the tables, which several checks read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from django.db import Error, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, TextField
from django.db.models.functions import Cast, Substr

from flagstaff._core import MAX_RULES_BYTES
from flagstaff._tables.model_fields import rules_field, segment_model
from flagstaff._tables.rows import uncached
from flagstaff._text.json_text import read_json
from flagstaff.changes.segment_use import RULES
from flagstaff.conf import conf

__all__ = ["StoredRules", "Texts"]

# A longer text is too long for workers, too. In characters, of which none is shorter than a byte.
_MAX_LENGTH = MAX_RULES_BYTES + 1

Texts = dict[str, str]


@dataclass(frozen=True)
class StoredRules:
    """The JSON texts of all rules and of all conditions of segments, by key, as workers read them.

    None for a table that cannot be read, which W013 and W014 report.
    """

    flags: Texts | None
    segments: Texts | None

    @classmethod
    def read(cls, connection: BaseDatabaseWrapper) -> StoredRules:
        """Returns what the tables have."""
        has_rules = rules_field(conf.flag_model) is not None
        flags = _texts(connection, conf.flag_model, RULES) if has_rules else {}
        return cls(flags, _texts(connection, segment_model(), "conditions"))

    @cached_property
    def rules(self) -> dict[str, object]:
        """The decoded rules by the key of the flag."""
        return _decoded(self.flags)

    @cached_property
    def conditions(self) -> dict[str, object]:
        """The decoded conditions by the key of the segment."""
        return _decoded(self.segments)


def _decoded(texts: Texts | None) -> dict[str, object]:
    """Returns the JSON of the texts; None for a text that is cut off."""
    return {
        key: read_json(text) if len(text) < _MAX_LENGTH else None
        for key, text in (texts or {}).items()
    }


def _texts(connection: BaseDatabaseWrapper, model: type[Model], field: str) -> Texts | None:
    """Returns the JSON of a field as workers read it, by key; None if the table is unreadable.

    As text, because the field of a project's model fails at JSON that Python cannot decode.
    """
    rows = uncached(model._base_manager.using(connection.alias)).exclude(key=None).order_by("key")
    text = Substr(Cast(field, TextField()), 1, _MAX_LENGTH)
    try:
        with transaction.atomic(using=connection.alias):
            return {key: json for key, json in rows.values_list("key", text) if json is not None}
    except Error:
        return None
