"""Which users are accepted, and which text of them is hashed. The flag is a stub: no database."""

import asyncio
import enum
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import SynchronousOnlyOperation
from django.db import models
from django.test.utils import isolate_apps
from django.utils.functional import LazyObject, SimpleLazyObject
from django.utils.safestring import mark_safe

from flagstaff import _log, explain, flag_enabled
from flagstaff._engine import direct, users
from flagstaff._engine.direct import NotReadyError
from tests.support.buckets import bucket_of

#: Enabled, and the rollout in percent.
Row = tuple[bool, int]
SOME_UUID = uuid.UUID("6fa459ea-ee8a-3ca4-894e-db77e160355e")


class StubTable:
    """One flag, and its allowed users."""

    def __init__(self) -> None:
        self.row: Row | None = (True, 50)
        self.allowed: set[str] = set()

    def select(self, *queries: tuple[str, list[str]]) -> list[list[tuple[object, ...]]]:
        """Returns segments, flags, allowed users, and no rows of the other queries."""
        _segments, (_flags, keys), _allowed, *others = queries
        flags: list[tuple[object, ...]] = []
        if self.row is not None:
            flags.append((1, *keys, *self.row, False, None, None))
        return [[], flags, [(1, user) for user in self.allowed], *([] for _ in others)]


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> StubTable:
    table = StubTable()
    monkeypatch.setattr(direct, "select", table.select)
    monkeypatch.setattr(direct, "key_to_text", lambda: str)
    return table


class Number(int):
    """An integer with its own text."""

    def __str__(self) -> str:
        return f"no. {int(self)}"


class Word(str):
    __slots__ = ()

    def __str__(self) -> str:
        return self.upper()


class Ticket(uuid.UUID):
    def __str__(self) -> str:
        return f"ticket {self.hex}"


class Level(enum.IntEnum):
    GOLD = 7


class Slotted:
    __slots__ = ("pk",)

    def __init__(self, pk: object) -> None:
        self.pk = pk


class Computed:
    @property
    def pk(self) -> str:
        return "computed"


class Wrapper:
    """Gets its primary key by `__getattr__`, as a wrapper of a user does."""

    def __getattr__(self, name: str) -> object:
        return {"pk": 42}[name]


class Session(LazyObject):  # type: ignore[type-arg]
    def _setup(self) -> None:
        self._wrapped = User(pk=42)


with isolate_apps("django.contrib.auth"):

    class Staff(User):
        class Meta:
            app_label = "auth"
            proxy = True

    class Merchant(User):
        shop = models.TextField()

        class Meta:
            app_label = "auth"

    class Guest(models.Model):  # noqa: DJ008
        """A user whose primary key is a foreign key."""

        account = models.OneToOneField(User, models.CASCADE, primary_key=True)

        class Meta:
            app_label = "auth"

    class Aliased(models.Model):  # noqa: DJ008
        """A user with its own `pk` property."""

        id = models.BigAutoField(primary_key=True)
        pk = property(lambda self: f"alias {self.id}")

        class Meta:
            app_label = "auth"


