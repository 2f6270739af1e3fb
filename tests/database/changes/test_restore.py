"""Restore and undo: every field and all allowed users, or one change."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flagstaff import acting_as
from flagstaff._words.times import full_time
from flagstaff.changes import (
    add_allowed_users,
    create,
    create_value,
    delete,
    delete_value,
    disable,
    enable,
    remove_allowed_users,
    restore,
    restore_value,
    set_rollout,
    set_value,
    undo,
    undo_value,
    update,
    update_value,
)
from flagstaff.exceptions import ConflictError, InvalidChangeError, UnknownFlagError
from flagstaff.history import flag_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.support.history import flag_history
from tests.support.repeats import repeats
from tests.support.sql import rows

pytestmark = pytest.mark.django_db
# Each change is a transaction of its own, as in production.
COMMITTED = pytest.mark.django_db(transaction=True)


@pytest.fixture
def users() -> list[User]:
    return User.objects.bulk_create([User(username=f"guest{n}") for n in range(6)])


def state() -> dict[str, Any] | None:
    """Returns every field of the flag but `changed_at`, and its allowed users."""
    fields = FeatureFlag.objects.filter(key__startswith="new_checkout").values().first()
    if fields is None:
        return None
    flag = FeatureFlag.objects.get(pk=fields["id"])
    allowed = set(flag.allowed_users.values_list("pk", flat=True))
    return {**fields, "changed_at": None, "allowed": allowed}


# Random histories, through the API, the ORM and SQL.

BORN = datetime(2020, 2, 29, tzinfo=timezone.utc)
USERS = st.sets(st.integers(0, 5), max_size=4)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("enabled"), st.booleans()),
        st.tuples(st.just("rollout"), st.integers(0, 100)),
        st.tuples(st.sampled_from(["add", "remove", "set", "sql"]), USERS),
        st.tuples(
            st.just("update"),
            st.fixed_dictionaries(
                {},
                optional={
                    "description": st.text("añ☃ '\"\\", max_size=5),
                    "kind": st.sampled_from(["ops", "release"]),
                    "client_side": st.booleans(),
                    "key": st.sampled_from(["new_checkout", "new_checkout_2"]),
                    "created_at": st.sampled_from(
                        [BORN, datetime(2026, 11, 20, 8, 17, 1, 5, tzinfo=timezone.utc)]
                    ),
                },
            ),
        ),
        st.tuples(st.just("recreate"), st.none()),
        st.tuples(st.just("clear"), st.none()),
    ),
    min_size=1,
    max_size=10,
)


REPLACE_USER = """
    UPDATE flagstaff_featureflag_allowed_users SET user_id = %s
    WHERE id = (SELECT min(id) FROM flagstaff_featureflag_allowed_users)
        AND NOT EXISTS (SELECT FROM flagstaff_featureflag_allowed_users WHERE user_id = %s)
