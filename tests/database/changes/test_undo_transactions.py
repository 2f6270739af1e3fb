"""Undo of a whole transaction."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from flagstaff import acting_as
from flagstaff.changes import (
    Changed,
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
from flagstaff.history import flag_version
from flagstaff.history.transactions import parts_of
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.support.history import flag_history
from tests.support.sql import rows

# Each change is a transaction of its own, as in production.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cli_shop")]


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
    return change or 0


def test_undo_transaction_restores_everything() -> None:
    before = state()
    change = release()
    assert state() != before
    [event, *_] = flag_history("beta_reviews")
    assert event.version != change
    # The newer change of another flag stays.
    set_rollout("dark_mode", 7)
    with CaptureQueriesContext(connection) as queries:
        done = undo_transaction(event.version)
    assert state() == {**before, "dark_mode": {**before["dark_mode"], "rollout_percent": 7}}
    assert [changed.key for changed in done] == [
        *("beta_reviews", "brand_new", "new_checkout"),
        *("motto", "page_size", "payment_gateway"),
    ]
    assert all(changed.written for changed in done)
    # An import locks rows in the same order.
    locks = [query["sql"] for query in queries if "FOR UPDATE" in query["sql"]]
    assert locks[0].endswith('ORDER BY "flagstaff_featureflag"."key" ASC FOR UPDATE')
    assert locks[1].endswith('ORDER BY "flagstaff_keyvaluestore"."key" ASC FOR UPDATE')


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


@pytest.mark.parametrize(
    "take",
    [
        partial(create, "new_checkout", enabled=True),
        partial(update, "dark_mode", {"key": "new_checkout"}),
    ],
    ids=["created", "renamed"],
)
def test_undo_of_a_deletion_whose_key_is_taken_at_once_restores_all(
    take: Callable[[], Changed],
) -> None:
    before = state()
    with transaction.atomic():
        delete("new_checkout")
        change = take().version
    undo_transaction(change or 0)
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
    undo_transaction(change or 0)
    assert state() == before


def test_undo_of_a_deletion_whose_key_is_taken_raises_conflict() -> None:
    with transaction.atomic():
        update("beta_reviews", {"key": "reviews"})
        change = delete("reviews").version
    create("beta_reviews")
    with pytest.raises(ConflictError, match="beta_reviews was deleted, and another flag has the"):
        undo_transaction(change or 0)


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
    change = flag_version("dark_mode") or 0
    for call in (lambda: undo_transaction(change), lambda: undo("dark_mode", change)):
        with pytest.raises(ConflictError, match="another transaction changed dark_mode at the"):
            call()
    assert dan in flag.allowed_users.all()


def test_undo_transaction_skips_a_part_that_is_undone_already() -> None:
    before = state()
    change = release()
    undo("beta_reviews")
    done = {changed.key: changed.written for changed in undo_transaction(change)}
    assert state() == before
    assert (done["beta_reviews"], done["page_size"]) == (False, True)
    entries = Change.objects.count()
    assert not any(changed.written for changed in undo_transaction(change))
    assert Change.objects.count() == entries


NEWER: dict[str, Callable[[], Any]] = {
    "new_checkout": partial(update, "new_checkout", {"client_side": True}),
    "brand_new": partial(add_allowed_users, "brand_new", 2),
    "page_size": partial(update_value, "page_size", {"description": "Rows"}),
    "motto": partial(set_value, "motto", "off"),
    "beta_reviews": partial(create, "beta_reviews"),
}


@pytest.mark.parametrize(
    "keys", [*([key] for key in NEWER), ["new_checkout", "page_size"]], ids=str
)
def test_undo_transaction_with_newer_changes_raises_a_conflict_that_names_each(
    keys: list[str],
) -> None:
    change = release()
    with acting_as("ana"):
        for key in keys:
            NEWER[key]()
    before = state()
    entries = Change.objects.count()
    with pytest.raises(ConflictError) as caught:
        undo_transaction(change)
    for key, line in zip(keys, str(caught.value).splitlines(), strict=True):
        assert re.match(f"ana changed {key} again at |{key} was deleted, .* rename or ", line)
    assert caught.value.key == keys[0]
    assert state() == before
    assert Change.objects.count() == entries


def test_undo_transaction_that_is_unknown_or_has_a_secret_value_is_rejected() -> None:
    with transaction.atomic():
        set_rollout("dark_mode", 7)
        set_value("mail_password", "correct horse")
    before = state()
    with pytest.raises(InvalidChangeError, match="stores only a digest of mail_password"):
        undo_transaction(flag_version("dark_mode") or 0)
    assert state() == before
    with pytest.raises(InvalidChangeError, match="the history has no version 987654321"):
        undo_transaction(987654321)


def test_undo_transaction_leaves_out_deleted_users() -> None:
    with transaction.atomic():
        delete("beta_reviews")
        set_rollout("dark_mode", 7)
    User.objects.get(pk=2).delete()
    [recreated, _] = undo_transaction(flag_version("dark_mode") or 0)
    assert recreated.missing == (2,)
    allowed = FeatureFlag.objects.get(key="beta_reviews").allowed_users
    assert [user.pk for user in allowed.all()] == [1]


ALLOWED_USERS = "flagstaff_featureflag_allowed_users"


def test_parts_of_sql_in_any_order_say_what_was_created_and_deleted() -> None:
    before, flag = state(), FeatureFlag.objects.get(key="beta_reviews")
    with transaction.atomic():
        rows(f"INSERT INTO {ALLOWED_USERS} (featureflag_id, user_id) VALUES (99999, 1)")
        rows("INSERT INTO flagstaff_featureflag (id, key) VALUES (99999, 'from_sql')")
        rows("DELETE FROM flagstaff_featureflag WHERE id = %s", flag.pk)
        rows(f"DELETE FROM {ALLOWED_USERS} WHERE featureflag_id = %s", flag.pk)
    change = Change.objects.latest("id").pk
    parts = [(part.key, part.creates, part.deletes) for part in parts_of(change)]
    assert sorted(parts) == [("beta_reviews", False, True), ("from_sql", True, False)]
    undo_transaction(change)
    assert state() == before
