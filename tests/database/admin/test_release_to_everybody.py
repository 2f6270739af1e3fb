"""Rules that keep users out: what pages say about them, and the page that releases to everybody."""

from __future__ import annotations

from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flagstaff.models import FeatureFlag
from tests.support.admin_pages import (
    FLAGS,
    asks,
    column,
    confirmed,
    flag_url,
    messages_of,
    page,
    preview_of,
    production,
    staff,
    text_to_type,
)
from tests.support.conditions import condition
from tests.support.plan_pages import text_of

pytestmark = pytest.mark.django_db

GERMAN = {"name": "Germany", "conditions": [condition("country", "in", "DE")]}
RULES = [
    {"name": "staff", "conditions": [condition("is_staff", "in", True)]},
    {**GERMAN, "rollout_percent": 10},
]
NOTICE = 'Rule 2 ("Germany") keeps 90 % of its users out, also at a rollout of 100 %.'


@pytest.fixture
def flag() -> FeatureFlag:
    # Her bucket is 96, so rule 2 would keep her out.
    User.objects.create(pk=700_001, username="ana")
    return FeatureFlag.objects.create(
        key="new_checkout", enabled=True, rollout_percent=100, rules=RULES
    )


def release(client: Client, flag: Any) -> Any:
    url = flag_url(flag, "release")
    return client.post(url, confirmed(client.get(url)), follow=True)


def test_rule_that_keeps_users_out_at_100_percent_is_a_notice_in_list_and_page(
    operator: Client, flag: FeatureFlag
) -> None:
    assert NOTICE in unescape(column(page(operator, FLAGS), "flag")[0])
    assert NOTICE in text_of(page(operator, flag_url(flag)))
    FeatureFlag.objects.update(rollout_percent=50)
    assert NOTICE not in text_of(page(operator, flag_url(flag)))


IGNORED = "rules on country are not counted"


def test_page_of_a_flag_says_how_many_users_have_it_and_what_is_not_counted(
    operator: Client, flag: FeatureFlag
) -> None:
    text = text_of(page(operator, flag_url(flag)))
    assert "Users with the flag: 2 of 2; rules on country are not counted" in text


def test_release_to_everybody_shows_what_it_does_and_is_one_change(
    operator: Client, flag: FeatureFlag
) -> None:
    asked = operator.get(flag_url(flag, "release"))
    assert preview_of(asked)["users with the flag"] == [f"2 of 2; {IGNORED}"] * 2
    done = release(operator, flag)
    flag.refresh_from_db()
    assert [rule["rollout_percent"] for rule in flag.rules] == [100, 100]
    assert "On for all users: the rollout and all rules are at 100 %." in messages_of(done)[0]
    assert NOTICE not in text_of(done.content.decode())


def test_release_that_removes_unreadable_rules_shows_it_and_asks_for_the_key(
    operator: Client, flag: FeatureFlag, settings: Any
) -> None:
    production(settings)
    FeatureFlag.objects.update(rules=[{"conditions": "all", "rollout_percent": 100}])
    asked = operator.get(flag_url(flag, "release"))
    assert preview_of(asked)["rules"][1] == "no rules"
    assert text_to_type(asked) == flag.key


@pytest.mark.parametrize(
    "permissions", [("view_featureflag",), ("view_featureflag", "toggle_featureflag")]
)
def test_release_to_everybody_needs_the_permission_to_change(
    permissions: tuple[str, ...], flag: FeatureFlag
) -> None:
    client = staff(*permissions)
    assert flag_url(flag, "release") not in page(client, flag_url(flag))
    assert client.get(flag_url(flag, "release")).status_code == 403
    assert client.post(flag_url(flag, "release"), {"_confirmed": "1"}).status_code == 403
    flag.refresh_from_db()
    assert flag.rules == RULES


def test_release_of_a_flag_that_changed_meanwhile_asks_again(
    operator: Client, flag: FeatureFlag
) -> None:
    url = flag_url(flag, "release")
    data = confirmed(operator.get(url))
    FeatureFlag.objects.update(rules=[GERMAN])
    assert asks(operator.post(url, data))
    flag.refresh_from_db()
    assert flag.rules == [GERMAN]


def test_release_of_a_flag_that_holds_no_user_back_is_not_offered(
    operator: Client, flag: FeatureFlag
) -> None:
    url = flag_url(flag, "release")
    assert url in page(operator, flag_url(flag))
    FeatureFlag.objects.update(rules=[{**GERMAN, "rollout_percent": 100}])
    assert url not in page(operator, flag_url(flag))
    FeatureFlag.objects.update(enabled=False, rules=RULES)
    assert url not in page(operator, flag_url(flag))
