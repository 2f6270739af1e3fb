"""Text helpers: shortened lists, and text that PostgreSQL can store."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from django.utils.timezone import override

from flagstaff._text import is_storable, some, storable
from flagstaff._text.times import full_time
from flagstaff.changes import Changed
from flagstaff.history import Kind
from flagstaff.history.describe import describe_change
from tests.support.translations import german


@pytest.mark.parametrize(
    ("items", "options", "text"),
    [
        ([], {"limit": 2}, ""),
        (["a"], {"limit": 2}, "a"),
        (["a", "b"], {"limit": 2}, "a, b"),
        (["a", "b", "c"], {"limit": 2}, "a, b and 1 more"),
        (range(2000), {"limit": 1}, "0 and 1,999 more"),
        # Items that are not passed.
        (["a", "b"], {"limit": 2, "total": 5}, "a, b and 3 more"),
        (["a", "b"], {"total": 5}, "a, b and 3 more"),
        (["a", "b"], {"total": 2}, "a, b"),
        # Ten by default.
        (range(11), {}, "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 1 more"),
    ],
)
def test_join_some_shows_items_up_to_the_limit(items: Any, options: Any, text: str) -> None:
    assert some(items, **options) == text


NOON = datetime(2026, 7, 1, 12, 0, 5, tzinfo=timezone.utc)


def test_time_in_a_message_is_local_with_seconds_and_zone(settings: Any) -> None:
    settings.TIME_ZONE = "America/Lima"
    with override("Europe/Berlin"):
        assert full_time(NOON) == "2026-07-01 14:00:05 CEST"
    # Without a zone, it has that of the project.
    settings.TIME_ZONE = "Europe/Berlin"
    with override("UTC"):
        assert full_time(NOON.replace(tzinfo=None)) == "2026-07-01 12:00:05 CEST"


def test_users_in_a_description_are_shortened_in_the_active_language() -> None:
    step = Changed(Kind.FLAG, "banner", {}, {"allowed_users": [*range(20)]}, written=True)
    assert describe_change(step, {}).endswith("9 and 10 more)")
    with german({"{items} and {others} more": "{items} und {others} weitere"}):
        assert describe_change(step, {}).endswith("9 und 10 weitere)")


@pytest.mark.parametrize(
    ("text", "stored"),
    [("", ""), ("Grüße 🥐", "Grüße 🥐"), ("a\0b", "a\ufffdb"), ("\ud800", "\ufffd")],
)
def test_nul_and_lone_surrogates_are_not_storable_and_are_replaced(text: str, stored: str) -> None:
    assert is_storable(text) is (text == stored)
    assert storable(text) == stored
