"""A role that may create functions next to the tables gets no call of them, and so no rights."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import psycopg
import pytest

from tests.postgres.conftest import Query

# Roles are global to the server, so each test has its own.
_numbers = count(1)


@pytest.fixture
def mallory(database: str, query: Query) -> Iterator[psycopg.Connection[Any]]:
    """A session of a role that has only CREATE in the schema of the tables."""
    name = f"mallory_{next(_numbers)}"
    query(f"CREATE ROLE {name} LOGIN; GRANT USAGE, CREATE ON SCHEMA public TO {name}")
    with psycopg.connect(database, autocommit=True, user=name) as session:
        yield session


OWN_FUNCTIONS = [
    "flagstaff_write_token_v1(text)",
    "flagstaff_write_token_v1(name)",
    "flagstaff_write_token_v1(varchar)",
    "flagstaff_write_token_v1(anyelement)",
    "flagstaff_barrier_v1(VARIADIC text[])",
    "flagstaff_token_v1(text)",
    "flagstaff_digest_v1(jsonb, varchar)",
    "flagstaff_digest_v1(json, text)",
    "flagstaff_digest_v1(anyelement, text)",
]


@pytest.mark.parametrize("function", OWN_FUNCTIONS)
def test_overload_of_an_own_function_is_not_called(
    mallory: psycopg.Connection[Any], query: Query, function: str
) -> None:
    mallory.execute(
        f"CREATE FUNCTION public.{function} RETURNS bigint LANGUAGE plpgsql "
        "AS $$ BEGIN RAISE EXCEPTION 'called'; END $$".encode()
    )
    assert query("SELECT public.flagstaff_barrier_v1()")[0] > 0
    query("UPDATE flagstaff_keyvaluestore SET value = '2', secret = true")
    assert query("SELECT count(*) FROM flagstaff_change WHERE action = 'update'") == (1,)


def test_wait_for_workers_grants_nothing_to_a_role_with_create(
    mallory: psycopg.Connection[Any], query: Query
) -> None:
    mallory.execute(
        b"""
        CREATE FUNCTION public.flagstaff_write_token_v1(text) RETURNS bigint LANGUAGE plpgsql AS $$
        BEGIN
            EXECUTE format('GRANT ALL ON ALL TABLES IN SCHEMA public TO %I', 'mallory');
            RETURN flagstaff_write_token_v1('b'::"char");
        END $$
        """.replace(b"'mallory'", f"'{mallory.info.user}'".encode())
    )
    assert query("SELECT public.flagstaff_barrier_v1()")[0] > 0
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        mallory.execute("SELECT * FROM public.flagstaff_keyvaluestore")
