"""Invalid rows: each is skipped by itself and reported as a problem."""

from __future__ import annotations

import json

import pytest

from tests.support.fixtures import Query
from tests.support.workers import Worker

NEIGHBOURS = 200
# A project's own table may lack the constraints of ours.
DROP_CONSTRAINTS = """
DO $$
DECLARE found record;
BEGIN
    FOR found IN
        SELECT conrelid::regclass AS relation, conname FROM pg_constraint
        WHERE contype IN ('c', 'u') AND conrelid IN
            ('flagstaff_featureflag'::regclass, 'flagstaff_keyvaluestore'::regclass)
    LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', found.relation, found.conname);
    END LOOP;
END $$;
ALTER TABLE flagstaff_featureflag
    ALTER key DROP NOT NULL, ALTER enabled DROP NOT NULL, ALTER rollout_percent DROP NOT NULL,
    ALTER rollout_percent TYPE float8, ADD column_of_others jsonb DEFAULT '{"a": [1]}';
ALTER TABLE flagstaff_keyvaluestore
    ALTER key DROP NOT NULL, ADD column_of_others bytea DEFAULT '\\xff';
"""
GOOD = f"""
INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent)
    SELECT 'good ' || n, true, n % 2 * 100 FROM generate_series(1, {NEIGHBOURS}) AS n;
INSERT INTO flagstaff_keyvaluestore (key, value)
    SELECT 'good ' || n, to_jsonb(n) FROM generate_series(1, {NEIGHBOURS}) AS n;
"""
# Unusual but valid.
ODD_FLAGS = {
    "inf": ("'Infinity'", 100),
    "far below": ("'-1e300'", -1),
    "a third": ("33.3", 34),
    "new\x01check\nout\x7f": ("100", 100),
    'quoted "flag"': ("100", 100),
    "🛒": ("0", 0),
}
ODD_VALUES = {"\x01\n\x7f": "1", "deep": "[" * 500 + "]" * 500, "": '""', "a" * 255: "null"}
# By key: the change that makes the row invalid; None duplicates the row.
HOSTILE_FLAGS = {
    "no enabled": "enabled = NULL",
    "no rollout": "rollout_percent = NULL",
    "no number": "rollout_percent = 'NaN'",
    "no key": "key = NULL",
    "double\n\x01": None,
}
HOSTILE_VALUES = {"no key": "key = NULL", "double": None}
TABLES = {"flag": "flagstaff_featureflag", "value": "flagstaff_keyvaluestore"}


@pytest.fixture
def filled(database: str, query: Query) -> Query:
    """Tables without constraints, with valid rows. Some rows are unusual."""
    query(DROP_CONSTRAINTS)
    query(GOOD)
    flags = {key: percent for key, (percent, _) in ODD_FLAGS.items()}
    for key, percent in (flags | dict.fromkeys(HOSTILE_FLAGS, "100")).items():
        insert = "INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent) "
        query(f"{insert} VALUES (%s, true, {percent})", key)
    for key, value in (ODD_VALUES | dict.fromkeys(HOSTILE_VALUES, '"good"')).items():
        query("INSERT INTO flagstaff_keyvaluestore (key, value) VALUES (%s, %s)", key, value)
    return query


def make_invalid(query: Query) -> list[str]:
    """Makes the hostile rows invalid, and returns the expected problems without their reasons."""
    problems = []
    for kind, rows in [("flag", HOSTILE_FLAGS), ("value", HOSTILE_VALUES)]:
        for key, change in rows.items():
            table = TABLES[kind]
            [pk] = query(f"SELECT id FROM {table} WHERE key = %s", key)
            if change:
                query(f"UPDATE {table} SET {change} WHERE id = %s", pk)
            else:
                columns = "key, enabled, rollout_percent" if kind == "flag" else "key, value"
                insert = f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {table}"
                query(f"{insert} WHERE id = %s", pk)
            name = f"pk {pk}" if key == "no key" else key
            problems.append(f"{kind} {quoted_by_rust(name)}")
    return sorted(problems)


def quoted_by_rust(key: str) -> str:
    return f'"{key}"'.replace("\n", "\\n").replace("\x01", "\\u{1}")


def problems_of(worker: Worker) -> list[str]:
    """Returns the reported problems without their reasons.

    The history has no place for a row without a key, which the status reports, too.
    """
    problems = worker.ask("problems")
    return sorted(p.partition(" is set aside")[0] for p in problems if "no entry in" not in p)


