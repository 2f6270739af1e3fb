"""The newest events of flags, values and segments together, and the filters of a search."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from flagstaff import acting_as
from flagstaff.changes import (
    create,
    create_segment,
    create_value,
    delete,
    enable,
    set_rollout,
    set_value,
    update,
)
from flagstaff.history import Difference, Event, Kind, recent_events, unreadable_kinds
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.support.history_fixtures import GERMAN, role_that_reads

# Each change is a transaction of its own, as in production.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def shop() -> None:
    """A flag, a value and a segment, created in this order. Tests keep the history, so empty it."""
    Change.objects.all().delete()
    create("new_checkout")
    create_value("gateway", "stripe")
    create_segment("beta", GERMAN)


@pytest.fixture
def alice() -> User:
    return User.objects.create(username="alice")


def names(events: list[Event]) -> list[str]:
    return [f"{event.action} {event.key}" for event in events]


def set_time(key: str, at: datetime) -> None:
    """Lets all entries about a key be of another time."""
    Change.objects.filter(key=key).update(at=at)


def test_events_of_all_kinds_are_newest_first() -> None:
    enable("new_checkout")
    events = recent_events()
    assert names(events) == [
        *("change new_checkout", "create beta", "create gateway"),
        "create new_checkout",
    ]
    assert [event.kind for event in events] == ["flag", "segment", "value", "flag"]
    assert events[0].differences == (Difference("enabled", False, True),)


def test_events_of_deleted_keys_are_included() -> None:
    delete("new_checkout")
    assert names(recent_events(limit=1)) == ["delete new_checkout"]


def test_kinds_select_events() -> None:
    assert names(recent_events(kinds=[Kind.VALUE, Kind.SEGMENT])) == [
        "create beta",
        "create gateway",
    ]
    assert recent_events(kinds=[]) == []


def test_key_selects_all_kinds_that_have_it() -> None:
    create_value("new_checkout", 5)
    assert [event.kind for event in recent_events(key="new_checkout")] == ["value", "flag"]


def test_key_of_a_renamed_flag_selects_its_whole_history() -> None:
    update("new_checkout", {"key": "checkout"})
    assert names(recent_events(key="checkout")) == ["change checkout", "create new_checkout"]


@pytest.mark.parametrize("key", ["nothing", "", "\0"])
def test_unknown_key_selects_nothing(key: str) -> None:
    assert recent_events(key=key) == []


def test_since_is_included_and_until_is_not() -> None:
    noon = timezone.now() - timedelta(days=3)
    for minutes, key in enumerate(["new_checkout", "gateway", "beta"]):
        set_time(key, noon + timedelta(minutes=minutes))
    found = recent_events(since=noon + timedelta(minutes=1), until=noon + timedelta(minutes=2))
    assert names(found) == ["create gateway"]


def test_time_without_offset_is_in_the_time_zone_of_the_project() -> None:
    now = timezone.now()
    set_time("gateway", now - timedelta(hours=2))
    naive = timezone.make_naive(now, timezone.get_default_timezone()) - timedelta(hours=1)
    assert names(recent_events(until=naive)) == ["create gateway"]
    assert "create gateway" not in names(recent_events(since=naive))


def test_event_that_began_before_the_time_is_whole() -> None:
    with transaction.atomic():
        set_rollout("new_checkout", 25)
        set_rollout("new_checkout", 50)
    newest, older = Change.objects.order_by("-id")[:2]
    Change.objects.filter(pk=older.pk).update(at=newest.at - timedelta(hours=2))
    [event] = recent_events(since=newest.at - timedelta(hours=1), key="new_checkout", limit=1)
    assert (event.first, event.version) == (older.pk, newest.pk)
    assert event.differences == (Difference("rollout_percent", 0, 50),)


def test_event_that_ended_after_the_time_is_left_out() -> None:
    with transaction.atomic():
        set_rollout("new_checkout", 25)
        set_rollout("new_checkout", 50)
    newest, older = Change.objects.order_by("-id")[:2]
    Change.objects.filter(pk=older.pk).update(at=newest.at - timedelta(hours=2))
    Change.objects.filter(pk__lt=older.pk).update(at=newest.at - timedelta(hours=3))
    found = recent_events(until=newest.at - timedelta(hours=1))
    assert names(found) == ["create beta", "create gateway", "create new_checkout"]


@pytest.mark.parametrize("by", ["alice", "primary key"])
def test_actor_is_found_by_username_and_by_primary_key(by: str, alice: User) -> None:
    with acting_as(alice):
        enable("new_checkout")
    actor = str(alice.pk) if by == "primary key" else by
    assert names(recent_events(actor=actor)) == ["change new_checkout"]


def test_actor_that_is_not_a_user_is_found_by_name() -> None:
    with acting_as("deploy"):
        set_value("gateway", "adyen")
    assert names(recent_events(actor="deploy")) == ["change gateway"]


@pytest.mark.parametrize("actor", ["nobody", "", "\0"])
def test_unknown_actor_selects_nothing(actor: str) -> None:
    assert recent_events(actor=actor) == []


def test_actor_of_one_part_of_a_transaction_selects_this_part() -> None:
    with transaction.atomic():
        with acting_as("ana"):
            set_rollout("new_checkout", 25)
        with acting_as("robot"):
            set_rollout("new_checkout", 50)
    [event] = recent_events(actor="ana")
    assert event.differences == (Difference("rollout_percent", 0, 25),)


def test_pages_have_each_event_once() -> None:
    for percent in range(1, 8):
        set_rollout("new_checkout", percent)
        set_value("gateway", percent)
    everything = recent_events(limit=None)
    pages: list[Event] = []
    while page := recent_events(limit=5, before=pages[-1].version if pages else None):
        pages += page
    assert pages == everything
    assert len(pages) == 17


def test_secret_value_is_masked() -> None:
    KeyValueStore.objects.create(key="token", value="s3cret", secret=True)
    [event] = recent_events(key="token")
    assert "s3cret" not in str(event)
    assert Difference("value", None, None, secret=True) in event.differences


def test_added_users_are_cut_to_twenty_unless_all_are_asked_for() -> None:
    users = User.objects.bulk_create([User(username=f"guest{n}") for n in range(25)])
    FeatureFlag.objects.get().allowed_users.set(users)
    [event] = recent_events(limit=1)
    assert (event.added.count, len(event.added.pks)) == (25, 20)
    [event] = recent_events(limit=1, all_users=True)
    assert len(event.added.pks) == 25


def test_queries_do_not_grow_with_events(alice: User) -> None:
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


@pytest.fixture
def _role_without_values(alice: User) -> Iterator[None]:
    with role_that_reads("flagstaff_featureflag", "flagstaff_segment", "flagstaff_change"):
        yield


@pytest.mark.usefixtures("_role_without_values")
def test_kind_that_the_role_may_not_read_is_left_out() -> None:
    assert unreadable_kinds() == [Kind.VALUE]
    assert names(recent_events()) == ["create beta", "create new_checkout"]
    assert recent_events(key="gateway") == []


@pytest.mark.usefixtures("_role_without_values")
def test_actor_of_a_role_that_may_not_read_users_is_the_stored_text() -> None:
    assert recent_events(actor="alice") == []


def test_every_kind_can_be_read_by_the_owner() -> None:
    assert unreadable_kinds() == []
