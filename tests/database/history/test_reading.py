"""The history as the API reads it: every change, with its differences and its author."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from flagstaff import acting_as
from flagstaff.changes import (
    add_allowed_users,
    create,
    create_segment,
    create_value,
    delete,
    enable,
    remove_allowed_users,
    set_rollout,
    set_value,
    update,
)
from flagstaff.exceptions import UnknownFlagError, UnknownValueError
from flagstaff.history import (
    Difference,
    Event,
    Kind,
    Users,
    as_csv,
    as_dicts,
    flag_version,
    forget_user,
    prune,
    recent_events,
    retention,
    unreadable_kinds,
    value_version,
)
from flagstaff.history.describe import describe_actor, describe_change
from flagstaff.history.user_names import may_see_users, names_of_actors, names_of_users
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.support.admin_pages import permit
from tests.support.flag_fixtures import flag, gateway
from tests.support.history import flag_history, value_history
from tests.support.history_fixtures import GERMAN, role_that_reads
from tests.support.sql import rows

__all__ = ["flag", "gateway"]

# Each change is a transaction of its own, as in production.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def empty_history() -> None:
    """Flushing the tables between tests keeps the history."""
    Change.objects.all().delete()


@pytest.fixture
def alice() -> User:
    return User.objects.create(username="alice", is_staff=True, is_superuser=True)


@pytest.fixture
def bob() -> User:
    return User.objects.create(username="bob")


ENABLED = (Difference("enabled", False, True),)


def test_update_is_recorded_with_its_differences(flag: FeatureFlag) -> None:
    before = flag_version("new_checkout")
    flag.enabled = True
    flag.save()
    [event, older, *_] = flag_history("new_checkout")
    assert (event.action, event.differences) == ("change", ENABLED)
    assert event.added == event.removed == Users()
    assert (event.version, older.version) == (flag_version("new_checkout"), before)


USER_WRITES: dict[str, Callable[[FeatureFlag, User], object]] = {
    "set": lambda flag, bob: flag.allowed_users.set([bob]),
    "update": lambda flag, bob: update(flag.key, {"allowed_users": User.objects.filter(pk=bob.pk)}),
    "psql": lambda flag, bob: rows(
        f"UPDATE flagstaff_featureflag_allowed_users SET user_id = {bob.pk}"
    ),
    "add and remove": lambda flag, bob: (
        remove_allowed_users(flag.key, User.objects.all()),
        add_allowed_users(flag.key, bob),
    ),
}


@pytest.mark.parametrize("write", USER_WRITES.values(), ids=USER_WRITES)
def test_allowed_users_are_recorded_however_they_are_written(
    write: Callable[[FeatureFlag, User], object], flag: FeatureFlag, alice: User, bob: User
) -> None:
    with transaction.atomic():
        write(flag, bob)
    event = flag_history("new_checkout")[0]
    assert event.differences == ()
    assert (event.added, event.removed) == (Users(1, (bob.pk,)), Users(1, (alice.pk,)))


def test_event_orders_null_users_last(flag: FeatureFlag) -> None:
    rows(
        "INSERT INTO flagstaff_change "
        "(relation, object_table, object_pk, key, action, old, new) "
        f"VALUES ('m', 'flagstaff_featureflag', '{flag.pk}', 'new_checkout', 'insert', "
        "'[]', '[null, 3, 1]')"
    )
    assert flag_history("new_checkout")[0].added == Users(3, (1, 3, None))


def test_event_of_a_deletion_has_all_fields(flag: FeatureFlag, alice: User) -> None:
    delete("new_checkout")
    event = flag_history("new_checkout")[0]
    assert (event.action, event.removed.pks) == ("delete", (alice.pk,))
    fields = {one.field: (one.old, one.new) for one in event.differences}
    assert (fields["rollout_percent"], fields["enabled"]) == ((25, None), (False, None))
    create("new_checkout")
    rows("TRUNCATE flagstaff_featureflag CASCADE")
    actions = [event.action for event in flag_history("new_checkout")]
    assert actions == ["delete", "create", "delete", "change", "create"]


def test_history_of_a_renamed_flag_is_under_both_keys(flag: FeatureFlag) -> None:
    update("new_checkout", {"key": "checkout"})
    assert [event.action for event in flag_history("checkout")] == ["change", "change", "create"]
    [renamed, *_] = flag_history("checkout")
    assert renamed.differences == (Difference("key", "new_checkout", "checkout"),)
    assert len(flag_history("new_checkout")) == 2


def test_history_of_many_changes_needs_few_queries(flag: FeatureFlag) -> None:
    with transaction.atomic():
        for n in range(300):
            FeatureFlag.objects.update(rollout_percent=n % 30)
    for n in range(30):
        with acting_as(f"user {n}"):
            set_rollout("new_checkout", n)
    with CaptureQueriesContext(connection) as queries:
        events = flag_history("new_checkout", limit=20)
    assert len(events) == 20
    assert len(queries) <= 6


def test_history_of_an_unknown_key_suggests_similar_keys(flag: FeatureFlag) -> None:
    with pytest.raises(UnknownFlagError, match="did you mean 'new_checkout'"):
        flag_history("new_chekout")
    with pytest.raises(UnknownValueError):
        value_history("nothing")
    rows("DELETE FROM flagstaff_change")
    assert flag_history("new_checkout") == []
    assert flag_version("new_checkout") == 0


def test_event_has_the_author_of_the_change(flag: FeatureFlag, alice: User) -> None:
    with acting_as(alice, reason="ticket 7"):
        FeatureFlag.objects.update(enabled=True)
    with acting_as("nightly", reason="cleans up", source="celery"):
        FeatureFlag.objects.update(enabled=False)
    FeatureFlag.objects.update(enabled=True)
    events = flag_history("new_checkout", limit=3)
    assert [(event.actor, event.source, event.reason) for event in events] == [
        (None, None, None),
        ("nightly", "celery", "cleans up"),
        (str(alice.pk), "code", "ticket 7"),
    ]
    assert {event.session_user for event in events} == {connection.settings_dict["USER"]}


def test_describe_change_names_fields_and_users(flag: FeatureFlag, alice: User, bob: User) -> None:
    with acting_as(alice):
        update("new_checkout", {"rollout_percent": 50, "allowed_users": [bob]})
    event, users, created = flag_history("new_checkout")
    text = "rollout 25 → 50 %, added 1 allowed user, removed 1 allowed user"
    assert describe_change(event) == text
    names = names_of_users([event])
    assert names == {str(alice.pk): "alice", str(bob.pk): "bob"}
    assert describe_change(event, names) == (
        "rollout 25 → 50 %, added 1 allowed user (bob), removed 1 allowed user (alice)"
    )
    assert describe_actor(event, names_of_actors([event])) == "alice"
    assert describe_change(created) == 'created, rollout 25 %, kind "release"'
    assert describe_actor(created) == f"{created.session_user} (database user)"
    assert describe_change(users) == "added 1 allowed user"


def test_describe_change_of_many_users_names_ten(flag: FeatureFlag) -> None:
    many = User.objects.bulk_create([User(username=f"guest{n:04}") for n in range(1200)])
    add_allowed_users("new_checkout", many)
    [event] = flag_history("new_checkout", limit=1)
    text = describe_change(event, names_of_users([event]))
    names = r"(guest\d{4}, ){9}guest\d{4}"
    assert re.fullmatch(rf"added 1,200 allowed users \({names} and 1,190 more\)", text)
    [whole] = flag_history("new_checkout", limit=1)
    assert sorted(whole.added.pks) == sorted(user.pk for user in many)


@pytest.mark.parametrize("actor", ["deploy", "007", "9" * 30, "-1", "1.0", "None"])
def test_actor_that_is_not_a_primary_key_is_shown_unchanged(actor: str, flag: FeatureFlag) -> None:
    with acting_as(actor):
        enable("new_checkout")
    [event] = flag_history("new_checkout", limit=1)
    assert names_of_actors([event]) == {}
    assert describe_actor(event, {}) == actor


def test_may_see_users_requires_the_view_permission(bob: User) -> None:
    assert may_see_users(bob) is False
    permit(bob, "view_user")
    assert may_see_users(User.objects.get(pk=bob.pk)) is True


def test_secret_value_is_masked_in_its_whole_history(gateway: KeyValueStore) -> None:
    """Also the values from before it was marked as secret."""
    for value in (True, 1):
        KeyValueStore.objects.update(value=value)
    assert [describe_change(event) for event in value_history("gateway")[:2]] == [
        "value true → 1",
        'value "stripe" → true',
    ]
    KeyValueStore.objects.update(value="hunter2")
    KeyValueStore.objects.update(secret=True)
    KeyValueStore.objects.update(value="hunter3", description="changed")
    create_value("token", "hunter4", secret=True)
    events = value_history("gateway")
    assert value_version("gateway") == events[0].version
    assert Difference("value", None, None, secret=True) in events[0].differences
    shown = " ".join(map(describe_change, events)) + json.dumps(as_dicts(events)) + as_csv(events)
    assert "value •••••• → ••••••" in shown
    for text in ("stripe", "hunter", "sha256"):
        assert text not in shown + repr(value_history())


def test_export_to_json_and_csv_has_the_same_content(flag: FeatureFlag, alice: User) -> None:
    with acting_as(alice, reason="=1+1, \n and more"):
        update("new_checkout", {"rollout_percent": 50, "allowed_users": []})
    events = flag_history("new_checkout")
    [newest, *_] = json.loads(json.dumps(as_dicts(events)))
    assert newest["version"] == flag_version("new_checkout")
    assert newest["removed"] == {"count": 1, "pks": [alice.pk]}
    assert newest["differences"] == [
        {"field": "rollout_percent", "old": 25, "new": 50, "secret": False}
    ]
    [row, *_] = csv.DictReader(StringIO(as_csv(events), newline=""))
    assert (row["actor"], row["reason"]) == (str(alice.pk), "'=1+1, \n and more")
    assert json.loads(row["removed"]) == newest["removed"]


def age(days: int, version: int | None) -> None:
    """Makes all entries up to this version look old."""
    Change.objects.filter(id__lte=version).update(at=timezone.now() - timedelta(days=days))


def test_prune_deletes_old_entries_and_keeps_versions_and_newer_entries(
    flag: FeatureFlag, gateway: KeyValueStore
) -> None:
    create("banner")
    delete("banner")
    for percent in (1, 2, 3):
        set_rollout("new_checkout", percent)
    version = flag_version("new_checkout")
    age(100, version)
    assert prune(timedelta(days=200)) == 0
    count = Change.objects.count()
    assert prune(timedelta(days=90)) == count - 2
    assert flag_version("new_checkout") == version
    assert value_version("gateway")
    assert prune(timedelta(days=90)) == 0
    set_rollout("new_checkout", 4)
    assert prune(timedelta(days=90)) == 1
    [left] = flag_history("new_checkout")
    assert left.differences == (Difference("rollout_percent", 3, 4),)


def test_prune_commits_each_batch_and_leaves_locked_entries(
    flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_BATCH", 2)
    Change.objects.all().delete()
    for percent in range(1, 8):
        set_rollout("new_checkout", percent)
    age(100, flag_version("new_checkout"))
    with closing(connection.copy()) as other, other.cursor() as cursor:
        other.set_autocommit(False)
        cursor.execute("SELECT FROM flagstaff_change ORDER BY id LIMIT 1 FOR UPDATE")
        rows("SET lock_timeout = '5s'")
        with CaptureQueriesContext(connection) as queries:
            # Of seven entries, the newest stays, too.
            assert prune(timedelta(days=90)) == 5
        rows("RESET lock_timeout")
    assert [one["sql"] for one in queries].count("COMMIT") == 4


def test_forget_user_removes_actor_and_allowed_user(
    flag: FeatureFlag, alice: User, bob: User
) -> None:
    with acting_as(alice):
        add_allowed_users("new_checkout", bob)
    with acting_as(bob):
        set_rollout("new_checkout", 50)
    pk = alice.pk
    alice.delete()
    assert forget_user(pk) == 3
    assert forget_user(pk) == 0
    entries = list(Change.objects.values_list("actor", "old", "new"))
    assert str(pk) not in {actor for actor, _, _ in entries}
    assert not any(pk in side for _, *sides in entries for side in sides if isinstance(side, list))
    assert [event.actor for event in flag_history("new_checkout")].count(str(bob.pk)) == 1
    newest = flag_history("new_checkout")[0]
    assert describe_change(newest) == "details were removed from the history"


# The newest events of flags, values and segments together.


@pytest.fixture
def shop() -> None:
    """A flag, a value and a segment, created in this order."""
    create("new_checkout")
    create_value("gateway", "stripe")
    create_segment("beta", GERMAN)


def names(events: list[Event]) -> list[str]:
    return [f"{event.action} {event.key}" for event in events]


def set_time(key: str, at: datetime) -> None:
    """Lets all entries about a key be of another time."""
    Change.objects.filter(key=key).update(at=at)


def test_events_of_all_kinds_are_newest_first(shop: None) -> None:
    enable("new_checkout")
    events = recent_events()
    newest_first = ["change new_checkout", "create beta", "create gateway", "create new_checkout"]
    assert names(events) == newest_first
    assert [event.kind for event in events] == ["flag", "segment", "value", "flag"]
    assert events[0].differences == (Difference("enabled", False, True),)
    assert unreadable_kinds() == []
    assert recent_events(kinds=[Kind.VALUE, Kind.SEGMENT]) == events[1:3]
    assert recent_events(kinds=[]) == []


def test_secret_values_and_more_than_twenty_users_are_left_out(shop: None) -> None:
    users = User.objects.bulk_create([User(username=f"guest{n}") for n in range(25)])
    FeatureFlag.objects.get().allowed_users.set(users)
    [event] = recent_events(limit=1)
    assert (event.added.count, len(event.added.pks)) == (25, 20)
    [event] = recent_events(limit=1)
    assert len(event.added.pks) == 25
    KeyValueStore.objects.create(key="token", value="s3cret", secret=True)
    [event] = recent_events(key="token")
    assert "s3cret" not in str(event)
    assert Difference("value", None, None, secret=True) in event.differences


def test_key_selects_all_kinds_that_have_it_and_former_keys(shop: None) -> None:
    # As SQL can: a new value with the key of a flag is refused.
    KeyValueStore.objects.create(key="new_checkout", value=5)
    assert [event.kind for event in recent_events(key="new_checkout")] == ["value", "flag"]
    update("new_checkout", {"key": "checkout"})
    assert names(recent_events(key="checkout")) == ["change checkout", "create new_checkout"]
    delete("checkout")
    assert names(recent_events(limit=1)) == ["delete checkout"]
    for key in ("nothing", "", "\0"):
        assert recent_events(key=key) == []


def test_since_is_included_and_until_is_not(shop: None) -> None:
    noon = timezone.now() - timedelta(days=3)
    for minutes, key in enumerate(["new_checkout", "gateway", "beta"]):
        set_time(key, noon + timedelta(minutes=minutes))
    since, until = noon + timedelta(minutes=1), noon + timedelta(minutes=2)
    assert names(recent_events(since=since, until=until)) == ["create gateway"]
    # A time without an offset is in the time zone of the project.
    zone = timezone.get_default_timezone()
    naive = [timezone.make_naive(time, zone) for time in (since, until)]
    assert names(recent_events(since=naive[0], until=naive[1])) == ["create gateway"]


def test_event_that_began_before_the_time_is_whole_or_left_out(shop: None) -> None:
    with transaction.atomic():
        set_rollout("new_checkout", 25)
        set_rollout("new_checkout", 50)
    newest, older = Change.objects.order_by("-id")[:2]
    Change.objects.filter(pk=older.pk).update(at=newest.at - timedelta(hours=2))
    Change.objects.filter(pk__lt=older.pk).update(at=newest.at - timedelta(hours=3))
    hour = newest.at - timedelta(hours=1)
    [event] = recent_events(since=hour, key="new_checkout", limit=1)
    assert (event.first, event.version) == (older.pk, newest.pk)
    assert event.differences == (Difference("rollout_percent", 0, 50),)
    found = recent_events(until=hour)
    assert names(found) == ["create beta", "create gateway", "create new_checkout"]


def test_actor_is_found_by_username_primary_key_and_name(shop: None, alice: User) -> None:
    with acting_as(alice):
        enable("new_checkout")
    with acting_as("deploy"):
        set_value("gateway", "adyen")
    for actor in ("alice", str(alice.pk)):
        assert names(recent_events(actor=actor)) == ["change new_checkout"]
    assert names(recent_events(actor="deploy")) == ["change gateway"]
    for unknown in ("nobody", "", "\0"):
        assert recent_events(actor=unknown) == []


@pytest.mark.parametrize(
    ("operator", "acted", "found"),
    [
        ("Ann as Bea", "", "Ann as Bea"),
        ("Ann as Bea", "carol", "Ann as Bea as carol"),
        ("carol", "Ann as Bea", "carol as Ann as Bea"),
    ],
)
def test_actor_whose_username_contains_as_is_found(
    operator: str, acted: str, found: str, shop: None
) -> None:
    names_of = [name for name in (operator, acted) if name]
    actor = " as ".join(str(User.objects.create(username=name).pk) for name in names_of)
    with acting_as(actor):
        enable("new_checkout")
    assert [event.actor for event in recent_events(actor=found)] == [actor]


def test_actor_of_one_part_of_a_transaction_selects_this_part(shop: None) -> None:
    with transaction.atomic():
        with acting_as("ana"):
            set_rollout("new_checkout", 25)
        with acting_as("robot"):
            set_rollout("new_checkout", 50)
    [event] = recent_events(actor="ana")
    assert event.differences == (Difference("rollout_percent", 0, 25),)


def test_pages_have_each_event_once(shop: None) -> None:
    for percent in range(1, 8):
        set_rollout("new_checkout", percent)
        set_value("gateway", percent)
    everything = recent_events(limit=None)
    pages: list[Event] = []
    while page := recent_events(limit=5, before=pages[-1].version if pages else None):
        pages += page
    assert pages == everything
    assert len(pages) == 17


def test_queries_do_not_grow_with_events(shop: None, alice: User) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            recent_events(actor="alice", limit=10)
        return len(queries)

    def change_all(percent: int) -> None:
        with acting_as(alice):
            set_rollout("new_checkout", percent)
            set_value("gateway", percent)
            update("new_checkout", {"description": str(percent)})

    change_all(1)
    few = count()
    for percent in range(2, 12):
        change_all(percent)
    assert count() <= few


def test_kind_that_the_role_may_not_read_is_left_out(shop: None, alice: User) -> None:
    with role_that_reads("flagstaff_featureflag", "flagstaff_segment", "flagstaff_change"):
        assert unreadable_kinds() == [Kind.VALUE]
        assert names(recent_events()) == ["create beta", "create new_checkout"]
        assert recent_events(key="gateway") == []
        # The usernames cannot be read either.
        assert recent_events(actor="alice") == []
