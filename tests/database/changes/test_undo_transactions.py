"""Undo of a whole transaction."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from flagstaff import acting_as
from flagstaff.changes import (
    add_allowed_users,
    combined_undo,
    create,
    create_value,
    delete,
    delete_value,
    disable,
    set_rollout,
    set_value,
    undo,
    undo_transaction,
    update,
    update_value,
)
from flagstaff.exceptions import ConflictError, InvalidChangeError
from flagstaff.history import flag_history, flag_version
from flagstaff.history.transactions import parts_of
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.support.terminals import open_shop

# Each change is a transaction of its own, as in production.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def shop() -> None:
    Change.objects.all().delete()
    open_shop()


def state() -> dict[str, Any]:
    """Returns every field but `changed_at`, with primary keys, and all allowed users."""
    flags = {
        flag["key"]: {
            **flag,
            "changed_at": None,
            "allowed": set(User.objects.filter(flagstaff_flags=flag["id"])),
        }
        for flag in FeatureFlag.objects.values()
    }
    return {
        **flags,
        **{v["key"]: {**v, "changed_at": None} for v in KeyValueStore.objects.values()},
    }


def release() -> int:
    """Makes every kind of change in one transaction, and returns the id of one of them."""
    with transaction.atomic(), acting_as("deploy", reason="release 42"):
        update("new_checkout", {"rollout_percent": 100, "description": "Done"})
        add_allowed_users("new_checkout", 2)
        delete("beta_reviews")
        create("brand_new", enabled=True, allowed_users=[1])
        set_value("page_size", 50)
        delete_value("payment_gateway")
        change = create_value("motto", "on").version
        # Another actor in the same transaction.
        with acting_as("bob"):
            disable("new_checkout")
    assert change
    return change


def test_undo_transaction_restores_everything() -> None:
    before = state()
    change = release()
    assert state() != before
    done = undo_transaction(change)
    assert state() == before
    assert [changed.key for changed in done] == [
        *("beta_reviews", "brand_new", "new_checkout"),
        *("motto", "page_size", "payment_gateway"),
    ]
    assert all(changed.written for changed in done)


def test_undo_transaction_accepts_any_change_of_it() -> None:
    before = state()
    release()
    [event, *_] = flag_history("beta_reviews")
    undo_transaction(event.version)
    assert state() == before


def test_undo_transaction_is_one_transaction_that_can_be_undone() -> None:
    change = release()
    after = state()
    with acting_as("ana", reason="too soon"):
        undo_command = combined_undo(undo_transaction(change))
    assert undo_command
    events = [event for event in flag_history() if event.reason == "too soon"]
    assert len(events) == 3
    assert len({event.transaction_id for event in events}) == 1
    undo_transaction(int(undo_command.arguments[-1]))
    # Recreated rows have new primary keys.
    assert {key: row | {"id": 0} for key, row in state().items()} == {
        key: row | {"id": 0} for key, row in after.items()
    }


def test_undo_of_delete_and_create_restores_the_old_flag() -> None:
    before = state()
    with transaction.atomic():
        delete("new_checkout")
        change = create("new_checkout", enabled=True).version
    assert change
    undo_transaction(change)
    assert state() == before


@pytest.mark.parametrize("names", [["a", "b", "c"], ["c", "b", "a"], ["b", "c", "a"]])
def test_undo_of_keys_passed_between_flags_restores_them(names: list[str]) -> None:
    free, first, second = names
    create(first)
    create(second)
    create("last")
    before = state()
    with transaction.atomic():
        update(first, {"key": free})
        update(second, {"key": first})
        change = update("last", {"key": second}).version
    assert change
    undo_transaction(change)
    assert state() == before


def test_undo_of_a_rename_to_a_deleted_key_restores_both() -> None:
    before = state()
    with transaction.atomic():
        delete("beta_reviews")
        change = update("new_checkout", {"key": "beta_reviews"}).version
    assert change
    undo_transaction(change)
    assert state() == before


def test_undo_of_a_deletion_whose_key_is_taken_raises_conflict() -> None:
    with transaction.atomic():
        update("beta_reviews", {"key": "reviews"})
        change = delete("reviews").version
    create("beta_reviews")
    assert change
    with pytest.raises(
        ConflictError, match="beta_reviews was deleted, and another flag has the same key"
    ):
        undo_transaction(change)


def test_undo_of_interleaved_transactions_raises_conflict() -> None:
    flag = FeatureFlag.objects.get(key="dark_mode")
    eve, dan = (User.objects.create(username=name) for name in ("eve", "dan"))

    def allow_dan() -> None:
        flag.allowed_users.add(dan)
        connection.close()

    with transaction.atomic(), ThreadPoolExecutor(1) as pool:
        flag.allowed_users.add(eve)
        pool.submit(allow_dan).result()
        flag.allowed_users.remove(eve)
    change = flag_version("dark_mode")
    assert change
    for call in (lambda: undo_transaction(change), lambda: undo("dark_mode", change)):
        with pytest.raises(
            ConflictError, match="another transaction changed dark_mode at the same time"
        ):
            call()
    assert dan in flag.allowed_users.all()


def test_undo_transaction_locks_rows_first_in_the_order_of_an_import() -> None:
    change = release()
    with CaptureQueriesContext(connection) as queries:
        undo_transaction(change)
    locks = [query["sql"] for query in queries if "FOR UPDATE" in query["sql"]]
    flag_lock, value_lock = (
        'ORDER BY "flagstaff_featureflag"."key" ASC FOR UPDATE',
        'ORDER BY "flagstaff_keyvaluestore"."key" ASC FOR UPDATE',
    )
    assert locks[0].endswith(flag_lock)
    assert locks[1].endswith(value_lock)


def test_undo_transaction_repeated_writes_nothing() -> None:
    change = release()
    undo_transaction(change)
    entries = Change.objects.count()
    assert not any(changed.written for changed in undo_transaction(change))
    assert Change.objects.count() == entries


def test_undo_transaction_skips_a_part_that_is_undone_already() -> None:
    before = state()
    change = release()
    undo("beta_reviews")
    done = {changed.key: changed.written for changed in undo_transaction(change)}
    assert state() == before
    assert (done["beta_reviews"], done["page_size"]) == (False, True)


NEWER: dict[str, Callable[[], Any]] = {
    "new_checkout": lambda: update("new_checkout", {"client_side": True}),
    "brand_new": lambda: add_allowed_users("brand_new", 2),
    "page_size": lambda: update_value("page_size", {"description": "Rows"}),
    "motto": lambda: set_value("motto", "off"),
    "beta_reviews": lambda: create("beta_reviews"),
}


@pytest.mark.parametrize("key", NEWER)
def test_undo_transaction_with_a_newer_change_raises_conflict(key: str) -> None:
    change = release()
    with acting_as("ana"):
        NEWER[key]()
    before = state()
    entries = Change.objects.count()
    with pytest.raises(
        ConflictError,
        match=rf"^{key} (has version|was deleted, .* rename or delete)",
    ) as caught:
        undo_transaction(change)
    assert caught.value.key == key
    assert state() == before
    assert Change.objects.count() == entries


def test_undo_transaction_conflict_names_every_newer_change() -> None:
    change = release()
    set_rollout("new_checkout", 7)
    set_value("page_size", 7)
    with pytest.raises(ConflictError) as caught:
        undo_transaction(change)
    lines = str(caught.value).splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["new_checkout", "page_size"]


def test_undo_transaction_keeps_newer_changes_of_other_flags() -> None:
    change = release()
    set_rollout("dark_mode", 7)
    undo_transaction(change)
    assert FeatureFlag.objects.get(key="dark_mode").rollout_percent == 7


def test_undo_transaction_with_a_secret_value_is_rejected() -> None:
    with transaction.atomic():
        set_rollout("dark_mode", 7)
        set_value("mail_password", "correct horse")
    before = state()
    change = flag_version("dark_mode")
    assert change
    with pytest.raises(InvalidChangeError, match="stores only a digest of mail_password"):
        undo_transaction(change)
    assert state() == before


def test_undo_transaction_leaves_out_deleted_users() -> None:
    with transaction.atomic():
        delete("beta_reviews")
        set_rollout("dark_mode", 7)
    User.objects.get(pk=2).delete()
    change = flag_version("dark_mode")
    assert change
    [recreated, _] = undo_transaction(change)
    assert recreated.missing == (2,)
    assert set(FeatureFlag.objects.get(key="beta_reviews").allowed_users.all()) == {
        User.objects.get(pk=1)
    }


def test_undo_transaction_of_an_unknown_change_is_rejected() -> None:
    with pytest.raises(InvalidChangeError, match="the history has no version 987654321"):
        undo_transaction(987654321)


ALLOWED_USERS = "flagstaff_featureflag_allowed_users"


def test_parts_of_sql_that_writes_allowed_users_first_say_created() -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {ALLOWED_USERS} (featureflag_id, user_id) VALUES (99999, 1)")
        cursor.execute("INSERT INTO flagstaff_featureflag (id, key) VALUES (99999, 'from_sql')")
    [part] = parts_of(Change.objects.latest("id").pk)
    assert (part.key, part.creates, part.deletes) == ("from_sql", True, False)


def test_undo_of_sql_that_deletes_the_flag_first_restores_it() -> None:
    before, flag = state(), FeatureFlag.objects.get(key="beta_reviews")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM flagstaff_featureflag WHERE id = %s", [flag.pk])
        cursor.execute(f"DELETE FROM {ALLOWED_USERS} WHERE featureflag_id = %s", [flag.pk])
    change = Change.objects.latest("id").pk
    [part] = parts_of(change)
    assert (part.key, part.creates, part.deletes) == ("beta_reviews", False, True)
    undo_transaction(change)
    assert state() == before
