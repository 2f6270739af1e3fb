"""Users and groups of a flag of waffle, changed from both sides of the relation."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, User

from flagstaff import changes
from flagstaff.history import flag_history
from tests.support.mirrored_rows import allowed, flag_of, new_flag

pytestmark = pytest.mark.django_db


def groups(key: str) -> list[str]:
    """The groups of the rule, or none without one."""
    rules = {rule["name"]: rule for rule in flag_of(key).rules}
    return rules["groups"]["conditions"][0]["values"] if "groups" in rules else []


def test_users_of_a_flag_are_added_removed_and_cleared(alice: User, bob: User) -> None:
    row = new_flag("checkout")
    row.users.add(alice, bob)
    assert allowed("checkout") == {"alice", "bob"}
    row.users.remove(alice)
    assert allowed("checkout") == {"bob"}
    row.users.clear()
    assert allowed("checkout") == set()


def test_users_of_a_flag_are_set(alice: User, bob: User) -> None:
    row = new_flag("checkout")
    row.users.set([alice])
    row.users.set([bob])
    assert allowed("checkout") == {"bob"}
    row.users.set([alice], clear=True)
    assert allowed("checkout") == {"alice"}


def test_flags_of_a_user_are_added_removed_and_cleared(alice: Any) -> None:
    rows = [new_flag(name) for name in ("search", "checkout", "chat")]
    alice.flag_set.add(*rows)
    assert [allowed(row.name) for row in rows] == [{"alice"}] * 3
    alice.flag_set.remove(rows[0])
    assert [allowed(row.name) for row in rows] == [set(), {"alice"}, {"alice"}]
    alice.flag_set.clear()
    assert [allowed(row.name) for row in rows] == [set()] * 3


def test_flags_of_a_user_are_set(alice: Any) -> None:
    search, checkout = new_flag("search"), new_flag("checkout")
    alice.flag_set.set([search])
    alice.flag_set.set([checkout])
    assert (allowed("search"), allowed("checkout")) == (set(), {"alice"})


def test_clearing_the_flags_of_a_user_keeps_other_users(alice: Any, bob: User) -> None:
    new_flag("checkout").users.add(alice, bob)
    alice.flag_set.clear()
    assert allowed("checkout") == {"bob"}


def test_groups_of_a_flag_become_a_rule() -> None:
    testers, staff = (Group.objects.create(name=name) for name in ("testers", "staff"))
    row = new_flag("checkout")
    row.groups.add(testers, staff)
    assert groups("checkout") == ["staff", "testers"]
    row.groups.clear()
    assert groups("checkout") == []


def test_flags_of_a_group_are_added_and_cleared() -> None:
    testers: Any = Group.objects.create(name="testers")
    testers.flag_set.add(new_flag("search"), new_flag("checkout"))
    assert groups("search") == groups("checkout") == ["testers"]
    testers.flag_set.clear()
    assert groups("search") == groups("checkout") == []


def test_flags_of_a_user_are_locked_in_the_order_of_their_keys(
    alice: Any, django_assert_max_num_queries: Any
) -> None:
    rows = [new_flag(name) for name in ("search", "checkout", "chat")]
    with django_assert_max_num_queries(200) as queries:
        alice.flag_set.add(*rows)
    locks = [one["sql"] for one in queries if "flagstaff_featureflag" in one["sql"]]
    assert 'ORDER BY "flagstaff_featureflag"."key" ASC FOR UPDATE' in locks[0]
    assert all(f"'{row.name}'" in locks[0] for row in rows)


def test_users_are_added_in_one_event(alice: User, bob: User) -> None:
    row = new_flag("checkout")
    row.users.add(alice, bob)
    newest = flag_history("checkout")[0]
    assert (newest.source, newest.added.count) == ("waffle", 2)


def test_unsaved_columns_of_the_instance_are_not_written(alice: User) -> None:
    row = new_flag("checkout", percent="20")
    row.everyone, row.name = True, "other"
    row.users.add(alice)
    flag = flag_of("checkout")
    assert (flag.rollout_percent, allowed("checkout")) == (20, {"alice"})


def test_adding_a_user_is_no_kill(alice: User) -> None:
    row = new_flag("checkout", everyone=False)
    changes.enable("checkout")
    row.users.add(alice)
    assert flag_of("checkout").enabled


def test_deleted_user_is_removed_with_the_next_change(alice: User, bob: User) -> None:
    row = new_flag("checkout")
    row.users.add(alice, bob)
    alice.delete()
    row.note = "without alice"
    row.save()
    assert allowed("checkout") == {"bob"}
