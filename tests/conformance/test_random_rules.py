"""Random rules, users and contexts: the package returns what the reference returns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from random import Random
from typing import Any

import pytest

from flagstaff import explain, flag_enabled, refresh, snapshot
from flagstaff._core import Snapshot
from flagstaff.testing import live_engine
from tests.conformance.random_rules import (
    ATTRIBUTES,
    GROUPS,
    ZONE,
    Triple,
    assert_no_differences,
    random_flags,
    random_triple,
)
from tests.conformance.rules_oracle import bucket_of, evaluate
from tests.conformance.stored_rules import store, store_groups
from tests.support.fixtures import COMMITTED
from tests.support.repeats import repeats

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(repeats(3_600, 120))]
FLAGS = repeats(2_000, 200)
TRIPLES_PER_FLAG = 50
# In direct mode the functions query, so they get only every 40th triple.
QUERY_EVERY = repeats(1, 40)

Outcome = tuple[bool, str, int | None, int | None]


@cache
def triples() -> list[Triple]:
    random = Random(20260301)
    flags = random_flags(random, FLAGS)
    return [random_triple(random, flag) for flag in flags for _ in range(TRIPLES_PER_FLAG)]


@pytest.fixture(params=[pytest.param("memory", marks=COMMITTED), "database"])
def mode(request: pytest.FixtureRequest, db: None, settings: Any) -> Iterator[str]:
    """Stores the flags, and runs a test in memory and in direct mode."""
    settings.TIME_ZONE = str(ZONE)
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ATTRIBUTES}
    store({triple.flag.key: triple.flag for triple in triples()}.values())
    store_groups(GROUPS)
    if request.param == "database":
        yield request.param
        return
    with live_engine():
        refresh()
        yield request.param


def expected(triple: Triple) -> Outcome:
    found = evaluate(triple.flag, triple.pk, triple.attributes, ZONE)
    bucket = bucket_of(triple.flag, triple.pk, triple.attributes)
    return found.value, found.reason, bucket, found.rule


def by_functions(triple: Triple) -> Outcome:
    key, user, context = triple.flag.key, triple.user, triple.context
    found = explain(key, user, context=context)
    assert flag_enabled(key, user, context=context) is found.value
    return found.value, found.reason, found.bucket, found.rule


def by_snapshot(held: Snapshot) -> Callable[[Triple], Outcome]:
    def outcome(triple: Triple) -> Outcome:
        key, user, context = triple.flag.key, triple.user, triple.context
        found = held.explain(key, user, context=context)
        assert held.flag_enabled(key, user, context=context) is found["value"]
        return found["value"], found["reason"], found["bucket"], found["rule"]

    return outcome


def by_context_of_snapshot(triple: Triple) -> Outcome:
    found = snapshot(context=triple.snapshot).explain(
        triple.flag.key, triple.user, context=triple.call
    )
    return found["value"], found["reason"], found["bucket"], found["rule"]


@pytest.mark.thorough
def test_random_rules_return_the_results_of_the_reference(mode: str) -> None:
    assert_no_differences(triples(), by_snapshot(snapshot()), expected)
    if mode == "database":
        assert_no_differences(triples()[::QUERY_EVERY], by_functions, expected)
    else:
        assert_no_differences(triples(), by_functions, expected)
        assert_no_differences(triples(), by_context_of_snapshot, expected)


@pytest.mark.thorough
def test_random_triples_have_all_kinds_of_results() -> None:
    results = [expected(triple) for triple in triples()]
    assert 0.3 < sum(value for value, *_ in results) / len(results) < 0.7
    assert sum(rule is not None for *_, rule in results) / len(results) > 0.3
    reasons = Counter(reason for _, reason, *_ in results)
    assert reasons.keys() == {"DISABLED", "TARGETING_MATCH", "STATIC", "DEFAULT", "SPLIT"}
    assert min(reasons.values()) > len(results) / 50
