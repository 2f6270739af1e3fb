"""Every page of the admin, for everybody who may open it, with a value of a megabyte."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client

from flagstaff.changes import set_rollout, set_value
from flagstaff.history import value_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.support.admin_pages import FLAGS, VALUES, errors, form_data, messages_of, page, staff, toggle_url

# Each change is a transaction of its own, as in production.
pytestmark = pytest.mark.django_db(transaction=True)

MAX_BYTES = 500_000
# Quotes are six characters each in HTML.
MEGABYTE = {"text": '"' * 500_000}
REPR = re.compile(r"&lt;[^&]* at 0x|object at 0x|DatabaseDefault|&lt;function|lambda")
MODELS = {FLAGS: "featureflag", VALUES: "keyvaluestore"}


@pytest.fixture(autouse=True)
def empty_history() -> None:
    """Deletes the entries of other tests: a flush keeps them."""
    Change.objects.all().delete()


@pytest.fixture
def rows() -> dict[str, Any]:
    """A flag with an allowed user, and a large value; both have a history."""
    flag = FeatureFlag.objects.create(key="new_checkout", enabled=False, rollout_percent=25)
    flag.allowed_users.add(User.objects.create(username="alice"))
    value = KeyValueStore.objects.create(key="catalogue", value="short")
    with transaction.atomic():
        set_rollout("new_checkout", 50)
        set_value("catalogue", MEGABYTE)
    set_value("catalogue", {**MEGABYTE, "more": True})
    return {FLAGS: flag, VALUES: value}


def client_of(person: str) -> Client:
    if person == "superuser":
        client = Client()
        client.force_login(User.objects.create_superuser("root"))
        return client
    return staff(*(f"{person}_{model}" for model in MODELS.values()))


def assert_readable(response: Any) -> None:
    """Checks the size of a page, and that it shows no object of Python."""
    assert response.status_code == 200
    assert len(response.content) < MAX_BYTES
    assert not REPR.search(response.content.decode())


# One transaction is faster, and enough to read.
@pytest.mark.django_db
@pytest.mark.parametrize("person", ["superuser", "change", "view"])
@pytest.mark.parametrize("models", list(MODELS))
@pytest.mark.parametrize("view", ["", "add/", "{}/change/", "{}/delete/", "{}/history/"])
def test_page_is_readable_or_forbidden(
    view: str, models: str, person: str, rows: dict[str, Any]
) -> None:
    response = client_of(person).get(models + view.format(rows[models].pk))
    if person != "superuser" and view in {"add/", "{}/delete/"}:
        assert response.status_code == 403
    else:
        assert_readable(response)


@pytest.mark.parametrize("button", ["_restore", "_undo_all"])
def test_confirmation_page_of_large_value_is_readable(
    button: str, operator: Client, rows: dict[str, Any]
) -> None:
    row = rows[VALUES]
    second = Change.objects.filter(key="catalogue").order_by("id")[1].pk
    version = value_version("catalogue")
    assert version != second
    response = operator.post(f"{VALUES}{row.pk}/history/", {button: second})
    assert_readable(response)
    assert "more characters)" in response.content.decode()


def test_confirmation_page_to_turn_on_is_readable(operator: Client, rows: dict[str, Any]) -> None:
    assert_readable(operator.get(toggle_url(rows[FLAGS], "turn-on")))


def test_delete_action_page_is_readable(operator: Client, rows: dict[str, Any]) -> None:
    data = {"action": "delete_selected", "_selected_action": rows[VALUES].pk}
    assert_readable(operator.post(VALUES, data))


def test_history_shows_how_much_of_value_is_left_out(
    operator: Client, rows: dict[str, Any]
) -> None:
    html = page(operator, f"{VALUES}{rows[VALUES].pk}/history/")
    assert len(re.findall(r"… \([\d,]{7,} more characters\)", html)) == 3


def test_conflict_message_truncates_values(operator: Client, rows: dict[str, Any]) -> None:
    newest = value_version("catalogue") or 0
    set_value("catalogue", "short")
    url = f"{VALUES}{rows[VALUES].pk}/history/"
    data = {"_undo": newest, "expect_version": newest}
    [message] = messages_of(operator.post(url, data, follow=True))
    assert "more characters)" in message
    assert len(message) < 1_000


# Large values.


def test_large_value_is_kept_when_description_is_saved(
    operator: Client, rows: dict[str, Any]
) -> None:
    row = rows[VALUES]
    url = f"{VALUES}{row.pk}/change/"
    response = operator.get(url)
    assert "too large to edit here. Use “manage.py flags value set catalogue -”" in (
        response.content.decode()
    )
    data = form_data(response)
    assert "value" not in data
    assert operator.post(url, {**data, "description": "All products"}).status_code == 302
    row.refresh_from_db()
    assert (row.description, len(row.value["text"])) == ("All products", 500_000)


def test_submitted_page_decides_whether_value_is_edited(
    operator: Client, rows: dict[str, Any]
) -> None:
    row = rows[VALUES]
    url = f"{VALUES}{row.pk}/change/"
    data = form_data(operator.get(url))
    set_value("catalogue", "short")
    assert operator.post(url, {**data, "description": "All"}).status_code == 302
    data = form_data(operator.get(url))
    assert data["value"] == '"short"'
    set_value("catalogue", MEGABYTE)
    [error] = errors(operator, url, {**data, "value": '"mine"'})["value"]
    assert error.startswith('Yours: "mine". Now in the database: {"text":')
    row.refresh_from_db()
    assert len(row.value["text"]) == 500_000


def test_value_of_64000_characters_is_editable(operator: Client) -> None:
    row = KeyValueStore.objects.create(key="catalogue", value='"' * 31_999)
    response = operator.get(f"{VALUES}{row.pk}/change/")
    assert_readable(response)
    assert len(form_data(response)["value"]) == 64_000


# The key.


@pytest.mark.parametrize(
    ("models", "reason"),
    [
        (
            FLAGS,
            (
                "Your code uses this key, and the key decides which users a rollout includes. "
                "For another key, create a new flag."
            ),
        ),
        (VALUES, "Your code uses this key. For another key, create a new value."),
    ],
)
def test_key_is_read_only_after_creation(
    models: str, reason: str, operator: Client, rows: dict[str, Any]
) -> None:
    row = rows[models]
    url = f"{models}{row.pk}/change/"
    html = page(operator, url)
    assert 'name="key"' not in html
    assert reason in html
    assert 'name="key"' in page(operator, f"{models}add/")
    data = form_data(operator.get(url))
    operator.post(url, {**data, "key": "renamed", "description": "New"})
    key = row.key
    row.refresh_from_db()
    assert (row.key, row.description) == (key, "New")
