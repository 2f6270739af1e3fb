"""Who acts, and through which source: the history says so, and nothing is invented."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings as django_settings
from django.contrib import admin
from django.contrib.auth.models import AnonymousUser, User
from django.db import (
    IntegrityError,
    InternalError,
    OperationalError,
    ProgrammingError,
    connection,
    connections,
    transaction,
)
from django.db.transaction import TransactionManagementError
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import path, reverse
from django.utils.functional import SimpleLazyObject
from psycopg import sql

from flagstaff import acting_as
from flagstaff._attribution.context import attributed, attribution
from flagstaff._attribution.writes import attribute_writes
from flagstaff.models import Change, FeatureFlag, KeyValueStore

pytestmark = pytest.mark.django_db
COMMITTED = pytest.mark.django_db(transaction=True, available_apps=django_settings.INSTALLED_APPS)
# In a transaction of a test, and where each statement is one of its own.
BOTH = pytest.mark.usefixtures("either_way")

NOBODY = (None, None, None)
Entry = tuple[str | None, str | None, str | None]


class Entries:
    """Actor, source and reason of what was written since the last look, oldest first."""

    def __init__(self) -> None:
        self._newest = 0
        self()

    def __call__(self) -> list[Entry]:
        entries = list(Change.objects.filter(id__gt=self._newest).order_by("id"))
        self._newest = entries[-1].pk if entries else self._newest
        return [(entry.actor, entry.source, entry.reason) for entry in entries]


Write = Callable[[], object]


def switch(enabled: bool = True) -> None:
    FeatureFlag.objects.filter(key="new_checkout").update(enabled=enabled)


def by_hand(statement: Any, *parameters: str | int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)


def switch_on(request: HttpRequest) -> HttpResponse:
    switch()
    return HttpResponse("on")


async def switch_on_async(request: HttpRequest) -> HttpResponse:
    await FeatureFlag.objects.filter(key="new_checkout").aupdate(enabled=True)
    return HttpResponse("on")


def switch_in_turn(request: Any) -> HttpResponse:
    switch()
    with acting_as("robot", reason="tidies up"):
        switch(False)
    switch()
    return HttpResponse("on")


def fail(request: HttpRequest) -> HttpResponse:
    switch()
    raise ZeroDivisionError


def sign_up(request: HttpRequest) -> HttpResponse:
    request.user = SimpleLazyObject(lambda: pytest.fail("the user was read"))  # type: ignore[assignment]
    User.objects.create(username="carol")
    return HttpResponse(FeatureFlag.objects.count())


urlpatterns = [
    path("admin/", admin.site.urls),
    path("switch/", switch_on),
    path("switch/async/", switch_on_async),
    path("switch/in-turn/", switch_in_turn),
    path("fail/", fail),
    path("sign-up/", sign_up),
]


@pytest.fixture(params=["in a transaction", pytest.param("alone", marks=COMMITTED)])
def either_way(request: pytest.FixtureRequest) -> None:
    """See BOTH."""


@pytest.fixture(autouse=True)
def site(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "flagstaff.middleware.FlagstaffMiddleware"]


@pytest.fixture
def flag() -> FeatureFlag:
    return FeatureFlag.objects.create(key="new_checkout")


@pytest.fixture
def alice() -> User:
    """Who may do everything."""
    return User.objects.create(username="alice", is_staff=True, is_superuser=True)


@pytest.fixture
def bob() -> User:
    return User.objects.create(username="bob")


@pytest.fixture
def entries(flag: FeatureFlag, alice: User, bob: User) -> Entries:
    return Entries()


@pytest.fixture
def as_alice(client: Client, alice: User) -> Client:
    client.force_login(alice)
    return client


@pytest.fixture
def atomic_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)


# The middleware.


@BOTH
def test_change_of_a_view_is_the_requests_users(
    entries: Entries, as_alice: Client, alice: User
) -> None:
    as_alice.get("/switch/")
    assert entries() == [(str(alice.pk), "web", None)]


@COMMITTED
@pytest.mark.usefixtures("atomic_requests")
def test_change_of_a_view_in_a_transaction_is_the_requests_users(
    entries: Entries, as_alice: Client, alice: User
) -> None:
    as_alice.get("/switch/")
    assert entries() == [(str(alice.pk), "web", None)]


@BOTH
def test_change_of_an_async_view_is_the_requests_users(
    entries: Entries, async_client: AsyncClient, as_alice: Client, alice: User
) -> None:
    async_client.force_login(alice)
    async_to_sync(async_client.get)("/switch/async/")
    as_alice.get("/switch/async/")
    switch(False)
    assert entries() == [(str(alice.pk), "web", None), NOBODY]
    assert FeatureFlag.objects.get().enabled is False


@BOTH
def test_change_by_somebody_who_is_not_logged_in_has_a_door_only(
    entries: Entries, client: Client
) -> None:
    client.get("/switch/")
    assert entries() == [(None, "web", None)]


@BOTH
@pytest.mark.parametrize("requests", ["each a transaction", "in autocommit"])
def test_block_in_a_view_names_somebody_else_for_a_while(
    requests: str,
    entries: Entries,
    as_alice: Client,
    alice: User,
    request: pytest.FixtureRequest,
) -> None:
    if requests == "each a transaction":
        request.getfixturevalue("atomic_requests")
    as_alice.get("/switch/in-turn/")
    the_user = (str(alice.pk), "web", None)
    assert entries() == [the_user, ("robot", "code", "tidies up"), the_user]


@BOTH
def test_what_follows_a_request_is_nobodys(entries: Entries, as_alice: Client) -> None:
    as_alice.get("/switch/")
    entries()
    switch(False)
    by_hand("UPDATE flagstaff_featureflag SET enabled = true")
    assert entries() == [NOBODY, NOBODY]


@COMMITTED
@pytest.mark.usefixtures("atomic_requests")
def test_request_that_fails_leaves_neither_change_nor_entry(
    entries: Entries, as_alice: Client
) -> None:
    with pytest.raises(ZeroDivisionError):
        as_alice.get("/fail/")
    assert entries() == []
    switch()
    assert entries() == [NOBODY]


@COMMITTED
def test_request_that_fails_later_leaves_what_it_changed_in_autocommit(
    entries: Entries, as_alice: Client, alice: User
) -> None:
    with pytest.raises(ZeroDivisionError):
        as_alice.get("/fail/")
    assert entries() == [(str(alice.pk), "web", None)]


@BOTH
def test_user_is_not_read_where_no_flag_is_written(flag: FeatureFlag) -> None:
    assert Client().get("/sign-up/").content == b"1"


@BOTH
def test_lazy_user_is_read_when_a_flag_is_written(entries: Entries, bob: User) -> None:
    seen: list[object] = []

    def look() -> User:
        seen.append(bob)
        # What is written now is nobody's change, and starts no second look.
        KeyValueStore.objects.create(key="looked", value=True)
        return bob

    user = SimpleLazyObject(look)
    with attributed(lambda: attribution(user, source="web")):
        assert FeatureFlag.objects.count() == 1
        assert seen == []
        switch()
    assert seen == [bob]
    assert entries() == [NOBODY, (str(bob.pk), "web", None)]


# The admin.


@BOTH
def test_switch_in_the_admins_list_is_the_persons(
    entries: Entries, as_alice: Client, alice: User, flag: FeatureFlag
) -> None:
    address = reverse("admin:flagstaff_featureflag_changelist")
    as_alice.post(address, {"_switch": f"on:{flag.pk}"})
    assert FeatureFlag.objects.get().enabled is True
    assert entries() == [(str(alice.pk), "admin", None)]


@BOTH
def test_form_in_the_admin_is_the_persons(
    entries: Entries, as_alice: Client, alice: User, bob: User, flag: FeatureFlag
) -> None:
    page = as_alice.get(reverse("admin:flagstaff_featureflag_change", args=[flag.pk]))
    form = page.context["adminform"].form
    data = {name: value for name, value in form.initial.items() if value is not None}
    data |= {"enabled": "on", "rollout_percent": "25", "allowed_users": [str(bob.pk)]}
    saved = as_alice.post(page.wsgi_request.path, data)
    assert saved.status_code == 302
    assert entries() == [(str(alice.pk), "admin", None)] * 2


@BOTH
def test_deletion_in_the_admin_is_the_persons(
    entries: Entries, as_alice: Client, alice: User, bob: User, flag: FeatureFlag
) -> None:
    flag.allowed_users.add(bob)
    entries()
    address = reverse("admin:flagstaff_featureflag_delete", args=[flag.pk])
    as_alice.post(address, {"post": "yes"})
    assert entries() == [(str(alice.pk), "admin", None)] * 2


# The block.


@BOTH
def test_block_names_a_user_and_a_reason(entries: Entries, alice: User) -> None:
    with acting_as(alice, reason="on call"):
        switch()
    assert entries() == [(str(alice.pk), "code", "on call")]


@BOTH
@pytest.mark.parametrize(
    ("who", "actor"),
    [("deploy", "deploy"), (42, "42"), (None, None), (AnonymousUser(), None), ("Åsa", "Åsa")],
    ids=str,
)
def test_block_names_whoever_acts(who: object, actor: str, entries: Entries) -> None:
    with acting_as(who, source="pipeline"):
        switch()
    assert entries() == [(actor, "pipeline", None)]


@BOTH
def test_nothing_is_attributed_after_the_block(entries: Entries) -> None:
    with acting_as("deploy"):
        pass
    switch()
    by_hand("UPDATE flagstaff_featureflag SET rollout_percent = 1")
    assert entries() == [NOBODY, NOBODY]


@COMMITTED
def test_nothing_is_attributed_in_the_transaction_after_the_block(entries: Entries) -> None:
    with transaction.atomic():
        with acting_as("deploy", reason="release 42"):
            switch()
        switch(False)
    switch()
    assert entries() == [("deploy", "code", "release 42"), NOBODY, NOBODY]


@BOTH
def test_innermost_block_counts(entries: Entries) -> None:
    with acting_as("deploy", reason="release 42"):
        with acting_as("robot"):
            switch()
        switch(False)
        by_hand("SELECT 1; UPDATE flagstaff_featureflag SET enabled = true")
    assert entries() == [("robot", "code", None), *[("deploy", "code", "release 42")] * 2]


@BOTH
def test_block_is_a_decorator_too(entries: Entries) -> None:
    @acting_as("deploy")
    def release() -> None:
        switch()

    release()
    assert entries() == [("deploy", "code", None)]


@BOTH
def test_block_that_raises_changes_nothing(entries: Entries) -> None:
    @acting_as("deploy")
    def switch_and_fail() -> None:
        switch()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        switch_and_fail()
    assert entries() == []
    switch()
    assert entries() == [NOBODY]


# The ways of writing.


def add_many() -> None:
    FeatureFlag.objects.bulk_create([FeatureFlag(key="banner")])


def save() -> None:
    FeatureFlag.objects.get(key="new_checkout").save()
    flag = FeatureFlag.objects.get(key="new_checkout")
    flag.rollout_percent = 7
    flag.save()


def through(change: str) -> Write:
    def write() -> None:
        flag, bob = FeatureFlag.objects.get(), User.objects.get(username="bob")
        getattr(flag.allowed_users, change)(*([[bob]] if change == "set" else [bob]))

    return write


def delete_an_allowed_user() -> None:
    through("add")()
    User.objects.get(username="bob").delete()


UPDATE = "UPDATE flagstaff_featureflag SET enabled = true"
WAYS: dict[str, Write] = {
    "save": save,
    "create": lambda: FeatureFlag.objects.create(key="banner"),
    "update": switch,
    "bulk_create": add_many,
    "delete": lambda: FeatureFlag.objects.all().delete(),
    "add": through("add"),
    "set": through("set"),
    "delete of an allowed user": delete_an_allowed_user,
    "value": lambda: KeyValueStore.objects.create(key="gateway", value=1),
    "cursor": lambda: by_hand(UPDATE),
    "cursor with parameters": lambda: by_hand(UPDATE + " WHERE key = %s", "new_checkout"),
    "cursor in capitals": lambda: by_hand(UPDATE.upper()),
    "cursor with quotes": lambda: by_hand('UPDATE public."flagstaff_featureflag" SET enabled=true'),
    "cursor behind comments": lambda: by_hand(f"/* job=7 */ -- here\n {UPDATE}"),
    "cursor with WITH": lambda: by_hand(f"WITH a AS ({UPDATE} RETURNING 1) SELECT * FROM a"),
    "cursor with many": lambda: connection.cursor().executemany(
        "INSERT INTO flagstaff_featureflag (key) VALUES (%s)", [["a"], ["b"]]
    ),
    "composed": lambda: by_hand(
        sql.SQL("UPDATE {} SET enabled = true").format(sql.Identifier("flagstaff_featureflag"))
    ),
    "TRUNCATE": lambda: by_hand("TRUNCATE flagstaff_keyvaluestore, flagstaff_featureflag CASCADE"),
}


@BOTH
@pytest.mark.parametrize("write", WAYS.values(), ids=WAYS)
def test_each_way_of_writing_is_attributed(write: Write, entries: Entries) -> None:
    by_hand("SET CONSTRAINTS ALL IMMEDIATE")
    with attributed(lambda: attribution("alice", source="web")):
        write()
    assert set(entries()) == {("alice", "web", None)}


@BOTH
def test_write_within_a_block_is_attributed_however_it_is_made(entries: Entries) -> None:
    with acting_as("deploy"):
        switch()
        by_hand(f"DO $$ BEGIN {UPDATE.replace('true', 'false')}; END $$")
    assert entries() == [("deploy", "code", None)] * 2


@BOTH
def test_nothing_is_invented_where_nobody_said_who_acts(entries: Entries) -> None:
    switch()
    by_hand("UPDATE flagstaff_featureflag SET rollout_percent = 1")
    assert entries() == [NOBODY, NOBODY]


# Django behaves as ever.


@BOTH
@pytest.mark.parametrize("who", ["somebody", "nobody"])
def test_queries_are_counted_as_ever(
    who: str, entries: Entries, django_assert_num_queries: Any
) -> None:
    made = (lambda: attribution("alice")) if who == "somebody" else None
    with attributed(made), django_assert_num_queries(2):
        switch()
        by_hand("UPDATE flagstaff_featureflag SET rollout_percent = 1")


@BOTH
def test_queries_of_a_request_are_counted_as_ever(
    flag: FeatureFlag, client: Client, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(1):
        client.get("/switch/")


@BOTH
def test_what_a_write_gives_back_is_as_ever(entries: Entries) -> None:
    with attributed(lambda: attribution("alice")), connection.cursor() as cursor:
        cursor.execute("UPDATE flagstaff_featureflag SET enabled = true RETURNING key")
        assert (cursor.rowcount, cursor.fetchall()) == (1, [("new_checkout",)])


@BOTH
def test_failed_statement_in_an_inner_block_undoes_that_block_alone(entries: Entries) -> None:
    with acting_as("deploy"):
        with suppress(IntegrityError), transaction.atomic():
            switch()
            FeatureFlag.objects.create(key="new_checkout")
        FeatureFlag.objects.update(rollout_percent=25)
    assert FeatureFlag.objects.get().enabled is False
    assert entries() == [("deploy", "code", None)]


@BOTH
def test_failed_statement_without_an_inner_block_is_refused_from_then_on(entries: Entries) -> None:
    with transaction.atomic(), attributed(lambda: attribution("alice")):
        with pytest.raises(IntegrityError):
            FeatureFlag.objects.create(key="new_checkout")
        with pytest.raises(TransactionManagementError):
            switch()
        with pytest.raises(TransactionManagementError), acting_as("deploy"):
            pass
    assert entries() == []


@BOTH
def test_block_in_which_a_statement_failed_unseen_is_rolled_back_silently(entries: Entries) -> None:
    with acting_as("deploy"):
        switch()
        with suppress(IntegrityError):
            FeatureFlag.objects.create(key="new_checkout")
    assert entries() == []
    assert FeatureFlag.objects.get().enabled is False


@BOTH
def test_transaction_that_failed_by_hand_raises_djangos_error(entries: Entries) -> None:
    with (
        suppress(ZeroDivisionError),
        transaction.atomic(),
        attributed(lambda: attribution("alice")),
    ):
        with pytest.raises(ProgrammingError):
            by_hand("UPDATE flagstaff_featureflag SET missing = 1")
        with pytest.raises(InternalError, match="current transaction is aborted"):
            switch()
        raise ZeroDivisionError
    assert entries() == []


@COMMITTED
def test_statement_that_fails_alone_leaves_the_connection_as_it_was(entries: Entries) -> None:
    with attributed(lambda: attribution("alice")):
        with pytest.raises(ProgrammingError):
            by_hand("UPDATE flagstaff_featureflag SET missing = 1")
        assert connection.in_atomic_block is False
        switch()
    switch(False)
    assert entries() == [("alice", None, None), NOBODY]


@COMMITTED
def test_statement_that_fails_at_its_commit_raises_as_ever(
    entries: Entries, flag: FeatureFlag
) -> None:
    entry = FeatureFlag.allowed_users.through(featureflag=flag, user_id=0)
    with attributed(lambda: attribution("alice")):
        with pytest.raises(IntegrityError):
            entry.save(force_insert=True)
        switch()
    assert entries() == [("alice", None, None)]


@COMMITTED
def test_lost_connection_raises_as_ever(entries: Entries) -> None:
    other = connection.copy()
    with other.cursor() as cursor, attributed(lambda: attribution("alice")):
        cursor.execute("SELECT 1")
        by_hand("SELECT pg_terminate_backend(%s)", other.connection.info.backend_pid)
        with pytest.raises(OperationalError):
            cursor.execute(UPDATE)
    other.close()
    assert entries() == []


@COMMITTED
def test_cursor_of_a_closed_connection_raises_as_ever(entries: Entries) -> None:
    other = connection.copy()
    cursor = other.cursor()
    other.close()
    with attributed(lambda: attribution("alice")), pytest.raises(OperationalError):
        cursor.execute(UPDATE)


@COMMITTED
def test_transaction_that_was_begun_by_hand_is_left_open(entries: Entries) -> None:
    with attributed(lambda: attribution("alice")):
        by_hand("BEGIN")
        switch()
        by_hand("ROLLBACK")
    assert entries() == []


@COMMITTED
def test_write_without_autocommit_waits_for_the_commit(entries: Entries) -> None:
    transaction.set_autocommit(False)
    try:
        with attributed(lambda: attribution("alice")):
            switch()
            transaction.rollback()
            switch()
            transaction.commit()
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    assert entries() == [("alice", None, None)]


@COMMITTED
def test_connection_that_is_made_within_an_execute_wrapper_keeps_only_ours() -> None:
    def pass_on(execute: Any, *arguments: Any) -> Any:
        return execute(*arguments)

    other = connection.copy()
    with other.execute_wrapper(pass_on), other.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert other.execute_wrappers == [attribute_writes, pass_on]
    assert other.execute_wrappers == [attribute_writes]
    other.close()


@COMMITTED
def test_connection_that_is_made_again_attributes_once() -> None:
    connection.close()
    connection.ensure_connection()
    assert connection.execute_wrappers.count(attribute_writes) == 1


def test_settings_that_cannot_be_used_let_a_write_pass(entries: Entries, settings: Any) -> None:
    settings.FLAGSTAFF = {"FLAG_MODEL": "no.Such"}
    with attributed(lambda: attribution("alice")):
        switch()
    assert entries() == [NOBODY]
