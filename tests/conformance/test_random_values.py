"""Random values with rules, users and contexts: the package returns what the reference returns."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from random import Random
from typing import Any

import pytest

from flagstaff import get_value, refresh, resolve_value, snapshot
from flagstaff.testing import live_engine
from tests.conformance.random_rules import (
    ATTRIBUTES,
    GROUPS,
    ZONE,
    Triple,
    assert_no_differences,
    random_triple,
    random_values,
)
from tests.conformance.rules_oracle import evaluate_value
from tests.conformance.stored_rules import store_groups, store_values
from tests.support.fixtures import COMMITTED
from tests.support.repeats import repeats

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.thorough,
    pytest.mark.timeout(repeats(3_600, 120)),
]
VALUES = repeats(2_000, 200)
TRIPLES_PER_VALUE = 50
# In direct mode the functions query, so they get only every 40th triple.
QUERY_EVERY = repeats(1, 40)

#: The value as JSON, the reason, and the rule.
Outcome = tuple[str, str, int | None]


@cache
def triples() -> list[Triple]:
    random = Random(20261126)
    values = random_values(random, VALUES)
    return [random_triple(random, value) for value in values for _ in range(TRIPLES_PER_VALUE)]


@pytest.fixture(params=[pytest.param("memory", marks=COMMITTED), "database"])
def mode(request: pytest.FixtureRequest, db: None, settings: Any) -> Iterator[str]:
    """Stores the values, and runs a test in memory and in direct mode."""
    settings.TIME_ZONE = str(ZONE)
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ATTRIBUTES}
    store_values({triple.flag.key: triple.flag for triple in triples()}.values())
    store_groups(GROUPS)
    if request.param == "database":
        yield request.param
        return
    with live_engine():
        refresh()
        yield request.param


def expected(triple: Triple) -> Outcome:
    found = evaluate_value(triple.flag, triple.pk, triple.attributes, ZONE)
    return json.dumps(found.value), found.reason, found.rule


def by(resolve: Callable[..., Any], get: Callable[..., Any]) -> Callable[[Triple], Outcome]:
    def outcome(triple: Triple) -> Outcome:
        key, user, context = triple.flag.key, triple.user, triple.context
        found = resolve(key, user=user, context=context)
        assert get(key, user=user, context=context) == found.value
        return json.dumps(found.value), found.reason, found.rule

    return outcome


def by_context_of_snapshot(triple: Triple) -> Outcome:
    held = snapshot(context=triple.snapshot)
    found = held.resolve_value(triple.flag.key, user=triple.user, context=triple.call)
    return json.dumps(found.value), found.reason, found.rule


def test_random_values_equal_those_of_the_reference(mode: str) -> None:
    held = snapshot()
    assert_no_differences(triples(), by(held.resolve_value, held.get_value), expected)
    if mode == "database":
        assert_no_differences(triples()[::QUERY_EVERY], by(resolve_value, get_value), expected)
    else:
        assert_no_differences(triples(), by(resolve_value, get_value), expected)
        assert_no_differences(triples(), by_context_of_snapshot, expected)


def test_random_triples_of_values_have_all_kinds_of_results() -> None:
    results = [expected(triple) for triple in triples()]
    assert sum(rule is not None for *_, rule in results) / len(results) > 0.3
    reasons = Counter(reason for _, reason, _ in results)
    assert reasons.keys() == {"TARGETING_MATCH", "STATIC", "DEFAULT", "SPLIT"}
    assert min(reasons.values()) > len(results) / 50
