"""The rule of a value: changes, SQL, the history, undo, files and commands."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import transaction

from flagstaff import changes, get_value
from flagstaff.exceptions import InvalidChangeError
from flagstaff.models import KeyValueStore
from tests.support.sql import rows
from tests.support.terminals import document, run

pytestmark = pytest.mark.django_db
# Each change is a transaction of its own, as in production.
COMMITTED = pytest.mark.django_db(transaction=True)

KEY = "payment_gateway"
GATEWAYS = ["Stripe", "PayPal"]


@pytest.fixture
def gateway() -> KeyValueStore:
    return KeyValueStore.objects.create(key=KEY, value="Stripe", type="string", choices=GATEWAYS)


def stored() -> Any:
    return KeyValueStore.objects.get(key=KEY).value


def write_with_sql(**columns: object) -> None:
    names = ", ".join(f"{name} = %s" for name in columns)
    values = [str(one) if name == "type" else json.dumps(one) for name, one in columns.items()]
    with transaction.atomic():
        rows(f"UPDATE flagstaff_keyvaluestore SET {names}", *values)


def test_value_that_breaks_its_rule_is_refused_with_a_guess(gateway: KeyValueStore) -> None:
    with pytest.raises(InvalidChangeError) as caught:
        changes.values.set(KEY, "Strpie")
    assert str(caught.value) == (
        'value: "Strpie" is not one of "Stripe", "PayPal"; did you mean "Stripe"?'
    )
    assert stored() == "Stripe"
    assert changes.values.set(KEY, "PayPal").written
    assert stored() == "PayPal"
    changes.values.create("page_size", 20, type="integer")
    with pytest.raises(InvalidChangeError) as caught:
        changes.values.set("page_size", "25")
    assert str(caught.value) == (
        "value: the value must be an integer, not a string; did you mean 25 without quotes?"
    )


@pytest.mark.parametrize(
    ("value_type", "value", "other"),
    [
        ("string", "a", 1),
        ("number", 1.5, "1.5"),
        ("number", 2, True),
        ("integer", 2, 2.5),
        ("integer", 2, True),
        ("boolean", False, 0),
        ("object", {}, []),
        ("array", [], {}),
    ],
)
def test_value_of_another_type_is_refused(value_type: str, value: object, other: object) -> None:
    changes.values.create(KEY, value, type=value_type)
    with pytest.raises(InvalidChangeError, match=r"^value: "):
        changes.values.set(KEY, other)
    assert stored() == value


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"type": "text"}, "type: use one of string, number, integer, boolean, object, array"),
        ({"choices": "Stripe"}, "choices: the choices are not a list"),
        ({"choices": [["Stripe"]]}, "choices: choice 1 is not a string, a number, true or false"),
        ({"choices": ["Stripe", "Stripe"]}, "choices: choice 2 is given twice"),
        ({"choices": ["Stripe", 1]}, "choices: choice 2 must be a string"),
        ({"type": "number"}, ""),
        ({"type": "", "choices": ["Adyen"]}, ""),
    ],
)
def test_rule_that_is_not_valid_or_that_the_value_breaks_is_refused(
    fields: dict[str, Any], message: str, gateway: KeyValueStore
) -> None:
    with pytest.raises(InvalidChangeError) as caught:
        changes.values.update(KEY, fields)
    assert str(caught.value).startswith(message)
    with pytest.raises(InvalidChangeError, match=r"^(value|type|choices): "):
        changes.values.create("other", "Stripe", **{"type": "string", **fields})
    assert stored() == "Stripe"


@pytest.mark.parametrize(("choices", "value"), [([1, 2], True), ([True], 1), (["1"], 1)])
def test_choice_has_the_type_of_the_value(choices: list[object], value: object) -> None:
    changes.values.create(KEY, choices[0], choices=choices)
    with pytest.raises(InvalidChangeError):
        changes.values.set(KEY, value)
    # Decimals make no difference.
    changes.values.create("limit", 2, choices=[1, 2])
    assert changes.values.set("limit", 1.0).written


def test_row_of_plain_sql_has_no_rule_and_its_value_can_be_anything() -> None:
    rows("INSERT INTO flagstaff_keyvaluestore (key, value) VALUES (%s, %s)", KEY, '"a"')
    row = KeyValueStore.objects.get()
    assert (row.type, row.choices) == ("", [])
    changes.values.set(KEY, {"a": [1]})
    write_with_sql(value=False)
    assert stored() is False


def test_value_that_sql_wrote_against_its_schema_is_read_and_replaced(
    gateway: KeyValueStore,
) -> None:
    write_with_sql(value={"name": "Strpie"})
    assert get_value(KEY) == {"name": "Strpie"}
    with pytest.raises(ValidationError):
        KeyValueStore.objects.get().full_clean()
    with pytest.raises(InvalidChangeError):
        changes.values.set(KEY, "Strpie")
    assert changes.values.set(KEY, "PayPal").written


@pytest.mark.parametrize(
    ("columns", "change"),
    [
        ({"choices": [1, 1], "client_side": True}, {"client_side": False}),
        ({"choices": [1, 1], "client_side": True}, {"client_side": False, "secret": True}),
        ({"type": "number"}, {"secret": True}),
        ({"secret": True}, {"secret": False, "client_side": True}),
        ({"secret": True, "client_side": True}, {"secret": False}),
        ({"secret": True, "client_side": True}, {"value": "PayPal"}),
    ],
)
def test_change_is_not_refused_because_of_what_it_leaves(
    columns: dict[str, Any], change: dict[str, Any], gateway: KeyValueStore
) -> None:
    write_with_sql(**columns)
    assert changes.values.update(KEY, change).written


@COMMITTED
def test_undo_to_a_value_that_breaks_the_new_rule_is_refused() -> None:
    changes.values.create(KEY, "stripe")
    change = changes.values.set(KEY, "Stripe").version
    changes.values.update(KEY, {"choices": GATEWAYS})
    with pytest.raises(InvalidChangeError, match='"stripe" is not one of "Stripe", "PayPal"'):
        changes.values.undo(KEY, change)
    assert stored() == "Stripe"


def test_value_create_and_update_set_the_rule_and_the_value() -> None:
    ran = run(f"""value create {KEY} '"Stripe"' --type string --choices '["Stripe", "PayPal"]'""")
    assert ran.err.splitlines()[0] == (
        f'{KEY}: created, value "Stripe", type "string", choices ["Stripe", "PayPal"]'
    )
    assert run(f"value details {KEY} --type any --choices '[]'").status == 0
    found = document("value", "get", KEY)
    assert (found["type"], found["choices"]) == ("", [])
    assert run(f"value details {KEY} --value 5 --type integer --choices [5]").status == 0
    assert stored() == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "pass at least one of --value, --description, --secret"),
        ("--choices [", "argument --choices: not valid JSON"),
        ("--type text", "argument --type: invalid choice"),
    ],
)
def test_value_update_without_valid_options_is_an_error(
    options: str, message: str, gateway: KeyValueStore
) -> None:
    ran = run(f"value details {KEY} {options}")
    # Of an argument that argparse refuses, the status is 2 in a process of its own only.
    assert ran.status in (1, 2)
    assert message in ran.err


def test_value_set_warns_of_a_new_type_only() -> None:
    changes.values.create(KEY, "25")
    ran = run(f"value set {KEY} 25")
    assert ran.status == 0
    assert ran.err.splitlines()[-1] == (
        f"warning: the type of {KEY} has changed from string to number; code that reads it may fail"
    )
    assert "warning" not in run(f"value set {KEY} 2.5").err


def test_value_and_choices_of_a_secret_value_are_not_printed() -> None:
    changes.values.create(KEY, "aaa", secret=True, choices=["aaa", "bbb"])
    with pytest.raises(InvalidChangeError) as caught:
        changes.values.set(KEY, "hunter2")
    assert not {"hunter2", "aaa", "bbb"} & set(re.findall(r"\w+", str(caught.value)))
    for command in (f"value get {KEY} --json", "value list --json"):
        ran = run(command)
        assert (ran.status, "aaa" in ran.out + ran.err) == (0, False)
