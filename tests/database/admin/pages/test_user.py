"""The page of the flags of a user."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flagstaff import changes
from flagstaff.models import FeatureFlag
from flagstaff.testing import override_flag
from tests.support.admin_pages import FLAGS, bucket_of, listed_keys, page, rows_of, staff, text_of
from tests.support.driver import counted
from tests.support.forced_off import forced_off
from tests.support.screen import Screen

pytestmark = pytest.mark.django_db

URL = f"{FLAGS}user/"
GERMANY = {
    "name": "Germany",
    "conditions": [{"attribute": "country", "operator": "in", "values": ["DE"]}],
}


def shown(client: Client, **parameters: str) -> str:
    return page(client, f"{URL}?{urlencode(parameters)}")


def rows(client: Client, **parameters: str) -> list[str]:
    """Returns the text of each row: the key, the state and why."""
    return rows_of(shown(client, **parameters))


def create(key: str, percent: int = 0, **fields: Any) -> FeatureFlag:
    enabled = fields.pop("enabled", True)
    return FeatureFlag.objects.create(key=key, enabled=enabled, rollout_percent=percent, **fields)


def test_each_way_to_be_on_or_off_has_its_words(operator: Client, alice: User) -> None:
    create("a_disabled", 100, enabled=False)
    create("b_allowed").allowed_users.add(alice)
    create("c_all", 100)
    create("d_none")
    create("e_rule", rules=[GERMANY])
    create("f_unnamed", rules=[{"conditions": GERMANY["conditions"], "rollout_percent": 0}])
    create("g_half", rules=[{**GERMANY, "rollout_percent": 50}])
    create("h_some", 50)
    create("i_unit", 50, bucket_by="organization")
    bucket = {key: bucket_of(key, alice.pk) for key in ("d_none", "g_half", "h_some")}
    below = {key: "below" if bucket[key] < 50 else "not below" for key in bucket}
    state = {key: "on" if bucket[key] < 50 else "off" for key in bucket}
    half, some = bucket["g_half"], bucket["h_some"]
    assert sorted(rows(operator, user="alice", context="country=DE")) == [
        "a_disabled off Enabled: the flag is disabled for all users",
        "b_allowed on Allowed user: the user is an allowed user",
        "c_all on Rollout of 100 %: the rollout is 100 %",
        f"d_none off Bucket below the rollout: {bucket['d_none']} is not below 0",
        'e_rule on Rule 1: "Germany", 100 %: matches',
        "f_unnamed off Rule 1: 0 %: matches, so the flag is off",
        (
            f"g_half {state['g_half']} "
            f'Rule 1: "Germany", 50 %: matches; {half} is {below["g_half"]} 50'
        ),
        f"h_some {state['h_some']} Bucket below the rollout: {some} is {below['h_some']} 50",
        "i_unit off organization: organization is missing",
    ]


def test_page_keeps_the_name_of_the_logged_in_user(operator: Client, alice: User) -> None:
    html = shown(operator, user="alice")
    assert Screen(html).part("#user-tools strong").text == "admin"


def test_anonymous_user_has_no_bucket(operator: Client) -> None:
    create("new_checkout", 50)
    html = shown(operator, user="")
    assert "0 of 1 flag is on for anonymous users." in text_of(html)
    assert rows_of(html) == ["new_checkout off Known user: there is no user"]


def test_what_overrides_a_flag_is_said(operator: Client) -> None:
    create("new_checkout", 100)
    with forced_off(["new_checkout"]):
        assert rows(operator, user="") == [
            "new_checkout off forced off in this process by FLAGSTAFF_FORCE_OFF"
        ]
    with override_flag("new_checkout", enabled=True):
        assert rows(operator, user="") == ["new_checkout on overridden by a test"]


def test_flag_with_unreadable_rules_says_so(operator: Client, alice: User) -> None:
    create("new_checkout", 100)
    FeatureFlag.objects.update(rules=[{"conditions": 1}])
    [row] = rows(operator, user="alice")
    assert row.startswith("new_checkout off Rules: cannot be read, so the result is the default")


def test_flags_that_are_on_come_first(operator: Client, alice: User) -> None:
    create("off")
    create("on", 100)
    html = shown(operator, user="alice")
    assert Screen(html).texts("a.flagstaff-key") == ["on", "off"]
    assert f"1 of 2 flags are on for alice (primary key {alice.pk})." in text_of(html)


def test_filter_shows_only_flags_that_are_on(operator: Client, alice: User) -> None:
    create("on", 100)
    create("off")
    html = shown(operator, user="alice", on="1")
    assert listed_keys(html) == []
    assert Screen(html).texts("a.flagstaff-key") == ["on"]
    assert f"1 of 2 flags are on for alice (primary key {alice.pk})." in text_of(html)
    assert Screen(html).attributes('#content li a[href^="?"]', "href") == [
        "?user=alice",
        "?user=alice&on=1",
    ]


def test_texts_of_people_are_escaped(operator: Client) -> None:
    create("<b>", 0, rules=[{**GERMANY, "name": "<i>"}])
    html = shown(operator, user="", context="country=DE")
    assert ("<b>" in html, "<i>" in html) == (False, False)


def test_pages_have_200_flags(operator: Client) -> None:
    FeatureFlag.objects.bulk_create(
        FeatureFlag(key=f"flag_{number:03}", enabled=True) for number in range(401)
    )
    first, last = shown(operator, user=""), shown(operator, user="", p="3")
    assert (len(rows_of(first)), len(rows_of(last))) == (200, 1)
    assert 'href="?user=&amp;p=2">Next page<' in first
    assert 'href="?user=&amp;p=2">Previous page<' in last
    assert "Previous page" not in first
    assert "Next page" not in last


def test_number_of_queries_does_not_depend_on_that_of_flags(operator: Client, alice: User) -> None:
    create("first", rules=[GERMANY])
    with counted() as few:
        shown(operator, user="alice")
    for number in range(50):
        create(f"flag_{number}", number, rules=[GERMANY]).allowed_users.add(alice)
    with counted() as many:
        shown(operator, user="alice")
    assert len(many) == len(few)


def test_values_with_rules_are_shown_with_the_rule_that_decides(operator: Client) -> None:
    staff_rule = [{"attribute": "is_staff", "operator": "in", "values": [True]}]
    User.objects.create_user("ana", is_staff=True)
    changes.values.create("plain", 1)
    rules = [{"name": "team", "conditions": staff_rule, "value": 50}]
    changes.values.create("items", 10, rules=rules)
    rules = [{"conditions": staff_rule, "value": "y"}]
    changes.values.create("token", "x", secret=True, rules=rules)
    assert rows_of(shown(operator, user="ana")) == [
        'items 50 Rule 1: "team", 100 %: matches',
        "token •••••• Rule 1: 100 %: matches",
    ]
    assert rows_of(shown(operator, user="")) == [
        "items 10 The value itself: no rule matches",
        "token •••••• The value itself: no rule matches",
    ]
    without_values = staff("view_featureflag", "view_user", name="bea")
    assert "Values with rules" not in shown(without_values, user="ana")
