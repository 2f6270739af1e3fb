"""How a change of a value, its rules, its type or its choices would break the value's schema."""

from __future__ import annotations

from copy import copy
from typing import cast

from django.db.models import Model

from flagstaff._stored_value_schema import (
    CHOICES,
    CLIENT_SIDE,
    RULES,
    SECRET,
    TYPE,
    VALUE,
    is_secret,
    value_schema_problems,
)
from flagstaff._tables.rows import Fields, Row
from flagstaff._words.text import Text
from flagstaff.conf import conf


def value_schema_problems_of(row: Row, fields: Fields) -> dict[str, Text]:
    """Returns how a value would break its schema after a change, a message by field; or {}.

    A new value is not refused because of the rules, nor new rules because of the value. Nor is a
    change of who may read the value, because of what the value is.
    """
    written = {VALUE, RULES, TYPE, CHOICES, SECRET, CLIENT_SIDE}.intersection(fields)
    if not written or not isinstance(row, conf.value_model):
        return {}
    changed = copy(cast("Model", row))
    for name in written:
        setattr(changed, name, fields[name])
    # Of the new state: a secret may become public in the same change.
    readers = value_schema_problems(changed).get(CLIENT_SIDE)
    if is_secret(row):
        changed.__dict__["secret"] = True  # Else the problem would contain the value.
    found = {**value_schema_problems(changed), CLIENT_SIDE: readers}
    shown = set(written)
    if not written.isdisjoint({SECRET, CLIENT_SIDE}):
        shown.add(CLIENT_SIDE)
    if not written.isdisjoint({VALUE, RULES}):
        shown.add(CHOICES)
    if not written.isdisjoint({TYPE, CHOICES}):
        shown |= {VALUE, RULES, CHOICES}
    return {name: one for name, one in found.items() if one is not None and name in shown}
