"""Look-ups of users: text or primary key to user, and user to name."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.db import connection, models

from flagstaff._tables import database
from flagstaff._tables.database import db
from flagstaff._tables.user_lookup import FoundUser, UserTable, actor_table, allowed_user_table
from flagstaff.exceptions import FlagstaffError, InvalidChangeError
from tests.support.apps.members.models import BigintMember, TextMember, UuidMember
from tests.support.models_of_others import model_of

UUID = uuid.UUID("abcdef01-1234-5678-1234-567812345678")
LONG = 2**63


def table_of(model: type[models.Model]) -> UserTable:
    """Creates the table of a user model."""
    with connection.schema_editor() as editor:
        editor.create_model(model)
    return UserTable(model._meta.pk, "default")


def table_with_alice(model: type[models.Model], pk: object) -> UserTable:
    table = table_of(model)
    model._base_manager.create(pk=pk, username="alice")
    return table


@pytest.fixture
def integers() -> UserTable:
    return table_with_alice(BigintMember, 42)


@pytest.fixture
def uuids() -> UserTable:
    return table_with_alice(UuidMember, UUID)


@pytest.fixture
def texts() -> UserTable:
    return table_with_alice(TextMember, "042")


@pytest.fixture
def nameless() -> UserTable:
    """A user model without USERNAME_FIELD."""
    model = model_of("Customer", {})
    table = table_of(model)
    model._base_manager.create(pk=42)
    return table


@pytest.fixture
def shared() -> UserTable:
    """A user model whose usernames are not unique."""
    name = models.CharField(max_length=20, null=True)
    model = model_of("Customer", {"nick": name, "USERNAME_FIELD": "nick"})
    table = table_of(model)
    rows = [(1, "alice"), (2, "bob"), (3, "bob"), (4, ""), (5, None)]
    model._base_manager.bulk_create(model(pk=pk, nick=nick) for pk, nick in rows)
    return table


# Parsing. It does not query.


@pytest.fixture
def queries_fail() -> Iterator[None]:
    def fail(*arguments: Any) -> None:
        pytest.fail("a query")

    with connection.execute_wrapper(fail):
        yield


# Values, and the primary key that each is; None if it is none.
PARSED: dict[type[models.Model], list[tuple[Any, Any]]] = {
    BigintMember: [
        *((42, 42), ("42", 42), ("042", 42), (" 42", 42), ("-1", -1), (LONG - 1, LONG - 1)),
        *((LONG, None), (str(LONG), None), ("9" * 5000, None), (-LONG - 1, None)),
        *(("", None), ("alice", None), ("4\0002", None), ("\ud800", None), ("1.0", None)),
        *((None, None), (True, None), (1.0, None), ([42], None), (UUID, None)),
    ],
    UuidMember: [
        *((UUID, UUID), (str(UUID), UUID), (UUID.hex, UUID), (str(UUID).upper(), UUID)),
        *(("alice", None), ("", None), ("\0", None), (None, None), (1.0, None), (True, None)),
    ],
    TextMember: [
        *(("042", "042"), (42, "42"), ("Zoë", "Zoë"), (None, None), (True, None), (1.0, None)),
        # PostgreSQL cannot store these.
        *(("\0", None), ("al\0ice", None), ("\ud800", None)),
    ],
}


@pytest.mark.usefixtures("queries_fail")
@pytest.mark.parametrize("model", PARSED)
def test_parse_returns_the_primary_key_or_none(model: type[models.Model]) -> None:
    table = UserTable(model._meta.pk, "default")
    assert [table.parse(value) for value, _ in PARSED[model]] == [pk for _, pk in PARSED[model]]


def test_parse_canonical_accepts_only_the_usual_spelling() -> None:
    integers, uuids = allowed_user_table(), UserTable(UuidMember._meta.pk, "default")
    assert integers.parse_canonical("42") == 42
    for text in ("042", " 42", "+42", "alice"):
        assert integers.parse_canonical(text) is None
    assert uuids.parse_canonical(str(UUID)) == UUID
    assert uuids.parse_canonical(UUID.hex) is None


@pytest.mark.usefixtures("queries_fail")
def test_pk_of_accepts_users_and_primary_keys_only() -> None:
    table = allowed_user_table()
    assert [table.pk_of(user) for user in (User(pk=42), 42, "42")] == [42, 42, 42]
    assert table.name_of(User(pk=1, username="alice")) == "alice"
    others: list[Any] = [User(), AnonymousUser(), "alice", None, LONG]
    for other in others:
        with pytest.raises(InvalidChangeError) as error:
            table.pk_of(other)
        assert str(error.value) == f"{other!r} is neither a user nor a primary key of one"
    group: Any = Group(pk=1)
    with pytest.raises(InvalidChangeError, match="a Group is not a user"):
        table.pk_of(group)


def test_pks_of_accepts_one_user_or_many_without_duplicates() -> None:
    table = allowed_user_table()
    assert table.pks_of(42) == table.pks_of("42") == table.pks_of(User(pk=42)) == [42]
    assert table.pks_of([3, "1", User(pk=3), 2]) == [3, 1, 2]
    assert table.pks_of(iter([])) == []


def test_existing_returns_primary_keys_that_users_have(
    integers: UserTable, uuids: UserTable, texts: UserTable
) -> None:
    assert integers.existing([41, 42]) == {42}
    assert uuids.existing([UUID, uuid.uuid4()]) == {UUID}
    assert texts.existing(["042", "42"]) == {"042"}
    assert integers.existing([]) == set()
    assert integers.require(iter([42])) == {42}


def test_require_of_missing_users_names_some_of_them(integers: UserTable) -> None:
    with pytest.raises(InvalidChangeError) as error:
        integers.require([42, *range(1, 9)])
    assert str(error.value) == (
        "no user has the primary key 1, 2, 3, 4, 5 and 3 more; nothing was changed"
    )


def test_look_ups_of_many_users_are_split_into_batches(
    integers: UserTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    BigintMember._base_manager.bulk_create(
        BigintMember(pk=pk, username=f"u{pk}") for pk in range(1, 8)
    )
    monkeypatch.setattr(database, "_MAX_PER_STATEMENT", 3)
    assert list(db.batches(range(7))) == [[0, 1, 2], [3, 4, 5], [6]]
    assert integers.existing(range(9)) == set(range(1, 8))
    assert integers.by_username(f"u{pk}" for pk in range(9))[0] == {
        f"u{pk}": pk for pk in range(1, 8)
    }
    assert len(integers.unique_usernames(range(9))) == 7
    assert len(integers.names(map(str, range(9)))) == 7


def test_find_by_key_accepts_any_spelling_of_a_number_or_uuid(
    integers: UserTable, uuids: UserTable, texts: UserTable
) -> None:
    for text in ("42", "042"):
        assert integers.find(text) == FoundUser(42, "alice", "primary key")
    for text in (str(UUID), UUID.hex):
        assert uuids.find(text) == FoundUser(UUID, "alice", "primary key")
    assert texts.find("042") == FoundUser("042", "alice", "primary key")
    assert texts.find("42") == FoundUser("42", None, None)
    assert integers.find("7") == FoundUser(7, None, None)


def test_find_by_username_returns_the_user_and_prefers_the_primary_key(
    integers: UserTable, uuids: UserTable, texts: UserTable
) -> None:
    assert integers.find("alice") == FoundUser(42, "alice", "username")
    assert uuids.find("alice") == FoundUser(UUID, "alice", "username")
    assert texts.find("alice") == FoundUser("042", "alice", "username")
    BigintMember._base_manager.create(pk=43, username="42")
    assert integers.find("42").pk == 42
    BigintMember._base_manager.create(pk=44, username="7")
    assert integers.find("7") == FoundUser(44, "7", "username")


def test_find_of_an_unknown_name_raises(integers: UserTable) -> None:
    for text in ("carol", "", "al\0ice", "\ud800", str(LONG)):
        with pytest.raises(FlagstaffError) as error:
            integers.find(text)
        assert str(error.value) == f"no user has the primary key or username {text!r}"


def test_shared_username_names_no_user(shared: UserTable) -> None:
    with pytest.raises(FlagstaffError, match="several users have the nick 'bob'; use a primary"):
        shared.find("bob")
    assert shared.find_many(["alice", "bob", "1"]) == {"alice": 1, "1": 1}
    assert shared.by_username(["alice", "bob", "carol"]) == ({"alice": 1}, {"bob"})
    # Empty ones neither.
    assert shared.unique_usernames([1, 2, 3, 4, 5, 6]) == {1: "alice"}
    assert shared.unique_usernames([2]) == {}


def test_model_without_username_field_has_primary_keys_only(nameless: UserTable) -> None:
    assert nameless.find("42") == FoundUser(42, "42", "primary key")
    with pytest.raises(FlagstaffError, match="no user has the primary key 'alice'"):
        nameless.find("alice")
    assert nameless.find_many(["42", "alice"]) == {"42": 42}
    assert nameless.by_username(["alice"]) == ({}, set())
    assert nameless.unique_usernames([42]) == {}
    assert nameless.names(["42", "43"]) == {"42": "42"}


def test_find_many_returns_users_by_the_text_that_named_them(integers: UserTable) -> None:
    BigintMember._base_manager.create(pk=43, username="7")
    users = integers.find_many(["42", "042", "alice", "7", "8", "carol", "a\0", "\ud800", "42"])
    assert users == {"42": 42, "042": 42, "alice": 42, "7": 43}


def test_names_need_the_usual_spelling_of_a_key(
    integers: UserTable, uuids: UserTable, texts: UserTable
) -> None:
    assert integers.names(["42", str(LONG), "\0"]) == {"42": "alice"}
    assert integers.names(["042", "deploy"]) == {}
    assert uuids.names([str(UUID), UUID.hex]) == {str(UUID): "alice"}
    assert texts.names(["042", "42", "\0"]) == {"042": "alice"}


class ReplicaRouter:
    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "replica"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"


def test_tables_use_the_database_that_is_written_to(settings: Any) -> None:
    settings.DATABASE_ROUTERS = [ReplicaRouter()]
    assert allowed_user_table().database == "default"
    assert actor_table().database == "default"
    assert allowed_user_table().rows.db == "default"
