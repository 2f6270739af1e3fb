"""The history records the actor, source and reason of a write, and nothing else."""

from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib import admin
from django.contrib.auth.models import AnonymousUser, User
from django.core.signing import TimestampSigner
from django.db import (
    IntegrityError,
    InternalError,
    OperationalError,
    ProgrammingError,
    connection,
    connections,
    transaction,
)
from django.db.models import F
from django.db.models.functions import Mod
from django.db.transaction import TransactionManagementError
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import path, reverse
from django.utils.functional import SimpleLazyObject
from psycopg import Cursor, sql

from flagstaff import acting_as
from flagstaff._attribution import attributed, attribution, wrap_connection
from flagstaff.history import events, forget_user
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from flagstaff.rollouts import plans
from flagstaff.rollouts.models import Plan, PlanEvent
from tests.support.admin_pages import act, flag_url
from tests.support.generators import async_generator, coroutine, generator
from tests.support.screen import Screen
from tests.support.shop import Shop
from tests.support.sql import rows
from tests.support.views import lazy_user

COMMITTED = pytest.mark.django_db(transaction=True)
# In the transaction of a test, and with each statement in its own transaction.
BOTH = pytest.mark.usefixtures("both_modes")

NOT_ATTRIBUTED = (None, None, None)
Entry = tuple[str | None, str | None, str | None]


class Entries:
    """Actor, source and reason of the entries since the last call, oldest first."""

    def __init__(self) -> None:
        self._newest = 0
        self()

    def __call__(self) -> list[Entry]:
        entries = list(Change.objects.filter(id__gt=self._newest).order_by("id"))
        self._newest = entries[-1].pk if entries else self._newest
        return [(entry.actor, entry.source, entry.reason) for entry in entries]


Write = Callable[[], object]


def set_enabled(enabled: bool = True) -> None:
    FeatureFlag.objects.filter(key="new_checkout").update(enabled=enabled)


def write() -> None:
    FeatureFlag.objects.update(rollout_percent=Mod(F("rollout_percent") + 1, 101))


def count_view(request: HttpRequest) -> HttpResponse:
    write()
    return HttpResponse("counted")


async def count_view_async(request: HttpRequest) -> HttpResponse:
    await FeatureFlag.objects.aupdate(rollout_percent=Mod(F("rollout_percent") + 1, 101))
    return HttpResponse("counted")


def acting_as_view(request: Any) -> HttpResponse:
    set_enabled()
    with acting_as("robot", reason="cleanup"):
        set_enabled(False)
    set_enabled()
    return HttpResponse("on")


def fail(request: HttpRequest) -> HttpResponse:
    set_enabled()
    raise ZeroDivisionError


def sign_up(request: HttpRequest) -> HttpResponse:
    request.user = SimpleLazyObject(lambda: pytest.fail("the user was loaded"))  # type: ignore[assignment]
    User.objects.create(username="carol")
    return HttpResponse(FeatureFlag.objects.count())


urlpatterns = [
    path("admin/", admin.site.urls),
    path("count/", count_view),
    path("count/async/", count_view_async),
    path("acting-as/", acting_as_view),
    path("fail/", fail),
    path("sign-up/", sign_up),
]


@pytest.fixture(params=["in a transaction", pytest.param("alone", marks=COMMITTED)])
def both_modes(request: pytest.FixtureRequest) -> None:
    """Runs a test in both modes."""


@pytest.fixture(autouse=True)
def site(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "flagstaff.middleware.FlagstaffMiddleware"]


@pytest.fixture
def entries(shop: Shop) -> Entries:
    """The entries since there are a disabled flag, the superuser alice and bob."""
    shop.user("alice", is_staff=True, is_superuser=True)
    shop.user("bob")
    shop.flag(enabled=False, rollout_percent=0)
    return Entries()


@pytest.fixture
def as_alice(entries: Entries, shop: Shop) -> Client:
    return shop.client("alice")


@pytest.fixture
def atomic_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)


