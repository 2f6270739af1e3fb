"""A role that may create functions next to the tables gets no call of them, and so no rights."""

import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings

from flagstaff import flag_enabled
from flagstaff.models import Change
from tests.support.fixtures import Query
from tests.support.package_sql import statements
from tests.support.sql import insert_users
from tests.support.terminals import flags
from tests.support.webhooks import Webhook
from tests.support.workers import Worker

# Roles are global to the server, so each test has its own.
_numbers = count(1)


@pytest.fixture
def mallory(database: str, query: Query) -> Iterator[psycopg.Connection[Any]]:
    """A session of a role that has only CREATE in the schema of the tables."""
    name = f"mallory_{next(_numbers)}"
    query(f"CREATE ROLE {name} LOGIN; GRANT USAGE, CREATE ON SCHEMA public TO {name}")
    with psycopg.connect(database, autocommit=True, user=name) as session:
        yield session


ALARM = "LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'called'; END $$"
OWN_FUNCTIONS = [
    "flagstaff_write_token_v1(text, text[])",
    "flagstaff_write_token_v1(name, text[])",
    "flagstaff_write_token_v1(varchar, varchar[])",
    "flagstaff_write_token_v1(anyelement, anyarray)",
    'flagstaff_write_token_v1("char", text)',
    "flagstaff_barrier_v1(VARIADIC text[])",
    "flagstaff_token_v1(text)",
    "flagstaff_hidden_v1(jsonb, jsonb, varchar[])",
    "flagstaff_hidden_v1(json, json, text[])",
    "flagstaff_hidden_v1(anyelement, anyelement, anyarray)",
]


def test_overload_of_an_own_function_is_not_called(
    mallory: psycopg.Connection[Any], query: Query
) -> None:
    for function in OWN_FUNCTIONS:
        mallory.execute(f"CREATE FUNCTION public.{function} RETURNS bigint {ALARM}".encode())
    assert query("SELECT public.flagstaff_barrier_v1()")[0] > 0
    query("UPDATE flagstaff_keyvaluestore SET value = '2', secret = true")
    assert query("SELECT count(*) FROM flagstaff_change WHERE action = 'update'") == (1,)


# Each fits an argument of one of these types better than PostgreSQL's own, which takes any type.
POLYMORPHIC = """
CREATE SEQUENCE public.trap_calls;
CREATE FUNCTION public.trap() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    -- Not undone by a rollback: it also counts a call whose error is caught.
    PERFORM pg_catalog.nextval('public.trap_calls');
    RAISE EXCEPTION 'called';
END $$;
DO $do$
DECLARE
    body text := 'LANGUAGE plpgsql AS ''BEGIN PERFORM public.trap(); END''';
    polymorphic oid[] := ARRAY['"any"', 'anyelement', 'anyarray', 'anynonarray']::regtype[]::oid[];
    chosen regtype;
    made text;
    f record;
BEGIN
    FOREACH chosen IN ARRAY ARRAY['text', 'bigint', 'integer', 'boolean', 'jsonb', 'timestamptz',
        'name', 'oid', 'bigint[]', 'text[]', 'flagstaff_featureflag', 'flagstaff_keyvaluestore',
        'flagstaff_change']::regtype[]
    LOOP
        FOR f IN SELECT proname, prokind, array_agg(CASE
                WHEN argument = ANY (polymorphic) THEN chosen ELSE argument::regtype
            END::text ORDER BY place) AS arguments
            FROM pg_proc, unnest(proargtypes::oid[]) WITH ORDINALITY AS a (argument, place)
            WHERE pronamespace = 'pg_catalog'::regnamespace AND proname = ANY (%s)
                AND prokind IN ('f', 'a') AND proargtypes::oid[] && polymorphic
                AND NOT 'internal'::regtype = ANY (proargtypes::oid[])
            GROUP BY pg_proc.oid
        LOOP
            made := array_to_string(f.arguments, ', ');
            BEGIN
                IF f.prokind = 'f' THEN
                    EXECUTE format('CREATE FUNCTION public.%%I(%%s) RETURNS text %%s',
                        f.proname, made, body);
                ELSE
                    EXECUTE format(
                        'CREATE OR REPLACE FUNCTION public.collect(text, %%s) RETURNS text %%s',
                        made, body);
                    EXECUTE format(
                        'CREATE AGGREGATE public.%%I(%%s) (SFUNC = public.collect, STYPE = text)',
                        f.proname, made);
                END IF;
            EXCEPTION WHEN duplicate_function OR ambiguous_function THEN
                NULL;
            END;
        END LOOP;
    END LOOP;
END $do$;
CREATE FUNCTION public.equal_texts(text[], text[]) RETURNS bool LANGUAGE plpgsql
    AS 'BEGIN PERFORM public.trap(); END';
CREATE OPERATOR public.= (FUNCTION = public.equal_texts, LEFTARG = text[], RIGHTARG = text[]);
"""
TRAP = "LANGUAGE plpgsql AS $$ BEGIN PERFORM public.trap(); END $$"
# In order; {file} is exported first and then imported.
COMMANDS = """
create beta
rollout beta 10
on beta
allow beta user_1 user_2
disallow beta user_2
explain beta user_1
rollout beta 50 --dry-run
kill beta --wait
list
show beta
history beta
history
undo beta
undo-transaction {change}
restore beta {version}
value create page_size 20
value set page_size 50
value list
value undo page_size
export --versions --file {file}
import {file}
rollout beta 30
import {file} --ignore-versions --wait
delete beta --yes
restore beta {version}
run-jobs
webhooks retry
webhooks discard
usage
forget-user 2 --yes
status
workers
"""


def run_commands(hook: dict[str, Any], file: str) -> list[list[Any]]:
    """The commands that failed, with their errors. Runs in the worker."""
    settings.FLAGSTAFF = {"USAGE_INTERVAL": 1, "WEBHOOKS": {"ops": hook}}
    failed = []
    filled: dict[str, object] = {"file": file}
    # The queue of a receiver begins with its first run.
    for line in ["run-jobs", *COMMANDS.strip().splitlines()]:
        if "{change}" in line:
            filled["change"] = Change.objects.latest("id").pk
        ran = flags(*line.format(**filled).split())
        if line == "on beta":
            filled["version"] = Change.objects.latest("id").pk
        if ran.status:
            failed.append([line, ran.status, ran.err])
    flag_enabled("unknown key")
    return failed


def test_commands_and_flushes_of_the_owner_call_no_function_of_another_role(
    database: str, mallory: psycopg.Connection[Any], query: Query, tmp_path: Path
) -> None:
    query(insert_users(1, 2))
    words = {word for _, text in statements() for word in re.findall(r"\w+", text)}
    # Django's ORM does not name the schema of functions, and counts in the list of flags.
    words.remove("count")
    traps = psycopg.ClientCursor(mallory).mogrify(POLYMORPHIC, [sorted(words)])
    mallory.execute(traps.encode())
    for function in OWN_FUNCTIONS:
        mallory.execute(f"CREATE FUNCTION public.{function} RETURNS bigint {TRAP}".encode())
    with Webhook() as hook, Worker(database, USAGE_INTERVAL=1).loaded() as worker:
        file = str(tmp_path / "flags.json")
        assert worker.call(run_commands, hook.settings(), file) == []
        assert worker.ask("status")["usage_problem"] is None
    assert query("SELECT is_called FROM trap_calls") == (False,)
    assert query("SELECT count(*) > 0 FROM flagstaff_usage") == (True,)
    assert hook.accepted
