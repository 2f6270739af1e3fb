"""Waffle's own test utilities write rows, so they work through the mirror."""

from __future__ import annotations

import pytest
from django.test import TestCase, TransactionTestCase
from waffle.testutils import override_flag, override_sample, override_switch

from flagstaff import changes
from flagstaff.compat.models import WaffleRow
from flagstaff.models import FeatureFlag
from tests.support.mirrored_rows import flag_of, is_on, new_flag, new_switch


class _Overrides:
    """The same tests in both kinds of test cases."""

    def test_overridden_flag_has_the_state_and_is_deleted(self) -> None:
        with override_flag("checkout", active=True):
            assert (is_on("checkout"), flag_of("checkout").rollout_percent) == (True, 100)
        assert not FeatureFlag.objects.exists()
        assert not WaffleRow.objects.exists()

    def test_overridden_flag_gets_its_old_state_back(self) -> None:
        new_flag("checkout", everyone=False)
        with override_flag("checkout", active=True):
            assert is_on("checkout")
        assert not is_on("checkout")

    def test_nested_overrides_have_the_inner_state(self) -> None:
        with override_flag("checkout", active=True):
            with override_flag("checkout", active=False):
                assert not is_on("checkout")
            assert is_on("checkout")

    def test_flag_of_no_decision_has_its_rules(self) -> None:
        with override_flag("checkout", active=True), override_flag("checkout", active=None):
            assert flag_of("checkout").rules[0]["name"] == "superusers"

    def test_overridden_switch_has_the_state(self) -> None:
        new_switch("search", active=True)
        with override_switch("search", active=False):
            assert not is_on("search")
        assert is_on("search")

    def test_overridden_sample_has_the_percentage(self) -> None:
        with override_sample("traces", active=50.0):
            assert flag_of("traces").rollout_percent == 50
        assert not FeatureFlag.objects.exists()

    def test_override_of_a_killed_flag_restores_the_state_of_waffle(self) -> None:
        new_flag("checkout", everyone=True)
        changes.disable("checkout")
        with override_flag("checkout", active=False):
            assert not is_on("checkout")


class OverridesInTransactions(_Overrides, TestCase):
    pass


# Slow, because each test ends with a flush of all tables.
@pytest.mark.thorough
class CommittedOverrides(_Overrides, TransactionTestCase):
    pass


@pytest.mark.django_db
@override_switch("search", active=True)
def test_override_as_a_decorator_has_the_state() -> None:
    assert is_on("search")