@BOTH
def test_write_of_a_view_is_attributed_to_the_user_and_a_later_one_is_not(
    entries: Entries, async_client: AsyncClient, as_alice: Client, shop: Shop
) -> None:
    async_client.force_login(shop.user("alice"))
    as_alice.get("/count/")
    as_alice.get("/count/async/")
    async_to_sync(async_client.get)("/count/async/")
    Client().get("/count/")
    set_enabled()
    rows("UPDATE flagstaff_featureflag SET enabled = false")
    by_alice, anonymous = ("1", "web", None), (None, "web", None)
    expected = [by_alice, by_alice, by_alice, anonymous, NOT_ATTRIBUTED, NOT_ATTRIBUTED]
    assert entries() == expected


@BOTH
@pytest.mark.parametrize("requests", ["each a transaction", "in autocommit"])
def test_acting_as_in_a_view_overrides_the_user_of_the_request(
    requests: str, entries: Entries, as_alice: Client, request: pytest.FixtureRequest
) -> None:
    if requests == "each a transaction":
        request.getfixturevalue("atomic_requests")
    as_alice.get("/acting-as/")
    the_user = ("1", "web", None)
    assert entries() == [the_user, ("robot", "code", "cleanup"), the_user]


@COMMITTED
def test_failed_request_keeps_its_attributed_write_in_autocommit_only(
    entries: Entries, as_alice: Client, request: pytest.FixtureRequest
) -> None:
    with pytest.raises(ZeroDivisionError):
        as_alice.get("/fail/")
    assert entries() == [("1", "web", None)]
    set_enabled(False)
    request.getfixturevalue("atomic_requests")
    with pytest.raises(ZeroDivisionError):
        as_alice.get("/fail/")
    assert FeatureFlag.objects.get().enabled is False
    set_enabled()
    assert entries() == [NOT_ATTRIBUTED, NOT_ATTRIBUTED]


@BOTH
def test_lazy_user_is_not_loaded_without_a_write(shop: Shop) -> None:
    shop.flag()
    assert Client().get("/sign-up/").content == b"1"


@BOTH
def test_lazy_user_is_loaded_once_by_a_write(entries: Entries) -> None:
    seen: list[object] = []
    bob = User.objects.get(username="bob")

    def load() -> User:
        seen.append(bob)
        # A write during the load is not attributed, and does not load again.
        KeyValueStore.objects.create(key="loading", value=True)
        return bob

    user = SimpleLazyObject(load)
    with attributed(lambda: attribution(user, source="web")):
        assert FeatureFlag.objects.count() == 1
        assert seen == []
        set_enabled()
    assert seen == [bob]
    assert entries() == [NOT_ATTRIBUTED, ("2", "web", None)]


def fail_as_robot() -> None:
    with suppress(ZeroDivisionError), acting_as("robot"):
        raise ZeroDivisionError


def break_as_robot() -> None:
    with acting_as("robot"), suppress(IntegrityError):
        FeatureFlag.objects.create(key="new_checkout")


@pytest.mark.parametrize(
    "act",
    [acting_as("robot")(set_enabled), fail_as_robot, break_as_robot],
    ids=["written", "failed", "rolled back"],
)
def test_statement_after_acting_as_loads_no_lazy_user(act: Write, entries: Entries) -> None:
    seen: list[object] = []
    user = lazy_user(User.objects.get(username="bob"), seen)
    with transaction.atomic(), attributed(lambda: attribution(user, source="web")):
        act()
        assert FeatureFlag.objects.count() == 1
        assert seen == []
        entries()
        FeatureFlag.objects.update(rollout_percent=25)
    assert entries() == [("2", "web", None)]


@pytest.mark.parametrize("function", [coroutine, generator, async_generator])
def test_acting_as_refuses_to_decorate_what_runs_after_it(function: Any) -> None:
    with pytest.raises(TypeError, match=f"would end before {function.__name__} runs"):
        acting_as("deploy")(function)


