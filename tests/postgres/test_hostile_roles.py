"""A role that may create functions next to the tables gets no call of them, and so no rights."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connection

from flagstaff import acting_as, changes
from flagstaff.history import flag_history
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.postgres.conftest import Query
from tests.terminals import flags

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


# Each fits its arguments better than PostgreSQL's own function, whose type is polymorphic.
BETTER_FITS = """
CREATE FUNCTION public.to_jsonb(flagstaff_featureflag) RETURNS jsonb {alarm};
CREATE FUNCTION public.to_jsonb(flagstaff_keyvaluestore) RETURNS jsonb {alarm};
CREATE FUNCTION public.jsonb_populate_record(flagstaff_featureflag, jsonb)
    RETURNS flagstaff_featureflag {alarm};
CREATE FUNCTION public.jsonb_populate_record(flagstaff_keyvaluestore, jsonb)
    RETURNS flagstaff_keyvaluestore {alarm};
CREATE FUNCTION public.collect(jsonb, jsonb) RETURNS jsonb {alarm};
CREATE AGGREGATE public.jsonb_agg(jsonb) (SFUNC = public.collect, STYPE = jsonb, INITCOND = '[]');
CREATE FUNCTION public.equal_texts(text[], text[]) RETURNS bool {alarm};
CREATE OPERATOR public.= (FUNCTION = public.equal_texts, LEFTARG = text[], RIGHTARG = text[]);
"""
ALARM = "LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'called'; END $$"


@pytest.fixture
def better_fits(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(BETTER_FITS.format(alarm=ALARM))


@pytest.mark.usefixtures("better_fits")
def test_undo_and_restore_call_no_function_of_others() -> None:
    # Changes by different actors are separate events of one transaction.
    with acting_as("alice"):
        changes.create("new_checkout", rollout_percent=5)
    version = flag_history("new_checkout")[0].version
    with acting_as("bob"):
        changes.set_rollout("new_checkout", 50)
    changes.undo("new_checkout")
    assert FeatureFlag.objects.get().rollout_percent == 5
    FeatureFlag.objects.update(rollout_percent=70)
    changes.restore("new_checkout", to=version)
    assert FeatureFlag.objects.get().rollout_percent == 5
    with acting_as("alice"):
        changes.create_value("gateway", "stripe")
    with acting_as("bob"):
        changes.set_value("gateway", "paypal")
    changes.undo_value("gateway")
    assert KeyValueStore.objects.get().value == "stripe"


@pytest.mark.usefixtures("better_fits")
def test_forget_user_calls_no_function_of_others() -> None:
    alice, bob = (User.objects.create(username=name) for name in ("alice", "bob"))
    changes.create("new_checkout")
    changes.add_allowed_users("new_checkout", [alice, bob])
    assert flags("forget-user", str(alice.pk), "--yes").status == 0
    assert Change.objects.filter(relation="m").latest("id").new == [bob.pk]
