"""A change is made over the version that somebody saw, or not at all."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Max

from flagstaff import acting_as, changes
from flagstaff.changes import (
    Changed,
    add_allowed_users,
    create,
    create_value,
    delete,
    delete_value,
    enable,
    remove_allowed_users,
    set_rollout,
    set_value,
    update,
    update_value,
)
from flagstaff.exceptions import (
    ConflictError,
    InvalidChangeError,
    NoHistoryError,
    UnknownFlagError,
    UnknownValueError,
)
from flagstaff.history import flag_version, value_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.conftest import RunIsolated
from tests.flag_fixtures import flag, gateway
from tests.terminals import flags

__all__ = ["flag", "gateway"]

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> User:
    return User.objects.create(username="alice")


@pytest.fixture
def bob() -> User:
    """On no list."""
    return User.objects.create(username="bob")


def newest() -> int:
    return Change.objects.aggregate(newest=Max("id"))["newest"] or 0


# One row of each: a change, and what it leaves.

CHANGES: dict[str, Callable[..., Changed]] = {
    "switch": lambda **how: enable("new_checkout", **how),
    "ramp": lambda **how: set_rollout("new_checkout", 50, **how),
    "allow": lambda **how: add_allowed_users(
        "new_checkout", User.objects.get(username="bob"), **how
    ),
    "deny": lambda **how: remove_allowed_users(
        "new_checkout", User.objects.get(username="alice"), **how
    ),
    "edit": lambda **how: update("new_checkout", {"description": "One page", "kind": "ops"}, **how),
    "delete": lambda **how: delete("new_checkout", **how),
}
OF_VALUES: dict[str, Callable[..., Changed]] = {
    "set_value": lambda **how: set_value("gateway", "paypal", **how),
    "update_value": lambda **how: update_value("gateway", {"value": 1, "description": "?"}, **how),
    "delete_value": lambda **how: delete_value("gateway", **how),
}
ALL = CHANGES | OF_VALUES


def seen(name: str) -> int | None:
    return value_version("gateway") if name in OF_VALUES else flag_version("new_checkout")


def present() -> list[Any]:
    """All that a change can change."""
    return [
        list(FeatureFlag.objects.order_by("key").values("key", "enabled", "rollout_percent")),
        list(FeatureFlag.objects.order_by("key").values_list("description", "kind")),
        list(FeatureFlag.allowed_users.through.objects.values_list("user_id", flat=True)),
        list(KeyValueStore.objects.values("key", "value", "description")),
    ]


@pytest.mark.usefixtures("flag", "gateway", "bob")
@pytest.mark.parametrize("name", ALL)
def test_change_gives_the_version_that_it_made(name: str) -> None:
    changed = ALL[name]()
    assert (changed.written, changed.version) == (True, newest())


@pytest.mark.usefixtures("flag", "gateway", "bob")
@pytest.mark.parametrize("name", ALL)
def test_change_over_the_version_that_was_seen_is_made(name: str) -> None:
    assert ALL[name](expect_version=seen(name)).written is True


@pytest.mark.usefixtures("flag", "gateway", "bob")
@pytest.mark.parametrize("name", ALL)
def test_change_over_a_newer_one_is_refused_with_both_versions(name: str) -> None:
    version = seen(name)
    with acting_as("ana", reason="ticket 7"):
        FeatureFlag.objects.update(client_side=True)
        KeyValueStore.objects.update(secret=False, description="Who takes the money")
    before, written = present(), newest()
    with pytest.raises(ConflictError) as error:
        ALL[name](expect_version=version)
    assert (error.value.expected, error.value.actual) == (version, seen(name))
    [theirs] = error.value.newer
    assert (theirs.actor, theirs.reason, theirs.version) == ("ana", "ticket 7", seen(name))
    assert error.value.seen.version == version
    assert (present(), newest()) == (before, written)


@pytest.mark.usefixtures("flag")
def test_refusal_says_who_did_what() -> None:
    version = flag_version("new_checkout")
    with acting_as("ana"):
        set_rollout("new_checkout", 50)
    now = flag_version("new_checkout")
    with pytest.raises(ConflictError) as error:
        enable("new_checkout", expect_version=version)
    at = f"{Change.objects.latest('id').at:%Y-%m-%d %H:%M}"
    assert str(error.value) == (
        f"new_checkout has version {now}, not {version}; "
        f"since then: ana at {at}: rollout_percent 25 → 50"
    )


def test_change_of_the_allow_list_is_a_new_version_of_the_flag(
    flag: FeatureFlag, bob: User
) -> None:
    version = flag_version("new_checkout")
    flag.allowed_users.add(bob)
    with pytest.raises(ConflictError, match="allowed 1 user"):
        set_rollout("new_checkout", 50, expect_version=version)


@pytest.mark.usefixtures("flag", "gateway", "bob")
@pytest.mark.parametrize("name", ALL)
def test_change_that_is_sent_twice_is_one(name: str) -> None:
    version = seen(name)
    first = ALL[name](expect_version=version)
    written = newest()
    again = ALL[name](expect_version=version)
    assert (again.written, again.undo, again.version) == (False, None, first.version)
    assert newest() == written


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("flag", "gateway", "bob")
@pytest.mark.parametrize("name", ALL)
def test_undo_of_a_change_can_be_typed(name: str) -> None:
    before = present()
    changed = ALL[name]()
    assert changed.undo
    assert changed.undo.command == f"manage.py flags {shlex.join(changed.undo.arguments)}"
    assert present() != before
    ran = flags(*changed.undo.arguments)
    assert (ran.status, present()) == (0, before), ran.err


# Create and delete.


def test_new_flag_is_off_for_everybody() -> None:
    changed = create("banner", description="Summer")
    flag = FeatureFlag.objects.get()
    assert (flag.key, flag.enabled, flag.rollout_percent, flag.description) == (
        *("banner", False, 0),
        "Summer",
    )
    assert (changed.old, changed.new["enabled"], changed.version) == (None, False, newest())
    assert changed.undo
    assert changed.undo.arguments == ("delete", "banner", "--yes")


def test_new_flag_may_have_an_allow_list(alice: User) -> None:
    create("banner", enabled=True, allowed_users=[alice])
    assert list(FeatureFlag.objects.get().allowed_users.all()) == [alice]


def test_flag_is_created_once() -> None:
    create("banner", rollout_percent=5)
    assert create("banner", rollout_percent=5).written is False
    with pytest.raises(InvalidChangeError, match="there is a flag 'banner' already"):
        create("banner", rollout_percent=6)
    assert FeatureFlag.objects.count() == 1


@pytest.mark.parametrize(
    ("key", "fields", "why"),
    [
        ("new:checkout", {}, 'key: a key has a ":" at position 4'),
        ("banner", {"rollout_percent": 101}, "rollout_percent: Ensure this value is less than"),
        ("banner", {"colour": "red"}, "unexpected keyword argument"),
        ("banner", {"allowed_users": [77]}, "no user has the primary key 77; nothing was changed"),
    ],
)
def test_flag_that_cannot_be_is_refused(key: str, fields: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidChangeError, match=why):
        create(key, **fields)
    assert not FeatureFlag.objects.exists()


def test_value_is_created_and_unset() -> None:
    assert create_value("limit", 5, description="a day").new["value"] == 5
    assert create_value("limit", 5, description="a day").written is False
    with pytest.raises(InvalidChangeError, match="there is a value 'limit' already"):
        create_value("limit", 6)
    assert delete_value("limit").old["value"] == 5
    assert not KeyValueStore.objects.exists()


@pytest.mark.usefixtures("flag", "gateway")
def test_what_never_was_cannot_be_deleted() -> None:
    with pytest.raises(UnknownFlagError, match="did you mean 'new_checkout'"):
        delete("new_chekout")
    with pytest.raises(UnknownValueError):
        delete_value("gatewey")


@pytest.mark.usefixtures("flag")
@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"id": 7}, "has no field 'id' to be changed"),
        ({"colour": "red"}, "has no field 'colour' to be changed"),
        ({"rollout_percent": 101}, "rollout_percent: Ensure this value is less than"),
        ({"kind": "toy"}, "kind: Value 'toy' is not a valid choice"),
        ({"key": "banner"}, "the database refuses it: duplicate key value"),
    ],
)
def test_edit_that_cannot_be_is_refused(fields: dict[str, Any], why: str) -> None:
    create("banner")
    with pytest.raises(InvalidChangeError, match=why):
        update("new_checkout", {"enabled": True, **fields})
    assert FeatureFlag.objects.get(key="new_checkout").enabled is False


def test_edit_renames_a_flag_and_keeps_its_history(flag: FeatureFlag) -> None:
    version = flag_version("new_checkout")
    changed = update("new_checkout", {"key": "checkout"}, expect_version=version)
    assert (changed.key, changed.old, changed.new) == (
        "checkout",
        {"key": "new_checkout"},
        {"key": "checkout"},
    )
    assert changed.undo
    assert changed.undo.arguments == ("undo", "checkout", str(flag_version("checkout")))


# Where there is no history.


@pytest.mark.usefixtures("flag")
def test_version_cannot_be_expected_where_changes_leave_no_entry() -> None:
    with connection.cursor() as cursor:
        # What the tests have put into the tables would be in the way.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("DROP TRIGGER flagstaff_history_update_v1 ON flagstaff_featureflag")
    with pytest.raises(NoHistoryError, match='"flagstaff_featureflag" leave no entry'):
        enable("new_checkout", expect_version=flag_version("new_checkout"))
    assert enable("new_checkout").written is True


SQLITE = """
import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "flagstaff"],
)
django.setup()

