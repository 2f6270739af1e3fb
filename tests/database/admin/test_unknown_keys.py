"""The page of unknown keys in the admin."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import strip_tags

from flagstaff import acting_as, changes, experiments
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import FLAGS, confirmed, messages_of, page, staff
from tests.support.terminals import delete_usage

pytestmark = pytest.mark.django_db

RECENT = "/admin/flagstaff/recentchange/"
UNKNOWN = "/admin/flagstaff/unknownkey/"
FORM = {"kind": "release", "bucket_by": "user", "tags": "", "review_on": "", "owner": ""}


def text(html: str) -> str:
    content = html.partition('id="content"')[2].replace("<", " <")
    return " ".join(strip_tags(content).split())


def execute(statement: str, *parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)


def evaluate_unknown(key: str, *, count: int = 1, days: float = 0) -> None:
    """Counts evaluations of a key without a flag, so many days ago."""
    at = timezone.now() - timedelta(days=days)
    execute(
        "INSERT INTO flagstaff_usage VALUES (date_trunc('hour', %s), %s, false, 0, %s, %s)",
        *(at, key, count, at),
    )


def keys(html: str) -> list[str]:
    """The unknown keys of the table."""
    return re.findall(r'<th scope="row"><span class="flagstaff-key">([^<]*)<', html)


@pytest.fixture(autouse=True)
def usage() -> None:
    """A worker that reports, and a flag that was evaluated."""
    delete_usage()
    execute(
        "INSERT INTO flagstaff_usage_worker "
        "VALUES ('1', 'web-1', 1, now(), 60, 1, now() - interval '20 seconds', NULL)"
    )
    FeatureFlag.objects.create(key="new_checkout")


def test_page_lists_keys_with_their_counts_the_last_first(admin_client: Client) -> None:
    evaluate_unknown("first_seen", count=12_345, days=2)
    evaluate_unknown("last_seen")
    html = page(admin_client, UNKNOWN)
    assert keys(html) == ["last_seen", "first_seen"]
    assert "12,345" in html
    assert "In the last 7 days, your code evaluated 2 keys that have no flag." in text(html)


def test_page_says_since_when_and_how_late_it_counts(admin_client: Client) -> None:
    evaluate_unknown("last_seen")
    shown = text(page(admin_client, UNKNOWN))
    assert re.search(r"Counted since .* and until .*\d\d:\d\d:\d\d", shown)
    assert "Workers report every 60 s: later evaluations are not included yet." in shown
    assert "Reported by workers on web-1. Each count is the total of all hosts." in shown
    assert "Only keys of flags are counted, not keys of values." in shown


def test_page_without_an_unknown_key_says_so(admin_client: Client) -> None:
    expected = "Every key that was evaluated in the last 7 days has a flag."
    assert expected in text(page(admin_client, UNKNOWN))


def test_page_before_the_first_report_says_so(admin_client: Client) -> None:
    delete_usage()
    shown = text(page(admin_client, UNKNOWN))
    assert "No worker has reported its evaluations yet." in shown


def test_key_that_has_a_flag_by_now_is_left_out(admin_client: Client) -> None:
    evaluate_unknown("last_seen")
    changes.create("last_seen")
    assert keys(page(admin_client, UNKNOWN)) == []


def test_period_can_be_chosen(admin_client: Client) -> None:
    evaluate_unknown("old_key", days=20)
    assert keys(page(admin_client, UNKNOWN)) == []
    assert keys(page(admin_client, f"{UNKNOWN}?days=30")) == ["old_key"]
    assert keys(page(admin_client, f"{UNKNOWN}?days=x&p=-1")) == []


def test_more_keys_are_on_further_pages(admin_client: Client) -> None:
    for number in range(51):
        evaluate_unknown(f"key_{number}", days=number / 1_000)
    first = page(admin_client, UNKNOWN)
    assert len(keys(first)) == 50
    assert "evaluated 51 keys" in text(first)
    assert 'href="?days=7&amp;p=1"' in first
    assert keys(page(admin_client, f"{UNKNOWN}?days=7&p=1")) == ["key_50"]


def test_page_after_the_last_one_shows_the_first(admin_client: Client) -> None:
    evaluate_unknown("last_seen")
    html = page(admin_client, f"{UNKNOWN}?days=7&p=1")
    assert keys(html) == ["last_seen"]
    assert "evaluated 1 key that has no flag" in text(html)
    assert ">Newer</a>" not in html


@pytest.mark.parametrize("key", ["new_chekout", "NEW_CHECKOUT", "new-checkout"])
def test_similar_flag_is_suggested(key: str, admin_client: Client) -> None:
    evaluate_unknown(key)
    html = page(admin_client, UNKNOWN)
    assert "Did you mean new_checkout ?" in text(html)
    flag = FeatureFlag.objects.get()
    assert f'href="{FLAGS}{flag.pk}/change/"' in html


def test_key_creates_a_flag_that_is_off(admin_client: Client) -> None:
    evaluate_unknown("last_seen")
    html = page(admin_client, UNKNOWN)
    url = f"{FLAGS}add/?key=last_seen"
    assert f'href="{url}"' in html
    assert 'aria-label="Create flag: last_seen"' in html
    form = admin_client.get(url).context["adminform"].form
    assert form.initial["key"] == "last_seen"
    assert (form["enabled"].value(), form["rollout_percent"].value()) == (False, 0)


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("a b", "No flag can have this key: the key has white space at position 2;"),
        ("-rf", 'No flag can have this key: the key begins with "-"'),
        (
            "(other keys)",
            "This row counts all keys that look generated, and all keys after the first",
        ),
    ],
)
def test_key_that_no_flag_can_have_says_why(key: str, problem: str, admin_client: Client) -> None:
    evaluate_unknown(key)
    html = page(admin_client, UNKNOWN)
    assert problem in text(html).replace("&quot;", '"')
    assert f"{FLAGS}add/?" not in html


def test_key_of_an_experiment_says_so(admin_client: Client) -> None:
    experiments.create("checkout_button")
    evaluate_unknown("checkout_button")
    html = page(admin_client, UNKNOWN)
    assert "checkout_button is the key of an experiment" in text(html)
    assert f"{FLAGS}add/?" not in html


def test_deleted_flag_of_the_key_is_named(admin_client: Client, admin_user: User) -> None:
    with acting_as(admin_user):
        changes.create("old_banner")
        changes.delete("old_banner")
    evaluate_unknown("old_banner")
    html = page(admin_client, UNKNOWN)
    assert re.search(r"A flag with this key was deleted on .* by admin\.", text(html))
    assert f'href="{RECENT}?key=old_banner&amp;exact=1&amp;kind=flag"' in html


def test_deleted_flag_is_brought_back(admin_client: Client, admin_user: User) -> None:
    changes.create("old_banner", rollout_percent=25)
    changes.add_allowed_users("old_banner", [admin_user])
    # A test is one transaction: the actor makes it an event of its own.
    with acting_as("ana"):
        changes.delete("old_banner")
    evaluate_unknown("old_banner")
    [url] = re.findall(r'<a href="([^"]*)">Bring back…</a>', page(admin_client, UNKNOWN))
    response = admin_client.get(unescape(url))
    assert response.status_code == 200
    admin_client.post(unescape(url), confirmed(response))
    flag = FeatureFlag.objects.get(key="old_banner")
    assert (flag.rollout_percent, list(flag.allowed_users.all())) == (25, [admin_user])


def test_user_who_may_only_view_flags_cannot_bring_them_back() -> None:
    changes.create("old_banner")
    changes.delete("old_banner")
    evaluate_unknown("old_banner")
    html = page(staff("view_featureflag"), UNKNOWN)
    assert f'href="{RECENT}?key=old_banner' in html
    assert "Bring back" not in html


def test_renamed_flag_of_the_key_is_named(admin_client: Client) -> None:
    changes.update("new_checkout", {"key": "one_page"})
    evaluate_unknown("new_checkout")
    html = page(admin_client, UNKNOWN)
    assert "The flag “one_page” had this key before." in text(html)
    assert f'href="{RECENT}?key=new_checkout' in html
    assert "Bring back" not in html


def test_keys_are_escaped(admin_client: Client) -> None:
    evaluate_unknown("<b>odd</b>")
    html = page(admin_client, UNKNOWN)
    assert "<b>odd</b>" not in html
    assert "&lt;b&gt;odd&lt;/b&gt;" in html


def test_user_who_may_only_view_flags_cannot_create_them() -> None:
    evaluate_unknown("last_seen")
    html = page(staff("view_featureflag"), UNKNOWN)
    assert keys(html) == ["last_seen"]
    assert f"{FLAGS}add/?" not in html


def test_read_only_page_has_no_link_to_create(admin_client: Client, settings: Any) -> None:
    evaluate_unknown("last_seen")
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "READ_ONLY": True}
    html = page(admin_client, UNKNOWN)
    assert f"{FLAGS}add/?" not in html
    assert "These pages are read-only" in html


def test_user_without_the_permission_sees_no_page() -> None:
    client = staff("view_keyvaluestore")
    assert client.get(UNKNOWN).status_code == 403
    assert client.post(UNKNOWN).status_code == 403


def test_page_takes_no_post(admin_client: Client) -> None:
    assert admin_client.post(UNKNOWN, {"key": "a"}).status_code == 403


def test_page_shows_the_environment(admin_client: Client, settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ENVIRONMENT": {"name": "Staging", "color": "blue"}}
    assert "flagstaff-environment-blue" in page(admin_client, UNKNOWN)


def test_page_works_with_naive_times(admin_client: Client, settings: Any) -> None:
    settings.USE_TZ = False
    changes.create("old_banner")
    changes.delete("old_banner")
    evaluate_unknown("old_banner")
    assert keys(page(admin_client, UNKNOWN)) == ["old_banner"]


def test_page_without_the_tables_says_so(admin_client: Client) -> None:
    execute("DROP TABLE flagstaff_usage")
    assert "The evaluations cannot be shown." in text(page(admin_client, UNKNOWN))


def test_page_on_other_databases_says_so(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "vendor", "sqlite")
    assert "This needs PostgreSQL" in text(page(admin_client, UNKNOWN))


def test_index_and_list_of_flags_link_to_the_page(admin_client: Client) -> None:
    for url in ("/admin/", FLAGS):
        html = page(admin_client, url)
        assert f'href="{UNKNOWN}"' in html
        assert "Unknown keys" in html


def test_page_makes_the_same_queries_for_many_keys(admin_client: Client) -> None:
    changes.create("old_0")
    changes.delete("old_0")
    evaluate_unknown("old_0")
    page(admin_client, UNKNOWN)  # Fills Django's caches.
    with CaptureQueriesContext(connection) as few:
        page(admin_client, UNKNOWN)
    for number in range(1, 30):
        changes.create(f"old_{number}")
        changes.delete(f"old_{number}")
        evaluate_unknown(f"old_{number}")
    with CaptureQueriesContext(connection) as many:
        page(admin_client, UNKNOWN)
    assert len(many) == len(few)
    own = [one for one in many if "SAVEPOINT" not in one["sql"]]
    assert len(own) <= 13


# The page that adds a flag.


def add_flag(client: Client, key: str) -> list[str]:
    """Adds a flag that is off, and returns the messages."""
    url = f"{FLAGS}add/"
    return messages_of(client.post(url, {"key": key, "rollout_percent": 0, **FORM}, follow=True))


def test_add_page_counts_the_evaluations_of_the_key(admin_client: Client) -> None:
    evaluate_unknown("last_seen", count=1_234)
    [message] = messages_of(admin_client.get(f"{FLAGS}add/?key=last_seen"))
    assert message == (
        "In the last 30 days, the key was evaluated 1,234 times. Without a flag, a call returns "
        "its default; while the new flag is off, it returns False."
    )
    assert messages_of(admin_client.get(f"{FLAGS}add/")) == []


def test_add_page_names_the_flag_that_had_the_key(admin_client: Client) -> None:
    changes.create("old_banner")
    changes.delete("old_banner")
    [message] = messages_of(admin_client.get(f"{FLAGS}add/?key=old_banner"))
    assert message.startswith("A flag with this key was deleted on ")


def test_new_flag_names_the_flag_that_had_the_key(admin_client: Client) -> None:
    changes.create("old_banner", rollout_percent=50, enabled=True)
    changes.delete("old_banner")
    added, former = add_flag(admin_client, "old_banner")
    assert "was added successfully" in added or "was added successfully" in former
    assert any(one.startswith("A flag with this key was deleted on ") for one in (added, former))
    flag = FeatureFlag.objects.get(key="old_banner")
    assert (flag.enabled, flag.rollout_percent) == (False, 0)


def test_new_flag_of_a_new_key_has_no_further_message(admin_client: Client) -> None:
    assert len(add_flag(admin_client, "brand_new")) == 1
