"""Changes by psql and by another process are recorded with old and new values."""

from __future__ import annotations

import subprocess
from typing import Any

import psycopg
import pytest

from tests.support.workers import Worker
from tools.postgres import Postgres

FLAGS = "flagstaff_featureflag"
ALLOWED = "flagstaff_featureflag_allowed_users"
VALUES = "flagstaff_keyvaluestore"
# User 2 is allowed, user 4 is not.
USERS = f"""
    INSERT INTO auth_user (id, username, password, first_name, last_name, email, is_superuser,
        is_staff, is_active, date_joined)
    SELECT id, 'user_' || id, '', '', '', '', false, false, true, now()
    FROM generate_series(2, 4) AS id;
    INSERT INTO {ALLOWED} (featureflag_id, user_id) SELECT id, 2 FROM {FLAGS};
    TRUNCATE flagstaff_change;
"""
CASCADE = f"ALTER TABLE {ALLOWED} ADD FOREIGN KEY (%s) REFERENCES %s ON DELETE CASCADE;"
# Relation, action, key, and the old and new side of each changed field, or of the allowed users.
Entry = tuple[str, str, str, Any]

OFF: Entry = ("f", "update", "new_checkout", {"enabled": [True, False]})
DELETED = {"key": ["new_checkout", None], "enabled": [True, None], "rollout_percent": [33, None]}
PAYPAL: Entry = ("k", "update", "gateway", {"value": ["stripe", "paypal"]})
WRITES: dict[str, tuple[str, list[Entry]]] = {
    "UPDATE": (f"UPDATE {FLAGS} SET enabled = false", [OFF]),
    "UPDATE of two tables in one transaction": (
        f"""
        BEGIN;
        UPDATE {FLAGS} SET enabled = false;
        UPDATE {VALUES} SET value = '"paypal"';
        COMMIT
        """,
        [OFF, PAYPAL],
    ),
    "UPDATE that changes nothing": (
        f"UPDATE {FLAGS} SET enabled = enabled; UPDATE {FLAGS} SET enabled = false WHERE false",
        [],
    ),
    "ROLLBACK": (f"BEGIN; UPDATE {FLAGS} SET enabled = false; ROLLBACK", []),
    "ROLLBACK TO a savepoint": (
        f"""
        BEGIN;
        UPDATE {FLAGS} SET enabled = false;
        SAVEPOINT one;
        DELETE FROM {ALLOWED};
        ROLLBACK TO one;
        COMMIT
        """,
        [OFF],
    ),
    "twice, back to the old value": (
        f"UPDATE {FLAGS} SET enabled = false; UPDATE {FLAGS} SET enabled = true",
        [OFF, ("f", "update", "new_checkout", {"enabled": [False, True]})],
    ),
    "INSERT": (
        f"INSERT INTO {FLAGS} (key, rollout_percent) VALUES ('banner', 5)",
        [
            (
                *("f", "insert", "banner"),
                {"key": [None, "banner"], "enabled": [None, False], "rollout_percent": [None, 5]},
            )
        ],
    ),
    "COPY of flags": (
        f"COPY {FLAGS} (key, enabled) FROM STDIN;\nbanner\tt\n\\.\n",
        [
            (
                *("f", "insert", "banner"),
                {"key": [None, "banner"], "enabled": [None, True], "rollout_percent": [None, 0]},
            )
        ],
    ),
    "COPY of values": (
        f"COPY {VALUES} (key, value) FROM STDIN;\nlimit\t25\n\\.\n",
        [("k", "insert", "limit", {"key": [None, "limit"], "value": [None, 25]})],
    ),
    "COPY of allowed users": (
        f"""
        \\copy (SELECT f.id, u.id FROM {FLAGS} AS f, auth_user AS u WHERE u.id > 2) TO 'users'
        \\copy {ALLOWED} (featureflag_id, user_id) FROM 'users'
        """,
        [("m", "insert", "new_checkout", [[], [3, 4]])],
    ),
    "UPDATE of an allowed user": (
        f"UPDATE {ALLOWED} SET user_id = 4",
        [("m", "update", "new_checkout", [[2], [4]])],
    ),
    "TRUNCATE of allowed users": (
        f"TRUNCATE {ALLOWED}",
        [("m", "truncate", "new_checkout", [[2], []])],
    ),
    "TRUNCATE CASCADE": (
        f"TRUNCATE {FLAGS} CASCADE",
        [
            ("f", "truncate", "new_checkout", DELETED),
            ("m", "truncate", "new_checkout", [[2], []]),
        ],
    ),
    "deleted user who is allowed": (
        CASCADE % ("user_id", "auth_user") + "DELETE FROM auth_user WHERE id = 2",
        [("m", "delete", "new_checkout", [[2], []])],
    ),
    "deleted user who is not allowed": ("DELETE FROM auth_user WHERE id = 4", []),
    "deleted flag with allowed users": (
        CASCADE % ("featureflag_id", FLAGS) + f"DELETE FROM {FLAGS}",
        [("f", "delete", "new_checkout", DELETED), ("m", "delete", "new_checkout", [[2], []])],
    ),
}


@pytest.mark.parametrize(("statements", "expected"), WRITES.values(), ids=WRITES)
def test_psql_is_recorded_with_old_and_new(
    statements: str, expected: list[Entry], database: str, server: Postgres, tmp_path: Any
) -> None:
    with psycopg.connect(database, autocommit=True) as session:
        session.execute(USERS.encode())
        psql = [str(server.programs / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database]
        subprocess.run(psql, input=statements, text=True, check=True, cwd=tmp_path)
        assert sorted(history(session), key=str) == sorted(expected, key=str)
        authors = session.execute(
            "SELECT DISTINCT actor, source, reason, session_user, application_name "
            "FROM flagstaff_change"
        )
        assert authors.fetchall() == [(None, None, None, "postgres", "psql")] * bool(expected)


ORM: dict[str, list[Entry]] = {
    "add_user": [("m", "insert", "new_checkout", [[], [4]])],
    "set_users": [
        ("m", "delete", "new_checkout", [[2], []]),
        ("m", "insert", "new_checkout", [[], [4]]),
    ],
    "clear_users": [("m", "delete", "new_checkout", [[2], []])],
    "delete_user": [("m", "delete", "new_checkout", [[2], []])],
    "rename": [("f", "update", "checkout", {"key": ["new_checkout", "checkout"]})],
}


@pytest.mark.parametrize(("write", "expected"), ORM.items(), ids=ORM)
def test_another_process_is_recorded_with_old_and_new(
    write: str, expected: list[Entry], database: str, worker: Worker
) -> None:
    with psycopg.connect(database, autocommit=True) as session:
        session.execute(USERS.encode())
        worker.ask("call", f"tests.faults.orm_writes.{write}")
        assert history(session) == expected


def history(session: psycopg.Connection[Any]) -> list[Entry]:
    """Returns all entries, reduced to what differs."""
    entries = session.execute(
        "SELECT relation::text, action, key, old, new FROM flagstaff_change ORDER BY id"
    )
    return [
        (
            relation,
            action,
            key,
            lists(old, new) if relation == "m" else differences(old or {}, new or {}),
        )
        for relation, action, key, old, new in entries
    ]


def lists(old: list[int], new: list[int]) -> list[list[int]]:
    return [sorted(old), sorted(new)]


def differences(old: dict[str, Any], new: dict[str, Any]) -> dict[str, list[Any]]:
    fields = ("key", "enabled", "rollout_percent", "value")
    pairs = {field: [old.get(field), new.get(field)] for field in fields}
    return {field: pair for field, pair in pairs.items() if pair[0] != pair[1]}
