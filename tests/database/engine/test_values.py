"""get_value returns the ORM's value, of the same type; lists and dicts are new objects."""

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
from tests.support.apps.stores.models import DecimalStore, LoudStore, TextStore

pytestmark = pytest.mark.django_db
# The engine has its own connection and sees only committed rows. `available_apps` makes Django's
# flush faster.
COMMITTED = pytest.mark.django_db(transaction=True, available_apps=settings.INSTALLED_APPS)
# A query takes a hundred times as long as a read from memory.
VALUES = {"memory": 10_000, "snapshot": 10_000, "database": 2_000}
LETTERS = "abc 0129_-.\"'\\/\b\f\n\r\t\x01\x1f\x7f\u2028äß€新🛒𝄞\u0301\u200d"

Start = Callable[[], None]


def some_text() -> str:
    return "".join(random.choices(LETTERS, k=random.randrange(12)))


def some_number() -> int | float:
    sign = random.choice([1, -1])
    bits = random.choice([1, 8, 31, 32, 53, 62, 63, 64, 65, 200, 1000])
    floats = [0.0, 1.0, 1e22, 1e23, 5e-324, 1.7976931348623157e308, random.random(), 0.1 + 0.2]
    return sign * random.choice([random.getrandbits(bits), 2**63, 2**63 - 1, *floats])


def some_json(depth: int = 4) -> Any:
    """Any JSON value; plain and unusual ones are equally frequent."""
    if depth and random.random() < 0.4:
        items = [some_json(depth - 1) for _ in range(random.randrange(4))]
        return items if random.random() < 0.5 else {some_text(): item for item in items}
    texts = ["", "1", "null", "true", "NaN", "[]", '"', some_text(), some_text()]
    plain: list[object] = [None, True, False, [], {}]
    return random.choice([random.choice(plain), random.choice(texts), some_number()])


def exact_text(value: Any) -> str:
    """A text that differs for values that Python calls equal, such as 1, 1.0 and True."""
    return repr(value)


@pytest.fixture(params=[pytest.param("memory", marks=COMMITTED), "database", "snapshot"])
def start_mode(request: pytest.FixtureRequest, db: None) -> Iterator[Start]:
    """All evaluation modes. Call it after the values are created."""
    if request.param == "memory":
        with live_engine():
            yield refresh
    elif request.param == "database":
        yield lambda: None
    else:
        # One query for the whole table instead of one for each value.
        with pytest.MonkeyPatch.context() as patch:
            module = sys.modules[__name__]
            yield lambda: patch.setattr(module, "get_value", snapshot().get_value)


def insert(key: str, json: str | None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO flagstaff_keyvaluestore (key, value) VALUES (%s, %s)", [key, json]
        )


def test_thousands_of_random_values_equal_the_orms(
    start_mode: Start, request: pytest.FixtureRequest
) -> None:
    count = VALUES[request.node.callspec.params["start_mode"]]
    rows = [KeyValueStore(key=f"key {n}", value=some_json()) for n in range(count)]
    for row in rows:
        row.value = Value(None, JSONField()) if row.value is None else row.value
    KeyValueStore.objects.bulk_create(rows)
    start_mode()
    stored = dict(KeyValueStore.objects.values_list("key", "value"))
    differing = {
        key: (found, value)
        for key, value in stored.items()
        if exact_text(found := get_value(key, default="missing")) != exact_text(value)
    }
    assert (len(stored), differing) == (count, {})


NUMBERS = ["0", "-0", "-0.0", "1.0", "1E+2", "1e400", "-1e400", "1e-400", "0.10", "100000.000"]
LIMITS = [str(sign * 2**63 + near) for sign in (1, -1) for near in (-1, 0, 1)]
TEXTS = ['""', '"\\u0001"', '"\\ud83e\\udd80"', '"1"', '"null"', '"\\\\u0041"', '" "', '"/"']
OTHERS = ["null", "true", "false", "[]", "{}", "[null]", '{"": ""}', '{"a": 1, "a": 2.0}']
DEEP = ["[" * 300 + "]" * 300, '{"a":' * 300 + "1" + "}" * 300]


@pytest.mark.parametrize("text", [*NUMBERS, *LIMITS, *TEXTS, *OTHERS, *DEEP], ids=lambda t: t[:24])
def test_value_written_by_sql_equals_the_orms(text: str) -> None:
    insert("odd", text)
    expected = KeyValueStore.objects.get(key="odd").value
    for read in (get_value, snapshot().get_value):
        found = read("odd", default="missing")
        assert (type(found), exact_text(found)) == (type(expected), exact_text(expected))


