"""Rows of waffle that are deleted or renamed."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from waffle.models import Flag, Switch

from flagstaff import changes
from flagstaff._attribution.writes import acting_as
from flagstaff.compat.models import WaffleRow
from flagstaff.models import Change, FeatureFlag
from tests.support.history_fixtures import disabled_triggers
from tests.support.mirrored_rows import allowed, flag_of, is_on, new_flag, new_switch, problem

pytestmark = pytest.mark.django_db


def test_flag_that_only_waffle_has_changed_is_deleted(alice: User) -> None:
    row = new_flag("checkout", everyone=True)
    row.users.add(alice)
    row.delete()
    assert not FeatureFlag.objects.exists()
    assert not WaffleRow.objects.exists()


def test_flag_that_was_changed_here_is_only_turned_off() -> None:
    row = new_flag("checkout", everyone=True)
    changes.update("checkout", {"description": "ours"})
    row.delete()
    assert not flag_of("checkout").enabled
    assert problem("checkout").startswith("deleted in waffle, but flag 'checkout' was changed")


def test_change_here_by_acting_as_counts(alice: User) -> None:
    row = new_flag("checkout", everyone=True)
    with acting_as(alice, source="admin"):
        changes.add_allowed_users("checkout", alice)
    row.delete()
    assert not flag_of("checkout").enabled


def test_flag_without_its_first_entries_is_only_turned_off() -> None:
    row = new_flag("checkout", everyone=True)
    Change.objects.filter(action="insert").delete()
    row.delete()
    assert not flag_of("checkout").enabled


def test_flag_without_entries_is_only_turned_off() -> None:
    with disabled_triggers():
        new_switch("search", active=True).delete()
    assert not flag_of("search").enabled


def test_flag_of_another_origin_stays_as_it_is() -> None:
    changes.create("search", enabled=True)
    new_switch("search", active=True).delete()
    assert flag_of("search").enabled
    assert not WaffleRow.objects.exists()


def test_rows_of_a_queryset_are_deleted() -> None:
    new_switch("search", active=True)
    new_switch("chat", active=True)
    Switch.objects.all().delete()
    assert not FeatureFlag.objects.exists()


def test_name_in_the_table_decides_which_flag_is_deleted() -> None:
    new_switch("chat", active=True)
    row = new_switch("search", active=True)
    row.name = "chat"
    row.delete()
    assert (is_on("chat"), FeatureFlag.objects.filter(key="search").exists()) == (True, False)


def test_name_that_is_used_again_is_written_again() -> None:
    row = new_flag("checkout", everyone=True)
    changes.update("checkout", {"description": "ours"})
    row.delete()
    new_flag("checkout", everyone=True)
    assert is_on("checkout")
    assert not problem("checkout")


def test_renamed_row_gets_a_new_flag_and_loses_the_old_one() -> None:
    row = new_flag("checkout", everyone=True)
    row.name = "cart"
    row.save()
    assert list(FeatureFlag.objects.values_list("key", "enabled")) == [("cart", True)]
    assert [one.name for one in WaffleRow.objects.all()] == ["cart"]


def test_renamed_row_keeps_what_was_changed_here(alice: User, bob: User) -> None:
    row = new_flag("checkout", percent="20")
    row.users.add(bob)
    changes.update("checkout", {"rollout_percent": 5, "owner": "payments"})
    changes.remove_allowed_users("checkout", bob)
    changes.add_allowed_users("checkout", alice)
    row.name, row.note = "cart", "was checkout"
    row.save()
    flag = flag_of("cart")
    assert (flag.rollout_percent, flag.owner, flag.description) == (5, "payments", "was checkout")
    assert allowed("cart") == {"alice"}
    assert not flag_of("checkout").enabled
    assert "renamed in waffle" in problem("checkout")


def test_kill_here_survives_the_renaming() -> None:
    row = new_flag("checkout", everyone=True)
    changes.disable("checkout")
    row.name = "cart"
    row.save()
    assert (is_on("cart"), is_on("checkout")) == (False, False)


def test_kill_in_waffle_survives_the_renaming_under_both_keys() -> None:
    row = new_flag("checkout", everyone=False)
    row.name = "cart"
    row.save()
    assert list(FeatureFlag.objects.values_list("key", "enabled")) == [
        ("cart", False),
        ("checkout", False),
    ]


def test_kill_here_survives_the_renaming_to_an_earlier_name() -> None:
    earlier = new_flag("cart", everyone=True)
    changes.update("cart", {"description": "ours"})
    earlier.delete()
    row = new_flag("checkout", everyone=True)
    changes.disable("checkout")
    row.name = "cart"
    row.save()
    assert not is_on("cart")


def test_renaming_that_turns_the_row_on_ends_the_kill() -> None:
    row = new_flag("checkout", everyone=False)
    changes.disable("checkout")
    row.name, row.everyone = "cart", True
    row.save()
    assert (is_on("cart"), is_on("checkout")) == (True, False)


def test_other_name_of_the_same_key_keeps_the_flag() -> None:
    row = new_flag("new cart", everyone=True)
    pk = flag_of("new_cart").pk
    changes.disable("new_cart")
    row.name = "new_cart"
    row.save()
    assert (flag_of("new_cart").pk, is_on("new_cart")) == (pk, False)
    assert [one.name for one in WaffleRow.objects.all()] == ["new_cart"]


def test_other_name_of_the_same_key_may_have_had_a_problem() -> None:
    changes.create("new_cart")
    new_flag("new_cart").delete()
    WaffleRow.objects.create(kind="flag", name="new_cart", key="new_cart", problem="an old one")
    changes.delete("new_cart")
    row = new_flag("new cart", everyone=True)
    row.name = "new_cart"
    row.save()
    assert is_on("new_cart")
    assert [(one.name, one.problem) for one in WaffleRow.objects.all()] == [("new_cart", "")]


def test_save_that_keeps_the_name_renames_nothing() -> None:
    row = new_flag("checkout", everyone=True)
    row.name, row.everyone = "cart", False
    row.save(update_fields=["everyone"])
    assert list(FeatureFlag.objects.values_list("key", "enabled")) == [("checkout", False)]
    assert Flag.objects.get().name == "checkout"
