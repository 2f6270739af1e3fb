"""Problems of many rows: one for each missing name, few texts, and no work without news."""

import logging

import pytest

from flagstaff import refresh, status
from flagstaff._engine import lifecycle
from flagstaff._workers.status import prometheus_text
from flagstaff.models import FeatureFlag
from tests.support.conditions import condition, rule

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def flags(engine: None) -> None:
    """Loads flags whose rules name a group each, as SQL does: nothing checks the names."""
    groups = [f"gone {number:03}" for number in range(150)]
    FeatureFlag.objects.bulk_create(
        FeatureFlag(key=f"flag {number:03}", rules=[rule(condition("groups", "in", group))])
        for number, group in enumerate(groups)
    )
    refresh(10)


def test_texts_of_problems_are_made_once_also_beside_other_changes() -> None:
    texts = status().problems
    assert status().problems is texts
    FeatureFlag.objects.create(key="other")
    refresh(10)
    assert status().problems is texts
    FeatureFlag.objects.filter(key="flag 000").update(rules=[])
    refresh(10)
    assert status().problems is not texts


def test_problems_beyond_the_texts_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    now = status()
    assert (len(now.problems), now.problem_count) == (100, 150)
    assert now.problems[-1] == "51 more problems"
    assert f'flagstaff_problems{{pid="{now.pid}"}} 150.0' in prometheus_text(now)
    # The log has the first ones and the number of the others, once.
    with caplog.at_level(logging.WARNING, "flagstaff"):
        lifecycle.run_maintenance()
        lifecycle.run_maintenance()
    [line] = [text for text in caplog.messages if "does not exist" in text]
    assert line.endswith('"gone 009" and 140 more')
