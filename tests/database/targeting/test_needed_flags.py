"""Conditions on buckets and flags, as far as the package reads them: users, units, what counts.

tests/core/needed_flags.rs and tests/conformance have the results.
"""

from typing import Any

import pytest
from django.utils.functional import SimpleLazyObject

from flagstaff import _core, all_flags, explain, flag_enabled, get_value, snapshot
from flagstaff.experiments import get_variant
from flagstaff.testing import override_flag
from tests.conformance.rules_oracle import hundredths
from tests.support.fixtures import Load
from tests.support.forced_off import forced_off
from tests.support.shop import GERMANY, Shop

KEY, NEEDED = "dark_mode", "search_v2"
NEEDS = [{"conditions": [{"flag": NEEDED, "is": True}]}]
NEEDS_NOT = [{"conditions": [{"flag": NEEDED, "is": False}]}]


def make(shop: Shop, needed: dict[str, Any], rules: list[dict[str, Any]] = NEEDS) -> None:
    """A flag that another one needs, and this one, which is off unless its rule matches."""
    shop.flag(NEEDED, **needed)
    shop.flag(KEY, rollout_percent=0, rules=rules)


def test_result_of_one_user_in_a_test_decides_where_the_flag_is_needed(
    shop: Shop, load: Load
) -> None:
    make(shop, {"rollout_percent": 100})
    load()
    alice, bob = shop.user("alice"), shop.user("bob")
    with override_flag(NEEDED, False, user=alice):
        for user, result in ((alice, False), (bob, True)):
            lazy = SimpleLazyObject(lambda user=user: user)  # type: ignore[misc]
            assert flag_enabled(KEY, user) is flag_enabled(KEY, lazy) is result
            assert all_flags(user)[KEY] is result
            assert explain(KEY, user).value is result
        assert snapshot().depends_on_user(KEY)
    assert not snapshot().depends_on_user(KEY)


def test_needed_flag_that_is_forced_off_only_takes_away(shop: Shop, load: Load) -> None:
    # At 0 %, it would be a brake itself.
    make(shop, {"rollout_percent": 1}, NEEDS_NOT)
    load()
    assert flag_enabled(KEY, 1)
    with forced_off([NEEDED]):
        assert not flag_enabled(KEY, 1)
        assert all_flags(1)[KEY] is False


def test_lazy_user_is_read_if_a_needed_flag_depends_on_the_user(shop: Shop, load: Load) -> None:
    make(shop, {"rollout_percent": 100})
    load()
    unread: Any = SimpleLazyObject(lambda: pytest.fail("reads the user"))
    assert flag_enabled(KEY, unread)
    shop.flag(NEEDED).allowed_users.add(shop.user("alice"))
    type(shop.flag(NEEDED)).objects.filter(key=NEEDED).update(rollout_percent=0)
    load()
    assert [
        flag_enabled(KEY, SimpleLazyObject(lambda name=name: shop.user(name)))  # type: ignore[misc]
        for name in ("alice", "bob")
    ] == [True, False]


def test_value_and_experiment_need_a_flag(shop: Shop, load: Load) -> None:
    shop.flag(NEEDED, rollout_percent=0).allowed_users.add(shop.user("alice"))
    shop.value("page_size", rules=[{**NEEDS[0], "value": 50}])
    experiment = shop.experiment(state="draft")
    type(experiment).objects.update(state="running", rules=NEEDS)
    load()
    for name, size in (("alice", 50), ("bob", 20)):
        user = shop.user(name)
        assert get_value("page_size", user=user) == size
        assert (get_variant(experiment.key, user) is None) is (name == "bob")


def test_attributes_and_units_of_needed_flags_are_those_of_the_flag(shop: Shop, load: Load) -> None:
    make(shop, {"rollout_percent": 50, "bucket_by": "organization", "rules": [GERMANY]})
    type(shop.flag(KEY)).objects.filter(key=KEY).update(client_side=True)
    load()
    assert snapshot().attribute_names(KEY) == {"country", "organization"}
    assert _core.client_side_units(snapshot()) == {"organization"}


def test_comparison_evaluates_buckets_and_needed_flags_on_both_sides() -> None:
    bucket = '[{"conditions": [{"bucket": "holdout", "operator": "lt", "values": [5]}]}]'
    needs = '[{"conditions": [{"flag": "b", "is": true}]}]'

    def rows(rules: str) -> tuple[Any, ...]:
        flags = [
            ("a", "a", True, 0, False, needs, "user"),
            ("b", "b", True, 0, False, rules, "user"),
        ]
        return flags, [], [], [], []

    by_plan = '[{"conditions": [{"attribute": "plan", "operator": "in", "values": ["pro"]}]}]'
    comparison = _core.Comparison(rows(by_plan), rows(bucket), [("flag", "a"), ("flag", "b")])
    assert comparison.attributes() == [({"plan"}, set()), ({"plan"}, set())]
    users = [(pk, "pro" if pk % 10 == 0 else "free") for pk in range(1, 1001)]
    changed, counts = comparison.count(iter(users), ["plan"])
    after = {pk for pk, _plan in users if hundredths("holdout", pk) < 500}
    before = {pk for pk, plan in users if plan == "pro"}
    expected = [len(after - before), len(before - after), len(before), len(after), changed]
    assert [[*of_key] for of_key in counts] == [expected, expected]
    assert changed == len(before ^ after)
