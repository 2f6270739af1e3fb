"""Changes by psql are recorded with old and new values, and without an actor."""

import subprocess
from pathlib import Path

import psycopg
import pytest

from tests.support.sql import insert_users
from tools.postgres import Postgres

FLAGS = "flagstaff_featureflag"
ALLOWED = "flagstaff_featureflag_allowed_users"
VALUES = "flagstaff_keyvaluestore"
SCRIPT = f"""
BEGIN;
UPDATE {FLAGS} SET enabled = false;
SAVEPOINT one;
UPDATE {FLAGS} SET rollout_percent = 99;
ROLLBACK TO one;
UPDATE {VALUES} SET value = '"paypal"';
COMMIT;
COPY {VALUES} (key, value) FROM STDIN;
limit\t25
\\.
\\copy (SELECT f.id, u.id FROM {FLAGS} AS f, auth_user AS u ORDER BY 2) TO 'users'
\\copy {ALLOWED} (featureflag_id, user_id) FROM 'users'
"""
ENTRIES = """
    SELECT relation::text, action, key,
        CASE relation WHEN 'm' THEN old WHEN 'f' THEN old -> 'enabled' ELSE old -> 'value' END,
        CASE relation WHEN 'm' THEN new WHEN 'f' THEN new -> 'enabled' ELSE new -> 'value' END
    FROM flagstaff_change ORDER BY id
"""
AUTHORS = """
    SELECT DISTINCT actor, source, reason, session_user, application_name FROM flagstaff_change
"""


@pytest.mark.smoke
def test_psql_is_recorded_with_old_and_new(database: str, server: Postgres, tmp_path: Path) -> None:
    with psycopg.connect(database, autocommit=True) as session:
        session.execute(f"{insert_users(3, 4)} TRUNCATE flagstaff_change".encode())
        psql = [str(server.programs / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database]
        subprocess.run(psql, input=SCRIPT, text=True, check=True, cwd=tmp_path)
        assert session.execute(ENTRIES).fetchall() == [
            ("f", "update", "new_checkout", True, False),
            ("k", "update", "gateway", "stripe", "paypal"),
            ("k", "insert", "limit", None, 25),
            ("m", "insert", "new_checkout", [], [3, 4]),
        ]
        authors = session.execute(AUTHORS).fetchall()
    assert authors == [(None, None, None, "postgres", "psql")]
