"""The admin of values: accepted JSON, form errors, secrets."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from flagstaff.models import KeyValueStore
from tests.support.admin_pages import VALUES, column, errors, page, staff

pytestmark = pytest.mark.django_db


def form(value: str) -> dict[str, str]:
    """Returns the data of a value's form."""
    return {"key": "payment_gateway", "value": value, "description": ""}


def saved(client: Client, text: str) -> Any:
    """Saves a text in the form and returns the stored value."""
    response = client.post(f"{VALUES}add/", form(text))
    assert response.status_code == 302
    return KeyValueStore.objects.get(key="payment_gateway").value


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
def test_any_json_is_accepted(text: str, value: Any, operator: Client) -> None:
    assert saved(operator, text) == value


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("paypal", "line 1, column 1"),
        ("'paypal'", "line 1, column 1"),
        ('{"a": 1,\n "b": two}', "line 2, column 7"),
    ],
)
def test_invalid_json_is_rejected_with_position(text: str, position: str, operator: Client) -> None:
    message = f'not valid JSON ({position}); put strings in double quotes, such as "stripe"'
    assert errors(operator, f"{VALUES}add/", form(text)) == {"value": [message]}


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "1e999", r'"\u0000"', r'{"\ud800": 1}'])
def test_json_that_postgresql_cannot_store_is_rejected(text: str, operator: Client) -> None:
    message = r"PostgreSQL cannot store NaN, Infinity, \u0000 or half of a surrogate pair"
    assert errors(operator, f"{VALUES}add/", form(text)) == {"value": [message]}


@pytest.mark.parametrize("text", ["9" * 4_301, "-" + "9" * 4_301, "[" * 501, "[" * 100_000])
def test_json_that_python_cannot_decode_is_rejected(text: str, operator: Client) -> None:
    message = "a number has more than 4,300 digits, or the nesting more than 500 levels"
    assert errors(operator, f"{VALUES}add/", form(text)) == {"value": [message]}


def test_value_of_add_form_is_empty(operator: Client) -> None:
    form = operator.get(f"{VALUES}add/").context["adminform"].form
    assert form["value"].value() == ""


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '[{"b": {"a": null, "a": null}}]'])
def test_json_with_a_name_twice_is_rejected(text: str, operator: Client) -> None:
    message = 'an object has the name "a" twice; remove one'
    assert errors(operator, f"{VALUES}add/", form(text)) == {"value": [message]}


@pytest.mark.parametrize("text", ["", "null"])
def test_missing_value_is_rejected(text: str, operator: Client) -> None:
    message = 'the value is missing or null; write JSON, such as "stripe", 25 or []'
    assert errors(operator, f"{VALUES}add/", form(text)) == {"value": [message]}


def test_add_form_has_no_times(operator: Client) -> None:
    assert "changed_at" not in page(operator, f"{VALUES}add/")


def test_list_shows_truncated_json(operator: Client) -> None:
    KeyValueStore.objects.create(key="a", value="Ahoj, světe")
    KeyValueStore.objects.create(key="b", value=["x" * 200])
    [first, second] = column(page(operator, VALUES), "shown_value")
    assert first == "&quot;Ahoj, světe&quot;"
    assert len(second.replace("&quot;", '"')) == 80


def test_list_masks_secret_value(operator: Client) -> None:
    KeyValueStore.objects.create(key="token", value="hunter2", secret=True)
    html = page(operator, VALUES)
    assert column(html, "shown_value") == ["••••••"]
    assert "hunter2" not in html


def test_secret_value_is_masked_without_change_permission(operator: Client) -> None:
    token = KeyValueStore.objects.create(key="token", value="hunter2", secret=True)
    url = f"{VALUES}{token.pk}/change/"
    assert "hunter2" in page(operator, url)
    assert "hunter2" not in page(staff("view_keyvaluestore"), url)


def test_search_does_not_match_values(operator: Client) -> None:
    KeyValueStore.objects.create(key="token", value="hunter2", secret=True)
    assert column(page(operator, f"{VALUES}?q=hunter2"), "key") == []


@pytest.mark.parametrize(
    "query",
    ["value__icontains=hun", "value__startswith=h", "value__isnull=0", "value__a=1", "value="],
)
def test_filter_by_value_is_rejected(query: str) -> None:
    KeyValueStore.objects.create(key="token", value="hunter2", secret=True)
    assert staff("view_keyvaluestore").get(f"{VALUES}?{query}").status_code == 400
