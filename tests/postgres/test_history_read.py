"""The history read back: every change, with the right old and new, by the right hand."""

from __future__ import annotations

import csv
import json
import re
import threading
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.utils import timezone

from flagstaff import acting_as
from flagstaff.changes import (
    add_allowed_users,
    create,
    create_value,
    delete,
    disable,
    enable,
    remove_allowed_users,
    set_rollout,
    update,
)
from flagstaff.exceptions import UnknownFlagError, UnknownValueError
from flagstaff.history import (
    Difference,
    Event,
    Users,
    as_csv,
    as_dicts,
    flag_history,
    flag_version,
    forget_user,
    prune,
    value_history,
    value_version,
)
from flagstaff.history.describe import describe_actor, describe_change
from flagstaff.history.users import may_see_users, names_of_actors, names_of_users
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.admin_pages import FLAGS, permit
from tests.kept import flag, gateway

__all__ = ["flag", "gateway"]

# Where each change is a transaction of its own, as it is in life.
pytestmark = pytest.mark.django_db(transaction=True)

NOBODY = Users()


def switch_on(request: HttpRequest) -> HttpResponse:
    FeatureFlag.objects.update(enabled=True)
    return HttpResponse("on")


urlpatterns = [path("admin/", admin.site.urls), path("switch/", switch_on)]


@pytest.fixture(autouse=True)
def empty_history() -> None:
    """A flush between tests leaves the history alone."""
    Change.objects.all().delete()


@pytest.fixture
def alice() -> User:
    return User.objects.create(username="alice", is_staff=True, is_superuser=True)


@pytest.fixture
def bob() -> User:
    return User.objects.create(username="bob")


def by_hand(*statements: str) -> None:
    with connection.cursor() as cursor, transaction.atomic():
        for statement in statements:
            cursor.execute(statement)


# The matrix: who may write how, and what is told of it.

SWITCHED = (Difference("enabled", False, True),)


def save(flag: FeatureFlag) -> None:
    flag.enabled = True
    flag.save()


def swap(flag: FeatureFlag) -> None:
    flag.allowed_users.set([User.objects.get(username="bob")])


def copy(flag: FeatureFlag) -> None:
    with (
        connection.cursor() as cursor,
        cursor.copy("COPY flagstaff_featureflag (key) FROM STDIN") as to,
    ):
        to.write("new_checkout_2\n")