def test_acting_as_without_parentheses_raises_type_error_at_once() -> None:
    def release() -> None: ...

    with pytest.raises(TypeError) as error:
        acting_as(release)
    assert str(error.value) == 'acting_as needs a user or a name: write @acting_as("deploy")'


def test_write_in_the_admin_is_attributed_to_the_user(entries: Entries, as_alice: Client) -> None:
    flag, by_alice = FeatureFlag.objects.get(), ("1", "admin", None)
    act(as_alice, flag_url(flag, "on"))
    assert FeatureFlag.objects.get().enabled is True
    assert entries() == [by_alice]
    # Other tests evaluate a flag with this key, and then the page asks for it.
    act(as_alice, flag_url(flag, "delete"), _typed_key=flag.key)
    assert entries() == [by_alice] * 2


@BOTH
@pytest.mark.parametrize(
    ("user", "actor"),
    [
        ("deploy", "deploy"),
        (User(pk=1), "1"),
        (42, "42"),
        (None, None),
        (AnonymousUser(), None),
        ("Åsa", "Åsa"),
    ],
    ids=str,
)
def test_acting_as_accepts_users_names_and_none(user: object, actor: str, entries: Entries) -> None:
    with acting_as(user, source="pipeline"):
        set_enabled()
    assert entries() == [(actor, "pipeline", None)]


def test_acting_as_replaces_what_the_server_cannot_store(entries: Entries) -> None:
    with acting_as("de\0ploy", reason="half \ud83d", source="\udfff"):
        set_enabled()
    assert entries() == [("de\ufffdploy", "\ufffd", "half \ufffd")]


@COMMITTED
def test_write_after_acting_as_in_the_same_transaction_is_not_attributed(entries: Entries) -> None:
    with transaction.atomic():
        with acting_as("deploy", reason="release 42"):
            set_enabled()
        set_enabled(False)
    set_enabled()
    assert entries() == [("deploy", "code", "release 42"), NOT_ATTRIBUTED, NOT_ATTRIBUTED]


@BOTH
def test_inner_acting_as_overrides_the_outer(entries: Entries) -> None:
    with acting_as("deploy", reason="release 42"):
        with acting_as("robot"):
            set_enabled()
        set_enabled(False)
        rows("SELECT 1; UPDATE flagstaff_featureflag SET enabled = true")
        rows("DO $$ BEGIN UPDATE flagstaff_featureflag SET enabled = false; END $$")
    assert entries() == [("robot", "code", None), *[("deploy", "code", "release 42")] * 3]


@BOTH
def test_acting_as_with_an_error_is_rolled_back_even_if_it_is_suppressed(entries: Entries) -> None:
    @acting_as("deploy")
    def enable_and_fail() -> None:
        set_enabled()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        enable_and_fail()
    with acting_as("deploy"):
        set_enabled()
        with suppress(IntegrityError):
            FeatureFlag.objects.create(key="new_checkout")
    assert entries() == []
    assert FeatureFlag.objects.get().enabled is False
    set_enabled()
    assert entries() == [NOT_ATTRIBUTED]