USERS: dict[str, tuple[Any, str]] = {
    "an int": (42, "42"),
    "zero": (0, "0"),
    "a negative int": (-42, "-42"),
    "an int past 64 bits": (2**64, "18446744073709551616"),
    "an int of 300 digits": (10**300, "1" + "0" * 300),
    "an int with its own text": (Number(42), "no. 42"),
    "a member of an enumeration": (Level.GOLD, str(Level.GOLD)),
    "a text": ("alice", "alice"),
    "an empty text": ("", ""),
    "a text with a zero byte": ("a\0b", "a\0b"),
    "an astral text": ("🦀", "🦀"),
    "a long text": ("u" * 10_000, "u" * 10_000),
    "a text with its own text": (Word("alice"), "ALICE"),
    "a safe text of a template": (mark_safe("alice"), "alice"),
    "a UUID": (SOME_UUID, "6fa459ea-ee8a-3ca4-894e-db77e160355e"),
    "the least UUID": (uuid.UUID(int=0), "00000000-0000-0000-0000-000000000000"),
    "the greatest UUID": (uuid.UUID(int=2**128 - 1), "ffffffff-ffff-ffff-ffff-ffffffffffff"),
    "a UUID made from capitals": (uuid.UUID(str(SOME_UUID).upper()), str(SOME_UUID)),
    "a UUID with its own text": (Ticket(int=1), f"ticket {1:032x}"),
    "a user": (User(pk=42), "42"),
    "a user whose key is a text": (User(pk="042"), "042"),
    "a proxy": (Staff(pk=42), "42"),
    "a user with multi-table inheritance": (Merchant(pk=42), "42"),
    "a user with the parent's key alone": (Merchant(user_ptr_id=42), "42"),
    "a user whose key is a foreign key": (Guest(account_id=42), "42"),
    "a user with its own pk property": (Aliased(id=7), "alias 7"),
    "an object with a UUID": (Slotted(SOME_UUID), str(SOME_UUID)),
    "an object with a key in its dict": (SimpleNamespace(pk=42), "42"),
    "an object with a computed key": (Computed(), "computed"),
    "an object that wraps a user": (Wrapper(), "42"),
    "an object with a decimal": (Slotted(Decimal("1.50")), "1.50"),
    "a lazy object of another class": (Session(), "42"),
    "a lazy user": (SimpleLazyObject(lambda: User(pk=42)), "42"),
}


@pytest.mark.parametrize(("user", "text"), USERS.values(), ids=USERS)
def test_text_of_the_key_is_hashed_and_looked_up(table: StubTable, user: Any, text: str) -> None:
    for form in (user, SimpleLazyObject(lambda: user)):
        explained = explain("new_checkout", form)
        assert (explained.bucket, explained.value) == (
            bucket_of("new_checkout", text),
            bucket_of("new_checkout", text) < 50,
        )
        assert flag_enabled("new_checkout", form) is explained.value
    table.row, table.allowed = (True, 1), {text}
    assert flag_enabled("new_checkout", user)
    assert explain("new_checkout", user).reason == "TARGETING_MATCH"


ANONYMOUS = {
    "None": None,
    "an anonymous user": AnonymousUser(),
    "an unsaved user": User(),
    "an unsaved user with multi-table inheritance": Merchant(),
    "an object without a key yet": Slotted(None),
    "a lazy None": SimpleLazyObject(lambda: None),
    "a lazy anonymous user": SimpleLazyObject(AnonymousUser),
    "a lazy unsaved user": SimpleLazyObject(User),
    "a text that UTF-8 cannot encode": "\ud800",
    "a text of a subclass that UTF-8 cannot encode": Word("\udfff"),
    "a user whose key UTF-8 cannot encode": Slotted("a\ud800b"),
    "an int that Python refuses to print": 10**5_000,
    "a user whose key Python refuses to print": Slotted(-(10**5_000)),
    "a lazy int that Python refuses to print": SimpleLazyObject(lambda: 10**5_000),
}


@pytest.mark.parametrize("user", ANONYMOUS.values(), ids=ANONYMOUS)
def test_user_without_a_key_is_anonymous(table: StubTable, user: Any) -> None:
    table.allowed = {"None", ""}
    explained = explain("new_checkout", user)
    assert (explained.value, explained.reason, explained.bucket) == (False, "DEFAULT", None)
    assert not flag_enabled("new_checkout", user)


def test_key_assigned_later_is_used() -> None:
    user = User()
    assert explain("new_checkout", user).bucket is None
    user.pk = 42
    assert explain("new_checkout", user).bucket == bucket_of("new_checkout", "42")
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(explain, "new_checkout", user).result().bucket == bucket_of(
            "new_checkout", "42"
        )


def test_more_user_types_than_the_cache_holds_are_evaluated() -> None:
    for number in range(40):
        made = type(f"User{number}", (), {"pk": number})()
        assert explain("new_checkout", made).bucket == bucket_of("new_checkout", str(number))
        assert explain("new_checkout", Slotted(number)).bucket == bucket_of(
            "new_checkout", str(number)
        )


class BrokenUserError(Exception):
    pass