"""


def do(step: Any, users: list[User]) -> None:
    name, content = step
    flag = FeatureFlag.objects.get()
    if name == "enabled":
        (enable if content else disable)(flag.key)
    elif name == "rollout":
        FeatureFlag.objects.update(rollout_percent=content)
    elif name == "update":
        update(flag.key, content)
    elif name == "recreate":
        delete(flag.key)
        undo(flag.key)
    elif name == "clear":
        rows("DELETE FROM flagstaff_featureflag_allowed_users")
    else:
        change_users(flag, name, [users[n] for n in content])


def change_users(flag: FeatureFlag, name: str, users: list[User]) -> None:
    if name == "add":
        add_allowed_users(flag.key, users)
    elif name == "remove":
        remove_allowed_users(flag.key, [user.pk for user in users])
    elif name == "set":
        flag.allowed_users.set(users)
    elif users:
        rows(REPLACE_USER, users[0].pk, users[0].pk)


@pytest.fixture
def clean(users: list[User]) -> Iterator[None]:
    """Hypothesis runs many examples in one test."""
    yield
    FeatureFlag.objects.all().delete()


@pytest.mark.thorough
@COMMITTED
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("clean")
@settings(
    max_examples=repeats(200, 50),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS, place=st.integers(0, 9))
def test_any_version_of_a_random_history_can_be_restored(
    steps: list[Any], place: int, users: list[User]
) -> None:
    FeatureFlag.objects.all().delete()
    create("new_checkout", rollout_percent=25, allowed_users=users[:2])
    states = {flag_version("new_checkout"): state()}
    for step in steps:
        do(step, users)
        key = FeatureFlag.objects.get().key
        states[flag_version(key)] = state()
    version, then = list(states.items())[place % len(states)]
    now = state()
    assert version is not None
    changed = restore(FeatureFlag.objects.get().key, to=version)
    assert state() == then
    assert changed.missing == ()
    assert changed.written is (then != now)
    if changed.written:
        undo(changed.key)
        assert state() == now


@pytest.fixture
def flag(users: list[User]) -> FeatureFlag:
    """A flag that allows the first two guests."""
    flag = FeatureFlag.objects.create(key="new_checkout", rollout_percent=25)
    flag.allowed_users.set(users[:2])
    return flag


def version() -> int:
    """The present version of the flag."""
    return flag_version("new_checkout") or 0


@COMMITTED
def test_restore_is_a_new_change_over_the_expected_version(flag: FeatureFlag) -> None:
    before = version()
    assert restore("new_checkout", to=before).written is False
    assert version() == before
    set_rollout("new_checkout", 50)
    enable("new_checkout")
    with pytest.raises(ConflictError):
        restore("new_checkout", to=before, expect_version=before)
    with acting_as("ana", reason="back to Monday"):
        changed = restore("new_checkout", to=before, expect_version=version())
    assert changed.old == {"enabled": True, "rollout_percent": 50}
    assert changed.new == {"enabled": False, "rollout_percent": 25}
    assert changed.version == version()
    assert changed.undo
    assert changed.undo.command == f"python manage.py flags undo new_checkout {changed.version}"
    newest = Change.objects.latest("id")
    assert (newest.actor, newest.reason) == ("ana", "back to Monday")


@COMMITTED
def test_restore_of_a_deleted_flag_recreates_it_without_deleted_users(
    flag: FeatureFlag, users: list[User]
) -> None:
    before, then = state(), version()
    delete("new_checkout")
    restored = restore("new_checkout", to=then)
    assert (state(), restored.old) == (before, None)
    assert restored.new["rollout_percent"] == 25
    assert restored.new["created_at"] == flag.created_at
    flag.allowed_users.clear()
    deleted = users[0].pk
    users[0].delete()
    assert restore("new_checkout", to=then).missing == (deleted,)
    assert list(flag.allowed_users.all()) == [users[1]]


@COMMITTED
@pytest.mark.parametrize("value", [0.1, 10**30, 1.0, [1, None], {"a": {"b": "ž"}}, "", False])
def test_restore_value_returns_exactly_the_old_json(value: Any) -> None:
    version = create_value("limit", value).version or 0
    set_value("limit", "other")
    restore_value("limit", to=version)
    assert repr(KeyValueStore.objects.get().value) == repr(value)
    delete_value("limit")
    undo_value("limit")
    assert repr(KeyValueStore.objects.get().value) == repr(value)


@COMMITTED
def test_restore_of_a_secret_value_is_rejected_and_of_its_other_fields_works() -> None:
    version = create_value("token", "hunter2", secret=True).version or 0
    KeyValueStore.objects.update(description="changed", secret=False)
    restore_value("token", to=version)
    row = KeyValueStore.objects.get()
    assert (row.value, row.description, row.secret) == ("hunter2", "", True)
    KeyValueStore.objects.update(description="again")
    undo_value("token")
    assert KeyValueStore.objects.get().description == ""
    changed = set_value("token", "hunter3")
    assert (changed.secret, changed.undo) == (True, None)
    message = "the history stores only a digest of token, because it is secret; enter the value"
    with pytest.raises(InvalidChangeError, match=message):
        restore_value("token", to=version)
    with pytest.raises(InvalidChangeError, match=message):
        undo_value("token")
    assert KeyValueStore.objects.get().value == "hunter3"
    assert delete_value("token").undo is None
    with pytest.raises(InvalidChangeError, match="value create token -"):
        undo_value("token")


@COMMITTED
@pytest.mark.parametrize("secret", [True, False])
def test_undo_after_secret_was_changed_keeps_the_value(secret: bool) -> None:
    create_value("token", "hunter2", secret=not secret)
    described = update_value("token", {"description": "changed"}).version
    marked = update_value("token", {"secret": secret}).version
    set_value("token", "hunter3")
    undo_value("token", described)
    undo_value("token", marked)
    row = KeyValueStore.objects.get()
    assert (row.value, row.description, row.secret) == ("hunter3", "", not secret)


@COMMITTED
@pytest.mark.parametrize(
    ("old", "new"), [(1, True), (1, 1.0), (False, 0), ([1], [True]), ({"a": 0}, {"a": False})]
)
def test_undo_distinguishes_numbers_from_booleans(old: Any, new: Any) -> None:
    create_value("limit", old)
    change = set_value("limit", new).version
    assert undo_value("limit", change).written is True
    assert repr(KeyValueStore.objects.get().value) == repr(old)
    set_value("limit", "other")
    change = set_value("limit", new).version
    set_value("limit", old)
    with pytest.raises(ConflictError):
        undo_value("limit", change)


@COMMITTED
def test_undo_writes_once_and_keeps_newer_changes_of_other_fields(
    flag: FeatureFlag, users: list[User]
) -> None:
    change = set_rollout("new_checkout", 50).version
    enable("new_checkout")
    add_allowed_users("new_checkout", users[3])
    undone = undo("new_checkout", change)
    assert (undone.old, undone.new) == ({"rollout_percent": 50}, {"rollout_percent": 25})
    assert FeatureFlag.objects.get().enabled is True
    assert flag.allowed_users.count() == 3
    assert undo("new_checkout", change).written is False
    # The last change is the undo.
    undo("new_checkout")
    assert FeatureFlag.objects.get().rollout_percent == 50


@COMMITTED
def test_undo_of_a_field_changed_since_raises_conflict(flag: FeatureFlag) -> None:
    before = version()
    with acting_as("release"):
        change = set_rollout("new_checkout", 50).version
    with acting_as("ana"):
        newer = set_rollout("new_checkout", 75).version
    assert newer is not None
    enable("new_checkout")
    with pytest.raises(ConflictError) as error:
        undo("new_checkout", change)
    at = full_time(Change.objects.get(pk=newer).at)
    assert str(error.value) == (
        f"ana changed new_checkout again at {at}: rollout 50 → 75 %; "
        "to restore the state before the change of release, run: "
        f'"manage.py flags restore new_checkout {before}"'
    )
    assert (error.value.expected, error.value.newer[0].version) == (change, newer)
    assert FeatureFlag.objects.get().rollout_percent == 75


@COMMITTED
def test_undo_of_a_transaction_of_many_changes_undoes_all_of_them(
    flag: FeatureFlag, users: list[User]
) -> None:
    with acting_as("release"):
        set_rollout("new_checkout", 40)
    before = state()
    with acting_as("release"):
        enable("new_checkout")
        set_rollout("new_checkout", 50)
        add_allowed_users("new_checkout", users)
        remove_allowed_users("new_checkout", users[0])
    # An old transaction may have the same number.
    number = Change.objects.latest("id").transaction_id
    long_ago = datetime(2020, 1, 1, tzinfo=timezone.utc)
    Change.objects.exclude(transaction_id=number).update(transaction_id=number, at=long_ago)
    undo("new_checkout")
    assert state() == before


@COMMITTED
def test_undo_of_a_creation_deletes_only_an_unchanged_flag(users: list[User]) -> None:
    create("new_checkout", allowed_users=users[:1])
    change = flag_version("new_checkout")
    set_rollout("new_checkout", 50)
    with pytest.raises(ConflictError):
        undo("new_checkout", change)
    delete("new_checkout")
    assert undo("new_checkout", change).written is False
    undo("new_checkout")
    assert FeatureFlag.objects.get().rollout_percent == 50


@COMMITTED
def test_undo_and_restore_of_an_unknown_change_or_of_a_deleted_flag_are_rejected(
    flag: FeatureFlag,
) -> None:
    other = create("banner").version or 0
    for call in (partial(restore, to=other), partial(undo, change=other)):
        with pytest.raises(InvalidChangeError, match=f"new_checkout has no version {other}; see"):
            call("new_checkout")
    with pytest.raises(UnknownFlagError):
        restore("new_chekout", to=other)
    change = set_rollout("new_checkout", 50).version
    delete("new_checkout")
    with pytest.raises(InvalidChangeError, match="new_checkout has been deleted; restore it"):
        undo("new_checkout", change)
    undo("new_checkout")
    rows("DELETE FROM flagstaff_change")
    with pytest.raises(InvalidChangeError, match="new_checkout has no change to undo"):
        undo("new_checkout")


@pytest.mark.thorough
@COMMITTED
def test_undo_of_many_added_users_removes_them(flag: FeatureFlag) -> None:
    many = User.objects.bulk_create([User(username=f"user{n}") for n in range(12_000)])
    before = flag_version("new_checkout")
    changed = add_allowed_users("new_checkout", many)
    assert Change.objects.filter(id__gt=before).count() == 2
    assert changed.undo
    assert changed.undo.arguments == ("undo", "new_checkout", str(changed.version))
    [event, *_] = flag_history("new_checkout")
    assert (event.added.count, len(event.added.pks)) == (12_000, 20)
    undo("new_checkout", changed.version)
    assert flag.allowed_users.count() == 2
