"""A change of a JSON object is shown as the members that differ."""

from __future__ import annotations

import pytest
from django.test import Client

from flagstaff import changes
from flagstaff.models import KeyValueStore
from tests.support.admin_pages import VALUES, page
from tests.support.screen import Screen
from tests.support.terminals import run

# Each change is a transaction of its own, as in production.
pytestmark = pytest.mark.django_db(transaction=True)

KEY = "payment_gateway"
ROWS = [{"id": number, "name": f"rate {number * 7919 % 1000}"} for number in range(10_000)]
# The values, one after another, and how the newest change is shown.
SHOWN: dict[str, tuple[list[object], str]] = {
    "members": (
        [
            {"retries": {"max": 3}, "hosts": ["a"], "timeout": 5},
            {"retries": {"max": 5}, "hosts": ["a", "x"], "fee": 1.5},
        ],
        'hosts: ["a"] → ["a", "x"]; retries.max: 3 → 5; timeout: removed 5; fee: added 1.5',
    ),
    "many members": (
        [{f"a{part}": number for part in range(20)} for number in (0, 1)],
        "a0: 0 → 1; a1: 0 → 1; a2: 0 → 1; a3: 0 → 1; a4: 0 → 1; and 15 more",
    ),
    "no object on one side": (["stripe", ["stripe"]], '"stripe" → ["stripe"]'),
    "a long value": (
        [ROWS, {"rows": ROWS[:200], "max": 3}, {"rows": ROWS[:200], "max": 5}],
        "max: 3 → 5",
    ),
}


@pytest.mark.parametrize(("values", "shown"), SHOWN.values(), ids=SHOWN)
def test_history_page_shows_the_parts_that_differ(
    values: list[object], shown: str, admin_client: Client
) -> None:
    changes.values.create(KEY, values[0])
    for value in values[1:]:
        changes.values.set(KEY, value)
    html = page(admin_client, f"{VALUES}{KeyValueStore.objects.get().pk}/history/")
    assert shown in Screen(html).texts("strong")
    assert len(html) < 60_000


def test_commands_show_the_parts_that_differ() -> None:
    changes.values.create(KEY, {"max": 3, "min": 1})
    ran = run(f"""value set {KEY} '{{"max": 5, "min": 1}}'""")
    assert ran.err.startswith(f"{KEY}: value max: 3 → 5\n")
    assert "value max: 3 → 5" in run(f"history {KEY} --value").out
