"""`snapshot()` and `all_flags()`, from memory and from the database."""

from contextlib import suppress
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from flagstaff import all_flags, experiments, flag_enabled, get_value, snapshot
from flagstaff._evaluation import Explanation, explanation_of
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.testing import override_flag, override_value
from tests.support.fixtures import Load
from tests.support.sql import rows
from tests.support.views import lazy_user

ROLLOUTS = {"half": 50, "off": 100, "all": 100, "none": 0}


@pytest.fixture
def alice() -> User:
    """An allowed user, inside the rollout of "half"."""
    return User.objects.create(pk=42, username="alice")


@pytest.fixture
def flags(load: Load, alice: User) -> None:
    for key, percent in ROLLOUTS.items():
        FeatureFlag.objects.create(key=key, enabled=key != "off", rollout_percent=percent)
    FeatureFlag.objects.create(key="listed", enabled=True)
    for key in ("listed", "off", "all"):
        FeatureFlag.objects.get(key=key).allowed_users.add(alice)
    KeyValueStore.objects.create(key="cities", value=["Rome"])
    load()


@pytest.mark.usefixtures("flags")
def test_all_flags_include_overrides_and_are_sorted_by_key(alice: User) -> None:
    with override_flag("listed", False), override_flag("banner", True), override_flag("z", False):
        results = all_flags(alice)
    assert list(results) == ["all", "banner", "half", "listed", "none", "off", "z"]
    assert (results["listed"], results["banner"]) == (False, True)
    assert list(all_flags(alice)) == ["all", "half", "listed", "none", "off"]
    # A snapshot keeps them.
    with override_flag("all", False), override_value("cities", ["Oslo"]):
        held = snapshot()
    assert (held.flag_enabled("all"), held.get_value("cities")) == (False, ["Oslo"])
    assert held.depends_on_user("all") is False
    assert flag_enabled("all") is True
    assert all_flags(alice)["listed"] is True


@pytest.mark.usefixtures("flags")
def test_user_is_read_once_and_only_if_a_result_depends_on_it(load: Load, alice: User) -> None:
    reads: list[object] = []
    held = snapshot()
    for evaluate in (flag_enabled, held.flag_enabled):
        for key in ("off", "all", "none", "missing"):
            assert evaluate(key, lazy_user(alice, reads)) is (key == "all")
            assert held.depends_on_user(key) is False
        assert reads == []
        for key in ("half", "listed"):
            user = lazy_user(alice, reads)
            assert evaluate(key, user) is evaluate(key, user) is True
            assert held.depends_on_user(key) is True
            assert reads.pop() is alice
            assert reads == []
    assert all_flags(lazy_user(alice, reads)) == all_flags(alice)
    assert reads == [alice]
    # All flags do not read it, if none depends on it.
    FeatureFlag.objects.exclude(key__in=["all", "off"]).delete()
    load()
    assert all_flags(lazy_user(alice, reads)) == {"all": True, "off": False}
    assert reads == [alice]


@pytest.mark.usefixtures("flags")
def test_snapshot_does_not_change_with_rows(load: Load, alice: User) -> None:
    held, before = snapshot(), all_flags(alice)
    FeatureFlag.objects.exclude(key="all").delete()
    FeatureFlag.objects.update(enabled=False)
    KeyValueStore.objects.update(value=["Oslo"])
    load()
    assert held.all_flags(alice) == before
    assert held.flag_enabled("all") is True
    assert held.get_value("cities") == ["Rome"]
    explained = explanation_of(Explanation, "listed", held.explain("listed", alice))
    assert (explained.key, explained.value, explained.reason) == ("listed", True, "TARGETING_MATCH")
    assert (explained.bucket, explained.bucket_by, explained.rollout_percent) == (37, "user", 0)
    assert all_flags(alice) == {"all": False}
    assert get_value("cities") == ["Oslo"]


@pytest.mark.usefixtures("flags")
def test_snapshot_has_a_change_token_in_memory_and_defaults_of_the_call(
    request: pytest.FixtureRequest,
) -> None:
    held = snapshot()
    assert held.ready is True
    assert held.flag_enabled("missing", default=True) is True
    assert (held.get_value("missing", "default"), held.get_value("missing")) == ("default", None)
    in_memory = request.node.callspec.params["load"] == "memory"
    assert (held.token is not None) is in_memory


def test_snapshot_in_test_contains_open_transaction_and_counts_no_query(
    alice: User, django_assert_num_queries: Any
) -> None:
    with suppress(ZeroDivisionError), transaction.atomic():
        FeatureFlag.objects.create(key="listed", enabled=True).allowed_users.add(alice)
        with django_assert_num_queries(0):
            held = snapshot()
            assert all_flags(alice) == {"listed": True}
        raise ZeroDivisionError
    assert held.all_flags(alice) == {"listed": True}
    assert all_flags() == {}


def test_row_with_null_or_missing_table_does_not_break_transaction() -> None:
    FeatureFlag.objects.create(key="banner", enabled=True, rollout_percent=100)
    rows("ALTER TABLE flagstaff_featureflag ALTER enabled DROP NOT NULL")
    rows("INSERT INTO flagstaff_featureflag (key, enabled) VALUES ('broken', NULL)")
    assert all_flags() == {"banner": True}
    rows("SET CONSTRAINTS ALL IMMEDIATE; DROP TABLE flagstaff_keyvaluestore")
    assert (snapshot().ready, all_flags()) == (False, {})
    assert snapshot().flag_enabled("banner", default=True) is True
    assert User.objects.count() == 0


@pytest.mark.parametrize("variants", ["5", "null", '["a"]', "[{}]"])
def test_malformed_experiment_does_not_hide_the_flag_with_its_key(variants: str) -> None:
    experiments.create("banner")
    FeatureFlag.objects.create(key="banner", enabled=True, rollout_percent=100)
    rows(f"UPDATE flagstaff_experiments_experiment SET variants = '{variants}'")
    assert (flag_enabled("banner"), all_flags()) == (True, {"banner": True})


def test_missing_table_of_an_optional_app_does_not_hide_flags() -> None:
    FeatureFlag.objects.create(key="banner", enabled=True, rollout_percent=100)
    rows("DROP TABLE flagstaff_experiments_experiment CASCADE")
    assert (flag_enabled("banner"), all_flags()) == (True, {"banner": True})
