"""Rows that nobody should have written: each takes out itself alone, and is counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.conftest import RunIsolated
from tests.workers import ROOT, Worker, address
from tools.postgres import Postgres

Query = Callable[..., Any]

NEIGHBOURS = 200
# A project's own table, or a foreign one, may have none of the rules that ours have.
LOOSE = """
DO $$
DECLARE rule record;
BEGIN
    FOR rule IN
        SELECT conrelid::regclass AS place, conname FROM pg_constraint
        WHERE contype IN ('c', 'u') AND conrelid IN
            ('flagstaff_featureflag'::regclass, 'flagstaff_keyvaluestore'::regclass)
    LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', rule.place, rule.conname);
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
# Odd, and yet each has one meaning.
ODD_FLAGS = {
    "inf": ("'Infinity'", 100),
    "far below": ("'-1e300'", -1),
    "a third": ("33.3", 34),
    "new\x01check\nout\x7f": ("100", 100),
    'quoted "flag"': ("100", 100),
    "🛒": ("0", 0),
}
ODD_VALUES = {"\x01\n\x7f": "1", "deep": "[" * 500 + "]" * 500, "": '""', "a" * 255: "null"}
# What is wrong with a flag or a value, and how the problem names it.
HOSTILE_FLAGS = {
    "no switch": "enabled = NULL",
    "no rollout": "rollout_percent = NULL",
    "no number": "rollout_percent = 'NaN'",
    "no key": "key = NULL",
    "double\n\x01": None,
}
HOSTILE_VALUES = {
    "no key": "key = NULL",
    "2 MiB": "value = to_jsonb(repeat('x', 2 * 1024 * 1024))",
    "double": None,
}
TABLES = {"flag": "flagstaff_featureflag", "value": "flagstaff_keyvaluestore"}


@pytest.fixture
def written(database: str, query: Query) -> Query:
    """Tables without rules, whose rows are good, and some odd."""
    query(LOOSE)
    query(GOOD)
    for key, (percent, _) in ODD_FLAGS.items():
        insert = "INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent) "
        query(f"{insert} VALUES (%s, true, {percent})", key)
    for key, value in ODD_VALUES.items():
        query("INSERT INTO flagstaff_keyvaluestore (key, value) VALUES (%s, %s)", key, value)
    for key in HOSTILE_FLAGS:
        query(
            "INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent) "
            "VALUES (%s, true, 100)",
            key,
        )
    for key in HOSTILE_VALUES:
        query("INSERT INTO flagstaff_keyvaluestore (key, value) VALUES (%s, '\"good\"')", key)
    return query


def spoil(query: Query) -> list[str]:
    """Make each hostile row what it is; the problems that tell of them."""
    problems = []
    for kind, rows in [("flag", HOSTILE_FLAGS), ("value", HOSTILE_VALUES)]:
        for key, change in rows.items():
            table = TABLES[kind]
            [pk] = query(f"SELECT id FROM {table} WHERE key = %s", key)
            if change:
                query(f"UPDATE {table} SET {change} WHERE id = %s", pk)
            else:
                what = "key, enabled, rollout_percent" if kind == "flag" else "key, value"
                query(f"INSERT INTO {table} ({what}) SELECT {what} FROM {table} WHERE id = %s", pk)
            named = f"pk {pk}" if key == "no key" else key
            problems.append(f"{kind} {rust_quoted(named)}")
    return sorted(problems)


def rust_quoted(key: str) -> str:
    return f'"{key}"'.replace("\n", "\\n").replace("\x01", "\\u{1}")


def problems_of(worker: Worker) -> list[str]:
    """What was set aside, without the reasons."""
    return sorted(p.partition(" is set aside")[0] for p in worker.ask("status")["problems"])


def assert_others_are_right(worker: Worker) -> None:
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


def test_each_is_set_aside_alone(written: Query, database: str) -> None:
    problems = spoil(written)
    with Worker(database) as worker:
        assert worker.ask("ready", 20)
        assert problems_of(worker) == problems
        for key in HOSTILE_FLAGS:
            assert worker.ask("explain", key)["error_code"] == "FLAG_NOT_FOUND"
        for key in HOSTILE_VALUES:
            assert worker.ask("get_value", key, "missing") == "missing"
        assert_others_are_right(worker)


def test_each_keeps_its_last_good_version_and_counts_again_when_mended(
    written: Query, worker: Worker
) -> None:
    worker.ask("refresh")
    pks = {
        (table, key): written(f"SELECT id FROM {table} WHERE key = %s", key)[0]
        for table, keys in zip(TABLES.values(), (HOSTILE_FLAGS, HOSTILE_VALUES), strict=True)
        for key in keys
    }
    problems = spoil(written)
    written("UPDATE flagstaff_keyvaluestore SET value = '\"paypal\"' WHERE key = 'gateway'")
    worker.ask("refresh")
    assert problems_of(worker) == problems
    assert worker.ask("get_value", "gateway") == "paypal"
    assert all(worker.ask("flag_enabled", key) for key in HOSTILE_FLAGS)
    assert {worker.ask("get_value", key) for key in HOSTILE_VALUES} == {"good"}
    assert_others_are_right(worker)
    for (table, key), pk in pks.items():
        better = "enabled = false" if table == TABLES["flag"] else "value = '\"better\"'"
        more = ", rollout_percent = 100" if table == TABLES["flag"] else ""
        written(f"DELETE FROM {table} WHERE key = %s AND id <> %s", key, pk)
        written(f"UPDATE {table} SET key = %s, {better}{more} WHERE id = %s", key, pk)
    worker.ask("refresh")
    assert problems_of(worker) == []
    assert {worker.ask("explain", key)["reason"] for key in HOSTILE_FLAGS} == {"DISABLED"}
    assert {worker.ask("get_value", key) for key in HOSTILE_VALUES} == {"better"}


