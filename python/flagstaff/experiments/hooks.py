"""What the core of flagstaff reads and calls of experiments."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from django.db import DatabaseError, transaction

from flagstaff.conf import conf
from flagstaff.experiments.models import Experiment
from flagstaff.extensions import OtherRules


def keys() -> Mapping[str, Collection[str]]:
    """Returns the keys of all experiments. Makes one query."""
    return {"experiment": {key for [key] in _values("key")}}


def rules() -> Sequence[OtherRules]:
    """Returns the rules of all experiments that are not shipped. One query."""
    return [
        OtherRules(Experiment, pk, key, rules, is_active=state == "running")
        for pk, key, state, rules in _values("pk", "key", "state", "rules")
        if state != "shipped"
    ]


def _values(*columns: Any) -> list[tuple[Any, ...]]:
    """Returns columns of the experiments; none before the migration."""
    rows = Experiment._base_manager.using(conf.database)
    try:
        with transaction.atomic(using=conf.database):
            return list(rows.order_by("key").values_list(*columns))
    except DatabaseError:
        return []
