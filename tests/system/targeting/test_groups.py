"""Conditions on groups in worker processes: a change of a group arrives like any other."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import Group, User

from flagstaff import experiments
from tests.support.conditions import condition
from tests.support.workers import Worker, calling

KEY = "new_checkout"
#: All members are read only after a minute, so a test that passes within this time saw a token.
SOON = 5

#: Makes the table of groups a view whose query does not end.
NEVER_RETURNS = """
CREATE FUNCTION never() RETURNS boolean LANGUAGE plpgsql
    AS $$ BEGIN PERFORM pg_sleep(3600); RETURN true; END $$;
ALTER TABLE auth_group RENAME TO stored_group;
CREATE VIEW auth_group AS SELECT * FROM stored_group WHERE never();
"""


def rules(*groups: str, **more: Any) -> str:
    """A rule for the members of these groups, as JSON."""
    return json.dumps([{"conditions": [condition("groups", "in", *groups)], **more}])


def add_user(name: str, *groups: str) -> int:
    """Signs a user up with Django's ORM, in these groups."""
    user = User.objects.create(username=name)
    user.groups.set([Group.objects.get_or_create(name=group)[0] for group in groups])
    return user.pk


def change_group(pk: int, change: str, group: str) -> None:
    """Adds a user to a group, or removes the user."""
    getattr(User.objects.get(pk=pk).groups, change)(Group.objects.get(name=group))


@pytest.fixture
def session(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database, autocommit=True) as opened:
        yield opened


@pytest.fixture
def worker(database: str, session: psycopg.Connection[Any]) -> Iterator[Worker]:
    """A worker that evaluates in memory; rules read the group beta."""
    with Worker(database, POLL_INTERVAL=0.5) as opened:
        opened.call(add_user, "ada", "beta")
        session.execute(
            "UPDATE flagstaff_featureflag SET rollout_percent = 0, rules = %s", [rules("beta")]
        )
        opened.sees(["flag_enabled", KEY, 1], True, within=SOON)
        yield opened


def test_age_of_members_is_unknown_without_a_rule_that_reads_groups(
    worker: Worker, session: psycopg.Connection[Any]
) -> None:
    assert 0 <= worker.ask("field", "members_age") < 60
    session.execute("UPDATE flagstaff_featureflag SET rules = '[]'")
    worker.sees(["field", "members_age"], None, within=SOON)


def test_user_that_joins_and_leaves_a_group_gains_and_loses_the_flag(
    database: str, worker: Worker
) -> None:
    with Worker(database) as other:
        pk = other.call(add_user, "grace", "beta")
        for each in (worker, other):
            each.sees(["flag_enabled", KEY, pk], True, within=SOON)
        other.call(change_group, pk, "remove", "beta")
        for each in (worker, other):
            each.sees(["flag_enabled", KEY, pk], False, within=SOON)


def test_new_member_gets_the_value_of_a_rule_that_alone_reads_the_group(
    worker: Worker, session: psycopg.Connection[Any]
) -> None:
    session.execute("UPDATE flagstaff_featureflag SET rules = '[]'")
    session.execute("DELETE FROM flagstaff_segment")
    session.execute(
        "INSERT INTO flagstaff_keyvaluestore (key, value, rules) VALUES ('max_items', '10', %s)",
        [rules("beta", value=50)],
    )
    pk = worker.call(add_user, "grace")
    worker.sees(["get_value", "max_items", None, 1], 50, within=SOON)
    assert worker.ask("get_value", "max_items", None, pk) == 10
    worker.call(change_group, pk, "add", "beta")
    worker.sees(["get_value", "max_items", None, pk], 50, within=SOON)


def start_experiment(group: str) -> None:
    """Gives members of a group one of the variants control and treatment."""
    experiments.create("button", rules=json.loads(rules(group)))
    experiments.start("button")


def has_variant(pk: int) -> bool:
    return experiments.get_variant("button", pk, default="none") != "none"


def test_new_member_of_a_group_that_only_an_experiment_names_gets_a_variant(worker: Worker) -> None:
    pk, member = worker.call(add_user, "grace"), worker.call(add_user, "hopper", "gamma")
    worker.call(start_experiment, "gamma")
    check = calling(has_variant)
    worker.sees([*check, member], True, within=SOON)
    assert worker.ask(*check, pk) is False
    worker.call(change_group, pk, "add", "gamma")
    worker.sees([*check, pk], True, within=SOON)


