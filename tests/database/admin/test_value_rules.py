"""The page of a value: the editor of its JSON, its rule, and the question about a new type."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest
from django.test import Client

from flagstaff.admin.json_input import mistake_in
from flagstaff.changes import update_value
from flagstaff.models import KeyValueStore
from tests.support.admin_pages import VALUES, errors, form_data, page, staff

pytestmark = pytest.mark.django_db

KEY = "payment_gateway"
GATEWAYS = ["Stripe", "PayPal"]


@pytest.fixture
def operator(admin_client: Client) -> Client:
    return admin_client


def stored() -> Any:
    return KeyValueStore.objects.get(key=KEY).value


def value_of(value: object, **fields: Any) -> str:
    """Creates a value and returns the URL of its page."""
    row = KeyValueStore.objects.create(key=KEY, value=value, **fields)
    return f"{VALUES}{row.pk}/change/"


def saved(client: Client, url: str, **data: str) -> Any:
    """Opens the page, edits these fields, saves, and returns the response."""
    shown = form_data(client.get(url))
    return client.post(url, {**shown, **data})


def refusals(response: Any) -> dict[str, list[str]]:
    assert response.status_code == 200
    return dict(response.context["adminform"].form.errors)


# The editor.


def test_object_is_shown_over_several_lines(operator: Client) -> None:
    url = value_of({"retries": {"max": 3}, "größe": 1})
    shown = operator.get(url).context["adminform"].form["value"].value()
    assert shown == '{\n  "größe": 1,\n  "retries": {\n    "max": 3\n  }\n}'


def test_object_that_would_be_too_long_over_several_lines_is_shown_in_one(operator: Client) -> None:
    url = value_of([0] * 20_000)
    shown = operator.get(url).context["adminform"].form["value"].value()
    assert "\n" not in shown


def test_page_that_only_opens_a_value_does_not_change_it(operator: Client) -> None:
    url = value_of({"a": [1, {"b": None}], "c": 1.0})
    before = KeyValueStore.objects.get().changed_at
    assert saved(operator, url).status_code == 302
    assert KeyValueStore.objects.get().changed_at == before


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
def test_place_of_a_mistake(text: str, place: tuple[int, int, int], excerpt: str) -> None:
    found = mistake_in(text)
    assert found is not None
    assert (found.line, found.column, found.offset) == place
    assert found.excerpt == excerpt


@pytest.mark.parametrize("text", ["1", '{"a": 1}', "[" * 100_000])
def test_json_without_a_mistake_has_no_place(text: str) -> None:
    assert mistake_in(text) is None


# The rule.


def test_value_is_added_with_a_rule(operator: Client) -> None:
    data = {"key": KEY, "value": '"Stripe"', "type": "string", "choices": '["Stripe", "PayPal"]'}
    assert operator.post(f"{VALUES}add/", data).status_code == 302
    row = KeyValueStore.objects.get()
    assert (row.value, row.type, row.choices) == ("Stripe", "string", GATEWAYS)


def test_value_that_breaks_its_rule_is_not_added(operator: Client) -> None:
    data = {"key": KEY, "value": '"Strpie"', "type": "string", "choices": '["Stripe", "PayPal"]'}
    assert errors(operator, f"{VALUES}add/", data) == {
        "value": ['"Strpie" is not one of "Stripe", "PayPal"; did you mean "Stripe"?']
    }


def test_value_with_choices_is_a_select(operator: Client) -> None:
    url = value_of("Stripe", choices=GATEWAYS)
    html = unescape(page(operator, url))
    [select] = re.findall(r'<select name="value".*?</select>', html, re.DOTALL)
    assert re.findall(r'<option value="(.*?)"( selected)?>', select) == [
        ('"Stripe"', " selected"),
        ('"PayPal"', ""),
    ]
    assert saved(operator, url, value='"PayPal"').status_code == 302
    assert stored() == "PayPal"


def test_boolean_is_a_select(operator: Client) -> None:
    url = value_of(True, type="boolean")
    html = unescape(page(operator, url))
    [select] = re.findall(r'<select name="value".*?</select>', html, re.DOTALL)
    assert re.findall(r'<option value="(.*?)"', select) == ["true", "false"]
    assert saved(operator, url, value="false").status_code == 302
    assert stored() is False


def test_value_that_is_no_choice_is_refused_and_kept_on_the_page(operator: Client) -> None:
    url = value_of("Stripe", choices=GATEWAYS)
    response = saved(operator, url, value='"Strpie"')
    assert refusals(response) == {
        "value": ['"Strpie" is not one of "Stripe", "PayPal"; did you mean "Stripe"?']
    }
    html = unescape(response.content.decode())
    assert '<option value=""Strpie"" selected>' in html
    assert stored() == "Stripe"


def test_choices_are_edited_together_with_the_value(operator: Client) -> None:
    url = value_of("Stripe", choices=GATEWAYS)
    response = saved(operator, url, value='"Stripe"', choices='["Adyen"]')
    assert refusals(response) == {"value": ['"Stripe" is not one of "Adyen"']}
    # The new choice can be selected now.
    assert '<option value=""Adyen"">' in unescape(response.content.decode())
    assert saved(operator, url, value='"Adyen"', choices='["Adyen"]').status_code == 302


def test_choices_that_are_no_list_are_refused(operator: Client) -> None:
    url = value_of("Stripe")
    assert refusals(saved(operator, url, choices='"Stripe"')) == {
        "choices": ['the choices are not a list; write a JSON list, such as ["stripe", "paypal"]']
    }


def test_rule_is_cleared(operator: Client) -> None:
    url = value_of("Stripe", type="string", choices=GATEWAYS)
    assert saved(operator, url, type="", choices="").status_code == 302
    row = KeyValueStore.objects.get()
    assert (row.type, row.choices) == ("", [])


def test_description_is_edited_without_a_change_of_the_rule(operator: Client) -> None:
    url = value_of("Stripe", type="string", choices=GATEWAYS)
    assert saved(operator, url, description="who takes the money").status_code == 302
    assert KeyValueStore.objects.get().description == "who takes the money"


def test_viewer_sees_the_rule(operator: Client) -> None:
    html = page(staff("view_keyvaluestore"), value_of("Stripe", type="string", choices=GATEWAYS))
    assert "PayPal" in html
    assert "<select" not in html


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
    assert stored() == "25"
    assert saved(operator, url, value="25", _new_type="number").status_code == 302
    assert stored() == 25


def test_confirmation_is_of_one_type_only(operator: Client) -> None:
    response = saved(operator, value_of("25"), value="[25]", _new_type="number")
    assert [text[:48] for text in refusals(response)["value"]] == [
        "The value was a string and would become an array"
    ]


@pytest.mark.parametrize(("old", "new"), [("a", '"b"'), (1, "1.5"), ({}, '{"a": 1}')])
def test_same_type_is_saved_without_a_question(old: object, new: str, operator: Client) -> None:
    response = saved(operator, value_of(old), value=new)
    assert response.status_code == 302, refusals(response)


def test_type_of_the_rule_needs_no_confirmation(operator: Client) -> None:
    url = value_of("25")
    assert saved(operator, url, value="25", type="integer").status_code == 302
    assert stored() == 25


def test_text_that_breaks_new_choices_stays_selected(operator: Client) -> None:
    url = value_of({"retries": 3})
    indented = '{\r\n  "retries": 3\r\n}'
    html = saved(operator, url, value=indented, choices='["x", "y"]').content.decode()
    [select] = re.findall(r'<select name="value".*?</select>', html, re.DOTALL)
    [selected] = re.findall(r'<option value="([^"]*)" selected>', select)
    assert json.loads(unescape(selected)) == {"retries": 3}


# Choices of a secret value, which is one of them.


@pytest.mark.django_db(transaction=True)
def test_choices_of_a_secret_value_are_masked_for_those_who_may_not_change_it() -> None:
    url = value_of("aaa", secret=True, choices=["aaa", "bbb"])
    client = staff("view_keyvaluestore")
    update_value(KEY, {"choices": ["aaa", "ccc"]})
    for one in (url, url.replace("change", "history"), VALUES, "/admin/flagstaff/recentchange/"):
        html = page(client, one)
        assert KEY in html
        assert "aaa" not in html
    found = client.get(f"{VALUES}?choices__contains=aaa")
    assert found.status_code == 400


@pytest.mark.django_db(transaction=True)
def test_new_choices_of_a_secret_value_can_be_undone(operator: Client) -> None:
    value_of("aaa", secret=True, choices=["aaa", "bbb"])
    version = update_value(KEY, {"choices": ["aaa", "ccc"]}).version
    html = page(operator, f"/admin/flagstaff/recentchange/?key={KEY}&exact=1")
    assert f"undo={version}" in html
