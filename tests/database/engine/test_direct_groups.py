"""Groups in direct mode: each evaluation reads those that its rules name."""

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.db import connection

from flagstaff import explain, flag_enabled, snapshot
from flagstaff._engine.direct import read_groups
from flagstaff.models import FeatureFlag
from tests.support.conditions import outcomes_of

ON_POSTGRESQL = connection.vendor == "postgresql"


@pytest.fixture
def alice(db: None) -> User:
    """A member of `beta` and `staff`. The group `empty` has no member."""
    alice = User.objects.create(username="alice")
    beta, staff, _ = (Group.objects.create(name=name) for name in ("beta", "staff", "empty"))
    alice.groups.add(beta, staff)
    User.objects.create(username="bob").groups.add(beta)
    return alice


@pytest.fixture
def for_beta(alice: User) -> None:
    """A flag for the members of `beta`."""
    condition = {"attribute": "groups", "operator": "in", "values": ["beta"]}
    rules = [{"conditions": [condition]}]
    FeatureFlag.objects.create(key="new_checkout", enabled=True, rules=rules)


def of(groups: list[tuple[str, list[str]]] | None) -> dict[str, list[str]]:
    assert groups is not None
    return {name: sorted(users, key=int) for name, users in groups}


def test_groups_that_are_named_exactly_have_their_members(alice: User) -> None:
    both = [str(alice.pk), str(alice.pk + 1)]
    assert of(read_groups(["beta", "empty", "none"])) == {"beta": both, "empty": []}
    assert of(read_groups(None)) == {"beta": both, "staff": both[:1], "empty": []}
    assert read_groups(["BETA"]) == read_groups([]) == []
    # Many names are read in several statements.
    names = [f"group {number}" for number in range(1200)]
    assert of(read_groups([*names, "staff"])) == {"staff": both[:1]}


@pytest.mark.parametrize("user", [None, "0", "no number", "042", "99999999999999999999", "\0"])
@pytest.mark.usefixtures("for_beta")
def test_key_without_a_user_has_no_groups(user: str | None) -> None:
    assert flag_enabled("new_checkout", user) is False


@pytest.mark.usefixtures("for_beta")
def test_members_of_a_group_have_the_flag(alice: User) -> None:
    carol = User.objects.create(username="carol")
    for user, has_it in ((alice, True), (alice.pk, True), (str(alice.pk), True), (carol, False)):
        assert flag_enabled("new_checkout", user) is has_it
        assert snapshot().flag_enabled("new_checkout", user) is has_it
    alice.groups.clear()
    assert flag_enabled("new_checkout", alice) is False
    # Anonymous users have an empty list.
    for nobody in (None, AnonymousUser()):
        assert outcomes_of(explain("new_checkout", nobody)) == ["failed"]


@pytest.mark.usefixtures("for_beta", "groups_elsewhere")
def test_groups_that_cannot_be_read_are_missing(alice: User) -> None:
    assert read_groups(["beta"]) is None
    assert outcomes_of(explain("new_checkout", alice)) == ["missing"]


@pytest.mark.skipif(not ON_POSTGRESQL, reason="a missing table is an error of PostgreSQL")
@pytest.mark.usefixtures("for_beta")
def test_missing_table_of_groups_makes_them_missing(alice: User) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE auth_user_groups RENAME TO elsewhere")
    assert flag_enabled("new_checkout", alice) is False


def test_rule_that_asks_only_for_any_group_finds_those_of_the_user(alice: User) -> None:
    condition = {"attribute": "groups", "operator": "isnull", "values": [False]}
    FeatureFlag.objects.create(key="any", enabled=True, rules=[{"conditions": [condition]}])
    assert flag_enabled("any", alice)
