"""A change with `expect_version` or `expect` is written only over what the caller has read."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flagstaff import acting_as, changes
from flagstaff.changes import Changed
from flagstaff.exceptions import ConflictError, InvalidChangeError, NoHistoryError
from flagstaff.history import flag_version, segment_version, value_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore, Segment
from tests.conftest import RunIsolated
from tests.support.shop import Shop
from tests.support.sql import rows


def test_change_with_present_version_is_written_once(shop: Shop) -> None:
    change = partial(changes.flags.set_rollout, shop.flag().key, 50)
    version = flag_version("new_checkout")
    first = change(expect_version=version)
    written = Change.objects.latest("id").pk
    assert (first.written, first.version) == (True, written)
    again = change(expect_version=version)
    assert (again.written, again.undo, again.version) == (False, None, written)
    assert Change.objects.latest("id").pk == written


# One change of each kind of row. tests/database/actions has all changes.
CHANGES: dict[str, tuple[Callable[..., Changed], Callable[[], int | None]]] = {
    "allowed users": (
        lambda **options: changes.flags.allow("new_checkout", 2, **options),
        lambda: flag_version("new_checkout"),
    ),
    "value": (
        partial(changes.values.update, "payment_gateway", {"value": 1}),
        lambda: value_version("payment_gateway"),
    ),
    "segment": (
        partial(changes.segments.delete, "enterprise"),
        lambda: segment_version("enterprise"),
    ),
}


@pytest.mark.parametrize(("change", "version_now"), CHANGES.values(), ids=CHANGES)
def test_change_with_old_version_raises_conflict_with_both_versions(
    change: Callable[..., Changed], version_now: Callable[[], int | None], open_shop: Shop
) -> None:
    version = version_now()
    with acting_as("ana", reason="ticket 7"):
        for model in (FeatureFlag, KeyValueStore, Segment):
            model.objects.update(description="Changed")
    written = Change.objects.latest("id").pk
    with pytest.raises(ConflictError) as error:
        change(expect_version=version)
    conflict: Any = error.value
    assert (conflict.expected, conflict.actual) == (version, version_now())
    [newer] = conflict.newer
    assert (newer.actor, newer.reason, newer.version) == ("ana", "ticket 7", version_now())
    assert conflict.seen.version == version
    assert Change.objects.latest("id").pk == written


def test_conflict_message_names_newer_changes_and_no_allowed_users(shop: Shop) -> None:
    version = flag_version(shop.flag().key)
    with acting_as("ana"):
        changes.flags.set_rollout("new_checkout", 50)
    with acting_as(shop.user("alice")):
        changes.flags.allow("new_checkout", shop.user("bob"))
    now = flag_version("new_checkout")
    with pytest.raises(ConflictError) as error:
        changes.flags.disable("new_checkout", expect_version=version)
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


def test_conflict_message_has_primary_keys_if_users_cannot_be_read(shop: Shop) -> None:
    version = flag_version(shop.flag().key)
    with acting_as(shop.user("alice")):
        changes.flags.set_rollout("new_checkout", 50)
    rows("SET CONSTRAINTS ALL IMMEDIATE; ALTER TABLE auth_user RENAME TO hidden")
    with pytest.raises(ConflictError, match=f"changes after version {version}: 1 at "):
        changes.flags.disable("new_checkout", expect_version=version)


def test_create_makes_a_disabled_flag_with_allowed_users(shop: Shop) -> None:
    alice = shop.user("alice")
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


INVALID: list[tuple[str, dict[str, Any], str]] = [
    ("new:checkout", {}, 'key: the key has a ":" at position 4'),
    ("a", {"rollout_percent": 101}, "rollout_percent: Ensure this value is less"),
    ("a", {"colour": "red"}, "unexpected keyword argument"),
    ("a", {"allowed_users": [77]}, "no user has the primary key 77; nothing was"),
    ("new_checkout", {"kind": "toy"}, "kind: use one of release, ops, permission"),
    ("new_checkout", {"key": "banner"}, "the database rejected the change: duplicate key"),
]


@pytest.mark.parametrize(("key", "fields", "message"), INVALID)
def test_change_with_invalid_fields_is_rejected(
    key: str, fields: dict[str, Any], message: str, shop: Shop
) -> None:
    shop.flag()
    changes.flags.create("banner")
    newest = Change.objects.latest("id").pk
    write = changes.flags.update if key == "new_checkout" else changes.flags.create
    with pytest.raises(InvalidChangeError, match=message):
        write(key, {"enabled": False, **fields})
    assert Change.objects.latest("id").pk == newest


def test_update_of_the_key_keeps_the_history(shop: Shop) -> None:
    version = flag_version(shop.flag().key)
    changed = changes.flags.update("new_checkout", {"key": "checkout"}, expect_version=version)
    assert changed.key == "checkout"
    assert (changed.old, changed.new) == ({"key": "new_checkout"}, {"key": "checkout"})
    assert changed.undo
    assert changed.undo.arguments == ("undo", "checkout", str(flag_version("checkout")))


def test_change_is_written_over_the_expected_value_only(shop: Shop) -> None:
    key, expect = shop.flag().key, {"rollout_percent": 25}
    assert changes.flags.update(key, {"rollout_percent": 80}, expect=expect).written
    message = f"{key} has changed since you read it: rollout_percent; read it again"
    with pytest.raises(ConflictError, match=message):
        changes.flags.update(key, {"rollout_percent": 50}, expect=expect)
    assert shop.flag().rollout_percent == 80


def test_newer_value_of_another_field_is_kept_unless_it_is_expected(shop: Shop) -> None:
    flag = shop.flag()
    changes.flags.disable(flag.key)
    changes.flags.update(flag.key, {"owner": "web"}, expect={"owner": ""})
    flag.refresh_from_db()
    assert (flag.enabled, flag.owner) == (False, "web")
    with pytest.raises(ConflictError, match="enabled"):
        changes.flags.update(flag.key, {"rollout_percent": 50}, expect={"enabled": True})


def test_same_change_made_meanwhile_is_no_conflict(shop: Shop) -> None:
    flag = shop.flag()
    changes.flags.update(flag.key, {"rollout_percent": 50})
    version = flag_version(flag.key)
    expect = {"rollout_percent": 25, "owner": ""}
    fields = {"rollout_percent": 50, "owner": "web"}
    assert changes.flags.update(flag.key, fields, expect=expect).new == {"owner": "web"}
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
    allowed = flag.allowed_users.order_by("pk").values_list("pk", flat=True)
    assert [*allowed.all()] == [stays, added, by_others]
    assert (changed.old, changed.new) == ({"allowed_users": [removed]}, {"allowed_users": [added]})
    # A user who was removed meanwhile is not added again.
    changes.flags.update(flag.key, {"allowed_users": [stays]})
    changes.flags.update(flag.key, {"allowed_users": [stays, removed, added]}, expect=expect)
    assert [*allowed.all()] == [stays, added]


def test_expected_values_compare_as_json_and_are_not_shown() -> None:
    changes.values.create("limits", {"a": 1, "b": True})
    changes.values.update("limits", {"value": 2}, expect={"value": {"b": True, "a": 1}})
    with pytest.raises(ConflictError):
        changes.values.update("limits", {"value": 3}, expect={"value": True})
    changes.values.create("token", "hunter2", secret=True)
    with pytest.raises(ConflictError) as raised:
        changes.values.update("token", {"value": "hunter3"}, expect={"value": "hunter1"})
    assert "hunter" not in str(raised.value)


def test_expect_version_without_triggers_raises_no_history(shop: Shop) -> None:
    shop.flag(enabled=False)
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
