"""Moves what has just happened into the past. Only for simulated data; see `__init__.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, models

from flagstaff.experiments.models import Experiment, ExperimentEvent, Exposure
from store.models import Order

__all__ = ["analyze", "move_experiments", "move_exposures", "move_orders"]


def move_experiments(keys: Sequence[str], start: datetime) -> None:
    """Lets the experiments start at this time."""
    experiments = Experiment.objects.filter(key__in=keys)
    ExperimentEvent.objects.filter(experiment__in=experiments).update(at=start)
    experiments.update(created_at=start, started_at=start, runs_since=start)


def move_exposures(times: Mapping[str, datetime]) -> None:
    """Sets when units have met their variants, of all experiments."""
    _move(Exposure, ("unit", "text"), "at", times)


def move_orders(times: Mapping[UUID, datetime]) -> None:
    """Sets when orders were placed, by their primary keys."""
    _move(Order, ("id", "uuid"), "created_at", times)


def _move(
    model: type[models.Model], key: tuple[str, str], column: str, times: Mapping[Any, datetime]
) -> None:
    """Sets a time of many rows in one statement: bulk_update would take minutes."""
    name, of_type = key
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {model._meta.db_table} AS moved SET {column} = given.at "  # noqa: S608 (constants)
            f"FROM unnest(%s::{of_type}[], %s::timestamptz[]) AS given (key, at) "
            f"WHERE moved.{name} = given.key",
            [list(times), list(times.values())],
        )


def analyze() -> None:
    """Collects the planner's statistics. Autovacuum would do it within a minute or two."""
    with connection.cursor() as cursor:
        for model in (Exposure, Order):
            cursor.execute(f"ANALYZE {model._meta.db_table}")
