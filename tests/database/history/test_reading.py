"""The history as the API reads it: every change, with its differences and its author."""

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
from flagstaff.history.user_names import may_see_users, names_of_actors, names_of_users
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.support.admin_pages import FLAGS, permit
from tests.support.flag_fixtures import flag, gateway

__all__ = ["flag", "gateway"]

# Each change is a transaction of its own, as in production.
pytestmark = pytest.mark.django_db(transaction=True)

NO_USERS = Users()


def enable_view(request: HttpRequest) -> HttpResponse:
    FeatureFlag.objects.update(enabled=True)
    return HttpResponse("on")


urlpatterns = [path("admin/", admin.site.urls), path("enable/", enable_view)]


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


def execute(*statements: str) -> None:
    with connection.cursor() as cursor, transaction.atomic():
        for statement in statements:
            cursor.execute(statement)


# Every way to write a change.

ENABLED = (Difference("enabled", False, True),)


def save(flag: FeatureFlag) -> None:
    flag.enabled = True
    flag.save()


def replace_user(flag: FeatureFlag) -> None:
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
    "psql": lambda flag: execute("UPDATE flagstaff_featureflag SET enabled = true"),
    "changes": lambda flag: enable("new_checkout"),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_update_is_recorded_however_it_is_written(
    write: Callable[[FeatureFlag], object], flag: FeatureFlag
) -> None:
    before = flag_version("new_checkout")
    write(flag)
    [event, older, *_] = flag_history("new_checkout")
    assert (event.action, event.differences, event.added, event.removed) == (
        *("change", ENABLED, NO_USERS),
        NO_USERS,
    )
    assert (event.version, older.version) == (flag_version("new_checkout"), before)


USER_WRITES: dict[str, tuple[Callable[[FeatureFlag], object], list[str], list[str]]] = {
    "add": (lambda flag: flag.allowed_users.add(User.objects.get(username="bob")), ["bob"], []),
    "remove": (lambda flag: flag.allowed_users.remove(*User.objects.all()), [], ["alice"]),
    "set": (replace_user, ["bob"], ["alice"]),
    "clear": (lambda flag: flag.allowed_users.clear(), [], ["alice"]),
    "from the user": (
        lambda flag: User.objects.get(username="bob").flagstaff_flags.add(*[flag]),
        *(["bob"], []),
    ),
    "psql": (
        lambda flag: execute("DELETE FROM flagstaff_featureflag_allowed_users"),
        *([], ["alice"]),
    ),
    "user deleted": (lambda flag: User.objects.filter(username="alice").delete(), [], ["alice"]),
    "TRUNCATE": (
        lambda flag: execute("TRUNCATE flagstaff_featureflag_allowed_users"),
        [],
        ["alice"],
    ),
    "add_allowed_users": (
        lambda flag: add_allowed_users("new_checkout", User.objects.all()),
        ["bob"],
        [],
    ),
    "remove_allowed_users": (
        lambda flag: remove_allowed_users("new_checkout", User.objects.all()),
        *([], ["alice"]),
    ),
    "update": (
        lambda flag: update("new_checkout", {"allowed_users": User.objects.filter(username="bob")}),
        *(["bob"], ["alice"]),
    ),
}


