"""The keys that a new flag or value cannot have, because something else has them."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import Error, transaction
from django.db.models import Model, QuerySet

from flagstaff._text import Sentence, is_storable, say
from flagstaff.conf import conf
from flagstaff.extensions import KEYS

#: What can have a key, in a sentence.
OWNERS = {
    "flag": say("a flag"),
    "value": say("a value"),
    "experiment": say("an experiment"),
}


def taken_keys(new: str, keys: Iterable[str]) -> dict[str, str]:
    """Returns what has each of these keys already: "flag", "value" or "experiment". Few queries.

    `new` is "flag" or "value": what shall have the keys. The column of its own table is unique.
    """
    candidates = {key for key in keys if is_storable(key)}
    kind, model = ("value", conf.value_model) if new == "flag" else ("flag", conf.flag_model)
    return {**dict.fromkeys(_keys_of(model, candidates), kind), **keys_of_apps(candidates)}


def keys_of_apps(keys: Iterable[str]) -> dict[str, str]:
    """Returns what of the apps has each of these keys, such as "experiment". Few queries."""
    candidates = set(keys)
    return {
        key: kind
        for read in KEYS
        for kind, taken in read().items()
        for key in candidates.intersection(taken)
    }


def key_is_taken(key: str, kind: str) -> Sentence:
    """Returns why nothing new can have a key that `taken_keys` has found."""
    return say("{key} is the key of {owner}; choose another key", key=key, owner=OWNERS[kind])


def _keys_of(model: type[Model], keys: set[str]) -> set[str]:
    """Returns those of the keys that rows have; none if the role may not read the table."""
    rows: QuerySet[Model] = QuerySet(model, using=conf.database).filter(key__in=keys)
    try:
        with transaction.atomic(using=conf.database):
            return keys.intersection(rows.values_list("key", flat=True))
    except Error:
        return set()
