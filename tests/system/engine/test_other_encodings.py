"""Databases whose encoding is not UTF-8, and which accept bytes without a Unicode character.

PostgreSQL cannot send such a text to a client in UTF-8, and refuses the whole query.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, NamedTuple

import psycopg
import pytest

import flagstaff
from flagstaff.exceptions import RefreshError
from tests.support.fixtures import Query
from tests.support.workers import ROOT, Worker, address
from tools.postgres import Postgres

SETTINGS = "tests.support.apps.settings_text"
NEW_CHECKOUT: list[Any] = ["flag_enabled", "new_checkout", "alice"]
_numbers = count(1)


class Encoding(NamedTuple):
    """An encoding with a character, and bytes that it accepts although they are no character."""

    name: str
    character: str
    in_bytes: str
    undecodable: str


WIN1252 = Encoding("WIN1252", "é", r"\xe9", r"\x81")
EUC_JP = Encoding("EUC_JP", "あ", r"\xa4\xa2", r"\xf5\xa1")
ROWS = r"""
INSERT INTO flagstaff_featureflag (id, key, enabled, rollout_percent, description)
    VALUES (1, 'new_checkout', true, 100, E'{undecodable}'), (2, E'caf{good}', true, 100, ''),
        (3, 'beta', true, 0, '');
INSERT INTO flagstaff_keyvaluestore (id, key, value)
    VALUES (1, 'gateway', E'"caf{good}"'), (2, 'limit', '25');
INSERT INTO members_textmember (id, username, password)
    VALUES ('alice', 'alice', ''), (E'caf{good}', 'b', ''), (E'caf{undecodable}', 'c', '');
INSERT INTO flagstaff_featureflag_allowed_users (featureflag_id, textmember_id)
    SELECT 3, id FROM members_textmember WHERE username <> 'c';