@pytest.mark.parametrize(("write", "added", "removed"), USER_WRITES.values(), ids=USER_WRITES)
def test_allowed_users_are_recorded_however_they_are_written(  # noqa: PLR0913, PLR0917
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


def test_event_orders_users_by_primary_key(flag: FeatureFlag, bob: User) -> None:
    carol = User.objects.create(username="carol")
    execute(
        "INSERT INTO flagstaff_featureflag_allowed_users (featureflag_id, user_id) "
        f"VALUES ({flag.pk}, {carol.pk}), ({flag.pk}, {bob.pk})"
    )
    assert flag_history("new_checkout")[0].added == Users(2, (bob.pk, carol.pk))


def test_event_orders_null_users_last(flag: FeatureFlag) -> None:
    execute(
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


def test_copy_and_truncate_are_recorded(flag: FeatureFlag) -> None:
    copy(flag)
    execute("TRUNCATE flagstaff_featureflag CASCADE")
    assert [event.action for event in flag_history("new_checkout_2")] == ["delete", "create"]


def test_history_of_a_renamed_flag_is_under_both_keys(flag: FeatureFlag) -> None:
    update("new_checkout", {"key": "checkout"})
    assert [event.action for event in flag_history("checkout")] == ["change", "change", "create"]
    assert flag_history("checkout")[0].differences == (
        Difference("key", "new_checkout", "checkout"),
    )
    assert len(flag_history("new_checkout")) == 2


def test_history_of_a_reused_key_has_both_flags(flag: FeatureFlag) -> None:
    delete("new_checkout")
    create("new_checkout")
    actions = [event.action for event in flag_history("new_checkout")]
    assert actions == ["create", "delete", "change", "create"]


def test_save_without_a_difference_is_not_recorded(flag: FeatureFlag) -> None:
    count = len(flag_history("new_checkout"))
    flag.save()
    add_allowed_users("new_checkout", [])
    assert len(flag_history("new_checkout")) == count


def test_changes_of_one_transaction_are_one_event_per_flag(flag: FeatureFlag, bob: User) -> None:
    create("banner")
    with acting_as("release"):
        FeatureFlag.objects.update(enabled=True)
        set_rollout("new_checkout", 50)
        add_allowed_users("new_checkout", bob)
    checkout, banner = sorted(flag_history(limit=2), key=lambda event: event.key)[::-1]
    assert checkout.transaction_id == banner.transaction_id
    assert {one.field: one.new for one in checkout.differences} == {
        "enabled": True,
        "rollout_percent": 50,
    }
    assert checkout.added.pks == (bob.pk,)


def test_two_actors_in_one_transaction_are_two_events(flag: FeatureFlag) -> None:
    with transaction.atomic():
        with acting_as("ana"):
            enable("new_checkout")
        with acting_as("robot", reason="cleans up"):
            disable("new_checkout")
    robot, ana = flag_history("new_checkout", limit=2)
    assert (robot.actor, robot.reason, robot.differences) == (
        *("robot", "cleans up"),
        (Difference("enabled", True, False),),
    )
    assert (ana.actor, ana.reason, ana.differences) == ("ana", None, ENABLED)
    assert robot.transaction_id == ana.transaction_id


def test_history_pages_by_version_have_each_event_once(flag: FeatureFlag) -> None:
    for percent in range(1, 8):
        set_rollout("new_checkout", percent)
    first = flag_history("new_checkout", limit=3)
    second = flag_history("new_checkout", limit=3, before=first[-1].version)
    everything = flag_history("new_checkout")
    assert first + second == everything[:6]
    assert len(everything) == 9


def test_history_of_many_changes_needs_few_queries(flag: FeatureFlag) -> None:
    execute(*[f"UPDATE flagstaff_featureflag SET rollout_percent = {n}" for n in range(30)] * 10)
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
    execute("DELETE FROM flagstaff_change")
    assert flag_history("new_checkout") == []
    assert flag_version("new_checkout") == 0


# The author.


@pytest.fixture
def site(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "flagstaff.middleware.FlagstaffMiddleware"]


def write_in_the_admin(client: Client, flag: FeatureFlag) -> None:
    client.post(f"{FLAGS}{flag.pk}/turn-on/", {"_confirmed": "1"})


def write_in_a_view(client: Client, flag: FeatureFlag) -> None:
    client.get("/enable/")


def write_in_a_shell(client: Client, flag: FeatureFlag) -> None:
    with acting_as(User.objects.get(username="alice"), reason="ticket 7"):
        flag.enabled = True
        flag.save()


def write_in_a_task(client: Client, flag: FeatureFlag) -> None:
    """As a Celery worker does: in another thread, with another connection."""

    @acting_as("nightly", reason="cleans up", source="celery")
    def task() -> None:
        FeatureFlag.objects.update(enabled=True)

    def run() -> None:
        task()
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def write_without_actor(client: Client, flag: FeatureFlag) -> None:
    FeatureFlag.objects.update(enabled=True)


AUTHORS = {
    "admin": (write_in_the_admin, ("alice", "admin", None)),
    "view": (write_in_a_view, ("alice", "web", None)),
    "shell": (write_in_a_shell, ("alice", "code", "ticket 7")),
    "task": (write_in_a_task, ("nightly", "celery", "cleans up")),
    "no actor": (write_without_actor, (None, None, None)),
}


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(("write", "author"), AUTHORS.values(), ids=AUTHORS)
def test_event_has_the_author_of_the_change(
    write: Callable[..., None], author: tuple[Any, ...], flag: FeatureFlag, alice: User
) -> None:
    client = Client()
    client.force_login(alice)
    write(client, flag)
    event = flag_history("new_checkout")[0]
    actor = str(alice.pk) if author[0] == "alice" else author[0]
    assert (event.actor, event.source, event.reason) == (actor, *author[1:])
    assert event.differences == ENABLED
    # Earlier events have no actor. All have a database user.
    assert {older.actor for older in flag_history("new_checkout")[1:]} == {None}
    assert event.session_user == connection.settings_dict["USER"]


# Descriptions.


def test_describe_change_names_fields_and_users(flag: FeatureFlag, alice: User, bob: User) -> None:
    with acting_as(alice):
        update("new_checkout", {"rollout_percent": 50, "allowed_users": [bob]})
    event, users, created = flag_history("new_checkout")
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
    assert describe_change(users) == "added 1 allowed user"


def test_describe_change_of_many_users_names_ten(flag: FeatureFlag) -> None:
    many = User.objects.bulk_create([User(username=f"guest{n:04}") for n in range(1200)])
    add_allowed_users("new_checkout", many)
    [event] = flag_history("new_checkout", limit=1)
    text = describe_change(event, names_of_users([event]))
    names = r"(guest\d{4}, ){9}guest\d{4}"
    assert re.fullmatch(rf"added 1,200 allowed users \({names} and 1,190 more\)", text)
    [whole] = flag_history("new_checkout", limit=1, all_users=True)
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


# Secrets.


def test_secret_value_is_masked_in_its_whole_history(gateway: KeyValueStore) -> None:
    """Also the values from before it was marked as secret."""
    KeyValueStore.objects.update(value="hunter2")
    KeyValueStore.objects.update(secret=True)
    KeyValueStore.objects.update(value="hunter3", description="changed")
    events = value_history("gateway")
    assert value_version("gateway") == events[0].version
    assert Difference("value", None, None, secret=True) in events[0].differences
    shown = " ".join(map(describe_change, events)) + json.dumps(as_dicts(events)) + as_csv(events)
    assert "value •••••• → ••••••" in shown
    for text in ("stripe", "hunter", "sha256"):
        assert text not in shown


def test_value_that_is_not_secret_is_shown(gateway: KeyValueStore) -> None:
    create_value("token", "hunter2", secret=True)
    KeyValueStore.objects.filter(key="gateway").update(value=True)
    KeyValueStore.objects.filter(key="gateway").update(value=1)
    number, boolean, _created = value_history("gateway")
    assert describe_change(boolean) == 'value "stripe" → true'
    assert describe_change(number) == "value true → 1"
    assert "hunter2" not in repr(value_history())


# Export.


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


# Deletion from the history.


def age(days: int, version: int | None) -> None:
    """Makes all entries up to this version look old."""
    Change.objects.filter(id__lte=version).update(at=timezone.now() - timedelta(days=days))


def test_prune_deletes_old_entries_and_keeps_versions(
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


def test_prune_keeps_newer_entries(flag: FeatureFlag) -> None:
    set_rollout("new_checkout", 1)
    age(100, flag_version("new_checkout"))
    set_rollout("new_checkout", 2)
    prune(timedelta(days=90))
    [left] = flag_history("new_checkout")
    assert left.differences == (Difference("rollout_percent", 1, 2),)


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


def test_events_can_be_compared(flag: FeatureFlag) -> None:
    [one, *_], [other, *_] = flag_history("new_checkout"), flag_history("new_checkout")
    assert isinstance(one, Event)
    assert one == other