def test_values_past_64_mib_in_all_are_set_aside(worker: Worker, query: Query) -> None:
    size, count = 1_000_000, 70
    many = "FROM generate_series(1, {}) AS n"
    query(
        "INSERT INTO flagstaff_keyvaluestore (key, value) "
        f"SELECT 'large ' || n, to_jsonb(n % 10 || repeat('x', {size - 3})) {many.format(count)}"
    )
    # Whatever came last: a small one must not be lost for the large ones.
    query(
        "INSERT INTO flagstaff_keyvaluestore (key, value) "
        f"SELECT 'small ' || n, to_jsonb(n) {many.format(NEIGHBOURS)}"
    )
    worker.ask("refresh", 30)
    fitting = 64 * 1024 * 1024 // size
    set_aside = problems_of(worker)
    assert len(set_aside) == count - fitting
    lost = {f"large {n}" for n in range(1, count + 1) if f'value "large {n}"' in set_aside}
    assert len(lost) == count - fitting
    for number in range(1, NEIGHBOURS + 1):
        assert worker.ask("get_value", f"small {number}") == number
    for number in range(1, count + 1):
        key = f"large {number}"
        found = worker.ask("get_value", key, "missing")
        assert found == ("missing" if key in lost else f"{number % 10}" + "x" * (size - 3))
    query("DELETE FROM flagstaff_keyvaluestore WHERE key LIKE 'large 1%'")
    worker.ask("refresh", 30)
    assert problems_of(worker) == []


BYTES_THAT_ARE_NO_TEXT = r"""
INSERT INTO flagstaff_featureflag (id, key, enabled, rollout_percent, description) VALUES
    (1, 'banner', true, 100, E'no text \xff'), (2, E'caf\xe9', true, 100, ''),
    (3, 'beta', true, 0, ''), (4, E'caf\xc3\xa9', true, 100, '');
INSERT INTO flagstaff_keyvaluestore (id, key, value) VALUES
    (1, 'gateway', '"stripe"'), (2, 'mail', E'"caf\xe9"'), (3, E'caf\xe9', '1'),
    (4, 'nested', E'{"a": ["caf\xe9"]}'), (5, 'limit', '25');
INSERT INTO members_textmember (id, username, password) VALUES
    ('alice', 'alice', ''), (E'caf\xe9', 'b', ''), (E'caf\xc3\xa9', 'c', '');
INSERT INTO flagstaff_featureflag_allowed_users (featureflag_id, textmember_id)
    SELECT 3, id FROM members_textmember;
"""
ASK = """
import json, django
django.setup()
from flagstaff import explain, flag_enabled, get_value, ready, status
assert ready(20), status()
print(json.dumps({
    "on": [key for key in ["banner", "beta", "caf\\xe9", "caf\\ufffd"] if flag_enabled(key)],
    "allowed": [who for who in ["alice", "caf\\xe9", "caf\\ufffd"] if flag_enabled("beta", who)],
    "values": [get_value(key, "missing") for key in ["gateway", "mail", "nested", "limit"]],
    "problems": sorted(status().problems),
    "mode": status().mode,
}))
"""


@pytest.fixture
def sql_ascii(server: Postgres) -> str:
    """The address of a database that takes any bytes for text."""
    create = "CREATE DATABASE bytes TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'"
    with psycopg.connect(server.url, autocommit=True) as session:
        session.execute(create)
    url = address(server.url, "bytes")
    subprocess.run(
        [sys.executable, "-m", "django", "migrate", "--run-syncdb", "--verbosity=0"],
        cwd=ROOT,
        env=os.environ
        | {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "tests.apps.settings_text"},
        check=True,
    )
    return url


def test_bytes_that_are_no_text_take_out_only_what_holds_them(
    sql_ascii: str, run_isolated: RunIsolated
) -> None:
    with psycopg.connect(sql_ascii, autocommit=True) as session:
        session.execute(BYTES_THAT_ARE_NO_TEXT)
    variables = {"DATABASE_URL": sql_ascii, "DJANGO_SETTINGS_MODULE": "tests.apps.settings_text"}
    found = json.loads(run_isolated(ASK, **variables))
    assert found["mode"] == "live"
    assert found["on"] == ["banner", "café"]
    assert found["allowed"] == ["alice", "café"]
    assert found["values"] == ["stripe", "missing", "missing", 25]
    assert len(found["problems"]) == 5
