"""The page of unknown keys in the admin."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from flagstaff import acting_as, changes, experiments
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import (
    FLAGS,
    confirmed,
    count_queries,
    messages_of,
    page,
    staff,
    state,
)
from tests.support.plan_pages import text_of
from tests.support.sql import rows as execute
from tests.support.terminals import delete_usage
from tests.support.usage_rows import add_usage

pytestmark = pytest.mark.django_db

RECENT = "/admin/flagstaff/recentchange/"
UNKNOWN = "/admin/flagstaff/unknownkey/"


def text(html: str) -> str:
    return text_of(html.partition('id="content"')[2].replace("<", " <"))


def evaluate_unknown(key: str, *, count: int = 1, days: float = 0) -> None:
    """Counts evaluations of a key without a flag, so many days ago."""
    add_usage(key, "unknown", count, days)


def keys(html: str) -> list[str]:
    """The unknown keys of the table."""
    return re.findall(r'<th scope="row"><span class="flagstaff-key">([^<]*)<', html)


@pytest.fixture(autouse=True)
def usage() -> None:
    """A worker that reports."""
    delete_usage()
    add_usage("", "report", 0)


def test_page_lists_keys_with_their_counts_the_last_first(operator: Client) -> None:
    evaluate_unknown("first_seen", count=12_345, days=2)
    evaluate_unknown("last_seen")
    html = page(operator, UNKNOWN)
    shown = text(html)
    assert keys(html) == ["last_seen", "first_seen"]
    assert "12,345" in shown
    assert "In the last 7 days, your code evaluated 2 keys that have no flag." in shown
    assert re.search(r"Counted since .* and until .*\d\d:\d\d:\d\d", shown)
    assert "Workers report every 60 s: later evaluations are not included yet." in shown
    assert "Only keys of flags are counted, not keys of values." in shown


def test_page_without_an_unknown_key_or_its_tables_says_so(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate_unknown("last_seen")
    changes.flags.create("last_seen")
    html = page(operator, UNKNOWN)
    assert keys(html) == []
    assert "Every key that was evaluated in the last 7 days has a flag." in text(html)
    delete_usage()
    shown = text(page(operator, UNKNOWN))
    assert "No worker has reported its evaluations yet." in shown
    with monkeypatch.context() as patch:
        patch.setattr(connection, "vendor", "sqlite")
        assert "This needs PostgreSQL" in text(page(operator, UNKNOWN))
    execute("DROP TABLE flagstaff_usage")
    assert "The evaluations cannot be shown." in text(page(operator, UNKNOWN))


def test_period_can_be_chosen_and_has_more_pages(operator: Client) -> None:
    evaluate_unknown("old_key", days=20)
    for query, found in (("", []), ("?days=30", ["old_key"]), ("?days=x&p=-1", [])):
        assert keys(page(operator, f"{UNKNOWN}{query}")) == found
    for number in range(50):
        evaluate_unknown(f"key_{number}", days=number / 1_000)
    html = page(operator, f"{UNKNOWN}?days=7&p=1")
    assert len(keys(html)) == 50  # After the last page, the first one.
    assert ">Newer</a>" not in html
    evaluate_unknown("key_50", days=0.9)
    first = page(operator, UNKNOWN)
    assert len(keys(first)) == 50
    assert "evaluated 51 keys" in text(first)
    assert 'href="?days=7&amp;p=1"' in first
    assert keys(page(operator, f"{UNKNOWN}?days=7&p=1")) == ["key_50"]


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("a b", "No flag can have this key: the key has white space at position 2;"),
        ("-rf", 'No flag can have this key: the key begins with "-"'),
        ("(other keys)", "This row counts all keys that look generated, and all keys after the"),
        ("checkout_button", "checkout_button is the key of an experiment"),
        ("<b>odd</b>", "No flag can have this key: "),
    ],
)
def test_key_that_no_flag_can_have_says_why(key: str, problem: str, operator: Client) -> None:
    experiments.create("checkout_button")
    evaluate_unknown(key)
    html = page(operator, UNKNOWN)
    assert problem in text(html)
    assert f"{FLAGS}add/?" not in html
    assert "<b>odd</b>" not in html


def test_deleted_flag_of_key_is_named_and_brought_back(operator: Client, admin_user: User) -> None:
    changes.flags.create("old_banner", rollout_percent=25)
    changes.flags.allow("old_banner", [admin_user])
    # A test is one transaction: the actor makes it an event of its own.
    with acting_as(admin_user):
        changes.flags.delete("old_banner")
    evaluate_unknown("old_banner")
    html = page(operator, UNKNOWN)
    assert re.search(r"A flag with this key was deleted on .* by admin\.", text(html))
    assert f'href="{RECENT}?key=old_banner&amp;exact=1&amp;kind=flag"' in html
    [url] = re.findall(r'<a href="([^"]*)">Bring back…</a>', html)
    response = operator.get(unescape(url))
    assert response.status_code == 200
    operator.post(unescape(url), confirmed(response))
    flag = FeatureFlag.objects.get(key="old_banner")
    assert (flag.rollout_percent, list(flag.allowed_users.all())) == (25, [admin_user])


def test_viewer_and_read_only_pages_cannot_create_flags_or_bring_them_back(
    operator: Client, viewer: Client, settings: Any
) -> None:
    changes.flags.create("old_banner")
    changes.flags.delete("old_banner")
    for key in ("old_banner", "last_seen"):
        evaluate_unknown(key)
    html = page(viewer, UNKNOWN)
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "READ_ONLY": True}
    read_only = page(operator, UNKNOWN)
    assert "These pages are read-only" in read_only
    for one in (html, read_only):
        assert {*keys(one)} == {"last_seen", "old_banner"}
        assert f'href="{RECENT}?key=old_banner' in one
        assert "Bring back" not in one
        assert f"{FLAGS}add/?" not in one


def test_page_is_linked_needs_the_permission_and_takes_no_post(operator: Client) -> None:
    for url in ("/admin/", FLAGS):
        html = page(operator, url)
        assert f'href="{UNKNOWN}"' in html
        assert "Unknown keys" in html
    client = staff("view_keyvaluestore")
    assert client.get(UNKNOWN).status_code == client.post(UNKNOWN).status_code == 403
    assert operator.post(UNKNOWN, {"key": "a"}).status_code == 403


def test_similar_and_renamed_flags_of_the_key_are_named(
    operator: Client, flag: FeatureFlag
) -> None:
    evaluate_unknown("new_chekout")
    html = page(operator, UNKNOWN)
    assert "Did you mean new_checkout ?" in text(html)
    assert "evaluated 1 key that has no flag" in text(html)
    assert f'href="{FLAGS}{flag.pk}/change/"' in html
    changes.flags.update("new_checkout", {"key": "one_page"})
    evaluate_unknown("new_checkout")
    html = page(operator, UNKNOWN)
    assert "The flag “one_page” had this key before." in text(html)
    assert f'href="{RECENT}?key=new_checkout' in html
    assert "Bring back" not in html


def test_page_shows_the_environment_with_naive_times(operator: Client, settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ENVIRONMENT": {"name": "Staging", "color": "blue"}}
    settings.USE_TZ = False
    changes.flags.create("old_banner")
    changes.flags.delete("old_banner")
    evaluate_unknown("old_banner")
    html = page(operator, UNKNOWN)
    assert keys(html) == ["old_banner"]
    assert "flagstaff-environment-blue" in html


def test_page_makes_the_same_queries_for_many_keys(operator: Client) -> None:
    def add(numbers: range) -> None:
        for number in numbers:
            changes.flags.create(f"old_{number}")
            changes.flags.delete(f"old_{number}")
            evaluate_unknown(f"old_{number}")

    add(range(1))
    few = count_queries(operator, UNKNOWN)
    add(range(1, 30))
    assert count_queries(operator, UNKNOWN) == few <= 13


# The page that adds a flag.


def add_flag(client: Client, key: str) -> list[str]:
    """Adds a flag that is off, and returns the messages."""
    data = {"key": key, "rollout_percent": 0, "kind": "release"}
    return messages_of(client.post(f"{FLAGS}add/", data, follow=True))


def test_add_page_counts_the_evaluations_of_the_key(operator: Client) -> None:
    evaluate_unknown("last_seen", count=1_234)
    html, url = page(operator, UNKNOWN), f"{FLAGS}add/?key=last_seen"
    assert f'href="{url}"' in html
    assert 'aria-label="Create flag: last_seen"' in html
    response = operator.get(url)
    form = response.context["adminform"].form
    assert form.initial["key"] == "last_seen"
    assert (form["enabled"].value(), form["rollout_percent"].value()) == (False, 0)
    [message] = messages_of(response)
    assert message == (
        "In the last 30 days, the key was evaluated 1,234 times. Without a flag, a call returns "
        "its default; while the new flag is off, it returns False."
    )
    assert messages_of(operator.get(f"{FLAGS}add/")) == []


def test_add_page_and_new_flag_name_the_flag_that_had_the_key(operator: Client) -> None:
    assert len(add_flag(operator, "brand_new")) == 1
    changes.flags.create("old_banner", rollout_percent=50, enabled=True)
    changes.flags.delete("old_banner")
    [message] = messages_of(operator.get(f"{FLAGS}add/?key=old_banner"))
    assert message.startswith("A flag with this key was deleted on ")
    found = " ".join(add_flag(operator, "old_banner"))
    assert "was added." in found
    assert "A flag with this key was deleted on " in found
    assert state(FeatureFlag.objects.get(key="old_banner")) == (False, 0)
