"""A change with `expect_version` or `expect` is written only over what the caller has read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flagstaff import acting_as, changes
from flagstaff.changes import Changed
from flagstaff.exceptions import (
    ConflictError,
    InvalidChangeError,
    NoHistoryError,
)
from flagstaff.history import flag_version, segment_version, value_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore, Segment
from tests.conftest import RunIsolated
from tests.support.flag_fixtures import flag, gateway
from tests.support.history_fixtures import GERMAN
from tests.support.sql import rows

__all__ = ["flag", "gateway"]

pytestmark = pytest.mark.django_db


# One change of each path to a row. tests/database/actions has them all.

ALL: dict[str, Callable[..., Changed]] = {
    "flags.set_rollout": partial(changes.flags.set_rollout, "new_checkout", 50),
    "flags.allow": lambda **options: changes.flags.allow(
        "new_checkout", User.objects.get(username="bob"), **options
    ),
    "flags.disallow": lambda **options: changes.flags.disallow(
        "new_checkout", User.objects.get(username="alice"), **options
    ),
    "values.update": partial(changes.values.update, "gateway", {"value": 1, "description": "?"}),
    "segments.delete": partial(changes.segments.delete, "german"),
}


@pytest.fixture
def german() -> None:
    changes.segments.create("german", GERMAN)


def version_for(name: str) -> int | None:
    if name.startswith("segments"):
        return segment_version("german")
    return value_version("gateway") if name.startswith("values") else flag_version("new_checkout")


def present() -> list[Any]:
    """Returns everything that a change can change."""
    return [
        list(FeatureFlag.objects.order_by("key").values("key", "enabled", "rollout_percent")),
        list(FeatureFlag.objects.order_by("key").values_list("description", "kind")),
        list(FeatureFlag.allowed_users.through.objects.values_list("user_id", flat=True)),
        list(KeyValueStore.objects.values("key", "value", "description")),
        list(Segment.objects.values("key", "conditions", "description")),
    ]


@pytest.mark.usefixtures("flag", "gateway", "german", "bob")
@pytest.mark.parametrize("name", ALL)
def test_change_with_present_version_is_written_once(name: str) -> None:
    version = version_for(name)
    first = ALL[name](expect_version=version)
    written = Change.objects.latest("id").pk
    assert (first.written, first.version) == (True, written)
    again = ALL[name](expect_version=version)
    assert (again.written, again.undo, again.version) == (False, None, written)
    assert Change.objects.latest("id").pk == written


@pytest.mark.usefixtures("flag", "gateway", "german", "bob")
@pytest.mark.parametrize("name", ALL)
def test_change_with_old_version_raises_conflict_with_both_versions(name: str) -> None:
    version = version_for(name)
    with acting_as("ana", reason="ticket 7"):
        FeatureFlag.objects.update(client_side=True)
        KeyValueStore.objects.update(secret=False, description="The payment provider")
        Segment.objects.update(description="Customers")
    before, written = present(), Change.objects.latest("id").pk
    with pytest.raises(ConflictError) as error:
        ALL[name](expect_version=version)
    assert (error.value.expected, error.value.actual) == (version, version_for(name))
    conflict: Any = error.value
    [newer] = conflict.newer
    assert (newer.actor, newer.reason, newer.version) == ("ana", "ticket 7", version_for(name))
    assert conflict.seen.version == version
    assert (present(), Change.objects.latest("id").pk) == (before, written)


@pytest.mark.usefixtures("flag")
def test_conflict_message_names_newer_changes_and_no_allowed_users(alice: User, bob: User) -> None:
    version = flag_version("new_checkout")
    with acting_as("ana"):
        changes.flags.set_rollout("new_checkout", 50)
    with acting_as(alice):
        changes.flags.allow("new_checkout", bob)
    now = flag_version("new_checkout")
    with pytest.raises(ConflictError) as error:
        changes.flags.enable("new_checkout", expect_version=version)
    # The two changes may fall into two seconds.
    by_alice, by_ana = (
        timezone.localtime(entry.at).strftime("%Y-%m-%d %H:%M:%S %Z")
        for entry in Change.objects.order_by("-id")[:2]
    )
    assert str(error.value) == (
        f"new_checkout has version {now}, but version {version} was expected; "
        f"changes after version {version}: alice at {by_alice}: added 1 allowed user; "
        f"ana at {by_ana}: rollout 25 → 50 %; to change it anyway, expect version {now}"
    )


@pytest.mark.usefixtures("flag")
def test_conflict_message_has_primary_keys_if_users_cannot_be_read(alice: User) -> None:
    version = flag_version("new_checkout")
    with acting_as(alice):
        changes.flags.set_rollout("new_checkout", 50)
    rows("ALTER TABLE auth_user RENAME TO hidden")
    with pytest.raises(ConflictError, match=f"changes after version {version}: {alice.pk} at "):
        changes.flags.enable("new_checkout", expect_version=version)


def test_create_makes_a_disabled_flag_with_allowed_users(alice: User) -> None:
    changed = changes.flags.create("banner", description="Summer", allowed_users=[alice])
    flag = FeatureFlag.objects.get()
    assert (flag.key, flag.description) == ("banner", "Summer")
    assert (flag.enabled, flag.rollout_percent) == (False, 0)
    assert list(flag.allowed_users.all()) == [alice]
    assert (changed.old, (changed.new or {})["enabled"]) == (None, False)
    assert changed.version == Change.objects.latest("id").pk


def test_create_twice_writes_once_and_rejects_a_different_row() -> None:
    changes.flags.create("banner", rollout_percent=5)
    assert changes.flags.create("banner", rollout_percent=5).written is False
    with pytest.raises(InvalidChangeError, match="a flag 'banner' already exists; change it"):
        changes.flags.create("banner", rollout_percent=6)
    assert FeatureFlag.objects.count() == 1
    assert changes.values.create("limit", 5, description="a day").written
    assert changes.values.create("limit", 5, description="a day").written is False
    with pytest.raises(InvalidChangeError, match="a value 'limit' already exists; change it"):
        changes.values.create("limit", 6)
    deleted = changes.values.delete("limit")
    assert ((deleted.old or {})["value"], deleted.new) == (5, None)
    assert not KeyValueStore.objects.exists()


def change_enabled(**fields: Any) -> Changed:
    """Changes a field that is valid together with others."""
    return changes.flags.update("new_checkout", {"enabled": True, **fields})


@pytest.mark.usefixtures("flag")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (partial(changes.flags.create, "new:checkout"), 'key: the key has a ":" at position 4'),
        (
            partial(changes.flags.create, "a", rollout_percent=101),
            "rollout_percent: Ensure this value is less",
        ),
        (partial(changes.flags.create, "a", {"colour": "red"}), "unexpected keyword argument"),
        (
            partial(changes.flags.create, "a", allowed_users=[77]),
            "no user has the primary key 77; nothing was",
        ),
        (partial(change_enabled, kind="toy"), "kind: use one of release, ops, permission"),
        (partial(change_enabled, key="banner"), "the database rejected the change: duplicate key"),
    ],
)
def test_change_with_invalid_fields_is_rejected(
    change: Callable[[], Changed], message: str
) -> None:
    changes.flags.create("banner")
    before = present()
    with pytest.raises(InvalidChangeError, match=message):
        change()
    assert present() == before


def test_update_of_the_key_keeps_the_history(flag: FeatureFlag) -> None:
    version = flag_version("new_checkout")
    changed = changes.flags.update("new_checkout", {"key": "checkout"}, expect_version=version)
    assert changed.key == "checkout"
    assert (changed.old, changed.new) == ({"key": "new_checkout"}, {"key": "checkout"})
    assert changed.undo
    assert changed.undo.arguments == ("undo", "checkout", str(flag_version("checkout")))


def allowed(flag: FeatureFlag) -> set[int]:
    return set(flag.allowed_users.values_list("pk", flat=True))


def test_change_is_written_over_the_expected_value_only(flag: FeatureFlag) -> None:
    old = flag.rollout_percent
    assert changes.flags.update(
        flag.key, {"rollout_percent": 80}, expect={"rollout_percent": old}
    ).written
    message = f"{flag.key} has changed since you read it: rollout_percent; read it again"
    with pytest.raises(ConflictError, match=message):
        changes.flags.update(flag.key, {"rollout_percent": 50}, expect={"rollout_percent": old})
    flag.refresh_from_db()
    assert flag.rollout_percent == 80


def test_newer_value_of_another_field_is_kept_unless_it_is_expected(flag: FeatureFlag) -> None:
    changes.flags.update(flag.key, {"enabled": True})
    changes.flags.update(
        flag.key, {"description": "One page"}, expect={"description": flag.description}
    )
    flag.refresh_from_db()
    assert (flag.enabled, flag.description) == (True, "One page")
    with pytest.raises(ConflictError, match="enabled"):
        changes.flags.update(flag.key, {"rollout_percent": 50}, expect={"enabled": False})


def test_same_change_made_meanwhile_is_no_conflict(flag: FeatureFlag) -> None:
    old = flag.rollout_percent
    changes.flags.update(flag.key, {"rollout_percent": 50})
    version = flag_version(flag.key)
    expect = {"rollout_percent": old, "description": flag.description}
    fields = {"rollout_percent": 50, "description": "One page"}
    assert changes.flags.update(flag.key, fields, expect=expect).new == {"description": "One page"}
    assert not changes.flags.update(flag.key, fields, expect=expect).written
    assert flag_version(flag.key) != version


def test_expected_allowed_users_add_and_remove_only_what_differs() -> None:
    users = User.objects.bulk_create(User(username=f"user{number}") for number in range(4))
    stays, removed, added, by_others = (user.pk for user in users)
    changes.flags.create("banner", allowed_users=[stays, removed])
    flag = FeatureFlag.objects.get()
    expect = {"allowed_users": [stays, removed]}
    changes.flags.update(flag.key, {"allowed_users": [stays, removed, by_others]})
    changed = changes.flags.update(flag.key, {"allowed_users": [stays, added]}, expect=expect)
    assert allowed(flag) == {stays, added, by_others}
    assert (changed.old, changed.new) == ({"allowed_users": [removed]}, {"allowed_users": [added]})
    # A user who was removed meanwhile is not added again.
    changes.flags.update(flag.key, {"allowed_users": [stays]})
    changes.flags.update(flag.key, {"allowed_users": [stays, removed, added]}, expect=expect)
    assert allowed(flag) == {stays, added}


def test_expected_values_compare_as_json_and_are_not_shown() -> None:
    changes.values.create("limits", {"a": 1, "b": True})
    changes.values.update("limits", {"value": 2}, expect={"value": {"b": True, "a": 1}})
    with pytest.raises(ConflictError):
        changes.values.update("limits", {"value": 3}, expect={"value": True})
    changes.values.create("token", "hunter2", secret=True)
    with pytest.raises(ConflictError) as raised:
        changes.values.update("token", {"value": "hunter3"}, expect={"value": "hunter1"})
    assert "hunter" not in str(raised.value)


@pytest.mark.usefixtures("flag")
def test_expect_version_without_triggers_raises_no_history() -> None:
    # Deferred constraints of the test's own rows would block DROP TRIGGER.
    rows("SET CONSTRAINTS ALL IMMEDIATE")
    rows("DROP TRIGGER flagstaff_history_update_v1 ON flagstaff_featureflag")
    with pytest.raises(NoHistoryError, match='does not record "flagstaff_featureflag", so'):
        changes.flags.enable("new_checkout", expect_version=flag_version("new_checkout"))
    assert changes.flags.enable("new_checkout").written is True


SQLITE = """
import sys

