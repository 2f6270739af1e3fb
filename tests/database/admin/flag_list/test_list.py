"""The list of flags in the admin: columns, filters, shortcuts, buttons, bulk action."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from django.utils.html import strip_tags

from flagstaff import acting_as, changes
from flagstaff.exceptions import FlagstaffError
from flagstaff.history import flag_history
from flagstaff.models import Change, FeatureFlag
from tests.support.admin_pages import (
    FLAGS,
    column,
    confirmed,
    listed_keys,
    messages_of,
    page,
    production,
    staff,
)
from tests.support.sql import rows as execute
from tests.support.stale_flags import collect_usage, evaluate, make_flag
from tests.support.terminals import delete_usage

pytestmark = pytest.mark.django_db

RULES = [{"conditions": [{"attribute": "plan", "operator": "in", "values": ["a"]}]}]


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
    "by-rules": {"rollout_percent": 100, "rules": RULES},
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
    assert keys(operator, "?o=2") == [*STATES]
    assert column(page(operator, f"{FLAGS}?o=2"), "state") == LABELS
    assert keys(operator, "?o=-2") == [*STATES][::-1]
    assert keys(operator, "?o=-5")[0] == "allowed-users"


def test_newest_change_is_shown_with_its_actor(operator: Client, admin_user: User) -> None:
    changes.create("a", rollout_percent=25, enabled=True)
    with acting_as(admin_user):
        changes.set_rollout("a", 50)
    assert column(page(operator), "changed") == ["25 → 50 % admin · just now"]
    Change.objects.all().delete()
    assert column(page(operator), "changed") == ["just now"]
    FeatureFlag.objects.update(changed_at=timezone.now() - timedelta(days=2))
    [shown] = column(page(operator), "changed")
    assert shown.replace("\xa0", " ").endswith("2 days ago")


def test_newest_change_is_described(operator: Client, alice: User) -> None:
    make_flag("a")
    made: list[tuple[Callable[[], object], str]] = [
        (lambda: changes.disable("a"), "on → off"),
        (lambda: changes.update("a", {"description": "x", "owner": "y"}), "description, owner"),
        (lambda: changes.add_allowed_users("a", alice), "1 user added"),
        (lambda: changes.create("b", rollout_percent=5), "created"),
    ]
    for change, text in made:
        with acting_as(text):  # An event of its own.
            change()
        assert column(page(operator), "changed")[-1].startswith(f"{text} ")


def test_evaluations_are_shown_with_share_of_true_results(operator: Client, settings: Any) -> None:
    for key in ("a", "b", "c"):
        make_flag(key)
    make_flag("d", client_side=True)
    assert column(page(operator), "evaluated") == ["-"] * 4
    collect_usage()
    evaluate("b", 3)
    evaluate("c", times=3)
    execute("UPDATE flagstaff_usage SET false_count = 9 WHERE key = 'c'")
    found = [" ".join(text.split()) for text in column(page(operator), "evaluated")]
    assert found == ["never", "3 days ago", "just now 25 % true in 24 h", "-"]
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "USAGE_INTERVAL": 0}
    assert column(page(operator), "evaluated") == []


def test_list_sorts_and_filters_by_evaluation(operator: Client) -> None:
    for key in ("a", "b", "c"):
        make_flag(key)
    make_flag("browser", client_side=True)
    make_flag("new", days=2)
    collect_usage()
    evaluate("b", 20)
    evaluate("c")
    assert keys(operator, "?evaluated=not-7d") == ["a", "b"]
    assert keys(operator, "?evaluated=not-30d") == ["a"]
    assert keys(operator, "?evaluated=never") == ["a", "new"]
    for order, found in (("6", ["b", "c"]), ("-6", ["c", "b"])):
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
    assert keys(operator, "?mine=yes") == ["b"]
    assert column(page(operator), "flag") == ["a", "bADMIN", "cweb · x, y"]


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
        "Owned by me 1": "?mine=yes",
        "On for all, unchanged for 30 days 1": "?state=all&changed=not-30d",
        "Not evaluated for 30 days 1": "?evaluated=not-30d",
    }
    # Very many flags are not counted.
    monkeypatch.setattr("flagstaff.admin.flag.list.overview._MAX_LOOKED_UP", 1)
    make_flag("older")
    assert shortcuts(operator)["Not evaluated for 30 days"] == "?evaluated=not-30d"


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
    assert not re.search("/(kill|turn-on)/", html)
    [button] = re.findall(r"<button[^>]*disabled[^>]*>", html)
    assert 'aria-describedby="flagstaff-why-not"' in button
    [reason] = re.findall(r'id="flagstaff-why-not">([^<]*)<', html)
    assert "flagstaff.toggle_featureflag" in reason


def test_list_without_a_match_says_what_to_do(operator: Client) -> None:
    assert "There are no flags yet." in page(operator)
    make_flag("a")
    make_flag("old_banner")
    changes.delete("old_banner")
    html = page(operator, f"{FLAGS}?q=old")
    assert "No flag matches the search and the filters." in html
    [url] = re.findall(r'href="([^"]*action=delete[^"]*)"', html)
    assert "old_banner" in page(operator, unescape(url))


def test_filter_counts_and_pages_are_those_of_the_filter(operator: Client) -> None:
    FeatureFlag.objects.bulk_create(FeatureFlag(key=f"f{n:03}") for n in range(120))
    FeatureFlag.objects.filter(key__gte="f115").update(enabled=True)
    assert len(keys(operator, "?p=3")) == 40
    html = page(operator, f"{FLAGS}?enabled__exact=1")
    assert len(column(html, "flag")) == 5
    assert "120 total" in html


# The bulk action that turns flags off.


@pytest.fixture
def flags() -> list[FeatureFlag]:
    """Two flags that are on, and one that is off."""
    return [FeatureFlag.objects.create(key=key, enabled=key != "c") for key in "abc"]


def turn_off(client: Client, flags: Iterable[FeatureFlag], **data: str) -> Any:
    """Posts the action, as the list or its confirmation page does."""
    pks = [str(flag.pk) for flag in flags]
    return client.post(FLAGS, {"action": "turn_off", "_selected_action": pks, **data}, follow=True)


def enabled() -> list[str]:
    """Returns the keys of the flags that are on."""
    return list(FeatureFlag.objects.filter(enabled=True).values_list("key", flat=True))


def test_action_asks_with_the_states_now_and_after_and_its_form_turns_off(
    operator: Client, flags: list[FeatureFlag]
) -> None:
    response = turn_off(operator, flags)
    html = response.content.decode()
    rows = re.findall(
        r'<th scope="row">(\w)</th>\s*<td[^>]*>([^<]*)</td>\s*<td[^>]*>([^<]*)<', html
    )
    assert rows == [
        ("a", "on for no users", "off"),
        ("b", "on for no users", "off"),
        ("c", "off", "already off"),
    ]
    assert "Turn off 2 flags?" in html
    assert enabled() == ["a", "b"]
    data = confirmed(turn_off(operator, flags[:1]))
    response = operator.post(f"{FLAGS}?q=a", data)
    assert response.headers["location"] == f"{FLAGS}?q=a"
    assert enabled() == ["b"]


def test_confirmed_action_turns_flags_off_with_the_reason(
    operator: Client, flags: list[FeatureFlag]
) -> None:
    response = turn_off(operator, flags, _confirmed="1", _reason="an incident")
    done, already = messages_of(response)
    assert done.startswith("2 flags are now off: a, b.")
    assert already == "1 flag was already off: c."
    assert enabled() == []
    events = [flag_history(key)[0] for key in "ab"]
    assert {(event.reason, event.source) for event in events} == {("an incident", "admin")}
    assert len({event.transaction_id for event in events}) == 1
    assert LogEntry.objects.count() == 2


def test_flags_that_are_all_off_or_too_many_need_no_confirmation(
    operator: Client, flags: list[FeatureFlag]
) -> None:
    response = turn_off(operator, flags[2:])
    assert messages_of(response) == ["Nothing was changed: all selected flags are already off."]
    FeatureFlag.objects.bulk_create(FeatureFlag(key=f"f{n}", enabled=True) for n in range(99))
    response = turn_off(operator, FeatureFlag.objects.all(), select_across="1")
    assert messages_of(response) == ["Nothing was changed: select at most 100 flags."]


def test_failure_changes_no_flag(
    operator: Client, flags: list[FeatureFlag], monkeypatch: pytest.MonkeyPatch
) -> None:
    disable = changes.disable

    def fail_at_b(key: str) -> changes.Changed:
        if key == "b":
            raise FlagstaffError("b is refused")
        return disable(key)

    monkeypatch.setattr(changes, "disable", fail_at_b)
    response = turn_off(operator, flags, _confirmed="1")
    assert messages_of(response) == ["Not saved: b is refused"]
    assert enabled() == ["a", "b"]


def test_action_needs_the_permission_to_toggle(viewer: Client, flags: list[FeatureFlag]) -> None:
    assert 'value="turn_off"' not in page(viewer)
    turn_off(viewer, flags, _confirmed="1")
    assert enabled() == ["a", "b"]
    toggler = staff("toggle_featureflag", name="toggler")
    assert 'value="delete_selected"' not in page(toggler)
    turn_off(toggler, flags, _confirmed="1")
    assert enabled() == []


def test_number_is_typed_in_production(
    operator: Client, flags: list[FeatureFlag], settings: Any
) -> None:
    production(settings)
    html = turn_off(operator, flags, _confirmed="1", _typed_key="3").content.decode()
    assert "Not confirmed: type “2” exactly." in html
    assert enabled() == ["a", "b"]
    turn_off(operator, flags, _confirmed="1", _typed_key="2")
    assert enabled() == []
