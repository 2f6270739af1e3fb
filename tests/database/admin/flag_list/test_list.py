"""The list of flags in the admin: columns, filters, shortcuts, buttons."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from django.utils.html import strip_tags

from flagstaff import acting_as, changes
from flagstaff.models import Change, FeatureFlag
from tests.support.admin_pages import (
    FLAGS,
    column,
    listed_keys,
    page,
)
from tests.support.sql import rows as execute
from tests.support.stale_flags import collect_usage, evaluate, make_flag, serve
from tests.support.terminals import delete_usage
from tests.support.usage_rows import add_usage

pytestmark = pytest.mark.django_db

WHOLE = [{"conditions": [{"attribute": "plan", "operator": "in", "values": ["a"]}]}]
RULES: list[dict[str, Any]] = [{**WHOLE[0], "rollout_percent": 25}]


@pytest.fixture(autouse=True)
def _no_usage() -> None:
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


STATES: dict[str, dict[str, Any]] = {
    "rollout": {"rollout_percent": 25},
    "by-rules": {"rollout_percent": 50, "rules": RULES},
    "allowed-users": {"rollout_percent": 0},
    "all": {"rollout_percent": 100},
    "no-users": {"rollout_percent": 0},
    "off": {"enabled": False, "rollout_percent": 50, "rules": RULES},
}
LABELS = [
    *("rollout 25 %", "by rules", "allowed users only", "on for all", "on for no users"),
    "off",
]


@pytest.fixture
def one_of_each_state(alice: User) -> None:
    """A flag in each state, whose key is the state."""
    for key, fields in STATES.items():
        FeatureFlag.objects.create(key=key, **{"enabled": True, **fields})
    FeatureFlag.objects.get(key="allowed-users").allowed_users.add(alice)


@pytest.mark.usefixtures("one_of_each_state")
def test_list_is_filtered_and_sorted_by_state(operator: Client) -> None:
    for state in STATES:
        assert keys(operator, f"?state={state}") == [state]
    assert keys(operator, "?state=on") == sorted({*STATES} - {"off"})
    assert keys(operator, "?o=2") == [*STATES]
    cells = [" ".join(one.split()) for one in column(page(operator, f"{FLAGS}?o=2"), "flag")]
    assert cells == [f"{key} {label}" for key, label in zip(STATES, LABELS, strict=True)]
    assert keys(operator, "?o=-2") == [*STATES][::-1]


def test_newest_change_is_shown_with_its_actor(operator: Client, admin_user: User) -> None:
    changes.flags.create("a", rollout_percent=25, enabled=True)
    with acting_as(admin_user):
        changes.flags.set_rollout("a", 50)
    assert column(page(operator), "changed") == ["rollout 25 → 50 % admin · just now"]
    Change.objects.all().delete()
    assert column(page(operator), "changed") == ["just now"]
    FeatureFlag.objects.update(changed_at=timezone.now() - timedelta(days=2))
    [shown] = column(page(operator), "changed")
    assert shown.replace("\xa0", " ").endswith("2 days ago")


def test_newest_change_is_described(operator: Client, alice: User) -> None:
    make_flag("a")
    made: list[tuple[Callable[[], object], str]] = [
        (lambda: changes.flags.disable("a"), "turned off"),
        (
            lambda: changes.flags.update("a", {"description": "x", "owner": "y"}),
            "description, owner",
        ),
        (lambda: changes.flags.allow("a", alice), "added 1 allowed user"),
        (lambda: changes.flags.create("b", rollout_percent=5), "created"),
    ]
    for change, text in made:
        with acting_as(text):  # An event of its own.
            change()
        assert column(page(operator), "changed")[-1].startswith(f"{text} ")


def test_evaluations_are_shown_with_share_of_true_results(operator: Client, settings: Any) -> None:
    for key in ("a", "b", "c"):
        make_flag(key)
    assert column(page(operator), "evaluated") == ["-"] * 3
    collect_usage()
    evaluate("b", 3)
    evaluate("c", times=3)
    add_usage("c", "false", 9)
    found = [" ".join(text.split()) for text in column(page(operator), "evaluated")]
    assert found == ["never", "3 days ago", "25 % true just now"]
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "USAGE_INTERVAL": 0}
    assert column(page(operator), "evaluated") == []


def test_flags_served_in_bulk_are_shown_as_in_browsers_or_not_known(operator: Client) -> None:
    for key in ("a", "b", "c", "d"):
        make_flag(key)
    collect_usage()
    evaluate("a", 6)
    serve("a")
    serve("b")
    evaluate("c", 6)
    serve("c", 3, to_browsers=True)
    evaluate("d", 3)
    serve("d", 6, to_browsers=True)
    shown = [" ".join(text.split()) for text in column(page(operator), "evaluated")]
    assert shown == ["6 days ago", "not known", "in browsers 3 days ago", "3 days ago"]
    title = re.search(r'title="(Served in bulk on [^"]*)"', page(operator))
    assert title is not None
    assert title[1].endswith(". An evaluation of one key would be counted.")


def test_flags_served_in_bulk_do_not_match_the_filter_by_evaluation(operator: Client) -> None:
    for key in ("bulk", "browser", "old", "unused"):
        make_flag(key)
    collect_usage()
    serve("bulk", 6)
    serve("browser", 6, to_browsers=True)
    serve("old", 20)
    assert keys(operator, "?evaluated=not-7d") == ["old", "unused"]
    assert keys(operator, "?evaluated=not-30d") == ["unused"]
    assert keys(operator, "?evaluated=never") == ["unused"]
    assert shortcuts(operator)["Not evaluated for 30 days 1"] == "?evaluated=not-30d"


def test_list_sorts_and_filters_by_evaluation(operator: Client) -> None:
    for key in ("a", "b", "c"):
        make_flag(key)
    make_flag("new", days=2)
    collect_usage()
    evaluate("b", 20)
    evaluate("c")
    assert keys(operator, "?evaluated=not-7d") == ["a", "b"]
    assert keys(operator, "?evaluated=not-30d") == ["a"]
    assert keys(operator, "?evaluated=never") == ["a", "new"]
    for order, found in (("3", ["b", "c"]), ("-3", ["c", "b"])):
        assert [key for key in keys(operator, f"?o={order}") if key in {"b", "c"}] == found


def test_filter_by_change_uses_the_time_also_of_changes_by_sql(operator: Client) -> None:
    for key, days in (("d", 60), ("c", 60.0), ("b", 0.5), ("a", 0)):
        make_flag(key, days=days)
    execute("UPDATE flagstaff_featureflag SET rollout_percent = 7 WHERE key = 'd'")
    assert keys(operator, "?changed=1h") == ["a", "d"]
    for time in ("24h", "7d"):
        assert keys(operator, f"?changed={time}") == ["a", "b", "d"]
    assert keys(operator, "?changed=not-30d") == ["c"]


def test_filters_show_stale_and_own_flags(operator: Client) -> None:
    make_flag("a", rollout_percent=100)
    make_flag("b", rollout_percent=50, owner="ADMIN")
    FeatureFlag.objects.create(key="c", owner="web", tags=["x", "y"])
    assert keys(operator, "?stale=yes") == ["a"]
    assert keys(operator, "?owner=@me") == ["b"]
    cells = [" ".join(one.split()) for one in column(page(operator), "flag")]
    assert cells == [
        "a on for all stale: constant",
        "b rollout 50 % ADMIN",
        "c off web · x, y",
    ]


def test_shortcuts_have_the_numbers_of_flags(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect_usage()
    make_flag("old", rollout_percent=100)
    FeatureFlag.objects.create(key="a", enabled=True, rollout_percent=5, owner="admin")
    found = shortcuts(operator)
    assert found == {
        "Changed in 24 hours 1": "?changed=24h",
        "In rollout 1": "?state=rollout",
        "Owned by me 1": "?owner=%40me",
        "On for all, unchanged for 30 days 1": "?state=all&changed=not-30d",
        "Not evaluated for 30 days 1": "?evaluated=not-30d",
    }
    # Very many flags are not counted.
    monkeypatch.setattr("flagstaff.admin.flag.list.overview._MAX_LOOKED_UP", 1)
    make_flag("older")
    assert shortcuts(operator)["Not evaluated for 30 days"] == "?evaluated=not-30d"


UNREADABLE: list[Any] = [
    {"conditions": "all"},
    [{"rollout_percent": 100}],
    [*WHOLE, "all"],
    [{"conditions": [{"attribute": "plan", "operator": "regex", "values": ["("]}]}],
    [{**WHOLE[0], "rollout_percent": "100"}],
]


def test_flag_whose_rules_are_all_at_100_percent_has_the_state_of_one_without_rules(
    operator: Client,
) -> None:
    for key, rules in {
        "a": [],
        "b": WHOLE,
        "c": [*WHOLE, {**WHOLE[0], "rollout_percent": 100}],
    }.items():
        make_flag(key, rollout_percent=100, rules=rules, bucket_by="visitor")
    make_flag("d", rollout_percent=99, rules=WHOLE)
    make_flag("e", rollout_percent=100, rules=[*WHOLE, *RULES])
    assert keys(operator, "?state=all") == ["a", "b", "c"]
    assert keys(operator, "?state=by-rules") == ["d", "e"]
    cells = column(page(operator, f"{FLAGS}?o=2"), "flag")
    assert [" ".join(one.split()) for one in cells] == [
        "d by rules",
        "e by rules Rule 2 keeps 75 % of its users out, also at a rollout of 100 %.",
        *(f"{key} on for all stale: constant" for key in "abc"),
    ]
    assert [one.split()[:2] for one in column(page(operator), "rollout")][:3] == [["100", "%"]] * 3
    assert shortcuts(operator)["On for all, unchanged for 30 days 3"]


@pytest.mark.parametrize("rules", UNREADABLE)
def test_flag_with_unreadable_rules_is_not_on_for_all(operator: Client, rules: Any) -> None:
    make_flag("a", rollout_percent=100)
    FeatureFlag.objects.update(rules=rules)
    assert keys(operator, "?state=by-rules") == ["a"]
    assert keys(operator, "?state=all") == []
    assert "on for all" not in column(page(operator), "flag")[0]


def test_filter_by_change_finds_the_flags_of_more_entries_than_it_reads_at_once(
    operator: Client,
) -> None:
    make_flag("a", days=60)
    make_flag("b", days=60)
    execute("UPDATE flagstaff_featureflag SET rollout_percent = 7 WHERE key = 'b'")
    execute(
        "INSERT INTO flagstaff_change (at, transaction_id, relation, object_table, object_pk, key, "
        "action) SELECT clock_timestamp(), 1, 'k', 'flagstaff_keyvaluestore', '1', 'v', 'delete' "
        "FROM generate_series(1, 5000)"
    )
    assert keys(operator, "?changed=1h") == ["b"]


@pytest.mark.usefixtures("one_of_each_state")
def test_numbers_of_shortcuts_are_those_of_their_lists(operator: Client) -> None:
    collect_usage()
    make_flag("old", rollout_percent=100, owner="admin")
    for text, url in shortcuts(operator).items():
        assert len(keys(operator, url)) == int(text.rpartition(" ")[2])
    execute("DROP TABLE flagstaff_usage")
    assert len(keys(operator, "")) == len(STATES) + 1


def test_shortcuts_without_flags_are_hidden_but_for_the_first(operator: Client) -> None:
    make_flag("a", rollout_percent=100, days=20)
    # The usage is not old enough to say that this flag is unused.
    make_flag("b", rollout_percent=0)
    collect_usage(days=10)
    assert shortcuts(operator) == {"Changed in 24 hours 0": "?changed=24h"}


def test_button_leads_to_a_page_and_back_to_the_row_or_says_what_is_needed(
    operator: Client, viewer: Client
) -> None:
    flag = FeatureFlag.objects.create(key="a", enabled=True)
    html = page(operator, f"{FLAGS}?q=a")
    [url] = re.findall(r'flagstaff-button" href="([^"]+)"', html)
    assert url.startswith(f"{FLAGS}{flag.pk}/kill/?back=")
    response = operator.post(unescape(url), {"_confirmed": "1"})
    assert response.headers["location"] == f"{FLAGS}?q=a#flag-{flag.pk}"
    html = page(viewer)
    assert not re.search("/(kill|on)/", html)
    [button] = re.findall(r"<button[^>]*disabled[^>]*>", html)
    assert 'aria-describedby="flagstaff-why-not"' in button
    [reason] = re.findall(r'id="flagstaff-why-not">([^<]*)<', html)
    assert "flagstaff.toggle_featureflag" in reason


def test_list_without_a_match_says_what_to_do(
    operator: Client, caplog: pytest.LogCaptureFixture
) -> None:
    assert "There are no flags yet." in page(operator)
    make_flag("a")
    make_flag("old_banner")
    changes.flags.delete("old_banner")
    html = page(operator, f"{FLAGS}?q=old")
    assert "No flag matches the search and the filters." in html
    [url] = re.findall(r'href="([^"]*action=delete[^"]*)"', html)
    assert "old_banner" in page(operator, unescape(url))
    assert caplog.text == ""


def test_filter_counts_and_pages_are_those_of_the_filter(operator: Client) -> None:
    FeatureFlag.objects.bulk_create(FeatureFlag(key=f"f{n:03}") for n in range(120))
    FeatureFlag.objects.filter(key__gte="f115").update(enabled=True)
    assert len(keys(operator, "?p=3")) == 40
    html = page(operator, f"{FLAGS}?state=on")
    assert len(column(html, "flag")) == 5
    assert "5 results" in html


# The search.


def test_search_finds_keys_descriptions_owners_and_parts_of_tags(operator: Client) -> None:
    FeatureFlag.objects.create(key="by_key_page")
    FeatureFlag.objects.create(key="by_owner", owner="page team")
    FeatureFlag.objects.create(key="by_tag", tags=["checkout", "Product Page"])
    FeatureFlag.objects.create(key="by_text", description="A page.")
    FeatureFlag.objects.create(key="other", tags=["checkout"])
    assert keys(operator, "?q=page") == ["by_key_page", "by_owner", "by_tag", "by_text"]
    assert keys(operator, "?q=product+CHECK") == ["by_tag"]
