"""Values: the list, the editor of JSON, rules, secrets, and the question about a new type."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flagstaff import acting_as, changes
from flagstaff.admin.value.form import mistake_in
from flagstaff.models import Change, KeyValueStore
from tests.support.admin_pages import (
    VALUES,
    asks,
    column,
    confirmed,
    count_queries,
    errors,
    form_data,
    page,
    staff,
)

pytestmark = pytest.mark.django_db

KEY = "payment_gateway"
RECENT = "/admin/flagstaff/featureflag/changes/"
GATEWAYS = ["Stripe", "PayPal"]
NO_CHOICE = '"Strpie" is not one of "Stripe", "PayPal"; did you mean "Stripe"?'


def stored() -> Any:
    return KeyValueStore.objects.get(key=KEY).value


def value_of(value: object, **fields: Any) -> str:
    """Creates a value and returns the URL of its page."""
    row = KeyValueStore.objects.create(key=KEY, value=value, **fields)
    return f"{VALUES}{row.pk}/change/"


def refusals(response: Any) -> dict[str, list[str]]:
    assert response.status_code == 200
    return dict(response.context["adminform"].form.errors)


def selects(response: Any) -> list[tuple[str, str]]:
    """Returns each option of the value, and " selected" for the selected one."""
    html = response.content.decode()
    [select] = re.findall(r'<select name="value".*?</select>', html, re.DOTALL)
    options = re.findall(r'<option value="([^"]*)"( selected)?>', select)
    return [(unescape(text), selected) for text, selected in options]


def saved(client: Client, url: str, **data: str) -> Any:
    """Opens the page, edits these fields, saves, confirms, and returns the response."""
    shown = form_data(client.get(url))
    response = client.post(url, {**shown, **data})
    return client.post(url, confirmed(response)) if asks(response) else response


# The list.


def cells(client: Client, name: str) -> list[str]:
    return [unescape(text) for text in column(page(client, VALUES), name)]


def test_list_shows_the_key_the_value_and_the_type(operator: Client) -> None:
    changes.values.create(
        "gateway", "Ahoj, světe", choices=["Ahoj, světe", "x"], description="who pays"
    )
    changes.values.create("hosts", ["x" * 200])
    changes.values.create("limit", 5, type="integer")
    changes.values.create("password", "hunter2", secret=True)
    assert cells(operator, "value_key") == ["gateway who pays", "hosts", "limit", "password"]
    world, long, *others = cells(operator, "shown_value")
    assert (world, len(long), others) == ('"Ahoj, světe"', 80, ["5", "••••••"])
    assert cells(operator, "value_type") == ["string · 2 choices", "array", "integer", "-"]


@pytest.mark.django_db(transaction=True)
def test_list_shows_the_newest_change_with_its_actor(operator: Client) -> None:
    ana = User.objects.create_user("ana")
    changes.values.create("gateway", "stripe")
    with acting_as(ana):
        changes.values.set("gateway", "paypal")
    changes.values.create("hosts", {"max": 3, "min": 1})
    changes.values.set("hosts", {"max": 5, "min": 1})
    changes.values.update("hosts", {"description": "all"})
    changes.values.create("limit", {"max": 3})
    changes.values.set("limit", {"max": 4})
    gateway, hosts, limit = cells(operator, "changed")
    assert gateway == '"stripe" → "paypal" ana · just now'
    assert hosts.startswith("description ")
    assert limit.startswith("max: 3 → 4 ")
    Change.objects.all().delete()
    assert cells(operator, "changed") == ["just now"] * 3


@pytest.mark.django_db(transaction=True)
def test_secret_value_is_masked_and_not_found(operator: Client) -> None:
    changes.values.create("token", "hunter2", secret=True)
    changes.values.set("token", "hunter3")
    html = page(operator, VALUES)
    assert column(html, "shown_value") == ["••••••"]
    assert "•••••• → ••••••" in html
    assert "hunter" not in html
    url, viewer = f"{VALUES}{KeyValueStore.objects.get().pk}/change/", staff("view_keyvaluestore")
    assert "hunter" not in page(operator, url)
    assert "hunter3" in page(operator, f"{url}?show=1")
    assert "hunter" not in page(viewer, f"{url}?show=1")
    assert column(page(operator, f"{VALUES}?q=hunter3"), "value_key") == []
    for lookup in ("__icontains=hun", "__startswith=h", "__isnull=0", "__a=1", "="):
        assert viewer.get(f"{VALUES}?value{lookup}").status_code == 400


def test_list_of_more_values_needs_no_more_queries(operator: Client) -> None:
    def add(numbers: range) -> None:
        for number in numbers:
            changes.values.create(f"key_{number}", number)
            changes.values.set(f"key_{number}", [number])

    add(range(2))
    few = count_queries(operator, VALUES)
    add(range(2, 30))
    assert count_queries(operator, VALUES) == few


# The editor.


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"paypal"', "paypal"),
        ("25", 25),
        ("false", False),
        ('""', ""),
        ("[]", []),
        ('{"a":\n [1, null]}', {"a": [1, None]}),
        (r'"\\u0000"', r"\u0000"),
    ],
)
def test_add_form_is_empty_and_accepts_any_json(text: str, value: Any, operator: Client) -> None:
    response = operator.get(f"{VALUES}add/")
    assert response.context["adminform"].form["value"].value() == ""
    assert "changed_at" not in response.content.decode()
    assert operator.post(f"{VALUES}add/", {"key": KEY, "value": text}).status_code == 302
    assert stored() == value


NOT_JSON = 'not valid JSON (line {}, column {}); put strings in double quotes, such as "stripe"'
NOT_STORABLE = r"PostgreSQL cannot store NaN, Infinity, \u0000 or half of a surrogate pair"
NOT_DECODABLE = (
    "a number has more than 4,300 digits, or the nesting more than 500 levels; write the number as "
    "a text, or split the value"
)
MISSING = 'the value is missing or null; write JSON, such as "stripe", 25 or []'
TWICE = 'an object has the name "a" twice; remove one'


@pytest.mark.parametrize(
    ("message", "texts"),
    [
        (NOT_JSON.format(1, 1), ["paypal", "'paypal'"]),
        (NOT_JSON.format(2, 7), ['{"a": 1,\n "b": two}']),
        (NOT_STORABLE, ["NaN", "[Infinity]", "1e999", r'"\u0000"', r'{"\ud800": 1}']),
        (NOT_DECODABLE, ["9" * 4_301, "-" + "9" * 4_301, "[" * 501, "[" * 100_000]),
        (TWICE, ['{"a": 1, "a": 2}', '[{"b": {"a": null, "a": null}}]']),
        (MISSING, ["", "null"]),
    ],
    ids=["no JSON", "no JSON in line 2", "not storable", "not decodable", "twice", "missing"],
)
def test_invalid_json_is_rejected_with_the_reason(
    message: str, texts: list[str], operator: Client
) -> None:
    for text in texts:
        assert errors(operator, f"{VALUES}add/", {"key": KEY, "value": text}) == {
            "value": [message]
        }


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ('{"a": 1,}', "remove the comma before the closing bracket"),
        ('["a",\n ]', "remove the comma before the closing bracket"),
        ('{"a" 1}', "a comma, a colon or a closing bracket is missing"),
        ('["a" "b"]', "a comma, a colon or a closing bracket is missing"),
        ('"a", "b"', "more text follows the end of the value; write several values as a list"),
        ("[True]", "write true, false and null in lower case"),
        ('{"a":', "the text ends too early"),
        ("['a']", 'put strings in double quotes, such as "stripe"'),
    ],
)
def test_advice_about_invalid_json_fits_the_mistake(
    text: str, advice: str, operator: Client
) -> None:
    [error] = errors(operator, f"{VALUES}add/", {"key": KEY, "value": text})["value"]
    assert error.endswith(f"); {advice}")


def test_form_says_that_the_order_of_names_is_not_kept(operator: Client) -> None:
    assert "The order of the names in an object is not kept." in page(operator, f"{VALUES}add/")


def test_object_is_shown_over_several_lines_unless_it_is_too_long(operator: Client) -> None:
    url = value_of({"retries": {"max": 3}, "größe": 1, "c": 1.0})
    before = KeyValueStore.objects.get().changed_at
    shown = operator.get(url).context["adminform"].form["value"].value()
    assert shown == '{\n  "c": 1.0,\n  "größe": 1,\n  "retries": {\n    "max": 3\n  }\n}'
    # A save without an edit changes nothing.
    assert saved(operator, url).status_code == 302
    assert KeyValueStore.objects.get().changed_at == before
    KeyValueStore.objects.update(value=[0] * 20_000)
    assert "\n" not in operator.get(url).context["adminform"].form["value"].value()


def test_mistake_is_shown_with_its_line_and_a_caret(operator: Client) -> None:
    url = value_of({"a": 1})
    typed = '{\r\n  "a": 1,\r\n  "b": two\r\n}'
    html = unescape(saved(operator, url, value=typed).content.decode())
    [excerpt] = re.findall(r'<pre class="flagstaff-json">(.*?)</pre>', html, re.DOTALL)
    assert excerpt == '  "b": two\n       ^'
    assert "Line 3, column 8:" in html
    # Nothing that was typed is lost.
    assert typed.replace("\r\n", "\n") in html.replace("\r\n", "\n")
    assert 'aria-describedby="id_value_' in html


@pytest.mark.parametrize(
    ("text", "place", "excerpt"),
    [
        ("stripe", (1, 1, 0), "stripe\n^"),
        ('{"🥐": x}', (1, 7, 7), '{"🥐": x}\n      ^'),
        (f'["{"a" * 100}", x]', (1, 106, 105), f'…{"a" * 27}", x]\n{" " * 31}^'),
        ('{"a":\n\tx}', (2, 2, 7), " x}\n ^"),
        ("", (1, 1, 0), "\n^"),
    ],
)
def test_mistake_in_json_has_a_place(text: str, place: tuple[int, int, int], excerpt: str) -> None:
    found = mistake_in(text)
    assert found is not None
    assert (found.line, found.column, found.offset, found.excerpt) == (*place, excerpt)
    for valid in ("1", '{"a": 1}', "[" * 100_000):
        assert mistake_in(valid) is None


# The rule.


def test_value_is_added_with_a_rule_unless_it_breaks_it(operator: Client) -> None:
    data = {"key": KEY, "value": '"Strpie"', "type": "string", "choices": '["Stripe", "PayPal"]'}
    assert errors(operator, f"{VALUES}add/", data) == {"value": [NO_CHOICE]}
    data["value"] = '"Stripe"'
    assert operator.post(f"{VALUES}add/", data).status_code == 302
    row = KeyValueStore.objects.get()
    assert (row.value, row.type, row.choices) == ("Stripe", "string", GATEWAYS)


def test_value_with_choices_and_boolean_are_a_select(operator: Client) -> None:
    url = value_of("Stripe", choices=GATEWAYS)
    assert selects(operator.get(url)) == [('"Stripe"', " selected"), ('"PayPal"', "")]
    response = saved(operator, url, value='"Strpie"')
    assert refusals(response) == {"value": [NO_CHOICE]}
    assert ('"Strpie"', " selected") in selects(response)
    assert stored() == "Stripe"
    assert saved(operator, url, value='"PayPal"').status_code == 302
    assert stored() == "PayPal"
    KeyValueStore.objects.update(value=True, type="boolean", choices=[])
    assert selects(operator.get(url)) == [("true", " selected"), ("false", "")]
    assert saved(operator, url, value="false").status_code == 302
    assert stored() is False


def test_choices_are_a_list_and_edited_together_with_the_value(operator: Client) -> None:
    url = value_of("Stripe", choices=GATEWAYS)
    response = saved(operator, url, value='"Stripe"', choices='["Adyen"]')
    assert refusals(response) == {"value": ['"Stripe" is not one of "Adyen"']}
    # The new choice can be selected now.
    assert ('"Adyen"', "") in selects(response)
    assert saved(operator, url, value='"Adyen"', choices='["Adyen"]').status_code == 302
    assert refusals(saved(operator, url, choices='"Stripe"')) == {
        "choices": ['the choices are not a list; write a JSON list, such as ["stripe", "paypal"]']
    }
    # What was typed over several lines stays selected.
    KeyValueStore.objects.update(value={"retries": 3}, choices=[])
    typed = '{\r\n  "retries": 3\r\n}'
    response = saved(operator, url, value=typed, choices='["x", "y"]')
    [selected] = [text for text, is_selected in selects(response) if is_selected]
    assert json.loads(selected) == {"retries": 3}


def test_rule_is_kept_with_another_description_and_cleared(operator: Client) -> None:
    url = value_of("Stripe", type="string", choices=GATEWAYS)
    html = page(staff("view_keyvaluestore"), url)
    assert "PayPal" in html
    assert "<select" not in html
    assert saved(operator, url, description="who takes the money").status_code == 302
    row = KeyValueStore.objects.get()
    assert (row.description, row.choices) == ("who takes the money", GATEWAYS)
    assert saved(operator, url, type="", choices="").status_code == 302
    row.refresh_from_db()
    assert (row.type, row.choices) == ("", [])


# A new type.


NEW_TYPE = (
    "The value was a string and would become a number. Code that reads it may fail. To save it, "
    "tick the box below and save again."
)


def test_new_type_is_confirmed_before_it_is_saved(operator: Client) -> None:
    url = value_of("25")
    response = saved(operator, url, value="25")
    assert refusals(response) == {"value": [NEW_TYPE]}
    assert "Save it with the new type: a number" in response.content.decode()
    # A confirmation is of one type.
    [text] = refusals(saved(operator, url, value="[25]", _new_type="number"))["value"]
    assert text.startswith("The value was a string and would become an array")
    assert stored() == "25"
    assert saved(operator, url, value="25", _new_type="number").status_code == 302
    assert stored() == 25


@pytest.mark.parametrize(
    ("old", "edit"),
    [
        ("a", {"value": '"b"'}),
        (1, {"value": "1.5"}),
        ({}, {"value": '{"a": 1}'}),
        ("25", {"value": "25", "type": "integer"}),
    ],
    ids=["string", "number", "object", "type of the rule"],
)
def test_same_type_and_that_of_the_rule_need_no_confirmation_of_the_type(
    old: object, edit: dict[str, str], operator: Client
) -> None:
    assert saved(operator, value_of(old), **edit).status_code == 302
    assert stored() == json.loads(edit["value"])


# A secret value.


def test_empty_input_keeps_a_secret_value(operator: Client) -> None:
    url = value_of("hunter2", secret=True)
    saved(operator, url, description="For the shop")
    row = KeyValueStore.objects.get()
    assert (row.value, row.description) == ("hunter2", "For the shop")


def test_typed_text_replaces_a_secret_value(operator: Client) -> None:
    url = value_of("hunter2", secret=True)
    saved(operator, url, value='"hunter3"')
    assert stored() == "hunter3"
    html = saved(operator, url, value="hunter4").content.decode()
    assert "hunter4" in html
    assert "hunter3" not in html


def test_shown_secret_value_is_edited_as_any_other(operator: Client) -> None:
    url = f"{value_of('hunter2', secret=True)}?show=1"
    saved(operator, url, value='"hunter3"')
    assert stored() == "hunter3"
    assert saved(operator, url, value="").status_code == 200


def test_history_of_a_secret_value_says_why_it_has_no_undo(operator: Client) -> None:
    url = value_of("hunter2", secret=True).replace("change", "history")
    assert "so its changes have no “Undo”." in page(operator, url)
    KeyValueStore.objects.update(secret=False)
    assert "so its changes have no “Undo”." not in page(operator, url)


# Choices of a secret value, which is one of them.


@pytest.mark.django_db(transaction=True)
def test_choices_of_a_secret_value_are_masked_and_have_no_undo(operator: Client) -> None:
    # Long, because the pages have tokens of random letters.
    url = value_of("opensesame", secret=True, choices=["opensesame", "swordfish"])
    client = staff("view_keyvaluestore")
    version = changes.values.update(KEY, {"choices": ["opensesame", "friend"]}).version
    for one in (url, url.replace("change", "history"), VALUES, RECENT):
        html = page(client, one)
        assert KEY in html
        assert "opensesame" not in html
    assert client.get(f"{VALUES}?choices__contains=opensesame").status_code == 400
    assert f"undo={version}" not in page(operator, f"{RECENT}?key={KEY}&exact=1")
