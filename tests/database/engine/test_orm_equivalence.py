"""The snapshot equals what the ORM reads, for any content of the tables."""

import json
from typing import Any, TypeVar

import pytest
from django.contrib.auth.models import User
from django.db import connection
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from flagstaff import all_flags, explain, get_value, refresh, snapshot, status
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.testing import live_engine
from tests.conformance.oracle import Article
from tests.support.repeats import repeats

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.thorough,
    pytest.mark.timeout(600),
]

VALUES, BATCH = repeats(20_000, 1_000), 10
# A query takes a hundred times as long as a read from memory.
QUERIES = repeats(2_000, 100)
FLAGS = repeats(300, 50)
MISSING = object()

T = TypeVar("T")

# Text that PostgreSQL accepts: no lone surrogate, no NUL.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


def examples(strategy: st.SearchStrategy[T], count: int) -> list[T]:
    """Returns examples of a strategy, to be written to the database together."""
    drawn: list[T] = []

    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(example: T) -> None:
        drawn.append(example)

    draw()
    return drawn


def number(sign: str, whole: str, fraction: str, exponent: int | None) -> str:
    """A JSON number in one of its many spellings."""
    after = f".{fraction}" if fraction else ""
    power = "" if exponent is None else f"E{exponent:+}"
    return f"{sign}{whole.lstrip('0') or '0'}{after}{power}"


digits = st.text("0123456789", max_size=25)
far = st.integers(0, 99).map(lambda n: -5000 if n == 1 else n * 10 - 500)
exponents = st.none() | st.integers(-30, 30) | far
numbers = st.builds(number, st.sampled_from(["", "-"]), digits, digits, exponents)
edges = st.builds(
    lambda sign, power, near: str(sign * 2**power + near),
    st.sampled_from([1, -1]),
    st.sampled_from([31, 32, 53, 63, 64]),
    st.integers(-2, 2),
)
strings = st.builds(lambda text, plain: json.dumps(text, ensure_ascii=plain), texts, st.booleans())
words = st.sampled_from(["null", "true", "false", '"null"', '"1"', "[]", "{}", '""', '"NaN"'])
spaces = st.sampled_from(["", " ", "\n\t"])
documents = st.recursive(
    words | numbers | edges | strings,
    lambda inner: (
        st.builds(
            lambda items, space: f"[{space}{f',{space}'.join(items)}]",
            st.lists(inner, max_size=4),
            spaces,
        )
        # Keys may be duplicated; the last one counts.
        | st.builds(
            lambda items, space: f"{{{f',{space}'.join(items)}}}",
            st.lists(st.builds("{}: {}".format, strings, inner), max_size=4),
            spaces,
        )
    ),
    max_leaves=6,
)


# The strategy generates some of them rarely.
EACH_TYPE = ["1", "1.5", '"1"', "true", "null", "[1]", '{"1": 1}']


def outcome(value: object) -> tuple[type, str]:
    """Returns the type and repr, which distinguish 1, 1.0 and True."""
    return type(value), repr(value)


def write(documents: list[str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO flagstaff_keyvaluestore (key, value) "
            "SELECT 'key ' || n, document::jsonb "
            "FROM unnest(%s::text[]) WITH ORDINALITY AS examples (document, n)",
            [documents],
        )


def test_value_equals_the_orms_in_value_and_type() -> None:
    batches = examples(st.lists(documents, min_size=BATCH, max_size=BATCH), VALUES // BATCH)
    write([*EACH_TYPE, *(document for batch in batches for document in batch)])
    stored = KeyValueStore.objects.values_list("key", "value")
    expected = {key: outcome(value) for key, value in stored}
    assert len(expected) >= VALUES
    # Without the engine, each evaluation queries.
    for key in list(expected)[:QUERIES]:
        assert outcome(get_value(key, MISSING)) == expected[key]
    of_database = snapshot()
    assert {key: outcome(of_database.get_value(key, MISSING)) for key in expected} == expected
    with live_engine():
        refresh(60)
        current = snapshot()
        for get in (get_value, current.get_value):
            outcomes = {key: outcome(get(key, MISSING)) for key in expected}
            assert {key: outcomes[key] for key in outcomes if outcomes[key] != expected[key]} == {}
        assert (status().values, status().problems) == (len(expected), ())
    assert {int, float, str, bool, type(None), list, dict} == {
        kind for kind, _ in expected.values()
    }


flags: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    key=st.text(st.characters(min_codepoint=33, exclude_categories=["C", "Z"]), min_size=1),
    enabled=st.sampled_from([True, True, False]),
    rollout_percent=st.integers(0, 100),
    client_side=st.booleans(),
    allowed=st.sets(st.integers(0, 4)),
)


def test_flags_equal_the_orms_in_every_column() -> None:
    users = User.objects.bulk_create(User(username=f"user {n}") for n in range(5))
    rows = {row["key"][:200]: row for row in examples(flags, FLAGS)}
    for key, row in rows.items():
        allowed = [users[n] for n in row.pop("allowed")]
        FeatureFlag.objects.create(**row | {"key": key}).allowed_users.set(allowed)
    with live_engine():
        refresh(60)
        stored = list(FeatureFlag.objects.prefetch_related("allowed_users"))
        assert status().flags == len(stored) == len(rows)
        assert all_flags(client_side=True).keys() == {f.key for f in stored if f.client_side}
        for user in [None, *users]:
            evaluate = Article(FeatureFlag).flag_enabled
            assert all_flags(user) == {flag.key: evaluate(flag.key, user) for flag in stored}
        for flag in stored:
            explained = explain(flag.key, 10**9)
            assert explained.rollout_percent in (None, flag.rollout_percent)
            assert (explained.reason == "DISABLED") is not flag.enabled
            targeted = {u for u in users if explain(flag.key, u).reason == "TARGETING_MATCH"}
            assert targeted == (set(flag.allowed_users.all()) if flag.enabled else set())
