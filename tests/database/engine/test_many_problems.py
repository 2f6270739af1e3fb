"""Problems of many rows: one for each missing name, few texts, and no work without news."""

import logging
from collections.abc import Callable

import pytest

from flagstaff import refresh, status
from flagstaff._engine import lifecycle
from flagstaff._workers.status import prometheus_text
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.conditions import condition, rule

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]


def add_flags(count: int, group: Callable[[int], str]) -> None:
    """Adds flags whose rules name a group, as SQL does: nothing checks the names."""
    FeatureFlag.objects.bulk_create(
        FeatureFlag(key=f"flag {number:03}", rules=[rule(condition("groups", "in", group(number)))])
        for number in range(count)
    )


def test_group_that_many_flags_name_is_one_problem_when_it_is_missing() -> None:
    add_flags(300, lambda _number: "gone")
    rules = [rule(condition("groups", "in", "gone"), value=2)]
    KeyValueStore.objects.create(key="limit", value=1, rules=rules)
    refresh(10)
    group = 'the rules of flag "flag 000" and 300 more name a group that does not exist: "gone"'
    assert (status().problems, status().problem_count) == ((group,), 1)


def test_texts_of_problems_are_made_once_also_beside_other_changes() -> None:
    add_flags(150, lambda number: f"gone {number}")
    refresh(10)
    texts = status().problems
    assert status().problems is texts
    FeatureFlag.objects.create(key="other")
    refresh(10)
    assert status().problems is texts
    FeatureFlag.objects.filter(key="flag 000").update(rules=[])
    refresh(10)
    assert status().problems is not texts


def test_problems_beyond_the_texts_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    add_flags(150, lambda number: f"gone {number:03}")
    refresh(10)
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
