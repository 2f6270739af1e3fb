"""Values in the admin: what can be written, and what is refused in words."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from flagstaff.models import KeyValueStore
from tests.admin_pages import VALUES, column, errors, page, staff

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(admin_client: Client) -> Client:
    return admin_client


def form(value: str) -> dict[str, str]:
    """What the page of a value sends."""
    return {"key": "payment_gateway", "value": value, "description": ""}


def stored(client: Client, text: str) -> Any:
    """What the database holds once somebody has written this text."""
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
def test_any_json_can_be_a_value(text: str, value: Any, operator: Client) -> None:
    assert stored(operator, text) == value


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("paypal", "line 1, column 1"),
        ("'paypal'", "line 1, column 1"),
        ('{"a": 1,\n "b": two}', "line 2, column 7"),
    ],
)
def test_text_without_its_quotes_is_refused_in_words(
    text: str, place: str, operator: Client
) -> None:
    message = f'this is not JSON ({place}); a text stands in double quotes, such as "stripe"'
    assert errors(operator, f"{VALUES}add/", form(text)) == {"value": [message]}


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "1e999", r'"\u0000"', r'{"\ud800": 1}'])
def test_json_that_no_database_holds_is_refused(text: str, operator: Client) -> None:
    message = r"PostgreSQL cannot store NaN, Infinity, \u0000 or half a surrogate pair"
    assert errors(operator, f"{VALUES}add/", form(text)) == {"value": [message]}


@pytest.mark.parametrize("text", ["", "null"])
def test_no_value_at_all_is_refused(text: str, operator: Client) -> None:
    message = 'a value is missing; write JSON, such as "stripe", 25 or []'
    assert errors(operator, f"{VALUES}add/", form(text)) == {"value": [message]}


def test_list_shows_values_as_json_cut_short(operator: Client) -> None:
    KeyValueStore.objects.create(key="a", value="Ahoj, světe")
    KeyValueStore.objects.create(key="b", value=["x" * 200])
    [first, second] = column(page(operator, VALUES), "shown_value")
    assert first == "&quot;Ahoj, světe&quot;"
    assert len(second.replace("&quot;", '"')) == 80


def test_list_masks_a_secret(operator: Client) -> None:
    KeyValueStore.objects.create(key="token", value="hunter2", secret=True)
    html = page(operator, VALUES)
    assert column(html, "shown_value") == ["••••••"]
    assert "hunter2" not in html


def test_secret_is_for_those_who_may_change_it(operator: Client) -> None:
    token = KeyValueStore.objects.create(key="token", value="hunter2", secret=True)
    address = f"{VALUES}{token.pk}/change/"
    assert "hunter2" in page(operator, address)
    assert "hunter2" not in page(staff("view_keyvaluestore"), address)


def test_search_looks_into_no_value(operator: Client) -> None:
    KeyValueStore.objects.create(key="token", value="hunter2", secret=True)
    assert column(page(operator, f"{VALUES}?q=hunter2"), "key") == []


@pytest.mark.parametrize(
    "query",
    ["value__icontains=hun", "value__startswith=h", "value__isnull=0", "value__a=1", "value="],
)
def test_secret_cannot_be_guessed_by_a_filter(query: str) -> None:
    KeyValueStore.objects.create(key="token", value="hunter2", secret=True)
    assert staff("view_keyvaluestore").get(f"{VALUES}?{query}").status_code == 400