UPDATE = "UPDATE flagstaff_featureflag SET enabled = true"
TOGGLE = "UPDATE flagstaff_featureflag SET enabled = NOT enabled"
WRITES: dict[str, Write] = {
    "save": lambda: FeatureFlag.objects.update_or_create(
        key="new_checkout", defaults={"rollout_percent": 7}
    ),
    "create": lambda: FeatureFlag.objects.create(key="banner"),
    "update": set_enabled,
    "bulk_create": lambda: FeatureFlag.objects.bulk_create([FeatureFlag(key="banner")]),
    "delete": lambda: FeatureFlag.objects.all().delete(),
    "add": lambda: FeatureFlag.objects.get().allowed_users.add(2),
    "set": lambda: FeatureFlag.objects.get().allowed_users.set([2]),
    "delete of an allowed user": lambda: User.objects.get(pk=1).delete(),
    "value": lambda: KeyValueStore.objects.create(key="gateway", value=1),
    "cursor": lambda: rows(UPDATE),
    "cursor with parameters": lambda: rows(UPDATE + " WHERE key = %s", "new_checkout"),
    "cursor in capitals": lambda: rows(UPDATE.upper()),
    "cursor with quotes": lambda: rows('UPDATE public."flagstaff_featureflag" SET enabled=true'),
    "cursor behind comments": lambda: rows(f"/* job=7 */ -- here\n {UPDATE}"),
    "cursor behind another statement": lambda: rows(f"SELECT 1; {UPDATE}"),
    "cursor with WITH": lambda: rows(f"WITH a AS ({UPDATE} RETURNING 1) SELECT * FROM a"),
    "cursor with many": lambda: connection.cursor().executemany(
        "INSERT INTO flagstaff_featureflag (key) VALUES (%s)", [["a"], ["b"]]
    ),
    "composed": lambda: connection.cursor().execute(
        sql.SQL("UPDATE {} SET enabled = true").format(sql.Identifier("flagstaff_featureflag"))
    ),
    "TRUNCATE": lambda: rows("TRUNCATE flagstaff_keyvaluestore, flagstaff_featureflag CASCADE"),
}


@BOTH
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_each_kind_of_write_is_attributed(write: Write, entries: Entries) -> None:
    rows("SET CONSTRAINTS ALL IMMEDIATE")
    with attributed(lambda: attribution("alice", source="web")):
        write()
    assert set(entries()) == {("alice", "web", None)}


@BOTH
def test_attribution_adds_no_counted_queries_and_changes_no_result(
    entries: Entries, client: Client, django_assert_num_queries: Any
) -> None:
    for current in (None, lambda: attribution("alice")):
        with attributed(current), django_assert_num_queries(2), connection.cursor() as cursor:
            set_enabled()
            cursor.execute("UPDATE flagstaff_featureflag SET rollout_percent = 1 RETURNING key")
            assert (cursor.rowcount, cursor.fetchall()) == (1, [("new_checkout",)])
    with django_assert_num_queries(1):
        client.get("/count/")


@BOTH
def test_statements_after_a_failed_one_are_refused(entries: Entries) -> None:
    with transaction.atomic(), attributed(lambda: attribution("alice")):
        with pytest.raises(IntegrityError):
            FeatureFlag.objects.create(key="new_checkout")
        with pytest.raises(TransactionManagementError):
            set_enabled()
        with pytest.raises(TransactionManagementError), acting_as("deploy"):
            pass
    assert entries() == []


@BOTH
def test_write_in_an_aborted_transaction_raises_the_servers_error(entries: Entries) -> None:
    with (
        suppress(ZeroDivisionError),
        transaction.atomic(),
        attributed(lambda: attribution("alice")),
    ):
        with pytest.raises(ProgrammingError):
            rows("UPDATE flagstaff_featureflag SET missing = 1")
        with pytest.raises(InternalError, match="current transaction is aborted"):
            set_enabled()
        raise ZeroDivisionError
    assert entries() == []


@COMMITTED
def test_failed_statement_in_autocommit_leaves_the_connection_usable(entries: Entries) -> None:
    with attributed(lambda: attribution("alice")):
        with pytest.raises(ProgrammingError):
            rows("UPDATE flagstaff_featureflag SET missing = 1")
        assert connection.in_atomic_block is False
        set_enabled()
    set_enabled(False)
    assert entries() == [("alice", None, None), NOT_ATTRIBUTED]


@COMMITTED
def test_statement_that_fails_at_commit_raises_integrity_error(entries: Entries) -> None:
    entry = FeatureFlag.allowed_users.through(featureflag=FeatureFlag.objects.get(), user_id=0)
    with attributed(lambda: attribution("alice")):
        with pytest.raises(IntegrityError):
            entry.save(force_insert=True)
        set_enabled()
    assert entries() == [("alice", None, None)]