from django.contrib.auth.models import User
from django.core.management import call_command
from flagstaff import changes, exceptions, history

call_command("migrate", verbosity=0)
users = User.objects.bulk_create([User(username=f"guest{n}") for n in range(2500)])
print(changes.create("a").version, changes.enable("a").undo.command)
print(len(changes.add_allowed_users("a", users).new), changes.add_allowed_users("a", users).written)
print(len(changes.remove_allowed_users("a", users[1:]).old), end=" ")
print(changes.remove_allowed_users("a", users[0]).undo.command)
print(changes.create_value("b", 1).written, changes.delete("a").undo, end=" ")
print(changes.delete_value("b").undo)
for what in (
    lambda: changes.create("c") and changes.enable("c", expect_version=0),
    lambda: changes.undo("c"), lambda: changes.restore("c", to=1),
    lambda: history.flag_history("c"), lambda: history.prune(0), lambda: history.forget_user(1),
):
    try:
        what()
    except exceptions.NoHistoryError as error:
        print(str(error)[:35])
"""


def test_changes_are_made_without_a_history_too(run_isolated: RunIsolated) -> None:
    told = run_isolated(SQLITE).splitlines()
    assert told[:4] == [
        "None manage.py flags off a",
        "2500 False",
        "2499 manage.py flags allow a 1",
        "True None None",
    ]
    assert told[4:] == ['database "default" has no history: '] * 6


def test_every_public_change_is_tried_here() -> None:
    tried = {*ALL, "create", "create_value", "Changed", "Undo"}
    elsewhere = {"restore", "restore_value"} | {
        *("undo", "undo_value", "combined_undo", "undo_transaction"),
    }
    assert set(changes.__all__) == tried | elsewhere