@pytest.mark.thorough
@pytest.mark.timeout(120)
def test_members_that_sql_changes_are_seen_within_about_a_minute(
    worker: Worker, session: psycopg.Connection[Any]
) -> None:
    pk = worker.call(add_user, "grace")
    # The first minute begins with the load that read the group.
    assert worker.ask("field", "members_age") < SOON
    add = "INSERT INTO auth_user_groups (user_id, group_id) SELECT %s, id FROM auth_group"
    session.execute(f"{add} WHERE name = 'beta'", [pk])
    worker.sees(["flag_enabled", KEY, pk], True, within=62)
    assert worker.ask("field", "members_age") < SOON


def test_member_added_while_the_first_rule_was_written_arrives_with_the_next_poll(
    database: str, worker: Worker, session: psycopg.Connection[Any]
) -> None:
    pk = worker.call(add_user, "grace")
    session.execute("INSERT INTO auth_group (name) VALUES ('staff')")
    with psycopg.connect(database) as signing_up:
        # No rule reads the group yet, so no token is written.
        signing_up.execute(
            "INSERT INTO auth_user_groups (user_id, group_id) "
            "SELECT %s, id FROM auth_group WHERE name = 'staff'",
            [pk],
        )
        session.execute("UPDATE flagstaff_featureflag SET rules = %s", [rules("staff")])
        worker.sees(["flag_enabled", KEY, 1], False, within=SOON)
    worker.sees(["flag_enabled", KEY, pk], True, within=SOON)


def test_kill_arrives_while_the_tables_of_groups_are_locked(
    database: str, worker: Worker, session: psycopg.Connection[Any]
) -> None:
    with psycopg.connect(database) as locked:
        locked.execute("LOCK TABLE auth_group, auth_user_groups")
        # The load has to read groups, because the rules name another one.
        session.execute(
            "UPDATE flagstaff_featureflag SET rules = %s, rollout_percent = 100",
            [rules("beta", "staff")],
        )
        worker.sees(["flag_enabled", KEY, 99], True, within=SOON)
        # The last known members stay.
        assert worker.ask("flag_enabled", KEY, 1) is True
        [problem] = worker.ask("problems")
        assert problem.startswith(
            "the members of groups cannot be read, so the last known members stay: "
        )
        session.execute("UPDATE flagstaff_featureflag SET enabled = false")
        worker.sees(["flag_enabled", KEY, 99], False, within=SOON)
    missing = 'the rules of flag "new_checkout" name a group that does not exist: "staff"'
    worker.sees(["problems"], [missing], within=SOON)


def test_kill_arrives_while_a_view_of_groups_never_returns(
    worker: Worker, session: psycopg.Connection[Any]
) -> None:
    session.execute(
        "INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent) "
        "VALUES ('other', true, 100)"
    )
    worker.sees(["flag_enabled", "other", 1], True, within=SOON)
    session.execute(NEVER_RETURNS)
    # The load has to read groups, because a token says that they have changed.
    session.execute("SELECT flagstaff_write_token_v1('g', NULL)")
    session.execute("UPDATE flagstaff_featureflag SET enabled = false WHERE key = 'other'")
    worker.sees(["flag_enabled", "other", 1], False, within=5 + SOON)
    # The next change does not wait for groups again.
    session.execute("UPDATE flagstaff_featureflag SET enabled = true WHERE key = 'other'")
    worker.sees(["flag_enabled", "other", 1], True, within=SOON)
    assert worker.ask("flag_enabled", KEY, 1) is True


def test_role_without_rights_on_groups_loads_flags_and_says_what_is_missing(
    database: str, worker: Worker, session: psycopg.Connection[Any]
) -> None:
    session.execute("DROP ROLE IF EXISTS flags_only")
    session.execute("CREATE ROLE flags_only LOGIN")
    session.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO flags_only")
    session.execute("REVOKE SELECT ON auth_group FROM flags_only")
    as_role = psycopg.conninfo.make_conninfo(database, user="flags_only")
    with Worker(as_role).loaded() as other:
        assert other.ask("flag_enabled", KEY, 1) is False
        session.execute("UPDATE flagstaff_featureflag SET rollout_percent = 100")
        other.sees(["flag_enabled", KEY, 99], True, within=SOON)
        unreadable = "the members of groups cannot be read, so conditions on groups are false: "
        assert any(problem.startswith(unreadable) for problem in other.ask("problems"))
    session.execute("DROP OWNED BY flags_only; DROP ROLE flags_only")