@COMMITTED
def test_lost_or_closed_connection_raises_operational_error(entries: Entries) -> None:
    other = connection.copy()
    with other.cursor() as cursor, attributed(lambda: attribution("alice")):
        cursor.execute("SELECT 1")
        rows("SELECT pg_terminate_backend(%s)", other.connection.info.backend_pid)
        with pytest.raises(OperationalError):
            cursor.execute(UPDATE)
        other.close()
        with pytest.raises(OperationalError):
            cursor.execute(UPDATE)
    assert entries() == []


@COMMITTED
def test_transaction_begun_in_sql_stays_open(entries: Entries) -> None:
    with attributed(lambda: attribution("alice")):
        rows("BEGIN")
        set_enabled()
        rows("ROLLBACK")
    assert entries() == []


@COMMITTED
def test_write_without_autocommit_is_attributed_at_commit(entries: Entries) -> None:
    transaction.set_autocommit(False)
    try:
        with attributed(lambda: attribution("alice")):
            set_enabled()
            transaction.rollback()
            set_enabled()
            transaction.commit()
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    assert entries() == [("alice", None, None)]


@COMMITTED
def test_opened_connection_has_one_wrapper_beside_those_of_the_project() -> None:
    def pass_on(execute: Any, *arguments: Any) -> Any:
        return execute(*arguments)

    other = connection.copy()
    with other.execute_wrapper(pass_on), other.cursor() as cursor:
        cursor.execute("SELECT 1")
        ours = wrap_connection(other)
        assert other.execute_wrappers == [ours, pass_on]
    assert other.execute_wrappers == [ours]
    other.close()
    other.ensure_connection()
    assert other.execute_wrappers == [ours]
    other.close()


def write_as(actor: str | None) -> None:
    with attributed(None if actor is None else lambda: attribution(actor)):
        write()


def by(*actors: str | None) -> Write:
    """Writes once as each of these actors."""

    def step() -> None:
        for actor in actors:
            write_as(actor)

    return step


def in_sql(statement: str, actor: str | None = None) -> Write:
    """Executes a statement as an actor. Its own error is none of the test."""

    def step() -> None:
        with (
            nullcontext() if actor is None else attributed(lambda: attribution(actor)),
            suppress(ProgrammingError),
        ):
            rows(statement)

    return step


def rolled_back(actor: str | None) -> Write:
    """Writes in a block that is rolled back."""

    def step() -> None:
        with transaction.atomic():
            write_as(actor)
            transaction.set_rollback(True)

    return step


def acting(actor: str, *steps: Write) -> Write:
    """Runs steps in `acting_as`."""

    def step() -> None:
        with acting_as(actor):
            for inner_step in steps:
                inner_step()

    return step


def undo_to_a_savepoint() -> None:
    write_as("ann")
    # Its name since Django 6.1.
    create = getattr(transaction, "savepoint_create", transaction.savepoint)
    savepoint = create()
    write_as("bob")
    transaction.savepoint_rollback(savepoint)
    write_as("bob")


def fail_in_sql() -> None:
    write_as("ann")
    with suppress(IntegrityError), transaction.atomic(), acting_as("bob"):
        FeatureFlag.objects.create(key="new_checkout")
    write_as("bob")


IN_TURN = ["ann", "ann", "bob", None, "ann"]
SAVEPOINT, FAILED = in_sql("SAVEPOINT here"), in_sql("SELECT missing", "bob")
# As an SQL function writes, whose text does not show it.
UNSEEN = f"DO $$ BEGIN EXECUTE 'UP' || '{TOGGLE[2:]}'; END $$"
unseen = in_sql(UNSEEN)
# As COPY uses it.
driver: Write = lambda: connection.connection.execute(TOGGLE)  # noqa: E731


def write_in_a_pipeline() -> None:
    with connection.connection.pipeline():
        by(*IN_TURN)()


def write_and_read_in_a_pipeline() -> None:
    with connection.connection.pipeline(), connection.cursor() as cursor:
        for actor in IN_TURN:
            write_as(actor)
            cursor.execute("SELECT 1")
            cursor.fetchone()


