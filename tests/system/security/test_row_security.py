"""Row level security on flagstaff's tables: rows are refused, never missing."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

import flagstaff
from flagstaff.exceptions import RefreshError
from tests.support.fixtures import Query
from tests.support.workers import Worker, calling

NEW_CHECKOUT: list[Any] = ["flag_enabled", "new_checkout", 1]
TABLES = [
    "flagstaff_token",
    "flagstaff_featureflag",
    "flagstaff_featureflag_allowed_users",
    "flagstaff_keyvaluestore",
]
# Roles are global to the server, so each test has its own.
_numbers = count(1)


def refused_refresh() -> str:
    """The error of a refresh. Runs in the worker."""
    with pytest.raises(RefreshError) as error:
        flagstaff.refresh(1)
    return str(error.value)


def error_names(table: str) -> bool:
    """Whether the last error names only this table, and what to do. Runs in the worker."""
    return (flagstaff.status().last_error or "").endswith(
        "row level security can hide rows, ALTER TABLE ... DISABLE ROW LEVEL SECURITY, "
        f"or ALTER ROLE ... BYPASSRLS for the role: {table}"
    )


@pytest.fixture
def role(query: Query) -> str:
    name = f"policed_{next(_numbers)}"
    query(f"CREATE ROLE {name} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
    return name


@pytest.fixture
def reader(database: str, role: str) -> Iterator[Worker]:
    """A worker whose role is not the owner of the tables, with a loaded snapshot."""
    with Worker(make_conninfo(database, user=role), POLL_INTERVAL=0.1).loaded() as worker:
        assert worker.ask(*NEW_CHECKOUT) is True
        yield worker


@pytest.mark.parametrize("table", TABLES)
def test_row_security_keeps_the_last_snapshot_and_names_the_table_until_it_is_disabled(
    reader: Worker, query: Query, table: str
) -> None:
    query(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    query("UPDATE flagstaff_featureflag SET description = 'changed'")
    reader.sees(["mode"], "down", within=3)
    assert reader.ask(*NEW_CHECKOUT) is True
    assert reader.ask("get_value", "gateway") == "stripe"
    # The first error is that of the load; those of the next connections name the table.
    reader.sees(calling(error_names, table), True, within=5)
    assert "row level security can hide rows" in reader.call(refused_refresh)
    query(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    query("UPDATE flagstaff_featureflag SET enabled = false")
    reader.sees(NEW_CHECKOUT, False, within=10)


def test_role_that_bypasses_row_security_is_live(role: str, database: str, query: Query) -> None:
    for table in TABLES:
        query(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    query(f"ALTER ROLE {role} BYPASSRLS")
    with Worker(make_conninfo(database, user=role)) as worker:
        worker.ask(*NEW_CHECKOUT)
        worker.sees(["mode"], "live", within=5)
        assert worker.ask(*NEW_CHECKOUT) is True