def assert_valid_rows_are_loaded(worker: Worker) -> None:
    for number in range(1, NEIGHBOURS + 1):
        key = f"good {number}"
        assert worker.ask("flag_enabled", key) is (number % 2 == 1)
        assert worker.ask("get_value", key) == number
    for key, (_, percent) in ODD_FLAGS.items():
        found = worker.ask("explain", key, 42)
        assert found["value"] is (percent == 100 or (found["bucket"] or 0) < percent)
        assert found["error_code"] is None
    for key, text in ODD_VALUES.items():
        assert worker.ask("get_value", key, "missing") == json.loads(text)


def test_invalid_row_is_skipped_alone(filled: Query, database: str) -> None:
    problems = make_invalid(filled)
    with Worker(database).loaded() as worker:
        assert problems_of(worker) == problems
        for key in HOSTILE_FLAGS:
            assert worker.ask("explain", key)["error_code"] == "FLAG_NOT_FOUND"
        for key in HOSTILE_VALUES:
            assert worker.ask("get_value", key, "missing") == "missing"
        assert_valid_rows_are_loaded(worker)


@pytest.mark.smoke
def test_row_that_became_invalid_keeps_its_last_version_until_it_is_fixed(
    filled: Query, worker: Worker
) -> None:
    worker.ask("refresh")
    pks = {
        (table, key): filled(f"SELECT id FROM {table} WHERE key = %s", key)[0]
        for table, keys in zip(TABLES.values(), (HOSTILE_FLAGS, HOSTILE_VALUES), strict=True)
        for key in keys
    }
    problems = make_invalid(filled)
    filled("UPDATE flagstaff_keyvaluestore SET value = '\"paypal\"' WHERE key = 'gateway'")
    worker.ask("refresh")
    assert problems_of(worker) == problems
    assert worker.ask("get_value", "gateway") == "paypal"
    assert all(worker.ask("flag_enabled", key) for key in HOSTILE_FLAGS)
    assert {worker.ask("get_value", key) for key in HOSTILE_VALUES} == {"good"}
    assert_valid_rows_are_loaded(worker)
    for (table, key), pk in pks.items():
        better = "enabled = false" if table == TABLES["flag"] else "value = '\"better\"'"
        more = ", rollout_percent = 100" if table == TABLES["flag"] else ""
        filled(f"DELETE FROM {table} WHERE key = %s AND id <> %s", key, pk)
        filled(f"UPDATE {table} SET key = %s, {better}{more} WHERE id = %s", key, pk)
    worker.ask("refresh")
    assert problems_of(worker) == []
    assert {worker.ask("explain", key)["reason"] for key in HOSTILE_FLAGS} == {"DISABLED"}
    assert {worker.ask("get_value", key) for key in HOSTILE_VALUES} == {"better"}


def test_values_beyond_64_mib_in_total_are_skipped(worker: Worker, query: Query) -> None:
    size, count = 1_000_000, 70
    many = "FROM generate_series(1, {}) AS n"
    query(
        "INSERT INTO flagstaff_keyvaluestore (key, value) "
        f"SELECT 'large ' || n, to_jsonb(n % 10 || repeat('x', {size - 3})) {many.format(count)}"
    )
    # Small values are kept although they come after the large ones.
    query(
        "INSERT INTO flagstaff_keyvaluestore (key, value) "
        f"SELECT 'small ' || n, to_jsonb(n) {many.format(NEIGHBOURS)}"
    )
    worker.ask("refresh", 30)
    fitting = 64 * 1024 * 1024 // size
    problems = problems_of(worker)
    assert len(problems) == count - fitting
    skipped = {f"large {n}" for n in range(1, count + 1) if f'value "large {n}"' in problems}
    assert len(skipped) == count - fitting
    for number in range(1, NEIGHBOURS + 1):
        assert worker.ask("get_value", f"small {number}") == number
    for number in range(1, count + 1):
        key = f"large {number}"
        found = worker.ask("get_value", key, "missing")
        assert found == ("missing" if key in skipped else f"{number % 10}" + "x" * (size - 3))
    query("DELETE FROM flagstaff_keyvaluestore WHERE key LIKE 'large 1%'")
    worker.ask("refresh", 30)
    assert problems_of(worker) == []
