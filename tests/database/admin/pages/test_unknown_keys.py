"""The page of unknown keys in the admin."""

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from flagstaff import changes, experiments
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import (
    FLAGS,
    RECENT,
    act,
    content_of,
    listed_keys,
    messages_of,
    page,
    staff,
)
from tests.support.screen import Screen
from tests.support.sql import rows as execute
from tests.support.usage_rows import add_usage, delete_usage

UNKNOWN = f"{FLAGS}unknown-keys/"


@pytest.fixture(autouse=True)
def usage() -> None:
    """A worker that reports."""
    delete_usage()
    add_usage("", "report", 0)


def test_page_lists_keys_with_their_counts_the_last_first(operator: Client) -> None:
    add_usage("first_seen", "unknown", 12_345, 2)
    add_usage("last_seen", "unknown")
    html = page(operator, UNKNOWN)
    shown = content_of(html)
    assert listed_keys(html) == ["last_seen", "first_seen"]
    assert {"Last report", "First hour"} <= {*Screen(html).texts("th")}
    assert "12,345" in shown
    assert "In the last 7 days, your code evaluated 2 keys that have no flag." in shown
    assert re.search(r"Counted since .* and until .*\d\d:\d\d:\d\d", shown)
    assert "Workers report every 60 s: later evaluations are not included yet." in shown
    assert "Only keys of flags are counted, not keys of values." in shown


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
    add_usage(key, "unknown")
    html = page(operator, UNKNOWN)
    assert problem in content_of(html)
    assert f"{FLAGS}add/?" not in html
    assert "<b>odd</b>" not in html


def test_page_without_an_unknown_key_or_its_table_says_so(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_usage("last_seen", "unknown")
    add_usage("old_key", "unknown", 1, 8)
    changes.flags.create("last_seen")
    html = page(operator, UNKNOWN)
    assert listed_keys(html) == []
    assert "Every key that was evaluated in the last 7 days has a flag." in content_of(html)
    delete_usage()
    assert "No worker has reported its evaluations yet." in content_of(page(operator, UNKNOWN))
    with monkeypatch.context() as patch:
        patch.setattr(connection, "vendor", "sqlite")
        assert "usage is not available in database" in content_of(page(operator, UNKNOWN))
    execute("DROP TABLE flagstaff_usage")
    assert "usage is not available in database" in content_of(page(operator, UNKNOWN))


def test_page_has_fifty_keys_and_links_to_the_others(operator: Client) -> None:
    for number in range(51):
        add_usage(f"key_{number:02}", "unknown", 1, number / 1_000)
    first, last = page(operator, UNKNOWN), page(operator, f"{UNKNOWN}?p=2")
    assert (len(listed_keys(first)), listed_keys(last)) == (50, ["key_50"])
    assert "evaluated 51 keys" in content_of(first)
    assert 'href="?p=2">Next page<' in first
    assert 'href="?p=1">Previous page<' in last
    assert listed_keys(page(operator, f"{UNKNOWN}?p=x")) == listed_keys(first)


def test_key_links_to_its_history_which_brings_a_deleted_flag_back(operator: Client) -> None:
    changes.flags.create("old_banner")
    changes.flags.delete("old_banner")
    add_usage("old_banner", "unknown")
    url = Screen(page(operator, UNKNOWN)).link("History")
    assert url == f"{RECENT}?key=old_banner&kind=flag"
    assert "Bring back" in page(operator, url)


def test_viewer_and_read_only_pages_cannot_create_flags(
    operator: Client, viewer: Client, settings: Any
) -> None:
    add_usage("last_seen", "unknown")
    html = page(viewer, UNKNOWN)
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "READ_ONLY": True}
    for html_of_page in (html, page(operator, UNKNOWN)):
        assert listed_keys(html_of_page) == ["last_seen"]
        assert f"{FLAGS}add/?" not in html_of_page


@pytest.mark.parametrize("permission", ["view_featureflag", "toggle_featureflag"])
def test_similar_flag_of_the_key_is_linked(permission: str, flag: FeatureFlag) -> None:
    add_usage("new_chekout", "unknown")
    html = page(staff(permission), UNKNOWN)
    link = f'<a class="flagstaff-key" href="{FLAGS}{flag.pk}/change/">new_checkout</a>'
    assert f"Did you mean {link}?" in html
    assert "evaluated 1 key that has no flag" in content_of(html)


# The page that adds a flag.


def test_new_flag_says_how_often_its_key_was_evaluated(operator: Client) -> None:
    add_usage("last_seen", "unknown", 1_234)
    url = f"{FLAGS}add/?key=last_seen"
    assert f'href="{url}"' in page(operator, UNKNOWN)
    assert operator.get(url).context["form"]["key"].value() == "last_seen"
    assert (
        "In the last 30 days, the key was evaluated 1,234 times. Without a flag, the code "
        "uses its own default; while the new flag is off, no user has it."
    ) in messages_of(act(operator, url, key="last_seen"))
