"""The entries of the history, the events that they make up, and the versions of rows."""

import json
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from flagstaff import acting_as, changes
from flagstaff.contrib.webhooks.queue import by_event
from flagstaff.history import (
    Difference,
    Kind,
    Users,
    events,
    flag_version,
    log,
    unreadable_kinds,
    value_version,
)
from flagstaff.history.log import ChangeQuerySet, LongJson, has_text, undone_by
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.support.history import all_events, flag_history, value_history
from tests.support.history_fixtures import role_that_reads
from tests.support.shop import ENTERPRISE, Shop
from tests.support.sql import rows

# Each change is a transaction of its own, as in production.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("empty_history")]

KEY = "new_checkout"


@pytest.fixture
def three_rows(shop: Shop) -> None:
    """A flag, a value and a segment, created in this order."""
    changes.flags.create(KEY)
    shop.value()
    shop.segment()


def test_event_has_the_differences_the_version_and_the_author(flag: FeatureFlag) -> None:
    before = flag_version(KEY)
    with acting_as("nightly", reason="cleans up", source="celery"):
        FeatureFlag.objects.update(enabled=True)
    [event, older, *_] = flag_history(KEY)
    assert (event.action, event.differences) == ("change", (Difference("enabled", False, True),))
    assert event.added == event.removed == Users()
    assert (event.version, older.version) == (flag_version(KEY), before)
    assert (event.actor, event.source, event.reason) == ("nightly", "celery", "cleans up")
    assert event.session_user == connection.settings_dict["USER"]


def test_event_has_the_users_that_all_its_entries_added_and_removed(flag: FeatureFlag) -> None:
    with transaction.atomic():
        changes.flags.disallow(KEY, [1, 2])
        changes.flags.allow(KEY, 2)
    event = flag_history(KEY)[0]
    assert event.differences == ()
    assert (event.added, event.removed) == (Users(1, (2,)), Users(1, (1,)))


def test_event_of_a_deletion_has_all_fields_and_users(flag: FeatureFlag) -> None:
    changes.flags.delete(KEY)
    event = flag_history(KEY)[0]
    assert (event.action, event.removed.pks) == ("delete", (1,))
    fields = {
        difference.field: (difference.old, difference.new) for difference in event.differences
    }
    assert (fields["rollout_percent"], fields["enabled"]) == ((25, None), (False, None))
    changes.flags.create(KEY)
    rows("TRUNCATE flagstaff_featureflag CASCADE")
    actions = [event.action for event in flag_history(KEY)]
    assert actions == ["delete", "create", "delete", "change", "create"]


# Transaction, relation, primary key, actor, role.
ANA = (1, "f", "1", "ana", "app")
BEN = (1, "f", "1", "ben", "app")
OTHER_ROLE = (1, "f", "1", "ana", "dba")
OTHER_FLAG = (1, "f", "2", "ana", "app")
OTHER_TRANSACTION = (2, "f", "1", "ana", "app")
USERS = (1, "m", "1", "ana", "app")
VALUE = (1, "k", "1", "ana", "app")

INSERT = """
    INSERT INTO flagstaff_change
        (transaction_id, relation, object_table, object_pk, key, action, old, new, actor, role)
    SELECT number, relation, CASE relation
            WHEN 'k' THEN 'flagstaff_keyvaluestore'::regclass WHEN 's' THEN 'flagstaff_segment'
            ELSE 'flagstaff_featureflag' END,
        pk, 'key', 'update', old::jsonb, new::jsonb, actor, role
    FROM (VALUES (%s, %s::"char", %s, %s, %s, %s, %s))
        AS entry (number, relation, pk, old, new, actor, role)
    RETURNING id
"""


def insert(number: int, relation: str, pk: str, actor: str, role: str, **new: Any) -> int:
    """Inserts an entry and returns its id."""
    sides: Any = ([], [5, None, 3]) if relation == "m" else ({}, new)
    sides_as_json = (json.dumps(side) for side in sides)
    [[entry]] = rows(INSERT, number, relation, pk, *sides_as_json, actor, role)
    return int(entry)


@pytest.mark.parametrize(
    ("entries", "lengths"),
    [
        ([ANA, ANA], [2]),
        ([ANA, USERS], [2]),
        ([ANA, BEN, ANA], [1, 1, 1]),
        ([ANA, OTHER_ROLE], [1, 1]),
        ([ANA, OTHER_FLAG], [1, 1]),
        ([ANA, VALUE], [1, 1]),
        ([ANA, OTHER_TRANSACTION], [1, 1]),
        ([ANA, OTHER_TRANSACTION, ANA], [1, 1, 1]),
        ([ANA, USERS, OTHER_TRANSACTION, ANA], [1, 1, 2]),
    ],
)
def test_neighbours_of_one_transaction_row_and_author_are_one_event(
    entries: list[Any], lengths: list[int]
) -> None:
    ids = [insert(*entry) for entry in entries]
    listed = all_events()
    assert [len(event.entries) for event in listed] == lengths
    # Newest first, each once.
    assert [entry.pk for event in listed for entry in event.entries] == ids[::-1]
    assert [event.version for event in listed] == [event.entries[0].pk for event in listed]
    # A message of a webhook, which reads entries as they come, is one event.
    messages = [[entry.pk for entry in message] for message in by_event(Change.objects.all())]
    assert sorted(pk for message in messages for pk in message) == ids
    for message in messages:
        [event] = events(Change.objects.filter(id__in=message).newest())
        assert len(event.entries) == len(message)


