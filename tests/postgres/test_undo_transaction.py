"""What one transaction did to many is taken back as one."""

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
from tests.terminals import open_shop

# Where each change is a transaction of its own, as it is in life.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def shop() -> None:
    Change.objects.all().delete()
    open_shop()


def state() -> dict[str, Any]:
    """Every field but the clocks, with the primary keys, and the allow-lists."""
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


def together() -> int:
    """A release that touches everything, in each way; one of its changes."""
    with transaction.atomic(), acting_as("deploy", reason="release 42"):
        update("new_checkout", {"rollout_percent": 100, "description": "Done"})
        add_allowed_users("new_checkout", 2)
        delete("beta_reviews")
        create("brand_new", enabled=True, allowed_users=[1])
        set_value("page_size", 50)
        delete_value("payment_gateway")
        change = create_value("motto", "on").version
        # Another hand, but the same transaction.
        with acting_as("bob"):
            disable("new_checkout")
    assert change
    return change


def test_everything_is_as_it_was() -> None:
    before = state()
    change = together()
    assert state() != before
    done = undo_transaction(change)
    assert state() == before
    assert [changed.key for changed in done] == [
        *("beta_reviews", "brand_new", "new_checkout"),
        *("motto", "page_size", "payment_gateway"),
    ]
    assert all(changed.written for changed in done)


def test_any_of_its_changes_stands_for_it() -> None:
    before = state()
    together()
    [event, *_] = flag_history("beta_reviews")
    undo_transaction(event.version)
    assert state() == before


def test_undo_is_one_transaction_that_can_be_undone() -> None:
    change = together()
    after = state()
    with acting_as("ana", reason="too soon"):
        back = combined_undo(undo_transaction(change))
    assert back
    events = [event for event in flag_history() if event.reason == "too soon"]
    assert len(events) == 3
    assert len({event.transaction_id for event in events}) == 1
    undo_transaction(int(back.arguments[-1]))
    # But for primary keys: what was created is created again.
    assert {key: row | {"id": 0} for key, row in state().items()} == {
        key: row | {"id": 0} for key, row in after.items()
    }


def test_flag_that_was_deleted_and_made_anew_is_the_old_one_again() -> None:
    before = state()
    with transaction.atomic():
        delete("new_checkout")
        change = create("new_checkout", enabled=True).version
    assert change
    undo_transaction(change)
    assert state() == before


@pytest.mark.parametrize("names", [["a", "b", "c"], ["c", "b", "a"], ["b", "c", "a"]])
def test_keys_that_were_passed_on_go_back(names: list[str]) -> None:
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


def test_flag_that_took_the_place_of_a_deleted_one_leaves_it() -> None:
    before = state()
    with transaction.atomic():
        delete("beta_reviews")
        change = update("new_checkout", {"key": "beta_reviews"}).version
    assert change
    undo_transaction(change)
    assert state() == before


def test_place_of_a_deleted_flag_that_somebody_else_took_is_a_conflict() -> None:
    with transaction.atomic():
        update("beta_reviews", {"key": "reviews"})
        change = delete("reviews").version
    create("beta_reviews")
    assert change
    with pytest.raises(ConflictError, match="beta_reviews was deleted then, and there is another"):
        undo_transaction(change)


def test_user_whom_somebody_else_allowed_meanwhile_is_not_taken_off() -> None:
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
    for take_back in (lambda: undo_transaction(change), lambda: undo("dark_mode", change)):
        with pytest.raises(ConflictError, match="dark_mode was changed by others while"):
            take_back()
    assert dan in flag.allowed_users.all()


def test_rows_are_locked_at_once_and_in_the_order_of_an_import() -> None:
    change = together()
    with CaptureQueriesContext(connection) as queries:
        undo_transaction(change)
    locks = [query["sql"] for query in queries if "FOR UPDATE" in query["sql"]]
    of_flags, of_values = (
        'ORDER BY "flagstaff_featureflag"."key" ASC FOR UPDATE',
        'ORDER BY "flagstaff_keyvaluestore"."key" ASC FOR UPDATE',
    )
    assert locks[0].endswith(of_flags)
    assert locks[1].endswith(of_values)


def test_second_time_does_nothing() -> None:
    change = together()
    undo_transaction(change)
    entries = Change.objects.count()
    assert not any(changed.written for changed in undo_transaction(change))
    assert Change.objects.count() == entries


def test_part_that_was_taken_back_already_is_left_alone() -> None:
    before = state()
    change = together()
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
def test_newer_change_of_one_of_them_is_a_conflict_that_names_it(key: str) -> None:
    change = together()
    with acting_as("ana"):
        NEWER[key]()
    before = state()
    entries = Change.objects.count()
    with pytest.raises(ConflictError, match=rf"^{key} (has version|was deleted then)") as caught:
        undo_transaction(change)
    assert caught.value.key == key
    assert state() == before
    assert Change.objects.count() == entries


def test_all_that_is_newer_is_named() -> None:
    change = together()
    set_rollout("new_checkout", 7)
    set_value("page_size", 7)
    with pytest.raises(ConflictError) as caught:
        undo_transaction(change)
    told = str(caught.value).splitlines()
    assert [line.partition(" ")[0] for line in told] == ["new_checkout", "page_size"]


def test_what_came_later_to_others_stays() -> None:
    change = together()
    set_rollout("dark_mode", 7)
    undo_transaction(change)
    assert FeatureFlag.objects.get(key="dark_mode").rollout_percent == 7


def test_secret_has_the_whole_refused() -> None:
    with transaction.atomic():
        set_rollout("dark_mode", 7)
        set_value("mail_password", "correct horse")
    before = state()
    change = flag_version("dark_mode")
    assert change
    with pytest.raises(InvalidChangeError, match="keeps a digest of mail_password"):
        undo_transaction(change)
    assert state() == before


def test_users_who_have_gone_are_left_out() -> None:
    with transaction.atomic():
        delete("beta_reviews")
        set_rollout("dark_mode", 7)
    User.objects.get(pk=2).delete()
    change = flag_version("dark_mode")
    assert change
    [back, _] = undo_transaction(change)
    assert back.missing == (2,)
    assert set(FeatureFlag.objects.get(key="beta_reviews").allowed_users.all()) == {
        User.objects.get(pk=1)
    }


def test_change_that_never_was_is_told() -> None:
    with pytest.raises(InvalidChangeError, match="there is no change 987654321 in the history"):
        undo_transaction(987654321)


LIST = "flagstaff_featureflag_allowed_users"


def test_sql_may_write_an_allow_list_before_its_flag() -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {LIST} (featureflag_id, user_id) VALUES (99999, 1)")
        cursor.execute("INSERT INTO flagstaff_featureflag (id, key) VALUES (99999, 'by_hand')")
    [part] = parts_of(Change.objects.latest("id").pk)
    assert (part.key, part.creates, part.deletes) == ("by_hand", True, False)


def test_sql_may_delete_a_flag_before_its_allow_list() -> None:
    before, flag = state(), FeatureFlag.objects.get(key="beta_reviews")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM flagstaff_featureflag WHERE id = %s", [flag.pk])
        cursor.execute(f"DELETE FROM {LIST} WHERE featureflag_id = %s", [flag.pk])
    change = Change.objects.latest("id").pk
    [part] = parts_of(change)
    assert (part.key, part.creates, part.deletes) == ("beta_reviews", False, True)
    undo_transaction(change)
    assert state() == before
