"""Rows of several tables that are read in one query are those that Django reads."""

from typing import Any

import pytest
from django.db.models import Model, QuerySet
from django.db.models.functions import Upper

from flagstaff._tables.database import Reading, read_together
from flagstaff.experiments.models import Experiment, ExperimentEvent
from flagstaff.models import Segment
from tests.support.shop import Shop
from tests.support.sql import statements_of


def read(rows: QuerySet[Any]) -> Reading:
    return (yield rows)


def columns(row: Model) -> dict[str, Any]:
    return {name: value for name, value in vars(row).items() if name != "_state"}


@pytest.fixture
def wanted(shop: Shop) -> list[QuerySet[Any]]:
    """Rows with JSON, times and annotations, a part of the columns, and no rows."""
    shop.experiment(smallest_effect=0.1)
    shop.segment("enterprise")
    return [
        Experiment.objects.all(),
        ExperimentEvent.objects.order_by("id")[:1],
        Segment.objects.annotate(shown=Upper("key")),
        Segment.objects.only("key"),
        Segment.objects.filter(key__in=[]),
        Segment.objects.filter(key="unknown"),
    ]


def test_rows_that_are_read_together_are_those_of_the_query_sets(
    wanted: list[QuerySet[Any]],
) -> None:
    together = read_together(*map(read, wanted))
    assert [[*map(columns, rows)] for rows in together] == [
        [*map(columns, rows)] for rows in wanted
    ]
    assert all(row._state.adding is False for rows in together for row in rows)


def test_rows_that_are_read_together_are_one_query(wanted: list[QuerySet[Any]]) -> None:
    assert len(statements_of(lambda: read_together(*map(read, wanted)))) == 1