"""


@pytest.fixture(scope="module", params=[WIN1252, EUC_JP], ids=["WIN1252", "EUC_JP"])
def encoding(request: pytest.FixtureRequest) -> Encoding:
    chosen: Encoding = request.param
    return chosen


@pytest.fixture(scope="module")
def template(module_postgres_server: Postgres, encoding: Encoding) -> str:
    """The name of a database in the encoding, with all tables and rows that can be decoded."""
    name, server = f"in_{encoding.name.lower()}", module_postgres_server
    create = f"CREATE DATABASE {name} ENCODING '{encoding.name}' TEMPLATE template0 LOCALE 'C'"
    run(server.url, create)
    url = address(server.url, name)
    command = [sys.executable, "-m", "django", "migrate", "--run-syncdb", "--verbosity=0"]
    variables = {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": SETTINGS}
    subprocess.run(command, cwd=ROOT, env=os.environ | variables, check=True)
    run(url, ROWS.format(good=encoding.in_bytes, undecodable=encoding.undecodable))
    return name


@pytest.fixture
def database(server: Postgres, template: str) -> str:
    name = f"encoded_{next(_numbers)}"
    run(server.url, f"CREATE DATABASE {name} TEMPLATE {template}")
    return address(server.url, name)


@pytest.fixture
def query(database: str) -> Query:
    return lambda statement: run(database, statement)


@pytest.fixture
def worker(database: str) -> Iterator[Worker]:
    with Worker(database, project=SETTINGS, POLL_INTERVAL=0.2) as worker:
        assert worker.ask("ready", 10) is True
        yield worker


@pytest.fixture
def store_undecodable(query: Query, encoding: Encoding) -> Callable[[], None]:
    """Stores a key of a flag, a key of a value, a value and a user that cannot be decoded."""
    statements = r"""
        INSERT INTO flagstaff_featureflag (id, key, enabled, rollout_percent, description)
            VALUES (4, E'caf{0}', true, 100, '');
        INSERT INTO flagstaff_keyvaluestore (id, key, value)
            VALUES (3, E'caf{0}', '1'), (4, 'mail', E'{{"a": ["caf{0}"]}}');
        INSERT INTO flagstaff_featureflag_allowed_users (featureflag_id, textmember_id)
            SELECT 3, id FROM members_textmember WHERE username = 'c';
    """
    return lambda: query(statements.format(encoding.undecodable))


PROBLEMS = [
    'a user of flag "pk 3" is set aside: its primary key cannot be decoded as UTF-8',
    'flag "pk 4" is set aside: its key cannot be decoded as UTF-8',
    'value "mail" is set aside: its value cannot be decoded as UTF-8',
    'value "pk 3" is set aside: its key cannot be decoded as UTF-8',
]


def run(url: str, statement: str) -> Any:
    with psycopg.connect(url, autocommit=True) as session:
        cursor = session.execute(statement.encode())
        return cursor.fetchone() if cursor.description else None


def problems() -> list[str]:
    """The problems of the snapshot. Runs in the worker."""
    return sorted(flagstaff.status().problems)


def error_of_a_refresh() -> str | None:
    """Runs in the worker."""
    try:
        flagstaff.refresh(5)
    except RefreshError as error:
        return str(error)
    return None


def test_change_beside_undecodable_rows_is_seen_and_refresh_loads_it(
    worker: Worker, query: Query, store_undecodable: Callable[[], None]
) -> None:
    assert worker.ask(*NEW_CHECKOUT) is True
    store_undecodable()
    worker.sees(["call", f"{__name__}.problems"], PROBLEMS, within=5)
    query("UPDATE flagstaff_featureflag SET enabled = false WHERE key = 'new_checkout'")
    worker.sees(NEW_CHECKOUT, False, within=5)
    status = worker.ask("status")
    assert (status["mode"], status["failures"]) == ("live", 0)
    query("UPDATE flagstaff_featureflag SET enabled = true WHERE key = 'new_checkout'")
    assert worker.ask("call", f"{__name__}.error_of_a_refresh") is None
    assert worker.ask(*NEW_CHECKOUT) is True
    assert worker.ask("call", f"{__name__}.problems") == PROBLEMS


def test_new_worker_loads_all_rows_but_the_undecodable(
    database: str, encoding: Encoding, store_undecodable: Callable[[], None]
) -> None:
    store_undecodable()
    coffee = f"caf{encoding.character}"
    with Worker(database, project=SETTINGS) as worker:
        assert worker.ask("ready", 10) is True
        assert worker.ask("call", f"{__name__}.problems") == PROBLEMS
        assert worker.ask("flag_enabled", coffee) is True
        assert worker.ask("get_value", "gateway") == coffee
        assert worker.ask("get_value", "limit") == 25
        assert worker.ask("get_value", "mail", "missing") == "missing"
        allowed = [worker.ask("flag_enabled", "beta", user) for user in ("alice", coffee, "bob")]
        assert allowed == [True, True, False]


def set_undecodable_rules(query: Query, encoding: Encoding) -> None:
    """Writes rules, and conditions of a segment, that contain bytes without a character."""
    value = f'"caf{encoding.undecodable}"'
    conditions = f'[{{"attribute": "plan", "operator": "in", "values": [{value}]}}]'
    query(
        f"UPDATE flagstaff_featureflag SET rules = E'[{{\"conditions\": {conditions}}}]' "
        "WHERE key = 'new_checkout';"
        f"UPDATE flagstaff_segment SET conditions = E'{conditions}'"
    )


def test_undecodable_rules_and_conditions_are_set_aside_alone(
    worker: Worker, query: Query, encoding: Encoding
) -> None:
    free = '[{"attribute": "plan", "operator": "isnull", "values": [true]}]'
    query(f"INSERT INTO flagstaff_segment (key, conditions) VALUES ('free', '{free}')")
    query(
        "UPDATE flagstaff_featureflag SET rollout_percent = 0, "
        'rules = \'[{"conditions": [{"segment": "free"}]}]\''
    )
    worker.sees(["flag_enabled", "beta", "bob"], True, within=5)
    set_undecodable_rules(query, encoding)
    why = "its JSON text cannot be decoded as UTF-8"
    expected = [
        f'the conditions of segment "free" cannot be read, so its last good conditions stay: {why}',
        f'the rules of flag "new_checkout" cannot be read, so its last good rules stay: {why}',
    ]
    worker.sees(["call", f"{__name__}.problems"], expected, within=5)
    assert worker.ask(*NEW_CHECKOUT) is True
    query("UPDATE flagstaff_featureflag SET enabled = false WHERE key = 'new_checkout'")
    worker.sees(NEW_CHECKOUT, False, within=1)


def test_new_worker_beside_undecodable_rules_loads_the_other_flags(
    database: str, query: Query, encoding: Encoding
) -> None:
    set_undecodable_rules(query, encoding)
    with Worker(database, project=SETTINGS) as worker:
        assert worker.ask("ready", 10) is True
        assert worker.ask("reason_of", "new_checkout", "alice") == "ERROR"
        assert worker.ask("flag_enabled", f"caf{encoding.character}", "bob") is True
        query("UPDATE flagstaff_featureflag SET enabled = false")
        worker.sees(["reason_of", "new_checkout", "alice"], "DISABLED", within=1)


def test_command_that_reads_an_undecodable_row_fails_in_one_line(
    database: str, store_undecodable: Callable[[], None]
) -> None:
    store_undecodable()
    command = [sys.executable, "-m", "django", "flags", "history"]
    variables = {"DATABASE_URL": database, "DJANGO_SETTINGS_MODULE": SETTINGS}
    ran = subprocess.run(
        command, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith(
        "CommandError: a text cannot be converted between UTF-8 and the encoding of the database "
        "(SQLSTATE 22P05)"
    )
    assert ran.stderr.endswith('; "manage.py flags status" lists such rows\n')
    assert ran.stderr.count("\n") == 1