@COMMITTED
def test_values_written_by_sql_equal_the_orms_in_memory(subtests: pytest.Subtests) -> None:
    for number, text in enumerate([*NUMBERS, *LIMITS, *TEXTS, *OTHERS, *DEEP]):
        insert(f"{number}: {text[:24]}", text)
    with live_engine():
        for key, expected in KeyValueStore.objects.values_list("key", "value"):
            with subtests.test(key):
                found = get_value(key, default="missing")
                assert (type(found), exact_text(found)) == (type(expected), exact_text(expected))


def test_json_null_is_a_value(start_mode: Start) -> None:
    insert("nothing", "null")
    start_mode()
    assert get_value("nothing", default="stripe") is None


def test_sql_null_is_none_as_in_the_orm(start_mode: Start) -> None:
    with nullable("value"):
        insert("nothing", None)
        start_mode()
        assert KeyValueStore.objects.get().value is None
        assert get_value("nothing", default="stripe") is None
        KeyValueStore.objects.all().delete()


class nullable:  # noqa: N801 (used like a function)
    """The value table, with a column that may be NULL."""

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


def test_missing_value_returns_the_default_object(start_mode: Start) -> None:
    start_mode()
    default = ["stripe"]
    assert get_value("payment_gateway") is None
    assert get_value("payment_gateway", default) is default
    assert get_value("payment_gateway", default=default) is default


@pytest.mark.parametrize(
    "key",
    ["with space", "with:colon", "Größe", "🛒", "k" * 255, "", "a.b", 'quoted "key"', "50%"],
)
def test_key_of_a_value_may_be_any_text(start_mode: Start, key: str) -> None:
    KeyValueStore.objects.create(key=key, value=1)
    start_mode()
    assert get_value(key) == 1
    assert get_value(f"{key} ") is None


@pytest.mark.parametrize("value", [[1, [2]], {"a": {"b": []}}], ids=["list", "dict"])
def test_mutation_of_a_result_does_not_change_the_value(start_mode: Start, value: Any) -> None:
    KeyValueStore.objects.create(key="gateways", value=value)
    start_mode()
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
    """A project's own value model with a custom field."""
    model: type[Model] = request.param
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "tests.system.adoption.article.common"]
    settings.FLAGSTAFF = {"VALUE_MODEL": model._meta.label}
    with connection.schema_editor() as editor:
        editor.create_model(model)
    yield model
    with connection.schema_editor() as editor:
        editor.delete_model(model)


ODD = [1, 1.5, 2.0, "quiet", [1.25, {"a": 0.1}], True, None, 10**30, "", {"a": "quiet"}]


def assert_equal_to_the_orm(model: type[Model]) -> None:
    current = snapshot()
    for key, expected in model._default_manager.values_list("key", "value"):
        for read in (get_value, current.get_value):
            found = read(key, default="missing")
            assert (type(found), exact_text(found)) == (type(expected), exact_text(expected))


@pytest.mark.django_db(transaction=True)
def test_decoder_of_a_custom_field_is_used(store: Any) -> None:
    is_json = store is not TextStore
    values = [Value(None, JSONField()) if value is None else value for value in ODD]
    for number, value in enumerate(values):
        store.objects.create(key=str(number), value=value if is_json else repr(value))
    assert_equal_to_the_orm(store)
    with live_engine():
        assert_equal_to_the_orm(store)


UNDECODABLE = {"digits": "1e5000", "list of digits": "[1e5000]", "depth": "[" * 501 + "]" * 501}


@pytest.mark.parametrize("text", UNDECODABLE.values(), ids=UNDECODABLE)
def test_value_that_python_cannot_decode_is_absent(start_mode: Start, text: str) -> None:
    insert("limit", text)
    start_mode()
    assert get_value("limit", "default") == "default"
    assert snapshot().get_value("limit", "default") == "default"


def test_longest_number_and_deepest_nesting_are_returned(start_mode: Start) -> None:
    insert("digits", "1e4299")
    insert("depth", "[" * 500 + "]" * 500)
    start_mode()
    assert get_value("digits") == 10**4299
    assert str(get_value("depth")) == "[" * 500 + "]" * 500
