"""A project that moved from flagstaff's models to its own: each table has a history of its own."""

from datetime import timedelta
from typing import Any

import pytest

from flagstaff import acting_as, changes
from flagstaff.conf import Conf
from flagstaff.exceptions import InvalidChangeError
from flagstaff.history import flag_version, forget_user, prune
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.support.history import flag_history
from tests.support.models_of_others import flag_model_of, watch
from tests.support.shop import Shop
from tests.support.sql import rows

OLD, NEW = FeatureFlag, "common_switch"
#: The entries of all tables.
ALL = Change._base_manager


@pytest.fixture
def switches(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The project's own flag model, watched beside the table of flagstaff's own."""
    ALL.all().delete()
    model = flag_model_of()
    watch(model, monkeypatch)
    return model._base_manager


@pytest.fixture
def payments(switches: Any) -> Any:
    """A flag of the project, with the primary key of a flag in the old table."""
    pk = FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=100).pk
    flag = switches.create(pk=pk, key="payments", enabled=True, rollout_percent=50)
    with acting_as("alice"):
        changes.flags.set_rollout("payments", 60)
    # An old process of a rolling deploy, or a clean-up script, writes to the old table.
    FeatureFlag.objects.update(rollout_percent=99)
    return flag


def test_history_and_undo_are_of_the_table_of_the_flag_model(payments: Any, switches: Any) -> None:
    assert {event.key for event in flag_history("payments")} == {"payments"}
    assert {event.key for event in flag_history()} == {"payments"}
    assert flag_history("new_checkout") == []
    changes.flags.undo("payments")
    assert switches.values_list("key", "rollout_percent").get() == ("payments", 50)


def test_version_of_another_table_is_ignored_and_not_restored(payments: Any) -> None:
    newest = Change.objects.filter(key="payments").latest("id").pk
    assert flag_version("payments") == newest < ALL.latest("id").pk
    [theirs, *_] = ALL.filter(key="new_checkout").values_list("id", flat=True)
    with pytest.raises(InvalidChangeError, match="has no version"):
        changes.flags.restore("payments", to=theirs)


def test_transaction_has_no_entry_of_another_table(payments: Any) -> None:
    # All in the transaction of the test.
    theirs = ALL.filter(key="new_checkout").latest("id")
    assert {entry.key for entry in Change.objects.in_transaction(theirs)} == {"payments"}


def test_allowed_users_belong_to_the_table_of_their_flag(payments: Any, shop: Shop) -> None:
    alice = shop.user("alice")
    FeatureFlag.objects.get().allowed_users.add(alice)
    payments.allowed_users.add(shop.user("bob"))
    assert [event.added.pks for event in flag_history("payments")[:1]] == [(2,)]
    tables = {row[0] for row in rows("SELECT object_table::text FROM flagstaff_change")}
    assert tables == {"flagstaff_featureflag", NEW}
    # Of every table.
    payments.allowed_users.add(alice)
    assert forget_user(alice) == 2


def test_key_of_a_deleted_flag_is_that_of_its_own_table(payments: Any, shop: Shop) -> None:
    payments.allowed_users.add(shop.user("bob"))
    # SQL may delete the flag before its users, and the old flag with the same key later.
    rows("SET CONSTRAINTS ALL DEFERRED")
    rows(f"DELETE FROM {NEW}")
    FeatureFlag.objects.all().delete()
    rows(f"DELETE FROM {NEW}_allowed_users")
    newest = ALL.latest("id")
    assert (newest.relation, newest.key) == ("m", "payments")


def test_prune_keeps_the_versions_of_the_watched_table_only(payments: Any) -> None:
    rows("UPDATE flagstaff_change SET at = at - interval '9 days'")
    prune(timedelta(days=1))
    assert [change.key for change in ALL.all()] == ["payments"]


def test_history_survives_a_rename_of_the_table_and_the_end_of_another(
    payments: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows(f"ALTER TABLE {NEW} RENAME TO common_renamed")
    monkeypatch.setattr(Conf, "flag_model", flag_model_of("Renamed"))
    assert {event.key for event in flag_history("payments")} == {"payments"}
    rows("DROP TABLE flagstaff_featureflag CASCADE")
    assert {event.key for event in flag_history()} == {"payments"}


def test_values_keep_their_history_beside_another_flag_table(payments: Any) -> None:
    value = KeyValueStore.objects.create(pk=payments.pk, key="gateway", value="stripe")
    assert rows(
        "SELECT object_table::text FROM flagstaff_change WHERE relation = 'k' AND object_pk = %s",
        str(value.pk),
    ) == [("flagstaff_keyvaluestore",)]