def test_users_of_an_event_are_in_the_order_of_its_entries_with_null_last() -> None:
    for _ in range(2):
        insert(*USERS)
    assert all_events()[0].added == Users(6, (3, 5, None, 3, 5, None))


def test_key_finds_the_row_that_has_it_and_rows_that_had_it(three_rows: None) -> None:
    changes.flags.update(KEY, {"key": "checkout"})
    changes.flags.create(KEY)
    changes.flags.delete(KEY)
    # As SQL can: a new value with the key of a flag is refused.
    KeyValueStore.objects.create(key=KEY, value=5)

    def descriptions_of(kind: Kind, key: str) -> list[str]:
        entries = Change.objects.of_kinds([kind]).of(kind, key)
        return [f"{event.action} {event.key}" for event in events(entries.newest())]

    assert descriptions_of(Kind.FLAG, "checkout") == ["change checkout", f"create {KEY}"]
    assert descriptions_of(Kind.FLAG, KEY) == [f"delete {KEY}", f"create {KEY}", f"create {KEY}"]
    assert descriptions_of(Kind.VALUE, KEY) == [f"create {KEY}"]
    pk = FeatureFlag.objects.get().pk
    assert {entry.key for entry in Change.objects.of_row(Kind.FLAG, pk)} == {"checkout", KEY}
    for key in ("nothing", "", "\0"):
        assert descriptions_of(Kind.FLAG, key) == []


FOUND: dict[str, tuple[Callable[[ChangeQuerySet], ChangeQuerySet], list[str]]] = {
    "kinds": (
        lambda all_: all_.of_kinds([Kind.VALUE, Kind.SEGMENT]),
        ["enterprise", "payment_gateway"],
    ),
    "no kind": (lambda all_: all_.of_kinds([]), []),
    "username": (lambda all_: all_.by("alice"), ["payment_gateway"]),
    "name": (lambda all_: all_.by("deploy"), ["enterprise"]),
    "unknown": (lambda all_: all_.by("nobody"), []),
    "no actor": (lambda all_: all_.by(""), []),
    "NUL": (lambda all_: all_.by("\0").filter(has_text("\0")), []),
    "text of a key": (lambda all_: all_.filter(has_text("CHECK")), [KEY]),
    "text of a reason": (lambda all_: all_.filter(has_text("TICKET 7")), ["payment_gateway"]),
    "both": (
        lambda all_: all_.by("alice").filter(has_text("ticket")).of_kinds([Kind.VALUE]),
        ["payment_gateway"],
    ),
    "before": (lambda all_: all_.newest(all_.newest()[1].pk), [KEY]),
    "few": (lambda all_: all_.newest(few=True), ["enterprise", "payment_gateway", KEY]),
    "transaction": (lambda all_: all_.in_transaction(all_.newest()[0]), ["enterprise"]),
}


@pytest.mark.parametrize(("select", "expected"), FOUND.values(), ids=FOUND)
def test_condition_finds_the_entries(
    select: Callable[[ChangeQuerySet], ChangeQuerySet], expected: list[str], shop: Shop
) -> None:
    changes.flags.create(KEY)
    with acting_as(shop.user("alice"), reason="Ticket 7"):
        changes.values.create("payment_gateway", "stripe")
    with acting_as("deploy"):
        changes.segments.create("enterprise", [ENTERPRISE])
    assert [entry.key for entry in select(Change.objects.all())] == expected


def test_since_is_included_and_until_is_not(three_rows: None) -> None:
    noon = timezone.now() - timedelta(days=3)
    for minutes, key in enumerate([KEY, "payment_gateway", "enterprise"]):
        Change.objects.filter(key=key).update(at=noon + timedelta(minutes=minutes))
    times = noon + timedelta(minutes=1), noon + timedelta(minutes=2)
    # A time without an offset is in the time zone of the project.
    zone = timezone.get_default_timezone()
    for since, until in (times, [timezone.make_naive(time, zone) for time in times]):
        entries = Change.objects.since(since).until(until)
        assert [entry.key for entry in entries] == ["payment_gateway"]


def test_transaction_does_not_have_entries_of_a_reused_number() -> None:
    old, new = insert(*ANA), insert(*OTHER_FLAG)
    rows("UPDATE flagstaff_change SET at = at - interval '9 days' WHERE id = %s", old)
    entry = Change.objects.get(pk=new)
    assert [of_transaction.pk for of_transaction in Change.objects.in_transaction(entry)] == [new]


