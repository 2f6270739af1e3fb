"""A change of groups by Django writes a change token, and never fails because of it."""

import logging
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
from django.contrib.auth.models import Group, User
from django.db import OperationalError, connection, transaction
from django.db.models.signals import m2m_changed, post_save
from django.test.utils import CaptureQueriesContext

from flagstaff._tables import user_lookup
from flagstaff.models import FeatureFlag
from tests.support.conditions import condition
from tests.support.shop import Shop
from tests.support.sql import Tokens, rows

LATER = "workers see a change of groups only within about a minute: "


@pytest.fixture
def beta(db: None, shop: Shop) -> Group:
    """A group that the rules of a flag read, beside the group staff, which no rule reads.

    alice is a member of both groups, and bob of none.
    """
    rules = [{"conditions": [condition("groups", "in", "beta", "later")]}]
    FeatureFlag.objects.create(key="new_checkout", rules=rules)
    beta, staff = Group.objects.create(name="beta"), Group.objects.create(name="staff")
    shop.user("alice").groups.add(beta, staff)
    shop.user("bob")
    return beta


class Written:
    """The pairs of the tokens since the last call, as if each call began a transaction."""

    def __init__(self) -> None:
        self._tokens = Tokens()
        self()

    def __call__(self) -> list[Any]:
        rows("SELECT set_config('flagstaff.group_token', '', true)")
        return [pairs and sorted(map(tuple, pairs)) for _, pairs in self._tokens.pks()]


@pytest.fixture
def written(beta: Group) -> Written:
    """What is written from now on."""
    return Written()


MEMBERS: dict[str, Callable[[Group, User, User], object]] = {
    "user.groups.add": lambda group, _alice, bob: bob.groups.add(group),
    "user.groups.add by key": lambda group, _alice, bob: bob.groups.add(group.pk),
    "user.groups.set": lambda group, _alice, bob: bob.groups.set([group]),
    "group.user_set.add": lambda group, alice, bob: group.user_set.add(alice, bob),
    "group.user_set.set": lambda group, alice, bob: group.user_set.set([alice, bob]),
    "user.groups.remove": lambda group, alice, _bob: alice.groups.remove(group),
    "group.user_set.remove": lambda group, alice, _bob: group.user_set.remove(alice),
}


@pytest.mark.parametrize("name", MEMBERS)
def test_new_or_former_member_is_named_if_a_rule_reads_the_group(
    name: str, beta: Group, written: Written, shop: Shop
) -> None:
    alice, bob = shop.user("alice"), shop.user("bob")
    MEMBERS[name](shop.group("staff"), alice, bob)
    assert written() == []
    MEMBERS[name](beta, alice, bob)
    assert written() == [[(str(beta.pk), "1" if name.endswith("remove") else "2")]]


def test_cleared_groups_of_a_user_are_named(beta: Group, written: Written, shop: Shop) -> None:
    alice, staff = shop.user("alice"), shop.group("staff")
    alice.groups.clear()
    assert written() == [sorted((str(group.pk), "1") for group in (beta, staff))]
    alice.groups.clear()
    shop.user("bob").groups.clear()
    assert written() == []


def test_all_members_are_read_after_a_change_of_many_or_of_the_group(
    beta: Group, written: Written, shop: Shop
) -> None:
    beta.user_set.clear()
    assert written() == [None]
    users = User.objects.bulk_create(User(username=f"user_{number}") for number in range(65))
    beta.user_set.add(*users)
    assert written() == [None]
    shop.group("staff").user_set.clear()
    assert written() == []


def test_new_renamed_or_deleted_group_is_read_if_a_rule_may_name_it(
    beta: Group, written: Written, shop: Shop
) -> None:
    shop.group("guests")
    assert written() == []
    shop.group("later").delete()
    assert written() == [None]
    shop.group("staff").delete()
    assert written() == []
    # Its former name is unknown.
    beta.name = "former beta"
    beta.save()
    assert written() == [None]
    FeatureFlag.objects.all().delete()
    written()
    beta.save()
    assert written() == []


