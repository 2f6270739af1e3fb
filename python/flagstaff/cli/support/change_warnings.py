"""Warnings after a change that was made: it may not be what the person meant."""

from __future__ import annotations

from django.db.models import Model

from flagstaff._tables.group_lookup import missing_groups
from flagstaff._tables.rows import case_variants
from flagstaff._words.rule_parts import groups_of
from flagstaff._words.similar import with_similar
from flagstaff._words.text import some
from flagstaff._words.value_schema import type_of
from flagstaff.cli.support.output import Output
from flagstaff.conf import conf


def warn_of_case_variants(model: type[Model], key: str, out: Output) -> None:
    """Warns of keys that differ from a new one only in upper and lower case. Makes one query."""
    if similar := case_variants(model, key):
        keys = some(map(repr, similar))
        out.message(f"keys are case-sensitive: {key!r} differs from {keys} only in case")


def warn_of_missing_groups(rules: object, out: Output) -> None:
    """Warns of groups that rules or conditions name, and that do not exist. Queries groups."""
    missing = missing_groups(groups_of(rules), conf.database)
    if missing:
        names = some(with_similar(*one) for one in missing.items())
        out.message(f"groups that do not exist: {names}; create them, or correct their names")


def warn_of_new_type(key: str, old: object, new: object, out: Output) -> None:
    """Warns if a written value has another type of JSON than the old one."""
    if old is None:
        return
    types = type_of(old), type_of(new)
    if types[0] != types[1]:
        out.message(
            f"warning: the type of {key} has changed from {types[0]} to {types[1]}; "
            "code that reads it may fail"
        )