class Broken:
    @property
    def pk(self) -> int:
        raise BrokenUserError


class Unprintable(int):
    def __str__(self) -> str:
        raise BrokenUserError


@pytest.mark.parametrize("user", [Broken(), SimpleLazyObject(Broken), Unprintable(42)], ids=type)
def test_error_of_a_pk_or_of_an_integers_own_text_propagates(user: Any) -> None:
    with pytest.raises(BrokenUserError):
        flag_enabled("new_checkout", user)


WRONG: dict[str, Any] = {
    "bool": True,
    "float": 42.0,
    "list": [42],
    "tuple": (42,),
    "dict": {"pk": 42},
    "set": {42},
    "bytes": b"42",
    "complex": 42j,
    "Decimal": Decimal(42),
    "object": object(),
    "function": test_key_assigned_later_is_used,
    "ModelBase": User,
}


@pytest.mark.parametrize(("name", "wrong"), WRONG.items(), ids=WRONG)
def test_wrong_type_raises_for_every_state_of_the_flag(
    table: StubTable, name: str, wrong: Any
) -> None:
    states: list[Row | None] = [(True, 50), (True, 100), (False, 50), None]
    for table.row in states:
        for function in (flag_enabled, explain):
            with pytest.raises(TypeError) as caught:
                function("new_checkout", wrong)
            assert str(caught.value) == (
                "user must be a user, the primary key of one (int, str or uuid.UUID) or None, "
                f"not {name}"
            )


@pytest.mark.parametrize("wrong", [True, 42.0, [42]])
def test_wrong_type_in_a_lazy_object_raises_when_it_is_read(table: StubTable, wrong: Any) -> None:
    lazy = SimpleLazyObject(lambda: wrong)
    with pytest.raises(TypeError, match=rf"^user must be .*, not {type(wrong).__name__}$"):
        flag_enabled("new_checkout", lazy)
    table.row = (False, 50)
    assert not flag_enabled("new_checkout", lazy)


def test_rows_that_cannot_be_read_return_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(*_queries: object) -> object:
        raise NotReadyError

    monkeypatch.setattr(direct, "select", unreadable)
    assert flag_enabled("new_checkout", 42, default=True)
    assert explain("new_checkout", 42).error_code == "PROVIDER_NOT_READY"


@pytest.fixture
def _texts_are_compared(settings: Any) -> None:
    """As after the start of the process."""
    settings.FLAGSTAFF = {}
    _log.after_fork()


@pytest.mark.usefixtures("_texts_are_compared")
@pytest.mark.parametrize(
    "texts", [["alice", "bob"], ["42", "alice"], ["-1", "alice@example.com"], ["42b", "-"]]
)
def test_text_that_cannot_be_a_primary_key_warns_once_without_the_text(
    texts: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    for text in [*texts, *texts]:
        assert flag_enabled("new_checkout", text) is (bucket_of("new_checkout", text) < 50)
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert "cannot be a primary key of auth.User (AutoField)" in record.message
    assert "alice" not in record.message


@pytest.mark.usefixtures("_texts_are_compared")
def test_text_that_can_be_a_primary_key_a_tenant_or_that_of_an_object_does_not_warn(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for user in ("42", "-42", "tenant:42", SimpleNamespace(pk="alice"), SOME_UUID):
        flag_enabled("new_checkout", user)
    # Where primary keys are texts.
    monkeypatch.setattr(users, "user_field", lambda _model: models.CharField())
    flag_enabled("new_checkout", "alice")
    assert not caplog.records


def test_lazy_user_in_an_event_loop_raises_the_error_of_django_with_what_to_call() -> None:
    async def evaluate() -> bool:
        return flag_enabled("new_checkout", SimpleLazyObject(lambda: User.objects.get(pk=1)))

    with pytest.raises(SynchronousOnlyOperation) as error:
        asyncio.run(evaluate())
    notes = getattr(error.value, "__notes__", []) if sys.version_info >= (3, 11) else []
    text = "\n".join([str(error.value), *notes])
    assert text.startswith("You cannot call this from an async context")
    assert text.count("await request.flags.aenabled(") == 1
