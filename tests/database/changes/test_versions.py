"""A change with `expect_version` is written only if the flag or value has this version."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Max
from django.utils import timezone

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
from tests.support.flag_fixtures import flag, gateway
from tests.support.terminals import flags

__all__ = ["flag", "gateway"]

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> User:
    return User.objects.create(username="alice")


@pytest.fixture
def bob() -> User:
    """A user whom no flag allows."""
    return User.objects.create(username="bob")


def newest() -> int:
    return Change.objects.aggregate(newest=Max("id"))["newest"] or 0


# Every change, with a flag, a value and two users.

FLAG_CHANGES: dict[str, Callable[..., Changed]] = {
    "enable": lambda **options: enable("new_checkout", **options),
    "set_rollout": lambda **options: set_rollout("new_checkout", 50, **options),
    "add_allowed_users": lambda **options: add_allowed_users(
        "new_checkout", User.objects.get(username="bob"), **options
    ),
    "remove_allowed_users": lambda **options: remove_allowed_users(
        "new_checkout", User.objects.get(username="alice"), **options
    ),
    "update": lambda **options: update(
        "new_checkout", {"description": "One page", "kind": "ops"}, **options
    ),
    "delete": lambda **options: delete("new_checkout", **options),
}
VALUE_CHANGES: dict[str, Callable[..., Changed]] = {
    "set_value": lambda **options: set_value("gateway", "paypal", **options),
    "update_value": lambda **options: update_value(
        "gateway", {"value": 1, "description": "?"}, **options
    ),
    "delete_value": lambda **options: delete_value("gateway", **options),
}
ALL = FLAG_CHANGES | VALUE_CHANGES


def version_for(name: str) -> int | None:
    return value_version("gateway") if name in VALUE_CHANGES else flag_version("new_checkout")


def present() -> list[Any]:
    """Returns everything that a change can change."""
    return [
        list(FeatureFlag.objects.order_by("key").values("key", "enabled", "rollout_percent")),
        list(FeatureFlag.objects.order_by("key").values_list("description", "kind")),
        list(FeatureFlag.allowed_users.through.objects.values_list("user_id", flat=True)),
        list(KeyValueStore.objects.values("key", "value", "description")),
    ]


@pytest.mark.usefixtures("flag", "gateway", "bob")
@pytest.mark.parametrize("name", ALL)
def test_change_returns_its_version(name: str) -> None:
    changed = ALL[name]()
    assert (changed.written, changed.version) == (True, newest())


@pytest.mark.usefixtures("flag", "gateway", "bob")
@pytest.mark.parametrize("name", ALL)
def test_change_with_present_version_is_written(name: str) -> None:
    assert ALL[name](expect_version=version_for(name)).written is True


@pytest.mark.usefixtures("flag", "gateway", "bob")
@pytest.mark.parametrize("name", ALL)
def test_change_with_old_version_raises_conflict_with_both_versions(name: str) -> None:
    version = version_for(name)
    with acting_as("ana", reason="ticket 7"):
        FeatureFlag.objects.update(client_side=True)
        KeyValueStore.objects.update(secret=False, description="The payment provider")
    before, written = present(), newest()
    with pytest.raises(ConflictError) as error:
        ALL[name](expect_version=version)
    assert (error.value.expected, error.value.actual) == (version, version_for(name))
    [newer] = error.value.newer
    assert (newer.actor, newer.reason, newer.version) == ("ana", "ticket 7", version_for(name))
    assert error.value.seen is not None
    assert error.value.seen.version == version
    assert (present(), newest()) == (before, written)


@pytest.mark.usefixtures("flag")
def test_conflict_message_names_the_newer_change() -> None:
    version = flag_version("new_checkout")
    with acting_as("ana"):
        set_rollout("new_checkout", 50)
    now = flag_version("new_checkout")
    with pytest.raises(ConflictError) as error:
        enable("new_checkout", expect_version=version)
    at = timezone.localtime(Change.objects.latest("id").at).strftime("%Y-%m-%d %H:%M:%S %Z")
    assert str(error.value) == (
        f"new_checkout has version {now}, but version {version} was expected; "
        f"changes after version {version}: ana at {at}: rollout_percent 25 → 50; "
        f"to change it anyway, expect version {now}"
    )


@pytest.mark.usefixtures("flag")
def test_conflict_message_names_actors_by_username(alice: User) -> None:
    version = flag_version("new_checkout")
    with acting_as(alice):
        set_rollout("new_checkout", 50)
    with pytest.raises(ConflictError, match=f"changes after version {version}: alice at "):
        enable("new_checkout", expect_version=version)


@pytest.mark.usefixtures("flag")
def test_conflict_message_counts_allowed_users_without_their_names(alice: User, bob: User) -> None:
    version = flag_version("new_checkout")
    with acting_as(alice):
        add_allowed_users("new_checkout", bob)
    with pytest.raises(ConflictError, match=r"alice at .*: added 1 allowed user; to") as error:
        enable("new_checkout", expect_version=version)
    assert "bob" not in str(error.value)


@pytest.mark.usefixtures("flag")
def test_conflict_message_has_primary_keys_if_users_cannot_be_read(alice: User) -> None:
    version = flag_version("new_checkout")
    with acting_as(alice):
        set_rollout("new_checkout", 50)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE auth_user RENAME TO hidden")
    with pytest.raises(ConflictError, match=f"changes after version {version}: {alice.pk} at "):
        enable("new_checkout", expect_version=version)


def test_change_of_allowed_users_changes_the_version_of_the_flag(
    flag: FeatureFlag, bob: User
) -> None:
    version = flag_version("new_checkout")
    flag.allowed_users.add(bob)
    with pytest.raises(ConflictError, match="added 1 allowed user"):
        set_rollout("new_checkout", 50, expect_version=version)


@pytest.mark.usefixtures("flag", "gateway", "bob")
@pytest.mark.parametrize("name", ALL)
def test_change_repeated_with_its_old_version_writes_nothing(name: str) -> None:
    version = version_for(name)
    first = ALL[name](expect_version=version)
    written = newest()
    again = ALL[name](expect_version=version)
    assert (again.written, again.undo, again.version) == (False, None, first.version)
    assert newest() == written


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("flag", "gateway", "bob")
@pytest.mark.parametrize("name", ALL)
def test_undo_command_of_a_change_restores_the_state(name: str) -> None:
    before = present()
    changed = ALL[name]()
    assert changed.undo
    assert changed.undo.command == f"manage.py flags {shlex.join(changed.undo.arguments)}"
    assert present() != before
    ran = flags(*changed.undo.arguments)
    assert (ran.status, present()) == (0, before), ran.err


# Create and delete.


def test_create_makes_a_disabled_flag() -> None:
    changed = create("banner", description="Summer")
    flag = FeatureFlag.objects.get()
    assert (flag.key, flag.enabled, flag.rollout_percent, flag.description) == (
        *("banner", False, 0),
        "Summer",
    )
    assert (changed.old, changed.new["enabled"], changed.version) == (None, False, newest())
    assert changed.undo
    assert changed.undo.arguments == ("delete", "banner", "--yes")


def test_create_with_allowed_users_adds_them(alice: User) -> None:
    create("banner", enabled=True, allowed_users=[alice])
    assert list(FeatureFlag.objects.get().allowed_users.all()) == [alice]


def test_create_twice_writes_once_and_rejects_a_different_flag() -> None:
    create("banner", rollout_percent=5)
    assert create("banner", rollout_percent=5).written is False
    with pytest.raises(InvalidChangeError, match="a flag 'banner' already exists; change it"):
        create("banner", rollout_percent=6)
    assert FeatureFlag.objects.count() == 1


@pytest.mark.parametrize(
    ("key", "fields", "message"),
    [
        ("new:checkout", {}, 'key: the key has a ":" at position 4'),
        ("banner", {"rollout_percent": 101}, "rollout_percent: Ensure this value is less than"),
        ("banner", {"colour": "red"}, "unexpected keyword argument"),
        ("banner", {"allowed_users": [77]}, "no user has the primary key 77; nothing was changed"),
    ],
)
def test_create_with_invalid_fields_is_rejected(
    key: str, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidChangeError, match=message):
        create(key, **fields)
    assert not FeatureFlag.objects.exists()


def test_value_is_created_once_and_deleted() -> None:
    assert create_value("limit", 5, description="a day").new["value"] == 5
    assert create_value("limit", 5, description="a day").written is False
    with pytest.raises(InvalidChangeError, match="a value 'limit' already exists; change it"):
        create_value("limit", 6)
    assert delete_value("limit").old["value"] == 5
    assert not KeyValueStore.objects.exists()


@pytest.mark.usefixtures("flag", "gateway")
def test_delete_of_a_key_that_never_existed_raises() -> None:
    with pytest.raises(UnknownFlagError, match="did you mean 'new_checkout'"):
        delete("new_chekout")
    with pytest.raises(UnknownValueError):
        delete_value("gatewey")


@pytest.mark.usefixtures("flag")
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"id": 7}, "has no field 'id' to change"),
        ({"colour": "red"}, "has no field 'colour' to change"),
        ({"rollout_percent": 101}, "rollout_percent: Ensure this value is less than"),
        ({"kind": "toy"}, "kind: Value 'toy' is not a valid choice"),
        ({"key": "banner"}, "the database rejected the change: duplicate key value"),
    ],
)
def test_update_with_invalid_fields_is_rejected(fields: dict[str, Any], message: str) -> None:
    create("banner")
    with pytest.raises(InvalidChangeError, match=message):
        update("new_checkout", {"enabled": True, **fields})
    assert FeatureFlag.objects.get(key="new_checkout").enabled is False


def test_update_of_the_key_keeps_the_history(flag: FeatureFlag) -> None:
    version = flag_version("new_checkout")
    changed = update("new_checkout", {"key": "checkout"}, expect_version=version)
    assert (changed.key, changed.old, changed.new) == (
        "checkout",
        {"key": "new_checkout"},
        {"key": "checkout"},
    )
    assert changed.undo
    assert changed.undo.arguments == ("undo", "checkout", str(flag_version("checkout")))


# Without a history.


@pytest.mark.usefixtures("flag")
def test_expect_version_without_triggers_raises_no_history() -> None:
    with connection.cursor() as cursor:
        # Deferred constraints of the test's own rows would block DROP TRIGGER.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("DROP TRIGGER flagstaff_history_update_v1 ON flagstaff_featureflag")
    with pytest.raises(NoHistoryError, match='does not record "flagstaff_featureflag", so'):
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
for call in (
    lambda: changes.create("c") and changes.enable("c", expect_version=0),
    lambda: changes.undo("c"), lambda: changes.restore("c", to=1),
    lambda: history.flag_history("c"), lambda: history.prune(0), lambda: history.forget_user(1),
):
    try:
        call()
    except exceptions.NoHistoryError as error:
        print(str(error)[:48])
"""


def test_changes_without_a_history_are_written(run_isolated: RunIsolated) -> None:
    lines = run_isolated(SQLITE).splitlines()
    assert lines[:4] == [
        "None manage.py flags off a",
        "2500 False",
        "2499 manage.py flags allow a 1",
        "True None None",
    ]
    assert lines[4:] == ['history is not available in database "default"; '] * 6


def test_every_public_name_is_tested() -> None:
    here = {*ALL, "create", "create_value", "Changed", "Undo"}
    elsewhere = {"disable", "restore", "restore_value"} | {
        *("undo", "undo_value", "combined_undo", "undo_transaction"),
        # In test_undo_events.py.
        *("undo_events", "preview_undo_events", "UndoneEvents"),
        # In test_segments.py.
        *("create_segment", "update_segment", "delete_segment"),
        *("restore_segment", "undo_segment"),
    }
    assert set(changes.__all__) == here | elsewhere