WRITES: dict[str, Callable[[FeatureFlag], object]] = {
    "save": save,
    "update": lambda flag: FeatureFlag.objects.update(enabled=True),
    "bulk_update": lambda flag: FeatureFlag.objects.bulk_update(
        [FeatureFlag(pk=flag.pk, enabled=True)], ["enabled"]
    ),
    "psql": lambda flag: by_hand("UPDATE flagstaff_featureflag SET enabled = true"),
    "changes": lambda flag: enable("new_checkout"),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_switch_is_told_however_it_is_written(
    write: Callable[[FeatureFlag], object], flag: FeatureFlag
) -> None:
    before = flag_version("new_checkout")
    write(flag)
    [event, older, *_] = flag_history("new_checkout")
    assert (event.action, event.differences, event.added, event.removed) == (
        *("change", SWITCHED, NOBODY),
        NOBODY,
    )
    assert (event.version, older.version) == (flag_version("new_checkout"), before)


LISTS: dict[str, tuple[Callable[[FeatureFlag], object], list[str], list[str]]] = {
    "add": (lambda flag: flag.allowed_users.add(User.objects.get(username="bob")), ["bob"], []),
    "remove": (lambda flag: flag.allowed_users.remove(*User.objects.all()), [], ["alice"]),
    "set": (swap, ["bob"], ["alice"]),
    "clear": (lambda flag: flag.allowed_users.clear(), [], ["alice"]),
    "from the user": (
        lambda flag: User.objects.get(username="bob").flagstaff_flags.add(*[flag]),
        *(["bob"], []),
    ),
    "psql": (
        lambda flag: by_hand("DELETE FROM flagstaff_featureflag_allowed_users"),
        *([], ["alice"]),
    ),
    "a user goes": (lambda flag: User.objects.filter(username="alice").delete(), [], ["alice"]),
    "TRUNCATE": (
        lambda flag: by_hand("TRUNCATE flagstaff_featureflag_allowed_users"),
        [],
        ["alice"],
    ),
    "allow": (lambda flag: add_allowed_users("new_checkout", User.objects.all()), ["bob"], []),
    "deny": (lambda flag: remove_allowed_users("new_checkout", User.objects.all()), [], ["alice"]),
    "edit": (
        lambda flag: update("new_checkout", {"allowed_users": User.objects.filter(username="bob")}),
        *(["bob"], ["alice"]),
    ),
}


@pytest.mark.parametrize(("write", "added", "removed"), LISTS.values(), ids=LISTS)
def test_allow_list_is_told_however_it_is_written(  # noqa: PLR0913, PLR0917
    write: Callable[[FeatureFlag], object],
    added: list[str],
    removed: list[str],
    flag: FeatureFlag,
    alice: User,
    bob: User,
) -> None:
    pks = {"alice": alice.pk, "bob": bob.pk}
    with transaction.atomic():
        write(flag)
    event = flag_history("new_checkout")[0]
    assert event.differences == ()
    assert event.added == Users(len(added), tuple(pks[name] for name in added))
    assert event.removed == Users(len(removed), tuple(pks[name] for name in removed))


def test_users_are_told_in_the_order_of_their_keys(flag: FeatureFlag, bob: User) -> None:
    carol = User.objects.create(username="carol")
    by_hand(
        "INSERT INTO flagstaff_featureflag_allowed_users (featureflag_id, user_id) "
        f"VALUES ({flag.pk}, {carol.pk}), ({flag.pk}, {bob.pk})"
    )
    assert flag_history("new_checkout")[0].added == Users(2, (bob.pk, carol.pk))


def test_place_for_nobody_in_a_projects_own_table_comes_last(flag: FeatureFlag) -> None:
    by_hand(
        "INSERT INTO flagstaff_change (relation, object_pk, key, action, old, new) "
        f"VALUES ('m', '{flag.pk}', 'new_checkout', 'insert', '[]', '[null, 3, 1]')"
    )
    assert flag_history("new_checkout")[0].added == Users(3, (1, 3, None))


def test_end_of_a_flag_is_told_with_all_that_it_was(flag: FeatureFlag, alice: User) -> None:
    delete("new_checkout")
    event = flag_history("new_checkout")[0]
    assert (event.action, event.removed.pks) == ("delete", (alice.pk,))
    told = {one.field: (one.old, one.new) for one in event.differences}
    assert (told["rollout_percent"], told["enabled"]) == ((25, None), (False, None))


def test_copy_and_truncate_are_told(flag: FeatureFlag) -> None:
    copy(flag)
    by_hand("TRUNCATE flagstaff_featureflag CASCADE")
    assert [event.action for event in flag_history("new_checkout_2")] == ["delete", "create"]


def test_renamed_flag_has_its_history_under_its_new_key(flag: FeatureFlag) -> None:
    update("new_checkout", {"key": "checkout"})
    assert [event.action for event in flag_history("checkout")] == ["change", "change", "create"]
    assert flag_history("checkout")[0].differences == (
        Difference("key", "new_checkout", "checkout"),
    )
    assert len(flag_history("new_checkout")) == 2


def test_key_that_was_used_twice_has_the_history_of_both(flag: FeatureFlag) -> None:
    delete("new_checkout")
    create("new_checkout")
    actions = [event.action for event in flag_history("new_checkout")]
    assert actions == ["create", "delete", "change", "create"]


def test_saves_that_move_nothing_but_the_clock_are_not_told(flag: FeatureFlag) -> None:
    count = len(flag_history("new_checkout"))
    flag.save()
    add_allowed_users("new_checkout", [])
    assert len(flag_history("new_checkout")) == count


def test_changes_of_one_transaction_belong_together(flag: FeatureFlag, bob: User) -> None:
    create("banner")
    with acting_as("release"):
        FeatureFlag.objects.update(enabled=True)
        set_rollout("new_checkout", 50)
        add_allowed_users("new_checkout", bob)
    of_checkout, of_banner = sorted(flag_history(limit=2), key=lambda event: event.key)[::-1]
    assert of_checkout.transaction_id == of_banner.transaction_id
    assert {one.field: one.new for one in of_checkout.differences} == {
        "enabled": True,
        "rollout_percent": 50,
    }
    assert of_checkout.added.pks == (bob.pk,)


def test_two_hands_in_one_transaction_are_two_events(flag: FeatureFlag) -> None:
    with transaction.atomic():
        with acting_as("ana"):
            enable("new_checkout")
        with acting_as("robot", reason="tidies up"):
            disable("new_checkout")
    robot, ana = flag_history("new_checkout", limit=2)
    assert (robot.actor, robot.reason, robot.differences) == (
        *("robot", "tidies up"),
        (Difference("enabled", True, False),),
    )
    assert (ana.actor, ana.reason, ana.differences) == ("ana", None, SWITCHED)
    assert robot.transaction_id == ana.transaction_id


def test_history_is_read_page_by_page(flag: FeatureFlag) -> None:
    for percent in range(1, 8):
        set_rollout("new_checkout", percent)
    first = flag_history("new_checkout", limit=3)
    second = flag_history("new_checkout", limit=3, before=first[-1].first)
    everything = flag_history("new_checkout")
    assert first + second == everything[:6]
    assert len(everything) == 9


def test_history_of_many_changes_takes_few_queries(flag: FeatureFlag) -> None:
    by_hand(*[f"UPDATE flagstaff_featureflag SET rollout_percent = {n}" for n in range(30)] * 10)
    for n in range(30):
        with acting_as(f"person {n}"):
            set_rollout("new_checkout", n)
    with CaptureQueriesContext(connection) as queries:
        events = flag_history("new_checkout", limit=20)
    assert len(events) == 20
    assert len(queries) <= 6


def test_key_that_never_was_is_told_with_the_nearest(flag: FeatureFlag) -> None:
    with pytest.raises(UnknownFlagError, match="did you mean 'new_checkout'"):
        flag_history("new_chekout")
    with pytest.raises(UnknownValueError):
        value_history("nothing")
    by_hand("DELETE FROM flagstaff_change")
    assert flag_history("new_checkout") == []
    assert flag_version("new_checkout") == 0


# The right hand.


@pytest.fixture
def site(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "flagstaff.middleware.FlagstaffMiddleware"]


def in_the_admin(client: Client, flag: FeatureFlag) -> None:
    client.post(FLAGS, {"_switch": f"on:{flag.pk}"})


def in_a_view(client: Client, flag: FeatureFlag) -> None:
    client.get("/switch/")


def in_a_shell(client: Client, flag: FeatureFlag) -> None:
    with acting_as(User.objects.get(username="alice"), reason="ticket 7"):
        flag.enabled = True
        flag.save()


def in_a_task(client: Client, flag: FeatureFlag) -> None:
    """As a worker of Celery runs it: in a thread of its own, with a connection of its own."""

    @acting_as("nightly", reason="cleans up", source="celery")
    def task() -> None:
        FeatureFlag.objects.update(enabled=True)

    def run() -> None:
        task()
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def by_nobody(client: Client, flag: FeatureFlag) -> None:
    FeatureFlag.objects.update(enabled=True)


HANDS = {
    "admin": (in_the_admin, ("alice", "admin", None)),
    "view": (in_a_view, ("alice", "web", None)),
    "shell": (in_a_shell, ("alice", "code", "ticket 7")),
    "task": (in_a_task, ("nightly", "celery", "cleans up")),
    "nobody": (by_nobody, (None, None, None)),
}


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(("change", "told"), HANDS.values(), ids=HANDS)
def test_hand_is_the_right_one(
    change: Callable[..., None], told: tuple[Any, ...], flag: FeatureFlag, alice: User
) -> None:
    client = Client()
    client.force_login(alice)
    change(client, flag)
    event = flag_history("new_checkout")[0]
    actor = str(alice.pk) if told[0] == "alice" else told[0]
    assert (event.actor, event.source, event.reason) == (actor, *told[1:])
    assert event.differences == SWITCHED
    # What came before is still nobody's, and who was connected is known of all.
    assert {older.actor for older in flag_history("new_checkout")[1:]} == {None}
    assert event.session_user == connection.settings_dict["USER"]


# In words.


def test_events_are_told_in_words(flag: FeatureFlag, alice: User, bob: User) -> None:
    with acting_as(alice):
        update("new_checkout", {"rollout_percent": 50, "allowed_users": [bob]})
    event, listed, created = flag_history("new_checkout")
    assert (
        describe_change(event)
        == "rollout_percent 25 → 50, added 1 allowed user, removed 1 allowed user"
    )
    names = names_of_users([event])
    assert names == {str(alice.pk): "alice", str(bob.pk): "bob"}
    assert describe_change(event, names) == (
        "rollout_percent 25 → 50, added 1 allowed user (bob), removed 1 allowed user (alice)"
    )
    assert describe_actor(event, names_of_actors([event])) == "alice"
    assert describe_change(created) == 'created, rollout_percent 25, kind "release"'
    assert describe_actor(created) == f"{created.session_user} (database user)"
    assert describe_change(listed) == "added 1 allowed user"


def test_many_users_are_some_names_and_a_number(flag: FeatureFlag) -> None:
    crowd = User.objects.bulk_create([User(username=f"guest{n:04}") for n in range(1200)])
    add_allowed_users("new_checkout", crowd)
    [event] = flag_history("new_checkout", limit=1)
    told = describe_change(event, names_of_users([event]))
    # Of a long list, those that come first in it.
    assert re.fullmatch(r"allowed 1,200 users \((guest\d{4}, ){10}1,190 more\)", told)
    [whole] = flag_history("new_checkout", limit=1, all_users=True)
    assert sorted(whole.added.pks) == sorted(user.pk for user in crowd)


@pytest.mark.parametrize("actor", ["deploy", "007", "9" * 30, "-1", "1.0", "None"])
def test_name_that_is_no_primary_key_stays_as_it_is(actor: str, flag: FeatureFlag) -> None:
    with acting_as(actor):
        enable("new_checkout")
    [event] = flag_history("new_checkout", limit=1)
    assert names_of_actors([event]) == {}
    assert describe_actor(event, {}) == actor


def test_users_are_for_those_who_may_see_them(bob: User) -> None:
    assert may_see_users(bob) is False
    permit(bob, "view_user")
    assert may_see_users(User.objects.get(pk=bob.pk)) is True


# Secrets.


def test_secret_is_masked_in_all_its_history(gateway: KeyValueStore) -> None:
    """Also what it was before somebody marked it."""
    KeyValueStore.objects.update(value="hunter2")
    KeyValueStore.objects.update(secret=True)
    KeyValueStore.objects.update(value="hunter3", description="changed")
    events = value_history("gateway")
    assert value_version("gateway") == events[0].version
    assert Difference("value", None, None, secret=True) in events[0].differences
    told = " ".join(map(describe_change, events)) + json.dumps(as_dicts(events)) + as_csv(events)
    assert "value •••••• → ••••••" in told
    for text in ("stripe", "hunter", "sha256"):
        assert text not in told


def test_value_that_is_no_secret_is_told(gateway: KeyValueStore) -> None:
    create_value("token", "hunter2", secret=True)
    KeyValueStore.objects.filter(key="gateway").update(value=True)
    KeyValueStore.objects.filter(key="gateway").update(value=1)
    number, boolean, _created = value_history("gateway")
    assert describe_change(boolean) == 'value "stripe" → true'
    assert describe_change(number) == "value true → 1"
    assert "hunter2" not in repr(value_history())


# Export.


def test_export_is_json_and_csv(flag: FeatureFlag, alice: User) -> None:
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


# What leaves the history.


def age(days: int, version: int | None) -> None:
    """As if everything up to this version had been written long ago."""
    Change.objects.filter(id__lte=version).update(at=timezone.now() - timedelta(days=days))


def test_old_entries_are_pruned_and_versions_stay(
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


def test_pruning_leaves_what_is_younger(flag: FeatureFlag) -> None:
    set_rollout("new_checkout", 1)
    age(100, flag_version("new_checkout"))
    set_rollout("new_checkout", 2)
    prune(timedelta(days=90))
    [left] = flag_history("new_checkout")
    assert left.differences == (Difference("rollout_percent", 1, 2),)


def test_user_who_was_deleted_is_forgotten(flag: FeatureFlag, alice: User, bob: User) -> None:
    with acting_as(alice):
        add_allowed_users("new_checkout", bob)
    with acting_as(bob):
        set_rollout("new_checkout", 50)
    pk = alice.pk
    alice.delete()
    assert forget_user(pk) == 3
    assert forget_user(pk) == 0
    told = list(Change.objects.values_list("actor", "old", "new"))
    assert str(pk) not in {actor for actor, _, _ in told}
    assert not any(pk in side for _, *sides in told for side in sides if isinstance(side, list))
    assert [event.actor for event in flag_history("new_checkout")].count(str(bob.pk)) == 1
    assert describe_change(flag_history("new_checkout")[0]) == "nothing that is still known"


def test_events_can_be_kept_and_compared(flag: FeatureFlag) -> None:
    [one, *_], [other, *_] = flag_history("new_checkout"), flag_history("new_checkout")
    assert isinstance(one, Event)
    assert one == other