def write_while_reading() -> None:
    for _flag in FeatureFlag.objects.iterator():
        by(*IN_TURN)()


def write_after_the_driver() -> None:
    for _transaction in range(2):
        with transaction.atomic():
            connection.connection.execute("SELECT 1")
            write_as("ann")


# Steps, and the actors of the entries that they write.
TRANSACTIONS: dict[str, tuple[list[Write], str]] = {
    "in turn": ([by(*IN_TURN)], "ann ann bob - ann"),
    "block rolled back, same actor": ([by("ann"), rolled_back("bob"), by("bob")], "ann bob"),
    "block rolled back, earlier actor": ([by("ann"), rolled_back("bob"), by("ann")], "ann ann"),
    "block rolled back, no actor": ([by("ann"), rolled_back("bob"), by(None)], "ann -"),
    "block without actor rolled back": ([by("ann"), rolled_back(None), by(None)], "ann -"),
    "block failed in SQL": ([fail_in_sql], "ann bob"),
    "savepoint rolled back": ([undo_to_a_savepoint], "ann bob"),
    "savepoint rolled back in SQL": (
        [by("ann"), SAVEPOINT, by("bob"), in_sql("/* job=7 */ rollback to here", "bob"), by("bob")],
        "ann bob",
    ),
    "savepoint rolled back after an error": (
        [by("ann"), SAVEPOINT, by("bob"), FAILED, in_sql("ROLLBACK TO here", "bob"), by("bob")],
        "ann bob",
    ),
    "block rolled back in acting_as": (
        [acting("ann", rolled_back("bob"), in_sql("SELECT"), unseen), by(None)],
        "ann -",
    ),
    "word rollback": (
        [by("ann"), in_sql(f"{TOGGLE} /* rollback */", "bob"), by(None)],
        "ann bob -",
    ),
    "functions": ([by("ann"), unseen, in_sql(UNSEEN, "bob")], "ann - bob"),
    "functions around acting_as": (
        [
            by("ann"),
            acting("bob", by("ann"), unseen, fail_as_robot, unseen, acting("ann", unseen), driver),
            unseen,
        ],
        "ann ann bob bob ann bob -",
    ),
    "function after an empty block": ([by("ann"), acting("bob"), unseen], "ann -"),
    "block of code": ([in_sql(f"DO $$ BEGIN {TOGGLE}; END $$", "ann")], "ann"),
    "pipeline": ([write_in_a_pipeline], "ann ann bob - ann"),
    "pipeline that reads": ([write_and_read_in_a_pipeline], "ann ann bob - ann"),
    "server-side cursor": ([write_while_reading], "ann ann bob - ann"),
}


@BOTH
@pytest.mark.parametrize(("steps", "actors"), TRANSACTIONS.values(), ids=TRANSACTIONS)
def test_each_write_of_a_transaction_has_its_own_actor(
    steps: list[Write], actors: str, entries: Entries
) -> None:
    for _ in range(2):
        with transaction.atomic():
            for step in steps:
                step()
        write()
        assert [actor or "-" for actor, _, _ in entries()] == [*actors.split(), "-"]


@COMMITTED
@pytest.mark.parametrize(
    ("run", "actors"),
    [
        (write_in_a_pipeline, IN_TURN),
        (write_and_read_in_a_pipeline, IN_TURN),
        (write_after_the_driver, ["ann", "ann"]),
    ],
)
def test_each_write_outside_a_transaction_has_its_own_actor(
    run: Write, actors: list[str | None], entries: Entries
) -> None:
    connection.ensure_connection()
    run()
    write()
    assert [actor for actor, _, _ in entries()] == [*actors, None]


