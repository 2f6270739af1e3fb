"""What the database refuses, so that no reader meets it."""

from __future__ import annotations

import json

import pytest
from django.db import IntegrityError, transaction

from flagstaff._words.json_text import parse_json
from tests.support.sql import rows

pytestmark = pytest.mark.django_db

RULES, VALUE = 256 << 10, 1 << 20
#: The size of each as text.
JSON_COLUMNS = {
    "flagstaff_featureflag.rules": RULES,
    "flagstaff_featureflag.tags": RULES,
    "flagstaff_keyvaluestore.value": VALUE,
    "flagstaff_keyvaluestore.choices": RULES,
    "flagstaff_keyvaluestore.rules": RULES,
    "flagstaff_segment.conditions": RULES,
    "flagstaff_experiments_experiment.rules": RULES,
    "flagstaff_experiments_experiment.overrides": RULES,
}


def is_refused(column: str, text: str) -> bool:
    """Whether the constraints of the table refuse this in a row of one column."""
    table, _dot, name = column.partition(".")
    rows("DROP TABLE IF EXISTS probe")
    # Without the triggers, and without the columns that must not be NULL.
    rows(f"CREATE TEMPORARY TABLE probe (LIKE {table} INCLUDING CONSTRAINTS)")
    for [required] in rows(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'probe'::regclass AND attnotnull "
        "AND attnum > 0"
    ):
        rows(f'ALTER TABLE probe ALTER "{required}" DROP NOT NULL')
    try:
        with transaction.atomic():
            rows(f"INSERT INTO probe ({name}) VALUES (%s)", text)
    except IntegrityError:
        return True
    return False


def test_times_that_python_cannot_represent_are_refused_in_every_table() -> None:
    columns = rows(
        "SELECT attrelid::regclass || '.' || attname FROM pg_attribute "
        "JOIN pg_class ON pg_class.oid = attrelid WHERE relkind = 'r' AND attnum > 0 "
        # Only run-jobs writes the queue of webhooks.
        "AND relname LIKE 'flagstaff%%' AND relname NOT LIKE 'flagstaff_webhooks%%' "
        "AND atttypid IN ('timestamptz'::regtype, 'date'::regtype)"
    )
    assert ("flagstaff_featureflag.review_on",) in columns
    odd = ("infinity", "-infinity", "0044-03-15 BC", "294276-12-31")
    accepted = [(one, time) for [one] in columns for time in odd if not is_refused(one, time)]
    assert accepted == [], accepted
    assert not any(is_refused(one, "2026-11-28") for [one] in columns)


@pytest.mark.parametrize(
    "text",
    ["[" * 500 + "]" * 500, "9" * 4_300, "-" + "9" * 4_300, '{"a": 1e-5000}', '"1e5000"', "true"],
)
def test_json_that_python_can_decode_is_stored(text: str) -> None:
    parse_json(text)
    assert not is_refused("flagstaff_keyvaluestore.value", text)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 501 + "]" * 501,
        '{"a":' * 501 + "1" + "}" * 501,
        "1" + "0" * 4_300,
        "-1e4300",
        '{"a": [1, {"b": 1e5000}], "c": "}"}',
    ],
)
def test_json_that_python_cannot_decode_is_refused_in_every_column(text: str) -> None:
    assert [column for column in JSON_COLUMNS if not is_refused(column, text)] == []


@pytest.mark.parametrize(("column", "size"), JSON_COLUMNS.items())
def test_json_is_refused_from_its_size_on(column: str, size: int) -> None:
    longest = "é" * ((size - 2) // 2)
    assert not is_refused(column, json.dumps(longest, ensure_ascii=False))
    assert is_refused(column, json.dumps(f"{longest}x", ensure_ascii=False))