def test_entries_in_batches_are_those_of_the_query(
    three_rows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "_FIRST_BATCH", 2)
    monkeypatch.setattr(log, "_MAX_BATCH", 3)
    for percent in range(1, 9):
        changes.flags.set_rollout(KEY, percent)
    expected = [entry.pk for entry in Change.objects.newest()]
    for count in (len(expected), 2, 0):
        entries = Change.objects.filter(id__in=expected[:count])
        assert [entry.pk for entry in entries.in_batches()] == expected[:count]


def test_role_without_rights_on_values_reads_the_other_kinds(three_rows: None) -> None:
    assert unreadable_kinds() == []
    with role_that_reads("flagstaff_featureflag", "flagstaff_segment", "flagstaff_change"):
        assert unreadable_kinds() == [Kind.VALUE]
        entries = Change.objects.of_kinds([Kind.FLAG, Kind.SEGMENT])
        assert [entry.key for entry in entries] == ["enterprise", KEY]
        # The usernames cannot be read either.
        assert not Change.objects.by("alice").exists()


def test_actor_is_found_by_the_stored_text_where_users_have_no_username(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with acting_as("deploy"):
        changes.flags.create(KEY)
    monkeypatch.setattr(log, "actor_table", lambda: SimpleNamespace(username_field=None))
    assert [entry.key for entry in Change.objects.by("deploy")] == [KEY]


def test_version_of_a_row_without_an_entry_is_zero(three_rows: None) -> None:
    assert (flag_version(KEY), value_version("payment_gateway")) != (0, 0)
    Change.objects.all().delete()
    assert (flag_version(KEY), value_version("payment_gateway")) == (0, 0)
    assert flag_history(KEY) == []


def test_short_entries_have_the_start_of_long_values_and_the_first_users(flag: FeatureFlag) -> None:
    old, new = "a" * 100_000, "b" * 100_001
    KeyValueStore.objects.create(key="terms", value=old, description=new)
    KeyValueStore.objects.update(value=new)
    users = User.objects.bulk_create(User(username=f"guest{n}") for n in range(25))
    flag.allowed_users.add(*users)
    [added] = events(Change.objects.short().newest()[:1])
    assert (added.added.count, len(added.added.pks)) == (25, 20)
    entries = Change.objects.short().of(Kind.VALUE, "terms").newest()
    [[difference], [_key, _value, *others]] = [event.differences for event in events(entries)]
    assert [type(side) for side in (difference.old, difference.new)] == [LongJson, LongJson]
    assert (difference.old.start[:5], difference.old.length) == ('"aaaa', 100_002)
    assert (len(difference.new.start), difference.new.length) == (300, 100_003)
    assert isinstance(
        next(difference.new for difference in others if difference.field == "description"), LongJson
    )
    [whole, *_] = value_history("terms")
    assert whole.differences == (Difference("value", old, new),)


@pytest.mark.parametrize("value", [1, [0, 1.0, "x"], {"a": [1]}, "é" * 5_000, 10**3_000])
def test_short_entries_of_short_values_are_as_whole_ones(value: Any) -> None:
    KeyValueStore.objects.create(key="limit", value=0)
    KeyValueStore.objects.update(value=value)
    [newest, *_] = events(Change.objects.short().newest())
    assert newest.differences == value_history("limit")[0].differences
    assert newest.differences[0].new == value


def undoing(ids: object, percent: int) -> int:
    """Changes the flag as an undo of these entries. Returns the new version."""
    with transaction.atomic():
        text = ids if isinstance(ids, str) else json.dumps(ids)
        rows("SELECT set_config('flagstaff.undoes', %s, true)", text)
        FeatureFlag.objects.update(rollout_percent=percent)
    return flag_version(KEY) or 0


def undone() -> dict[int, int]:
    """Returns the entry that undid each entry."""
    return {pk: undo.pk for pk, undo in undone_by([*Change.objects.newest()]).items()}


def test_entry_is_undone_until_its_undo_is_undone(flag: FeatureFlag) -> None:
    first = changes.flags.set_rollout(KEY, 50).version
    second = changes.flags.set_rollout(KEY, 60).version
    undo = undoing([second, first], 25)
    assert undone() == {first: undo, second: undo}
    assert all_events()[0].undoes == (second, first)
    changes.flags.set_rollout(KEY, 50)
    again = undoing([undo], 60)
    assert undone() == {undo: again}
    once_more = undoing([again], 50)
    assert undone() == {again: once_more, first: undo, second: undo}


@pytest.mark.parametrize("text", ["x", " ", "[]", "[[1, 2]]", "[1, 2],", "[01]", "[1", "\\u0000"])
def test_parameter_that_is_no_list_of_ids_is_ignored(text: str, flag: FeatureFlag) -> None:
    newest = undoing(text, 70)
    assert Change.objects.get(pk=newest).undoes is None


@pytest.mark.parametrize("stored", ["5", '["a"]', "[[1]]", "[null, 2.5]", '[{"a": 1}]'])
def test_other_json_of_sql_undoes_nothing(stored: str, flag: FeatureFlag) -> None:
    rows(f"UPDATE flagstaff_change SET undoes = '{stored}'")
    assert undone() == {}
    assert flag_history(KEY)[0].undoes == ()
