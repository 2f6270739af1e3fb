"""A change of a group that rules read writes a change token, and never fails because of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import Model
from django.test import modify_settings

from flagstaff.experiments.models import Experiment
from flagstaff.models import FeatureFlag, KeyValueStore, Segment
from tests.support.conditions import condition
from tests.support.sql import Tokens, copy_in, rows, without_table
from tests.support.watched_groups import unwatch_groups, watch_groups

pytestmark = pytest.mark.django_db

OpenSession = Callable[[], "psycopg.Connection[Any]"]
Rule = dict[str, Any]


def reads(*groups: object, operator: str = "in", **members: object) -> Rule:
    return condition("groups", operator, *groups, **members)


def rule(*conditions: Rule) -> list[Rule]:
    return [{"conditions": [*conditions]}]


#: Other models than flags that have rules, and what a row of them needs.
OTHERS: dict[type[Model], dict[str, Any]] = {
    KeyValueStore: {"value": 10},
    Experiment: {"variants": [], "allocation": []},
}


def other(model: type[Model], rules: object) -> Model:
    """Returns a new row of one of these models, which is not stored."""
    return model(key="other", rules=rules, **OTHERS[model])


@pytest.fixture
def beta(db: None) -> Group:
    """A group that the rules of a flag read."""
    FeatureFlag.objects.create(key="new_checkout", rules=rule(reads("beta")))
    return Group.objects.create(name="beta")


@pytest.fixture
def staff(db: None) -> Group:
    """A group that no rule reads."""
    return Group.objects.create(name="staff")


@pytest.fixture
def tokens(beta: Group, staff: Group, alice: User, bob: User) -> Tokens:
    """The tokens since groups are watched. alice is a member of both, and bob of none."""
    alice.groups.add(beta, staff)
    rows("SET CONSTRAINTS ALL IMMEDIATE")
    watch_groups()
    return Tokens()


Change = Callable[[Group, User, User], object]

MEMBERSHIPS = "auth_user_groups"
CHANGES: dict[str, Change] = {
    "user.groups.add": lambda group, alice, bob: bob.groups.add(group),
    "user.groups.remove": lambda group, alice, bob: alice.groups.remove(group),
    "user.groups.set": lambda group, alice, bob: bob.groups.set([group]),
    "user.groups.clear": lambda group, alice, bob: alice.groups.clear(),
    "group.user_set.add": lambda group, alice, bob: group.user_set.add(bob),
    "group.user_set.set": lambda group, alice, bob: group.user_set.set([alice, bob]),
    "group.user_set.clear": lambda group, alice, bob: group.user_set.clear(),
    "deletion of a user": lambda group, alice, bob: alice.delete(),
    "bulk_create": lambda group, alice, bob: User.groups.through.objects.bulk_create(
        [User.groups.through(user=bob, group=group)]
    ),
    "INSERT": lambda group, alice, bob: rows(
        f"INSERT INTO {MEMBERSHIPS} (user_id, group_id) VALUES (%s, %s)", bob.pk, group.pk
    ),
    "UPDATE of the user": lambda group, alice, bob: rows(
        f"UPDATE {MEMBERSHIPS} SET user_id = %s WHERE group_id = %s", bob.pk, group.pk
    ),
    "DELETE": lambda group, alice, bob: rows(
        f"DELETE FROM {MEMBERSHIPS} WHERE group_id = %s", group.pk
    ),
    "COPY": lambda group, alice, bob: copy_in(
        f"{MEMBERSHIPS} (user_id, group_id)", f"{bob.pk}\t{group.pk}\n"
    ),
    "UPDATE of the name": lambda group, alice, bob: Group.objects.filter(pk=group.pk).update(
        name=f"renamed {group.pk}"
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_change_of_a_group_writes_one_token_if_it_is_referenced(
    change: Change, beta: Group, staff: Group, tokens: Tokens
) -> None:
    alice, bob = User.objects.order_by("username")
    # These concern both groups.
    if change not in (CHANGES["deletion of a user"], CHANGES["user.groups.clear"]):
        change(staff, alice, bob)
        assert tokens() == []
    change(beta, alice, bob)
    assert [one for one in tokens() if one == "g"] == ["g"]


def test_statement_writes_one_token_if_any_group_is_referenced(
    beta: Group, staff: Group, bob: User, tokens: Tokens
) -> None:
    users = User.objects.bulk_create([User(username=f"user_{number}") for number in range(100)])
    staff.user_set.add(*users)
    assert tokens() == []
    beta.user_set.add(*users)
    assert tokens() == ["g"]
    bob.groups.add(beta, staff)
    assert tokens() == ["g"]


def test_deleted_group_writes_tokens_for_its_members_and_itself(
    beta: Group, tokens: Tokens
) -> None:
    beta.delete()
    assert tokens() == ["g", "g"]
    Group.objects.create(name="beta")
    assert tokens() == ["g"]
    # Without members.
    rows("DELETE FROM auth_group WHERE name = 'beta'")
    assert tokens() == ["g"]


def test_token_of_members_carries_the_pairs_that_changed(
    beta: Group, staff: Group, alice: User, bob: User, tokens: Tokens
) -> None:
    rows(f"UPDATE {MEMBERSHIPS} SET user_id = %s WHERE group_id = %s", bob.pk, beta.pk)
    beta.user_set.add(alice)
    bob.groups.remove(beta)
    of_alice, of_bob = [[str(beta.pk), str(user.pk)] for user in (alice, bob)]
    assert tokens.pks() == [("g", [of_bob, of_alice]), ("g", [of_alice]), ("g", [of_bob])]
    # Of groups that no rule reads too, if the statement concerns one that a rule reads.
    bob.groups.add(beta, staff)
    [(_, pairs)] = tokens.pks()
    assert sorted(pairs or []) == sorted([of_bob, [str(staff.pk), str(bob.pk)]])


@pytest.mark.parametrize("number", [64, 65])
def test_pairs_of_many_members_are_carried_up_to_a_limit(
    number: int, beta: Group, tokens: Tokens
) -> None:
    users = User.objects.bulk_create([User(username=f"user_{n}") for n in range(number)])
    beta.user_set.add(*users)
    beta.user_set.remove(*users)
    pairs = sorted([str(beta.pk), str(user.pk)] for user in users)
    expected = pairs if number == 64 else None
    assert [found and sorted(found) for _, found in tokens.pks()] == [expected] * 2


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE auth_group SET name = 'renamed' WHERE name = 'beta'",
        f"TRUNCATE {MEMBERSHIPS}",
        "INSERT INTO auth_group (name) VALUES ('beta')",
    ],
)
def test_change_of_groups_or_of_all_members_can_concern_any_user(
    statement: str, tokens: Tokens
) -> None:
    rows("ALTER TABLE auth_group DROP CONSTRAINT auth_group_name_key")
    rows(statement)
    assert tokens.pks() == [("g", None)]


def test_member_without_a_user_can_be_any_user(beta: Group, tokens: Tokens) -> None:
    rows(f"ALTER TABLE {MEMBERSHIPS} ALTER user_id DROP NOT NULL")
    rows(f"INSERT INTO {MEMBERSHIPS} (group_id) VALUES (%s)", beta.pk)
    assert tokens.pks() == [("g", None)]


def test_group_that_gets_a_name_which_rules_read_writes_a_token(
    staff: Group, tokens: Tokens
) -> None:
    FeatureFlag.objects.update(rules=rule(reads("later", "testers")))
    tokens()
    Group.objects.create(name="later")
    assert tokens() == ["g"]
    Group.objects.filter(pk=staff.pk).update(name="testers")
    assert tokens() == ["g"]


@pytest.mark.usefixtures("beta")
def test_rename_to_an_equal_name_of_other_bytes_writes_a_token(tokens: Tokens) -> None:
    FeatureFlag.objects.create(key="by_number", rules=rule(reads("-1.0")))
    rows("SET CONSTRAINTS ALL IMMEDIATE")
    # -1.0 equals -1.00, as "beta" equals "Beta" in a collation that ignores the case.
    rows("DROP INDEX auth_group_name_a6ea08ec_like")
    rows("ALTER TABLE auth_group ALTER name TYPE numeric USING id")
    rows("INSERT INTO auth_group (id, name) VALUES (-1, -1.0)")
    tokens()
    rows("UPDATE auth_group SET name = -1.00 WHERE id = -1")
    assert tokens() == ["g"]


def test_statement_that_changes_nothing_writes_no_token(beta: Group, tokens: Tokens) -> None:
    beta.save()
    rows(f"UPDATE {MEMBERSHIPS} SET user_id = user_id")
    rows(f"DELETE FROM {MEMBERSHIPS} WHERE user_id = 0")
    rows(f"INSERT INTO {MEMBERSHIPS} (user_id, group_id) SELECT 0, 0 WHERE false")
    assert tokens() == []


@pytest.mark.parametrize(("old", "new"), [("beta", "guests"), ("staff", "beta")])
def test_member_moved_by_an_update_writes_one_token(
    old: str, new: str, alice: User, tokens: Tokens
) -> None:
    guests = Group.objects.create(name="guests")
    group = guests if new == "guests" else Group.objects.get(name=new)
    rows(f"DELETE FROM {MEMBERSHIPS} WHERE group_id = %s", group.pk)
    tokens()
    memberships = User.groups.through.objects.filter(user=alice, group__name=old)
    assert memberships.update(group=group) == 1
    assert tokens() == ["g"]


@pytest.mark.parametrize("table", ["auth_user_groups", "auth_group CASCADE"])
def test_truncate_writes_a_token_for_each_table_if_any_group_is_referenced(
    table: str, tokens: Tokens
) -> None:
    rows(f"TRUNCATE {table}")
    assert tokens() == ["g"] * len(table.split())
    FeatureFlag.objects.update(rules=[])
    tokens()
    rows("TRUNCATE auth_user_groups")
    assert tokens() == []


READ_BY_RULES: dict[str, tuple[Any, bool]] = {
    "in": (rule(reads("alpha", "beta")), True),
    "in, negated": (rule(reads("beta", negate=True)), True),
    "second condition of the second rule": (
        [*rule({"segment": "s"}), *rule({"segment": "s"}, reads("beta"))],
        True,
    ),
    "name that contains the group's": (rule(reads("beta testers")), False),
    "name in other case": (rule(reads("Beta")), False),
    "another attribute": (rule({**reads("beta"), "attribute": "group_names"}), False),
    "name of the rule": ([{"name": "groups", "conditions": [{"segment": "beta"}]}], False),
    "text that looks like a condition": (
        rule({**reads('"attribute": "groups"', "beta"), "attribute": "plan"}),
        False,
    ),
    "contains": (rule(reads("zzz", operator="contains")), True),
    "isnull": (rule(reads(True, operator="isnull")), True),
    "operator of a newer version": (rule(reads("zzz", operator="is_one_of")), True),
    "number": (rule(reads(5)), True),
    "no values": (rule(reads()), True),
    "no operator": (rule({"attribute": "groups", "values": ["zzz"]}), True),
    "values that are no list": (rule({**reads(), "values": {"zzz": 1}}), True),
    "condition in the wrong place": ({"rules": rule(reads("zzz"))}, True),
    "condition in place of a rule": ([reads("zzz")], True),
    "one readable and one unreadable": (rule(reads("zzz"), reads()), True),
    "no rules": ([], False),
    "no list": ("groups", False),
}


@pytest.mark.parametrize(("rules", "is_read"), READ_BY_RULES.values(), ids=READ_BY_RULES)
def test_rules_that_may_depend_on_a_group_count_as_a_reference(
    rules: Any, is_read: bool, beta: Group, bob: User, tokens: Tokens
) -> None:
    FeatureFlag.objects.update(rules=rules)
    tokens()
    beta.user_set.add(bob)
    assert tokens() == (["g"] if is_read else [])


@pytest.mark.parametrize(
    ("conditions", "is_read"),
    [
        ([condition("plan", "in", "pro"), reads("staff")], True),
        ([reads("beta")], False),
        ([reads("zzz", operator="startswith")], True),
        ({"conditions": [reads("zzz")]}, True),
    ],
)
def test_conditions_of_a_segment_count_as_a_reference(
    conditions: Any, is_read: bool, staff: Group, bob: User, tokens: Tokens
) -> None:
    Segment.objects.create(key="insiders", conditions=conditions)
    tokens()
    staff.user_set.add(bob)
    assert tokens() == (["g"] if is_read else [])


@pytest.mark.parametrize("model", OTHERS)
@pytest.mark.parametrize("case", READ_BY_RULES.values(), ids=READ_BY_RULES)
def test_rules_of_a_value_or_an_experiment_count_as_those_of_a_flag(
    case: tuple[Any, bool], model: type[Model], beta: Group, bob: User, tokens: Tokens
) -> None:
    rules, is_read = case
    FeatureFlag.objects.update(rules=[])
    other(model, rules).save()
    tokens()
    beta.user_set.add(bob)
    assert tokens() == (["g"] if is_read else [])


@pytest.mark.parametrize("model", OTHERS)
def test_truncate_writes_a_token_if_only_a_value_or_an_experiment_reads_a_group(
    model: type[Model], tokens: Tokens
) -> None:
    FeatureFlag.objects.update(rules=[])
    other(model, rule(reads("beta"))).save()
    tokens()
    rows(f"TRUNCATE {MEMBERSHIPS}")
    assert tokens() == ["g"]


def test_group_that_only_an_experiment_names_writes_a_token_with_the_pair_until_its_deletion(
    staff: Group, alice: User, bob: User, tokens: Tokens
) -> None:
    experiment = other(Experiment, rule(reads("staff")))
    experiment.save()
    tokens()
    bob.groups.add(staff)
    assert tokens.pks() == [("g", [[str(staff.pk), str(bob.pk)]])]
    bob.groups.add(Group.objects.create(name="guests"))
    assert tokens() == []
    experiment.delete()
    tokens()
    alice.groups.remove(staff)
    assert tokens() == []


def names_experiments() -> bool:
    """Whether the installed function names their table."""
    [[body]] = rows("SELECT prosrc FROM pg_proc WHERE proname = 'flagstaff_groups_v1'")
    return "flagstaff_experiments" in body


def test_function_names_experiments_only_if_their_app_and_table_exist(tokens: Tokens) -> None:
    assert names_experiments()
    with without_table("flagstaff_experiments_experiment"):
        watch_groups()
    assert not names_experiments()
    watch_groups()
    assert names_experiments()
    with modify_settings(INSTALLED_APPS={"remove": "flagstaff.experiments"}):
        watch_groups()
    assert not names_experiments()


def test_very_deep_rules_can_be_written(tokens: Tokens) -> None:
    # An error of the index would make the write fail.
    deep = f'{"[" * 499}{{"attribute": "groups"}}{"]" * 499}'
    rows("UPDATE flagstaff_featureflag SET rules = %s::jsonb, enabled = true", deep)
    assert tokens() == ["f"]


def test_long_names_stay_different(bob: User, tokens: Tokens) -> None:
    # The index stores a hash of long names.
    one, other = Group.objects.create(name="x" * 150), Group.objects.create(name="x" * 149 + "y")
    FeatureFlag.objects.update(rules=rule(reads("x" * 150)))
    tokens()
    other.user_set.add(bob)
    assert tokens() == []
    one.user_set.add(bob)
    assert tokens() == ["g"]


def test_rolled_back_savepoint_leaves_no_token_and_replicating_session_writes_one(
    beta: Group, bob: User, tokens: Tokens
) -> None:
    with transaction.atomic():
        beta.user_set.add(bob)
        transaction.set_rollback(True)
    assert tokens() == []
    rows("SET LOCAL session_replication_role = replica")
    with transaction.atomic():
        beta.user_set.add(bob)
    assert tokens() == ["g"]


def test_role_without_privileges_can_add_a_member_and_not_call_the_function(
    beta: Group, bob: User, tokens: Tokens
) -> None:
    rows(
        "CREATE ROLE clerk; GRANT SELECT, INSERT, UPDATE, DELETE ON auth_user, auth_group, "
        "auth_user_groups TO clerk; SET LOCAL ROLE clerk"
    )
    beta.user_set.add(bob)
    rows("RESET ROLE")
    assert tokens() == ["g"]
    [[may]] = rows("SELECT has_function_privilege('clerk', 'flagstaff_groups_v1()', 'EXECUTE')")
    assert may is False


BROKEN = {
    "token table without a column": "ALTER TABLE flagstaff_token DROP COLUMN relation CASCADE",
    "no token table": "DROP TABLE flagstaff_token",
    "no function that writes tokens": "DROP FUNCTION flagstaff_write_token_v1 CASCADE",
    "constraint of an older version": (
        "ALTER TABLE flagstaff_token ADD CHECK (relation <> 'g') NOT VALID"
    ),
    "read-only token table": (
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE 'refused'; END $$; CREATE TRIGGER refuse BEFORE INSERT ON flagstaff_token "
        "FOR EACH ROW EXECUTE FUNCTION refuse()"
    ),
    "no rights of the owner": (
        "CREATE ROLE powerless; GRANT CREATE ON SCHEMA public TO powerless; "
        "ALTER FUNCTION flagstaff_groups_v1() OWNER TO powerless; "
        "REVOKE CREATE ON SCHEMA public FROM powerless"
    ),
}


@pytest.mark.parametrize("statement", BROKEN.values(), ids=BROKEN)
def test_sign_up_succeeds_with_a_warning_if_no_token_can_be_written(
    statement: str, beta: Group, tokens: Tokens
) -> None:
    rows(statement)
    warnings: list[str] = []
    assert connection.connection is not None
    connection.connection.add_notice_handler(lambda one: warnings.append(one.message_primary))
    carol = User.objects.create(username="carol")
    carol.groups.add(beta)
    rows("SET CONSTRAINTS ALL IMMEDIATE")
    assert [*carol.groups.all()] == [beta]
    assert [one.partition(":")[2].partition(":")[0] for one in warnings] == [
        " no change token for this INSERT on auth_user_groups"
    ]


UNKNOWN_REFERENCES = {
    "no column of rules": "ALTER TABLE flagstaff_featureflag DROP COLUMN rules CASCADE",
    "no table of segments": "DROP TABLE flagstaff_segment CASCADE",
    "no table of experiments": "DROP TABLE flagstaff_experiments_experiment CASCADE",
    "renamed table of groups": "ALTER TABLE auth_group RENAME TO groups_of_users",
}


@pytest.mark.parametrize("statement", UNKNOWN_REFERENCES.values(), ids=UNKNOWN_REFERENCES)
def test_token_is_written_if_references_cannot_be_looked_up(
    statement: str, staff: Group, bob: User, tokens: Tokens
) -> None:
    rows(statement)
    rows(f"INSERT INTO {MEMBERSHIPS} (user_id, group_id) VALUES (%s, %s)", bob.pk, staff.pk)
    assert tokens() == ["g"]


@pytest.mark.parametrize("table", ["auth_group", "flagstaff_featureflag"])
def test_token_is_written_if_row_security_hides_references_from_the_owner(
    table: str, beta: Group, bob: User, tokens: Tokens
) -> None:
    rows("SET CONSTRAINTS ALL IMMEDIATE")
    rows(
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY; "
        "CREATE ROLE keeper; GRANT CREATE ON SCHEMA public TO keeper; "
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO keeper; "
        "GRANT ALL ON ALL FUNCTIONS IN SCHEMA public TO keeper; "
        "ALTER FUNCTION flagstaff_groups_v1() OWNER TO keeper"
    )
    tokens()
    rows(f"INSERT INTO {MEMBERSHIPS} (user_id, group_id) VALUES (%s, %s)", bob.pk, beta.pk)
    assert tokens() == ["g"]


def test_sign_up_succeeds_after_the_migration_of_experiments_is_reversed(
    staff: Group, bob: User, tokens: Tokens
) -> None:
    rows("SET CONSTRAINTS ALL IMMEDIATE")
    call_command("migrate", "flagstaff_experiments", "zero", verbosity=0)
    bob.groups.add(staff)
    assert (members("staff"), tokens()) == (["alice", "bob"], ["g"])
    watch_groups()
    bob.groups.clear()
    assert tokens() == []


@pytest.mark.parametrize("model", [FeatureFlag, *OTHERS])
def test_look_up_of_references_does_not_read_the_other_rows(
    model: type[Model], staff: Group, bob: User, tokens: Tokens
) -> None:
    columns, table = OTHERS.get(model, {}), model._meta.db_table
    model._base_manager.bulk_create(model(key=f"k{n}", **columns) for n in range(3000))
    rows(f"ANALYZE {table}")
    tokens()
    scans = f"SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname = '{table}'"
    before = rows(scans)
    staff.user_set.add(bob)
    assert (rows(scans), tokens()) == (before, [])


@pytest.fixture
def committed(transactional_db: None) -> Iterator[None]:
    """A referenced group `beta`, two groups without a rule, and the users alice and bob."""
    watch_groups()
    FeatureFlag.objects.create(key="new_checkout", rules=rule(reads("beta")))
    Group.objects.bulk_create(Group(name=name) for name in ("beta", "staff", "guests"))
    User.objects.bulk_create(User(username=name) for name in ("alice", "bob"))
    yield
    unwatch_groups()


@pytest.fixture
def open_session(committed: None, open_session: OpenSession) -> OpenSession:
    return open_session


def add(session: psycopg.Connection[Any], user: str, group: str) -> None:
    session.execute(
        f"INSERT INTO {MEMBERSHIPS} (user_id, group_id) SELECT u.id, g.id "
        "FROM auth_user AS u, auth_group AS g WHERE u.username = %s AND g.name = %s",
        [user, group],
    )


def members(group: str) -> list[str]:
    users = User.objects.filter(groups__name=group).order_by("username")
    return list(users.values_list("username", flat=True))


@pytest.mark.parametrize("groups", [("beta", "beta"), ("beta", "staff"), ("staff", "guests")])
@pytest.mark.parametrize("level", psycopg.IsolationLevel)
def test_open_transactions_that_add_members_do_not_wait_for_each_other(
    level: psycopg.IsolationLevel, groups: tuple[str, str], open_session: OpenSession
) -> None:
    tokens = Tokens()
    one, two = open_session(), open_session()
    for session, user, group in zip((one, two), ("alice", "bob"), groups, strict=True):
        session.isolation_level = level
        session.execute("SET LOCAL lock_timeout = '1ms'")
        add(session, user, group)
    for session in (one, two):
        session.commit()
    assert tokens() == ["g"] * groups.count("beta")


@pytest.mark.parametrize(
    "level", [psycopg.IsolationLevel.REPEATABLE_READ, psycopg.IsolationLevel.SERIALIZABLE]
)
def test_flag_that_changes_during_a_sign_up_fails_neither(
    level: psycopg.IsolationLevel, open_session: OpenSession
) -> None:
    sign_up, change = open_session(), open_session()
    for session in (sign_up, change):
        session.isolation_level = level
        session.execute("SELECT FROM flagstaff_featureflag")
    change.execute("UPDATE flagstaff_featureflag SET rules = '[]'")
    add(sign_up, "alice", "beta")
    change.commit()
    sign_up.commit()
    assert members("beta") == ["alice"]


LOCKED = {
    "token table": "flagstaff_token",
    "flags": "flagstaff_featureflag",
    "segments": "flagstaff_segment",
    "values": "flagstaff_keyvaluestore",
    "experiments": "flagstaff_experiments_experiment",
}
LOCKED["all"] = ", ".join(LOCKED.values())


@pytest.mark.parametrize("tables", LOCKED.values(), ids=LOCKED)
def test_locked_table_does_not_fail_a_sign_up(tables: str, open_session: OpenSession) -> None:
    tokens = Tokens()
    migration, sign_up = open_session(), open_session()
    migration.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE".encode())
    # Two waits of 200 ms; a slow machine needs some time, too.
    sign_up.execute("SET LOCAL statement_timeout = '3s'")
    add(sign_up, "alice", "staff")
    sign_up.commit()
    migration.rollback()
    assert members("staff") == ["alice"]
    # Rules and segments that cannot be read count as a reference.
    assert tokens() == ([] if "flagstaff_token" in tables else ["g"])


def test_commit_of_a_member_notifies_the_workers(open_session: OpenSession) -> None:
    listener, sign_up = open_session(), open_session()
    listener.execute("LISTEN flagstaff_v1")
    listener.commit()
    add(sign_up, "alice", "beta")
    sign_up.commit()
    [notice] = listener.notifies(timeout=5, stop_after=1)
    assert [(notice.payload,)] == rows("SELECT 'flagstaff_token'::regclass::oid::text")
