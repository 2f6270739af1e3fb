"""The list of flags in the admin: columns, filters, shortcuts, buttons."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone
from django.utils.html import strip_tags

from flagstaff import acting_as, changes
from flagstaff.models import Change, FeatureFlag
from tests.support.admin_pages import FLAGS, column, listed_keys, page, staff
from tests.support.stale_flags import collect_usage, evaluate, make_flag
from tests.support.terminals import delete_usage

pytestmark = pytest.mark.django_db

RULES = [{"conditions": [{"attribute": "plan", "operator": "in", "values": ["a"]}]}]


@pytest.fixture(autouse=True)
def _nothing_before() -> None:
    Change.objects.all().delete()
    delete_usage()


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice")


def keys(client: Client, query: str) -> list[str]:
    """Returns the keys that the list shows for a query."""
    return listed_keys(page(client, FLAGS + query))


def shortcuts(client: Client, query: str = "") -> dict[str, str]:
    """Returns the texts of the shortcuts, with their queries."""
    [nav] = re.findall(
        r'<nav class="flagstaff-shortcuts".*?</nav>', page(client, FLAGS + query), re.DOTALL
    )
    links = re.findall(r'<a href="(\?[^"]*)"[^>]*>(.*?)</a>', nav, re.DOTALL)
    return {" ".join(strip_tags(text).split()): unescape(url) for url, text in links}


def one_of_each_state(alice: User) -> None:
    states: dict[str, dict[str, Any]] = {
        "rollout": {"rollout_percent": 25},
        "ruled": {"rollout_percent": 100, "rules": RULES},
        "allowed": {"rollout_percent": 0},
        "all": {"rollout_percent": 100},
        "nobody": {"rollout_percent": 0},
        "off": {"enabled": False, "rollout_percent": 50, "rules": RULES},
    }
    for key, fields in states.items():
        FeatureFlag.objects.create(key=key, **{"enabled": True, **fields})
    FeatureFlag.objects.get(key="allowed").allowed_users.add(alice)


@pytest.mark.parametrize(
    ("state", "key"),
    [
        ("rollout", "rollout"),
        ("by-rules", "ruled"),
        ("allowed-users", "allowed"),
        ("all", "all"),
        ("no-users", "nobody"),
        ("off", "off"),
    ],
)
def test_filter_by_state_shows_flags_with_that_label(
    state: str, key: str, admin_client: Client, alice: User
) -> None:
    one_of_each_state(alice)
    assert keys(admin_client, f"?state={state}") == [key]


def test_list_sorts_by_state(admin_client: Client, alice: User) -> None:
    one_of_each_state(alice)
    in_order = ["rollout", "ruled", "allowed", "all", "nobody", "off"]
    assert keys(admin_client, "?o=2") == in_order
    assert keys(admin_client, "?o=-2") == in_order[::-1]


def test_newest_change_is_shown_with_its_actor(admin_client: Client, admin_user: User) -> None:
    changes.create("a", rollout_percent=25, enabled=True)
    with acting_as(admin_user):
        changes.set_rollout("a", 50)
    assert column(page(admin_client), "changed") == ["25 → 50 % admin · just now"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda _alice: changes.disable("a"), "on → off"),
        (
            lambda _alice: changes.update("a", {"description": "x", "owner": "y"}),
            "description, owner",
        ),
        (lambda alice: changes.add_allowed_users("a", alice), "1 user added"),
        (lambda _alice: changes.create("b", rollout_percent=5), "created"),
    ],
)
def test_newest_change_is_described(
    change: Any, text: str, admin_client: Client, alice: User
) -> None:
    make_flag("a")
    change(alice)
    assert column(page(admin_client), "changed")[-1].startswith(f"{text} ")


def test_flag_without_history_shows_the_time_of_its_change(admin_client: Client) -> None:
    FeatureFlag.objects.create(key="a")
    Change.objects.all().delete()
    assert column(page(admin_client), "changed") == ["just now"]


def test_evaluations_are_shown_with_the_share_of_true_results(admin_client: Client) -> None:
    make_flag("a")
    collect_usage()
    evaluate("a", times=3)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE flagstaff_usage SET false_count = 9 WHERE key = 'a'")
    assert column(page(admin_client), "evaluated") == ["just now 25 % true in 24 h"]


def test_old_evaluation_has_no_share(admin_client: Client) -> None:
    make_flag("a")
    collect_usage()
    evaluate("a", 3)
    [shown] = column(page(admin_client), "evaluated")
    assert " ".join(shown.split()) == "3 days ago"


def test_flag_without_an_evaluation_was_never_evaluated(admin_client: Client) -> None:
    make_flag("a")
    make_flag("browser", client_side=True)
    assert column(page(admin_client), "evaluated") == ["-", "-"]
    collect_usage()
    assert column(page(admin_client), "evaluated") == ["never", "-"]


def test_list_sorts_by_last_evaluation(admin_client: Client) -> None:
    for days, key in enumerate("abc"):
        make_flag(key)
        evaluate(key, 3 - days)
    assert keys(admin_client, "?o=6") == ["a", "b", "c"]
    assert keys(admin_client, "?o=-6") == ["c", "b", "a"]


def test_column_is_absent_without_usage(admin_client: Client, settings: Any) -> None:
    make_flag("a")
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "USAGE_INTERVAL": 0}
    assert column(page(admin_client), "evaluated") == []


@pytest.mark.parametrize(
    ("query", "found"), [("not-7d", ["a", "b"]), ("not-30d", ["a"]), ("never", ["a"])]
)
def test_filter_by_evaluation_shows_flags_without_one(
    query: str, found: list[str], admin_client: Client
) -> None:
    for key in ("a", "b", "c"):
        make_flag(key)
    make_flag("browser", client_side=True)
    collect_usage()
    evaluate("b", 20)
    evaluate("c")
    assert keys(admin_client, f"?evaluated={query}") == found


def test_new_flag_is_not_evaluated_for_long(admin_client: Client) -> None:
    make_flag("a", days=2)
    collect_usage()
    assert keys(admin_client, "?evaluated=not-7d") == []


@pytest.mark.parametrize(
    ("query", "found"),
    [("1h", ["a"]), ("24h", ["a", "b"]), ("7d", ["a", "b"]), ("not-30d", ["c"])],
)
def test_filter_by_change_uses_the_time(query: str, found: list[str], admin_client: Client) -> None:
    for key, days in (("c", 60.0), ("b", 0.5), ("a", 0)):
        make_flag(key, days=days)
    assert keys(admin_client, f"?changed={query}") == found


def test_filter_by_change_finds_changes_by_sql(admin_client: Client) -> None:
    make_flag("a")
    make_flag("b")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE flagstaff_featureflag SET rollout_percent = 7 WHERE key = 'a'")
    assert keys(admin_client, "?changed=1h") == ["a"]
    assert keys(admin_client, "?changed=not-30d") == ["b"]


def test_filter_shows_stale_flags(admin_client: Client) -> None:
    make_flag("a", rollout_percent=100)
    make_flag("b", rollout_percent=50)
    assert keys(admin_client, "?stale=yes") == ["a"]


def test_filter_shows_own_flags(admin_client: Client) -> None:
    FeatureFlag.objects.create(key="a", owner="ADMIN")
    FeatureFlag.objects.create(key="b", owner="another")
    assert keys(admin_client, "?mine=yes") == ["a"]


def test_owner_and_tags_are_shown_with_the_key(admin_client: Client) -> None:
    FeatureFlag.objects.create(key="a")
    FeatureFlag.objects.create(key="b", owner="web", tags=["x", "y"])
    assert column(page(admin_client), "flag") == ["a", "bweb · x, y"]


def test_shortcuts_have_the_numbers_of_flags(admin_client: Client) -> None:
    collect_usage()
    make_flag("old", rollout_percent=100)
    FeatureFlag.objects.create(key="a", enabled=True, rollout_percent=5, owner="admin")
    assert shortcuts(admin_client) == {
        "Changed in 24 hours 1": "?changed=24h",
        "In rollout 1": "?state=rollout",
        "Owned by me 1": "?mine=yes",
        "On for all, unchanged for 30 days 1": "?state=all&changed=not-30d",
        "Not evaluated for 30 days 1": "?evaluated=not-30d",
    }


def test_shortcut_of_unused_flags_has_no_number_for_very_many_flags(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect_usage()
    make_flag("old")
    make_flag("older")
    monkeypatch.setattr("flagstaff.admin.flag_list.overview._MAX_LOOKED_UP", 1)
    assert shortcuts(admin_client)["Not evaluated for 30 days"] == "?evaluated=not-30d"


def test_numbers_of_shortcuts_are_those_of_their_lists(admin_client: Client, alice: User) -> None:
    one_of_each_state(alice)
    collect_usage()
    make_flag("old", rollout_percent=100, owner="admin")
    for text, url in shortcuts(admin_client).items():
        assert len(keys(admin_client, url)) == int(text.rpartition(" ")[2])


def test_shortcuts_without_flags_are_hidden_but_for_the_first(admin_client: Client) -> None:
    make_flag("a", rollout_percent=100, days=20)
    assert shortcuts(admin_client) == {"Changed in 24 hours 0": "?changed=24h"}


def test_unused_flags_are_not_counted_before_usage_is_old_enough(admin_client: Client) -> None:
    make_flag("a")
    collect_usage(days=10)
    assert "Not evaluated for 30 days 1" not in shortcuts(admin_client)


def test_list_without_the_table_of_usage_is_there(admin_client: Client) -> None:
    make_flag("a")
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE flagstaff_usage")
    assert keys(admin_client, "") == ["a"]


def test_button_leads_to_a_page_and_back_to_the_row(admin_client: Client) -> None:
    flag = FeatureFlag.objects.create(key="a", enabled=True)
    html = page(admin_client, f"{FLAGS}?q=a")
    [url] = re.findall(r'flagstaff-button" href="([^"]+)"', html)
    assert url.startswith(f"{FLAGS}{flag.pk}/kill/?back=")
    response = admin_client.post(unescape(url), {"_confirmed": "1"})
    assert response.headers["location"] == f"{FLAGS}?q=a#flag-{flag.pk}"


def test_button_without_permission_is_disabled_with_the_reason() -> None:
    FeatureFlag.objects.create(key="a", enabled=True)
    html = page(staff("view_featureflag"))
    [button] = re.findall(r"<button[^>]*disabled[^>]*>", html)
    assert 'aria-describedby="flagstaff-why-not"' in button
    [reason] = re.findall(r'id="flagstaff-why-not">([^<]*)<', html)
    assert "flagstaff.toggle_featureflag" in reason


def test_title_says_what_the_list_has(admin_client: Client) -> None:
    assert "<h1>Feature flags</h1>" in page(admin_client)


def test_empty_list_says_what_to_do(admin_client: Client) -> None:
    assert "There are no flags yet." in page(admin_client)
    make_flag("a")
    assert "No flag matches the search and the filters." in page(admin_client, f"{FLAGS}?q=zzz")


def test_search_without_a_match_leads_to_the_deleted_flags(admin_client: Client) -> None:
    make_flag("a")
    make_flag("old_banner")
    changes.delete("old_banner")
    html = page(admin_client, f"{FLAGS}?q=old")
    [url] = re.findall(r'href="([^"]*action=delete[^"]*)"', html)
    assert "old_banner" in page(admin_client, url.replace("&amp;", "&"))


def test_filter_counts_and_pages_are_those_of_the_filter(admin_client: Client) -> None:
    FeatureFlag.objects.bulk_create(FeatureFlag(key=f"f{n:03}") for n in range(120))
    FeatureFlag.objects.filter(key__gte="f115").update(enabled=True)
    assert len(keys(admin_client, "?p=3")) == 40
    html = page(admin_client, f"{FLAGS}?enabled__exact=1")
    assert len(column(html, "flag")) == 5
    assert "120 total" in html


def test_changed_column_counts_from_now(admin_client: Client) -> None:
    make_flag("a", days=2)
    assert timezone.now() - FeatureFlag.objects.get().changed_at > timedelta(days=1)
    [shown] = column(page(admin_client), "changed")
    assert shown.replace("\xa0", " ").endswith("2 days ago")
