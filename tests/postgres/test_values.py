"""get_value gives what the ORM gives: the same value, of the same type, and a fresh one."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.db.models import JSONField, Model, Value
from pytest_django import Settings

from flagstaff import get_value, refresh, snapshot
from flagstaff.models import KeyValueStore
from flagstaff.testing import live_engine
from tests.apps.stores.models import DecimalStore, LoudStore, TextStore

pytestmark = pytest.mark.django_db
# The engine has a connection of its own and sees what is committed. To name the apps saves the
# work that Django does after emptying the tables of all.
COMMITTED = pytest.mark.django_db(transaction=True, available_apps=settings.INSTALLED_APPS)
# A look at the database costs a hundred times as much as one at the memory.
VALUES = {"memory": 10_000, "moment": 10_000, "database": 2_000}
LETTERS = "abc 0129_-.\"'\\/\b\f\n\r\t\x01\x1f\x7f\u2028äß€新🛒𝄞\u0301\u200d"

Ready = Callable[[], None]


def some_text() -> str:
    return "".join(random.choices(LETTERS, k=random.randrange(12)))


def some_number() -> int | float:
    sign = random.choice([1, -1])
    bits = random.choice([1, 8, 31, 32, 53, 62, 63, 64, 65, 200, 1000])
    floats = [0.0, 1.0, 1e22, 1e23, 5e-324, 1.7976931348623157e308, random.random(), 0.1 + 0.2]
    return sign * random.choice([random.getrandbits(bits), 2**63, 2**63 - 1, *floats])


def some_json(depth: int = 4) -> Any:
    """Any JSON value, the plain ones and the odd ones as often."""
    if depth and random.random() < 0.4:
        items = [some_json(depth - 1) for _ in range(random.randrange(4))]
        return items if random.random() < 0.5 else {some_text(): item for item in items}
    texts = ["", "1", "null", "true", "NaN", "[]", '"', some_text(), some_text()]
    plain: list[object] = [None, True, False, [], {}]
    return random.choice([random.choice(plain), random.choice(texts), some_number()])


def written(value: Any) -> str:
    """A text that tells apart what Python calls equal, such as 1, 1.0 and True."""
    return repr(value)


@pytest.fixture(params=[pytest.param("memory", marks=COMMITTED), "database", "moment"])
def answered_from(request: pytest.FixtureRequest, db: None) -> Iterator[Ready]:
    """All ways to an answer. Call it when the values are made."""
    if request.param == "memory":
        with live_engine():
            yield refresh
    elif request.param == "database":
        yield lambda: None
    else:
        # One look at the whole table instead of one for each question.
        with pytest.MonkeyPatch.context() as patch:
            module = sys.modules[__name__]
            yield lambda: patch.setattr(module, "get_value", snapshot().get_value)


def insert(key: str, json: str | None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO flagstaff_keyvaluestore (key, value) VALUES (%s, %s)", [key, json]
        )


def test_thousands_of_random_values_are_the_orms(
    answered_from: Ready, request: pytest.FixtureRequest
) -> None:
    count = VALUES[request.node.callspec.params["answered_from"]]
    rows = [KeyValueStore(key=f"key {n}", value=some_json()) for n in range(count)]
    for row in rows:
        row.value = Value(None, JSONField()) if row.value is None else row.value
    KeyValueStore.objects.bulk_create(rows)
    answered_from()
    stored = dict(KeyValueStore.objects.values_list("key", "value"))
    differing = {
        key: (found, value)
        for key, value in stored.items()
        if written(found := get_value(key, default="missing")) != written(value)
    }
    assert (len(stored), differing) == (count, {})


NUMBERS = ["0", "-0", "-0.0", "1.0", "1E+2", "1e400", "-1e400", "1e-400", "0.10", "100000.000"]
LIMITS = [str(sign * 2**63 + near) for sign in (1, -1) for near in (-1, 0, 1)]
TEXTS = ['""', '"\\u0001"', '"\\ud83e\\udd80"', '"1"', '"null"', '"\\\\u0041"', '" "', '"/"']
OTHERS = ["null", "true", "false", "[]", "{}", "[null]", '{"": ""}', '{"a": 1, "a": 2.0}']
DEEP = ["[" * 300 + "]" * 300, '{"a":' * 300 + "1" + "}" * 300]


@pytest.mark.parametrize("text", [*NUMBERS, *LIMITS, *TEXTS, *OTHERS, *DEEP], ids=lambda t: t[:24])
def test_value_written_by_sql_is_the_orms(text: str) -> None:
    insert("odd", text)
    expected = KeyValueStore.objects.get(key="odd").value
    for ask in (get_value, snapshot().get_value):
        found = ask("odd", default="missing")
        assert (type(found), written(found)) == (type(expected), written(expected))


@COMMITTED
def test_values_written_by_sql_are_the_orms_in_memory(subtests: pytest.Subtests) -> None:
    for number, text in enumerate([*NUMBERS, *LIMITS, *TEXTS, *OTHERS, *DEEP]):
        insert(f"{number}: {text[:24]}", text)
    with live_engine():
        for key, expected in KeyValueStore.objects.values_list("key", "value"):
            with subtests.test(key):
                found = get_value(key, default="missing")
                assert (type(found), written(found)) == (type(expected), written(expected))


def test_null_is_a_value_and_not_a_missing_one(answered_from: Ready) -> None:
    insert("nothing", "null")
    answered_from()
    assert get_value("nothing", default="stripe") is None


def test_null_of_sql_is_none_as_the_orm_has_it(answered_from: Ready) -> None:
    with nullable("value"):
        insert("nothing", None)
        answered_from()
        assert KeyValueStore.objects.get().value is None
        assert get_value("nothing", default="stripe") is None
        KeyValueStore.objects.all().delete()


class nullable:  # noqa: N801 (used like a function)
    """The table of the values, with a column that may be NULL."""

    def __init__(self, column: str) -> None:
        self.column = column

    def __enter__(self) -> None:
        self._alter("DROP")

    def __exit__(self, *error: object) -> None:
        self._alter("SET")

    def _alter(self, verb: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                f"ALTER TABLE flagstaff_keyvaluestore ALTER {self.column} {verb} NOT NULL"
            )


def test_missing_value_is_the_default_itself(answered_from: Ready) -> None:
    answered_from()
    default = ["stripe"]
    assert get_value("payment_gateway") is None
    assert get_value("payment_gateway", default) is default
    assert get_value("payment_gateway", default=default) is default


@pytest.mark.parametrize(
    "key",
    ["with space", "with:colon", "Größe", "🛒", "k" * 255, "", "a.b", 'quoted "key"', "50%"],
)
def test_key_of_a_value_may_be_any_text(answered_from: Ready, key: str) -> None:
    KeyValueStore.objects.create(key=key, value=1)
    answered_from()
    assert get_value(key) == 1
    assert get_value(f"{key} ") is None


@pytest.mark.parametrize("value", [[1, [2]], {"a": {"b": []}}], ids=["list", "dict"])
def test_change_of_what_was_given_is_seen_by_nobody_else(answered_from: Ready, value: Any) -> None:
    KeyValueStore.objects.create(key="gateways", value=value)
    answered_from()
    first = get_value("gateways")
    first.clear()
    second = get_value("gateways")
    assert second == value
    for inner in second.values() if isinstance(second, dict) else second[1:]:
        inner.clear()
    assert get_value("gateways") == value


@pytest.fixture(params=[DecimalStore, LoudStore, TextStore])
def store(
    request: pytest.FixtureRequest, transactional_db: None, settings: Settings
) -> Iterator[type[Model]]:
    """A value model of the project's own, whose field reads in its own way."""
    model: type[Model] = request.param
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "tests.apps.stores"]
    settings.FLAGSTAFF = {"VALUE_MODEL": model._meta.label}
    with connection.schema_editor() as editor:
        editor.create_model(model)
    yield model
    with connection.schema_editor() as editor:
        editor.delete_model(model)


ODD = [1, 1.5, 2.0, "quiet", [1.25, {"a": 0.1}], True, None, 10**30, "", {"a": "quiet"}]


def assert_the_orms(model: type[Model]) -> None:
    moment = snapshot()
    for key, expected in model._default_manager.values_list("key", "value"):
        for ask in (get_value, moment.get_value):
            found = ask(key, default="missing")
            assert (type(found), written(found)) == (type(expected), written(expected))


@pytest.mark.django_db(transaction=True)
def test_field_with_a_decoder_of_its_own_is_heard(store: Any) -> None:
    is_json = store is not TextStore
    values = [Value(None, JSONField()) if value is None else value for value in ODD]
    for number, value in enumerate(values):
        store.objects.create(key=str(number), value=value if is_json else repr(value))
    assert_the_orms(store)
    with live_engine():
        assert_the_orms(store)