def test_change_that_changes_nothing_writes_no_token(
    beta: Group, written: Written, shop: Shop
) -> None:
    alice = shop.user("alice")
    alice.groups.add(beta)
    alice.groups.set([*alice.groups.all()])
    assert written() == []


def test_call_is_no_query_of_the_project(beta: Group, written: Written, shop: Shop) -> None:
    bob = shop.user("bob")
    with CaptureQueriesContext(connection) as queries:
        bob.groups.add(beta)
    # The query of the known members is Django's, for any receiver.
    assert [query["sql"].split(" ")[0] for query in queries] == ["SELECT", "INSERT"]


USERS_OF_GROUP: dict[str, Any] = {"sender": User.groups.through, "action": "post_add"}
BY_HAND: dict[str, Callable[[Group, User], Any]] = {
    "user, without using": lambda group, user: m2m_changed.send(
        **USERS_OF_GROUP, instance=user, reverse=False, pk_set={group.pk}
    ),
    "user, without reverse": lambda group, user: m2m_changed.send(
        **USERS_OF_GROUP, instance=user, pk_set={group.pk}, using="default"
    ),
    "group, without either": lambda group, user: m2m_changed.send(
        **USERS_OF_GROUP, instance=group, pk_set={user.pk}
    ),
    "cleared group": lambda group, user: m2m_changed.send(
        User.groups.through, instance=group, action="pre_clear"
    ),
    "saved group": lambda group, user: post_save.send(Group, instance=group),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_signal_sent_by_hand_writes_a_token(
    name: str, beta: Group, shop: Shop, written: Written, caplog: pytest.LogCaptureFixture
) -> None:
    BY_HAND[name](beta, shop.user("bob"))
    pairs = None if name.endswith("group") else [(str(beta.pk), "2")]
    assert (written(), caplog.messages) == ([pairs], [])


MALFORMED: dict[str, dict[str, Any]] = {
    "no instance": {"action": "post_add", "pk_set": {1}},
    "unknown alias": {"action": "pre_clear", "instance": User(pk=1), "using": "nowhere"},
    "no keys": {"action": "post_add", "instance": User(pk=1), "pk_set": 7},
}


@pytest.mark.parametrize("arguments", MALFORMED.values(), ids=MALFORMED)
def test_malformed_signal_is_a_warning(
    arguments: dict[str, Any], written: Written, caplog: pytest.LogCaptureFixture
) -> None:
    m2m_changed.send(User.groups.through, **arguments)
    assert written() == []
    [message] = caplog.messages
    assert message.startswith(LATER)


WAITS = (
    "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$; CREATE TRIGGER wait BEFORE INSERT "
    "ON flagstaff_token FOR EACH ROW EXECUTE FUNCTION wait(); "
    "SET LOCAL statement_timeout = '500ms'"
)
HAS_NO_RIGHTS = (
    "REVOKE EXECUTE ON FUNCTION flagstaff_groups_v1 FROM PUBLIC; CREATE ROLE clerk; "
    "GRANT ALL ON auth_user, auth_group, auth_user_groups TO clerk; SET LOCAL ROLE clerk"
)
BROKEN = {
    "no function": ("DROP FUNCTION flagstaff_groups_v1", "function public.flagstaff_groups_v1("),
    "no token table": ("DROP TABLE flagstaff_token", "there is no table flagstaff_token, run"),
    "no table of segments": (
        "DROP TABLE flagstaff_segment CASCADE",
        'relation "public.flagstaff_segment" does not exist',
    ),
    "no rights": (HAS_NO_RIGHTS, "permission denied for function flagstaff_groups_v1"),
    "timeout": (WAITS, "canceling statement due to statement timeout"),
}


@pytest.mark.parametrize(("statement", "why"), BROKEN.values(), ids=BROKEN)
@pytest.mark.usefixtures("written")
def test_sign_up_succeeds_with_a_warning_if_no_token_can_be_written(
    statement: str, why: str, beta: Group, caplog: pytest.LogCaptureFixture, shop: Shop
) -> None:
    bob = shop.user("bob")
    rows("SET CONSTRAINTS ALL IMMEDIATE")
    rows(statement)
    # As in a new process.
    user_lookup._filled.cache_clear()
    bob.groups.add(beta)
    rows("RESET ROLE")
    assert [*bob.groups.all()] == [beta]
    [message] = caplog.messages
    assert message.startswith(LATER + why)
    assert "\n" not in message


@pytest.mark.parametrize("name", ["is_same_database", "_filled"])
@pytest.mark.usefixtures("written")
def test_failure_within_python_is_a_warning_too(
    name: str, beta: Group, shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    bob = shop.user("bob")
    with patch.object(user_lookup, name, side_effect=RuntimeError("no router")):
        bob.groups.add(beta)
    assert [*bob.groups.all()] == [beta]
    assert caplog.messages == [f"{LATER}no router"]


class FlagsElsewhere:
    """Flags are in another database than groups."""

    def db_for_write(self, model: Any, **_: object) -> str | None:
        return "other" if model._meta.app_label == "flagstaff" else None


def test_groups_of_another_database_than_the_flags_write_no_token(
    beta: Group, written: Written, shop: Shop, settings: Any
) -> None:
    settings.DATABASE_ROUTERS = [FlagsElsewhere()]
    shop.user("bob").groups.add(beta)
    assert written() == []


@pytest.mark.django_db(transaction=True)
def test_member_added_in_autocommit_mode_is_named(beta: Group, shop: Shop) -> None:
    written = Tokens()
    shop.user("bob").groups.add(beta)
    beta.save()
    assert written.pks() == [("g", [[str(beta.pk), "2"]]), ("g", None)]
    rows("ALTER FUNCTION flagstaff_groups_v1 RENAME TO hidden")
    try:
        beta.save()
    finally:
        rows("ALTER FUNCTION hidden RENAME TO flagstaff_groups_v1")
    assert written() == []


LOCKED = ("flagstaff_token", "flagstaff_featureflag", "flagstaff_experiments_experiment")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("table", LOCKED)
def test_locked_table_delays_a_sign_up_only_briefly(
    table: str, beta: Group, shop: Shop, open_session: Callable[[], psycopg.Connection[Any]]
) -> None:
    user, migration = shop.user("bob"), open_session()
    migration.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
    with transaction.atomic():
        # Beyond the lock timeout of the function; a slow machine needs some time, too.
        rows("SET LOCAL statement_timeout = '5s'")
        user.groups.add(beta)
    migration.rollback()
    assert [*user.groups.all()] == [beta]


@pytest.mark.django_db(transaction=True)
def test_lost_connection_is_the_error_of_the_projects_statement(
    beta: Group,
    shop: Shop,
    open_session: Callable[[], psycopg.Connection[Any]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    user, other = shop.user("bob"), open_session()
    original = user_lookup._filled

    def lose(*arguments: Any) -> str:
        [[pid]] = rows("SELECT pg_backend_pid()")
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        return original(*arguments)

    with caplog.at_level(logging.WARNING), pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(user_lookup, "_filled", lose)
        with pytest.raises(OperationalError), transaction.atomic():
            user.groups.add(beta)
    connection.close()
    assert [*user.groups.all()] == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("level", psycopg.IsolationLevel)
def test_open_sign_ups_do_not_wait_for_each_other(
    level: psycopg.IsolationLevel,
    beta: Group,
    shop: Shop,
    open_session: Callable[[], psycopg.Connection[Any]],
) -> None:
    tokens, other = Tokens(), open_session()
    other.isolation_level = level
    other.execute("SELECT flagstaff_groups_v1('{beta}', '{1}', '{1}')")
    with transaction.atomic():
        rows("SET LOCAL lock_timeout = '1ms'")
        shop.user("bob").groups.add(beta)
    other.commit()
    assert tokens() == ["g", "g"]