@COMMITTED
@pytest.mark.parametrize(
    "statement",
    [
        f"DO $$ BEGIN {UPDATE}; COMMIT; END $$",
        "CREATE INDEX CONCURRENTLY extra ON flagstaff_featureflag (key) /* update */",
        "VACUUM flagstaff_featureflag /* update */",
    ],
)
def test_statement_that_refuses_a_transaction_block_succeeds_in_autocommit(
    statement: str, entries: Entries
) -> None:
    try:
        in_sql(statement, "ann")()
    finally:
        rows("DROP INDEX IF EXISTS extra")
    assert set(entries()) <= {NOT_ATTRIBUTED}


@COMMITTED
@pytest.mark.parametrize(("begin", "more"), [(nullcontext, [3, 3]), (transaction.atomic, [1, 0])])
def test_attribution_sends_few_statements(
    begin: Any, more: list[int], shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = shop.flag()
    sent: list[object] = []

    class CountingCursor(Cursor[Any]):
        def execute(self, query: Any, *arguments: Any, **options: Any) -> Any:
            sent.append(query)
            return super().execute(query, *arguments, **options)

    connection.ensure_connection()
    monkeypatch.setattr(connection.connection, "cursor_factory", CountingCursor)
    counts = []
    with begin(), attributed(lambda: attribution("alice")):
        for _ in more:
            sent.clear()
            flag.save()
            counts.append(len(sent) - 1)
    assert counts == more


#: What packages keep in the session, and the actor of a change.
SESSIONS: dict[str, tuple[dict[str, Any], str]] = {
    "hijack": ({"hijack_history": ["1"]}, "1 as 2"),
    "nested hijack": ({"hijack_history": ["1", "2"]}, "1 as 2"),
    "released hijack": ({"hijack_history": []}, "2"),
    "loginas": ({"loginas_from_user": TimestampSigner().sign("1")}, "1 as 2"),
    "forged loginas": ({"loginas_from_user": "1:forged"}, "2"),
}


@pytest.mark.parametrize(("kept", "actor"), SESSIONS.values(), ids=SESSIONS)
def test_operator_who_acts_as_a_user_is_recorded_with_the_user(
    kept: dict[str, Any], actor: str, entries: Entries, shop: Shop
) -> None:
    client = shop.client("bob")
    session = client.session
    session.update(kept)
    session.save()
    client.get("/count/")
    assert entries() == [(actor, "web", None)]


@pytest.mark.usefixtures("entries")
def test_operator_and_user_are_named_and_found(admin_client: Client) -> None:
    with acting_as("1 as 2"):
        set_enabled()
    for url in ("flagstaff_featureflag_changelist", "flagstaff_featureflag_changes"):
        assert "alice as bob" in Screen(admin_client.get(reverse(f"admin:{url}"))).text
    assert [event.actor for event in events(Change.objects.by("1 as 2"))] == ["1 as 2"]


@pytest.mark.usefixtures("entries")
@pytest.mark.parametrize(
    ("actor", "forgotten", "kept"),
    [
        ("7 as 6", "6", "7 as a deleted user"),
        ("7 as 6", "7", "a deleted user as 6"),
        ("71 as 7", "7", "71 as a deleted user"),
        ("79 as 7", "9", "79 as 7"),
        ("7", "7", None),
        ("Ann as Bea", "Ann as Bea", None),
    ],
)
def test_forgotten_user_leaves_the_other_of_two_users(
    actor: str, forgotten: str, kept: str | None
) -> None:
    with acting_as(actor):
        set_enabled()
        plans.create("new_checkout")
    assert forget_user(forgotten) == (actor != kept)
    assert Change.objects.latest("id").actor == kept
    assert {Plan.objects.get().actor, PlanEvent.objects.get().actor} == {kept or "a deleted user"}


def test_write_with_invalid_settings_succeeds_without_attribution(
    entries: Entries, settings: Any
) -> None:
    valid = settings.FLAGSTAFF
    settings.FLAGSTAFF = {"FLAG_MODEL": "no.Such"}
    with attributed(lambda: attribution("alice")):
        set_enabled()
    settings.FLAGSTAFF = valid
    assert entries() == [NOT_ATTRIBUTED]
