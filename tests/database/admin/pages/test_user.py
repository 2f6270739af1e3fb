"""The page of the flags of a user."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flagstaff import changes
from flagstaff.models import FeatureFlag
from flagstaff.testing import override_flag
from tests.support.admin_pages import FLAGS, content_of, page, rows_of, staff
from tests.support.forced_off import forced_off
from tests.support.screen import Screen
from tests.support.shop import GERMAN, Shop

USER = f"{FLAGS}user/"
GERMANY = {"name": "Germany", "conditions": [GERMAN]}


@pytest.fixture
def alice(shop: Shop) -> User:
    """In the buckets 68 of d_none, 98 of g_half and 44 of h_some."""
    return shop.user("alice")


def test_each_way_to_be_on_or_off_has_its_words(operator: Client, alice: User, shop: Shop) -> None:
    shop.flag("a_disabled", enabled=False, rollout_percent=100)
    shop.flag("b_allowed", rollout_percent=0).allowed_users.add(alice)
    shop.flag("c_all", rollout_percent=100)
    shop.flag("d_none", rollout_percent=0)
    shop.flag("e_rule", rules=[GERMANY])
    shop.flag("f_unnamed", rules=[{"conditions": [GERMAN], "rollout_percent": 0}])
    shop.flag("g_half", rules=[{**GERMANY, "rollout_percent": 50}])
    shop.flag("h_some", rollout_percent=50)
    shop.flag("i_unit", rollout_percent=50, bucket_by="organization")
    assert sorted(rows_of(page(operator, USER, user="alice", context="country=DE"))) == [
        "a_disabled off The flag is disabled for all users",
        "b_allowed on The user is an allowed user",
        "c_all on The rollout is 100 %",
        "d_none off The rollout is 0 %",
        'e_rule on Rule 1: "Germany", 100 %: matches',
        "f_unnamed off Rule 1: 0 %: matches, so the flag is off",
        'g_half off Rule 1: "Germany", 50 %: matches; not in the first 50 % (bucket 98)',
        "h_some on In the first 50 % (bucket 44)",
        "i_unit off organization: organization is missing",
    ]


def test_page_keeps_the_name_of_the_logged_in_user(operator: Client, alice: User) -> None:
    html = page(operator, USER, user="alice")
    assert Screen(html).part("#user-tools strong").text == "admin"


def test_anonymous_user_has_no_bucket(operator: Client) -> None:
    FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=50)
    html = page(operator, USER, user="")
    assert "0 of 1 flag is on for anonymous users." in content_of(html)
    assert rows_of(html) == ["new_checkout off There is no user"]


def test_what_overrides_a_flag_is_said(operator: Client) -> None:
    FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=100)
    with forced_off(["new_checkout"]):
        assert rows_of(page(operator, USER, user="")) == [
            "new_checkout off Forced off in this process by FLAGSTAFF_FORCE_OFF"
        ]
    with override_flag("new_checkout", enabled=True):
        assert rows_of(page(operator, USER, user="")) == ["new_checkout on Overridden by a test"]


def test_flag_with_unreadable_rules_says_so(operator: Client, alice: User) -> None:
    FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=100)
    FeatureFlag.objects.update(rules=[{"conditions": 1}])
    [row] = rows_of(page(operator, USER, user="alice"))
    assert row.startswith("new_checkout off Rules: cannot be read, so the result is the default")


def test_flags_that_are_on_come_first_or_alone(operator: Client, alice: User, shop: Shop) -> None:
    shop.flag("off", rollout_percent=0)
    shop.flag("on", rollout_percent=100)
    screen = Screen(page(operator, USER, user="alice"))
    assert screen.texts("a.flagstaff-key") == ["on", "off"]
    assert f"1 of 2 flags are on for alice (primary key {alice.pk})." in screen.text
    screen = Screen(page(operator, USER, user="alice", on="1"))
    assert screen.texts("a.flagstaff-key") == ["on"]
    assert f"1 of 2 flags are on for alice (primary key {alice.pk})." in screen.text
    assert screen.attributes('#content li a[href^="?"]', "href") == [
        "?user=alice",
        "?user=alice&on=1",
    ]


def test_texts_of_people_are_escaped(operator: Client) -> None:
    rules = [{**GERMANY, "name": "<i>"}]
    FeatureFlag.objects.create(key="<b>", enabled=True, rules=rules)
    html = page(operator, USER, user="", context="country=DE")
    assert ("<b>" in html, "<i>" in html) == (False, False)


def test_pages_have_200_flags(operator: Client) -> None:
    FeatureFlag.objects.bulk_create(
        FeatureFlag(key=f"flag_{number:03}", enabled=True) for number in range(401)
    )
    first, last = page(operator, USER, user=""), page(operator, USER, user="", p="3")
    assert (len(rows_of(first)), len(rows_of(last))) == (200, 1)
    assert 'href="?user=&amp;p=2">Next page<' in first
    assert 'href="?user=&amp;p=2">Previous page<' in last
    assert "Previous page" not in first
    assert "Next page" not in last


def test_values_with_rules_are_shown_with_the_rule_that_decides(operator: Client) -> None:
    staff_rule = [{"attribute": "is_staff", "operator": "in", "values": [True]}]
    User.objects.create_user("ana", is_staff=True)
    changes.values.create("plain", 1)
    rules = [{"name": "team", "conditions": staff_rule, "value": 50}]
    changes.values.create("items", 10, rules=rules)
    rules = [{"conditions": staff_rule, "value": "y"}]
    changes.values.create("token", "x", secret=True, rules=rules)
    assert rows_of(page(operator, USER, user="ana")) == [
        'items 50 Rule 1: "team", 100 %: matches',
        "token •••••• Rule 1: 100 %: matches",
    ]
    assert rows_of(page(operator, USER, user="")) == [
        "items 10 No rule matches",
        "token •••••• No rule matches",
    ]
    without_values = staff("view_featureflag", "view_user", name="bea")
    assert "Values with rules" not in page(without_values, USER, user="ana")
