"""Random rules, users and contexts: flags and values return what the reference returns."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from random import Random
from typing import Any

import pytest

import flagstaff
from flagstaff import refresh, snapshot
from flagstaff.testing import live_engine
from tests.conformance.random_rules import (
    ATTRIBUTES,
    GROUPS,
    ZONE,
    Triple,
    assert_no_differences,
    random_flags,
    random_triple,
    random_values,
)
from tests.conformance.rules_oracle import bucket_of, depth_of, evaluate, evaluate_value
from tests.conformance.stored_rules import store, store_groups, store_values
from tests.support.fixtures import COMMITTED
from tests.support.repeats import repeats

pytestmark = [pytest.mark.django_db, pytest.mark.thorough, pytest.mark.timeout(repeats(3_600, 120))]
ROWS = repeats(2_000, 80)
TRIPLES_PER_ROW = 50
# In direct mode the functions query, so it gets only every 20th triple: two or three of each row.
QUERY_EVERY = repeats(1, 20)
KINDS = pytest.mark.parametrize("kind", ["flags", "values"])

#: The value, the reason, the bucket of a flag, and the rule.
Outcome = tuple[Any, str, int | None, int | None]


@cache
def triples_of(kind: str) -> list[Triple]:
    random = Random({"flags": 20260301, "values": 20261126}[kind])
    rows: Any = random_flags(random, ROWS) if kind == "flags" else random_values(random, ROWS)
    return [random_triple(random, row) for row in rows for _ in range(TRIPLES_PER_ROW)]


@pytest.fixture(params=[pytest.param("memory", marks=COMMITTED), "database"])
def mode(request: pytest.FixtureRequest, kind: str, db: None, settings: Any) -> Iterator[str]:
    """Stores the rows, and runs a test in memory and in direct mode."""
    settings.TIME_ZONE = str(ZONE)
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ATTRIBUTES}
    rows: Any = {triple.flag.key: triple.flag for triple in triples_of(kind)}.values()
    (store if kind == "flags" else store_values)(rows)
    store_groups(GROUPS)
    if request.param == "database":
        yield request.param
        return
    with live_engine():
        refresh()
        yield request.param


@cache
def expected(kind: str) -> dict[int, Outcome]:
    """What the reference returns for each triple, by its `id`. It is slower than the functions."""
    result_of = _of_flag if kind == "flags" else _of_value
    return {id(triple): result_of(triple) for triple in triples_of(kind)}


def _of_flag(triple: Triple) -> Outcome:
    row: Any = triple.flag
    result = evaluate(row, triple.pk, triple.attributes, ZONE)
    bucket = bucket_of(row, triple.pk, triple.attributes)
    return result.value, result.reason, bucket, result.rule


def _of_value(triple: Triple) -> Outcome:
    row: Any = triple.flag
    result = evaluate_value(row, triple.pk, triple.attributes, ZONE)
    return json.dumps(result.value), result.reason, None, result.rule


def outcome(kind: str, source: Any, triple: Triple, context: Any) -> Outcome:
    """What the functions of a snapshot, or of the package, return."""
    key, user = triple.flag.key, triple.user
    if kind == "values":
        result = source.resolve_value(key, user=user, context=context)
        assert source.get_value(key, user=user, context=context) == result.value
        return json.dumps(result.value), result.reason, None, result.rule
    result = source.explain(key, user, context=context)
    names = ("value", "reason", "bucket", "rule")
    # A snapshot explains by a dict.
    parts = [result[name] if source is not flagstaff else getattr(result, name) for name in names]
    assert source.flag_enabled(key, user, context=context) is parts[0]
    value, reason, bucket, rule = parts
    return value, reason, bucket, rule


@KINDS
def test_random_rules_return_the_results_of_the_reference(kind: str, mode: str) -> None:
    triples = triples_of(kind)

    def reference(triple: Triple) -> Outcome:
        return expected(kind)[id(triple)]

    def of(source: Any) -> Callable[[Triple], Outcome]:
        return lambda triple: outcome(kind, source, triple, triple.context)

    def of_context_of_snapshot(triple: Triple) -> Outcome:
        return outcome(kind, snapshot(context=triple.snapshot), triple, triple.call)

    if mode == "database":
        triples = triples[::QUERY_EVERY]
    else:
        assert_no_differences(triples, of_context_of_snapshot, reference)
    assert_no_differences(triples, of(snapshot()), reference)
    assert_no_differences(triples, of(flagstaff), reference)


def test_random_flags_need_others_to_every_depth_and_in_circles() -> None:
    depths = Counter(
        depth_of(flag)
        for flag in {triple.flag.key: triple.flag for triple in triples_of("flags")}.values()
    )
    assert depths.keys() == {0, 1, 2, 3, 4, math.inf}


@KINDS
def test_random_triples_have_all_kinds_of_results(kind: str) -> None:
    results = expected(kind).values()
    assert sum(rule is not None for *_, rule in results) / len(results) > 0.3
    reasons = Counter(reason for _, reason, *_ in results)
    both = {"TARGETING_MATCH", "STATIC", "DEFAULT", "SPLIT"}
    assert reasons.keys() == (both | {"DISABLED"} if kind == "flags" else both)
    assert min(reasons.values()) > len(results) / 50
    if kind == "flags":
        assert 0.3 < sum(value for value, *_ in results) / len(results) < 0.7
