"""Changes of one transaction in the admin: shown beside each other, with one button for all."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.html import strip_tags

from flagstaff import changes
from flagstaff.admin import FeatureFlagAdmin
from flagstaff.admin.history import undo_buttons
from flagstaff.history import flag_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.support.admin_pages import FLAGS, RECENT, VALUES, count_queries, page, staff
from tests.support.terminals import open_shop

# Each change is a transaction of its own, as in production.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def shop() -> None:
    open_shop()
    # The fixture changes many flags in one transaction, too.
    Change.objects.all().delete()


def history_url(key: str) -> str:
    value = KeyValueStore.objects.filter(key=key).first()
    if value is not None:
        return f"{VALUES}{value.pk}/history/"
    return f"{FLAGS}{FeatureFlag.objects.get(key=key).pk}/history/"


def related(html: str) -> list[str]:
    found = re.findall(r'<span class="flagstaff-together">(.*?)</span>', html, re.DOTALL)
    return [unescape(" ".join(strip_tags(text).split())) for text in found]


def links(html: str) -> list[tuple[str, str]]:
    """Returns the change and the label of each link that undoes a transaction."""
    return re.findall(r'href="[^"]*undo-transaction=(\d+)"[^>]*>(.*?)<', html)


def test_event_shows_related_changes_that_the_user_may_view_and_their_button(
    operator: Client,
) -> None:
    changes.flags.set_rollout("dark_mode", 50)
    html = page(operator, history_url("dark_mode"))
    assert (related(html), links(html)) == ([], [])
    with transaction.atomic():
        change = changes.flags.set_rollout("new_checkout", 100).version
        changes.flags.enable("summer_banner")
        changes.flags.delete("search_v2")
        changes.values.set("page_size", 50)
    html = page(operator, history_url("new_checkout"))
    assert related(html) == ["changed together with search_v2, summer_banner, page_size"]
    assert links(html) == [(str(change), "all 4…")]
    banner = flag_version("summer_banner")
    assert f'<a href="{history_url("summer_banner")}#version-{banner}">summer_banner</a>' in html
    html = page(operator, history_url("page_size"))
    assert related(html) == ["changed together with new_checkout, search_v2, summer_banner"]
    # Without the permission to view values, the value is only counted.
    html = page(staff("change_featureflag"), history_url("new_checkout"))
    assert related(html) == ["changed together with search_v2, summer_banner and 1 more"]


def test_many_related_changes_are_truncated_with_few_queries(operator: Client) -> None:
    with transaction.atomic():
        changes.flags.set_rollout("new_checkout", 100)
        for number in range(12):
            changes.flags.create(f"flag_{number:02}")
    assert count_queries(operator, history_url("new_checkout")) <= 20
    html = page(operator, history_url("new_checkout"))
    assert related(html) == [
        "changed together with flag_00, flag_01, flag_02, flag_03, flag_04 and 7 more"
    ]
    assert links(html)[0][1] == "all 13…"


def change_all(transactions: int, flag_count: int) -> None:
    """Flags that each of these transactions has changed."""
    first = FeatureFlag.objects.count()
    keys = (f"flag_{first + number:03}" for number in range(flag_count))
    FeatureFlag.objects.bulk_create(FeatureFlag(key=key) for key in keys)
    for number in range(transactions):
        FeatureFlag.objects.update(description=str(number))


@pytest.mark.parametrize("url", ["history", "recent changes"])
def test_page_reads_and_asks_as_much_for_many_large_transactions(
    url: str, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    may_change = FeatureFlagAdmin.has_change_permission

    def count(self: Any, request: Any, obj: Any = None) -> bool:
        asked.append(obj)
        return may_change(self, request, obj)

    monkeypatch.setattr(FeatureFlagAdmin, "has_change_permission", count)

    def figures() -> tuple[int, int]:
        """The numbers of queries, and of asked permissions."""
        asked.clear()
        page_url = history_url("new_checkout") if url == "history" else RECENT
        with CaptureQueriesContext(connection) as queries:
            page(operator, page_url)
        return len(queries), len(asked)

    change_all(3, 10)
    figures()  # Fills Django's caches.
    few = figures()
    change_all(3, 60)
    assert figures() == few


def test_very_large_transaction_is_counted_in_part(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(undo_buttons, "_MAX_ENTRIES", 20)
    change_all(1, 30)
    html = page(operator, history_url("summer_banner"))
    [sentence] = related(html)
    assert re.fullmatch(r"changed together with (\w+, ){4}\w+ and at least 15 more", sentence)
    assert links(html)[0][1] == "all…"


def test_transaction_has_an_undo_unless_it_changed_or_deleted_a_secret_value(
    operator: Client,
) -> None:
    KeyValueStore.objects.create(key="token", value="hunter2", secret=True)
    several: list[tuple[str, Callable[[], object], int]] = [
        (
            "new_checkout",
            lambda: changes.values.update("token", {"description": "For the shop"}),
            2,
        ),
        ("dark_mode", lambda: changes.values.set("token", "hunter3"), 0),
        ("search_v2", lambda: changes.values.delete("token"), 0),
    ]
    for key, change, count in several:
        with transaction.atomic():
            changes.flags.set_rollout(key, 60)
            change()
        expected = [f"all {count}…"] if count else []
        assert [label for _, label in links(page(operator, history_url(key)))] == expected
