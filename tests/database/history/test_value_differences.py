"""A change of a JSON object is shown as the members that differ."""

from __future__ import annotations

import pytest
from django.test import Client

from flagstaff import changes
from flagstaff.models import KeyValueStore
from tests.support.admin_pages import VALUES, page
from tests.support.terminals import run

# Each change is a transaction of its own, as in production.
pytestmark = pytest.mark.django_db(transaction=True)

KEY = "payment_gateway"
OLD = {"retries": {"max": 3}, "hosts": ["a"], "timeout": 5}
NEW = {"retries": {"max": 5}, "hosts": ["a", "x"], "fee": 1.5}
PARTS = 'hosts: ["a"] → ["a", "x"]; retries.max: 3 → 5; timeout: removed 5; fee: added 1.5'


def history(client: Client, key: str = KEY) -> str:
    row = KeyValueStore.objects.get(key=key)
    html = page(client, f"{VALUES}{row.pk}/history/")
    return html.replace("&quot;", '"').replace("&#x27;", "'")


def test_history_page_shows_the_parts_that_differ(admin_client: Client) -> None:
    changes.values.create(KEY, OLD)
    changes.values.set(KEY, NEW)
    html = history(admin_client)
    assert f"<strong>{PARTS}</strong>" in html
    for number in (0, 1):
        changes.values.set(KEY, {f"a{part}": number for part in range(20)})
    assert "a4: 0 → 1; and 15 more" in history(admin_client)
    # What is no object on one side is shown as a whole.
    changes.values.create("gateway", "stripe")
    changes.values.set("gateway", ["stripe"])
    html = history(admin_client, "gateway")
    assert '<strong>"stripe" → ["stripe"]</strong>' in html


def test_history_page_of_a_long_value_is_short_and_shows_its_parts(admin_client: Client) -> None:
    rows = [{"id": number, "name": f"rate {number * 7919 % 1000}"} for number in range(10_000)]
    changes.values.create(KEY, rows)
    changes.values.set(KEY, {"rows": rows[:200], "max": 3})
    changes.values.set(KEY, {"rows": rows[:200], "max": 5})
    html = history(admin_client)
    assert "<strong>max: 3 → 5</strong>" in html
    assert len(html) < 60_000


def test_commands_show_the_parts_that_differ() -> None:
    changes.values.create(KEY, {"max": 3, "min": 1})
    ran = run(f"""value set {KEY} '{{"max": 5, "min": 1}}'""")
    assert ran.err.startswith(f"{KEY}: value max: 3 → 5\n")
    assert "value max: 3 → 5" in run(f"history {KEY} --value").out
