"""A database whose encoding is not UTF-8."""

import psycopg
import pytest

from tests.support.python_processes import run_python
from tests.support.workers import Worker, address
from tools.postgres import Postgres


@pytest.fixture
def sql_ascii(server: Postgres) -> str:
    """The address of a database that accepts any bytes as text."""
    create = "CREATE DATABASE bytes TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'"
    with psycopg.connect(server.url, autocommit=True) as session:
        session.execute(create)
    url = address(server.url, "bytes")
    run_python(url, "-m", "django", "migrate", "--verbosity=0", "--skip-checks")
    return url


def test_check_and_workers_refuse_a_database_in_another_encoding(sql_ascii: str) -> None:
    checked = run_python(sql_ascii, "-m", "django", "check", "--database=default", status=1)
    assert "(flagstaff.E060)" in checked.stderr
    with Worker(sql_ascii) as worker:
        assert worker.ask("ready", 0.5) is False
        assert worker.ask("status")["last_error"] == (
            "identify: the encoding of the database is not UTF8, restore a dump of it into a "
            "database that was created with ENCODING 'UTF8': SQL_ASCII"
        )
