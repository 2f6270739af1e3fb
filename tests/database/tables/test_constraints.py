"""What the database refuses, so that no reader meets it."""

import json

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import Model

from flagstaff._text import parse_json
from flagstaff.exceptions import FlagstaffError
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.sql import rows

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
    accepted = [
        (column, time) for [column] in columns for time in odd if not is_refused(column, time)
    ]
    assert accepted == [], accepted
    assert not any(is_refused(column, "2026-11-28") for [column] in columns)


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


def refusal(model: type[Model], name: str, columns: str, *values: object) -> str:
    """Returns why a migration would not add a constraint to a table with this row."""
    table = model._meta.db_table
    rows(f"ALTER TABLE {table} DROP CONSTRAINT {table}_{name}")
    marks = ", ".join(["%s"] * len(values))
    rows(f"INSERT INTO {table} (key, {columns}) VALUES ('a', {marks})", *values)
    [constraint] = [
        constraint for constraint in model._meta.constraints if constraint.name == f"{table}_{name}"
    ]
    with connection.schema_editor() as editor, pytest.raises(FlagstaffError) as caught:
        constraint.create_sql(model, editor)
    return str(caught.value)


@pytest.mark.parametrize(
    ("review_on", "created_at"),
    [("2027-03-01", "infinity"), (None, "-infinity"), ("0001-12-31", "2026-01-01")],
)
def test_printed_update_corrects_the_times_that_are_refused_and_no_others(
    review_on: str | None, created_at: str
) -> None:
    columns = "review_on, created_at"
    message = refusal(FeatureFlag, "finite_times", columns, review_on, created_at)
    rows(message.partition("for example: ")[2])
    good = [text for text in (review_on, created_at) if text and text.startswith("202")]
    [stored] = rows("SELECT review_on::text, created_at::date::text FROM flagstaff_featureflag")
    [[today]] = rows("SELECT current_date::text")
    assert [text for text in stored if text not in (None, today)] == good


def test_json_that_is_refused_is_named_without_an_update_that_would_erase_it() -> None:
    message = refusal(KeyValueStore, "readable_json", "value, rules", "1", "[" * 501 + "]" * 501)
    assert message == (
        '"flagstaff_keyvaluestore" has rows that the constraint '
        "flagstaff_keyvaluestore_readable_json refuses: a; correct these columns: choices, rules, "
        "value"
    )
