"""The list of values: columns, newest changes, and a fixed number of queries."""

from __future__ import annotations

from html import unescape

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from flagstaff import acting_as
from flagstaff.changes import create_value, set_value, update_value
from flagstaff.models import KeyValueStore
from tests.support.admin_pages import VALUES, column, page

# Each change is a transaction of its own, as in production.
pytestmark = pytest.mark.django_db(transaction=True)


def cells(client: Client, name: str) -> list[str]:
    return [unescape(text) for text in column(page(client, VALUES), name)]


def test_list_shows_the_key_the_value_and_the_type(admin_client: Client) -> None:
    create_value("gateway", "Stripe", choices=["Stripe", "PayPal"], description="who pays")
    create_value("hosts", ["a"])
    create_value("limit", 5, type="integer")
    create_value("password", "hunter2", secret=True)
    assert cells(admin_client, "value_key") == ["gatewaywho pays", "hosts", "limit", "password"]
    assert cells(admin_client, "shown_value") == ['"Stripe"', '["a"]', "5", "••••••"]
    assert cells(admin_client, "value_type") == ["string · 2 choices", "array", "integer", "-"]


def test_list_shows_the_newest_change_with_its_actor(admin_client: Client) -> None:
    ana = User.objects.create_user("ana")
    create_value("gateway", "stripe")
    with acting_as(ana):
        set_value("gateway", "paypal")
    create_value("hosts", {"max": 3, "min": 1})
    set_value("hosts", {"max": 5, "min": 1})
    update_value("hosts", {"description": "all"})
    create_value("limit", {"max": 3})
    set_value("limit", {"max": 4})
    gateway, hosts, limit = cells(admin_client, "changed")
    assert gateway == '"stripe" → "paypal" ana · just now'
    assert hosts.startswith("description ")
    assert limit.startswith("max: 3 → 4 ")


def test_list_shows_no_change_of_a_secret_value(admin_client: Client) -> None:
    create_value("password", "hunter2", secret=True)
    set_value("password", "hunter3")
    html = page(admin_client, VALUES)
    assert "hunter" not in html
    assert "•••••• → ••••••" in html


def test_list_of_more_values_needs_no_more_queries(admin_client: Client) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            page(admin_client, VALUES)
        return len(queries)

    def add(numbers: range) -> None:
        for number in numbers:
            create_value(f"key_{number}", number)
            set_value(f"key_{number}", [number])

    add(range(2))
    count()  # Some queries are made once in a process.
    few = count()
    add(range(2, 30))
    assert count() == few


def test_list_without_a_history_shows_the_time(admin_client: Client) -> None:
    KeyValueStore.objects.create(key="gateway", value="stripe")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM flagstaff_change WHERE key = 'gateway'")
    assert cells(admin_client, "changed") == ["just now"]
