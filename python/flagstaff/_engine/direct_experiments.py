"""The experiments in direct mode."""

from __future__ import annotations

import json
from typing import TypeAlias

from django.db import connections

from flagstaff._engine.raw_cursor import run_in_connection_thread, select
from flagstaff._tables.names import optional_names
from flagstaff.conf import conf

__all__ = ["read_experiments"]

_ALL = (
    "SELECT id, key, state, winner, shuffle, phase, variants, allocation, overrides, rules, "
    "bucket_by FROM {experiment_table}"
)

#: Primary key, key, state, winner, shuffle, phase, and as JSON texts the keys of the variants,
#: their buckets, the forced units and the rules (None without any); then the unit, None for the
#: user.
_Row: TypeAlias = tuple[str, str, str, str, int, int, str, str, str, str | None, str | None]


def read_experiments() -> list[_Row]:
    """Returns all experiments in the form that `_core` expects; none if their app is not installed.

    Raises NotReadyError if the database cannot be queried.
    """
    if "experiment_table" not in optional_names(connections[conf.database]):
        return []
    rows = run_in_connection_thread(lambda: select(_ALL, []))
    return [
        (
            str(pk),
            key,
            state,
            winner,
            shuffle,
            phase,
            json.dumps([variant["key"] for variant in json.loads(variants)]),
            allocation,
            overrides,
            None if json.loads(rules) == [] else rules,
            None if bucket_by == "user" else bucket_by,
        )
        for (
            pk,
            key,
            state,
            winner,
            shuffle,
            phase,
            variants,
            allocation,
            overrides,
            rules,
            bucket_by,
        ) in rows
    ]