import django
from django.conf import settings

sqlite = {"ENGINE": "django.db.backends.sqlite3"}
settings.configure(
    DATABASES={"default": {**sqlite, "NAME": ":memory:"}, "flags": {**sqlite, "NAME": sys.argv[1]}},
    FLAGSTAFF={"DATABASE": "flags"},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "flagstaff"],
)
django.setup()

from django.contrib.auth.models import User
from django.core.management import call_command
from flagstaff import exceptions, history
from flagstaff.changes import flags, values
from flagstaff.models import FeatureFlag

call_command("migrate", database="flags", verbosity=0)
users = User.objects.using("flags").bulk_create([User(username=f"guest{n}") for n in range(2500)])
print(flags.create("a").version, flags.enable("a").undo, flags.enable("a").written)
print(flags.set_rollout("a", 5).written, flags.set_rollout("a", 5).written, end=" ")
print(FeatureFlag.objects.using("flags").values_list("enabled", "rollout_percent").get())
print(flags.allow("a", users).added.count, flags.allow("a", users).written, end=" ")
print(flags.disallow("a", users[1:]).removed.count)
print(values.create("b", 1).written, values.set("b", 2).written, end=" ")
print(values.set("b", 2).written, flags.delete("a").undo, values.delete("b").undo)
for call in (
    lambda: flags.create("c") and flags.enable("c", expect_version=0),
    lambda: flags.undo("c"), lambda: flags.restore("c", to=1),
    lambda: history.require_history(), lambda: history.prune(0), lambda: history.forget_user(1),
):
    try:
        call()
    except exceptions.NoHistoryError as error:
        print(str(error).partition(";")[0])
"""


def test_changes_are_written_without_a_history_in_the_configured_database(
    run_isolated: RunIsolated, tmp_path: Path
) -> None:
    lines = run_isolated(SQLITE, str(tmp_path / "flags.sqlite3")).splitlines()
    assert lines[:4] == [
        "None None False",
        "True False (True, 5)",
        "2500 False 2499",
        "True True False None None",
    ]
    assert lines[4:] == ['history is not available in database "flags"'] * 6
