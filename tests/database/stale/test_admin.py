"""The page of stale flags in the admin."""

from datetime import date, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from flagstaff import changes
from flagstaff.models import Change, FeatureFlag
from tests.support.admin_pages import FLAGS, count_queries, flag_url, page
from tests.support.screen import Screen
from tests.support.shop import Shop
from tests.support.stale_flags import (
    KEY,
    age_history,
    collect_usage,
    evaluate,
    make_flag,
)

STALE = f"{FLAGS}stale/"


@pytest.fixture(autouse=True)
def shipped() -> FeatureFlag:
    """A flag that is on for everyone since 41 days, and one that is not stale."""
    Change.objects.all().delete()
    collect_usage()
    flag = make_flag()
    changes.flags.set_rollout(KEY, 100)
    age_history(41, flag)
    evaluate(KEY)
    make_flag("dark_mode")
    evaluate("dark_mode")
    return flag


def test_page_lists_stale_flags_with_evidence_owner_and_next_steps(
    admin_client: Client, shipped: FeatureFlag
) -> None:
    FeatureFlag.objects.filter(pk=shipped.pk).update(owner="web", tags=["q3"])
    content = Screen(page(admin_client, STALE)).part("#content")
    assert "On for all users for 41 days, since " in content.text
    assert {"web", "q3", "41 days"} <= {*content.texts("td")}
    assert "Stale for" in content.texts("th")
    assert "dark_mode" not in content.text
    assert f"python manage.py flags references {KEY}" in content.texts("code")
    urls = content.attributes("a", "href")
    assert {flag_url(shipped), flag_url(shipped, "delete")} <= {*urls}


def test_page_without_a_stale_flag_says_so(admin_client: Client) -> None:
    changes.flags.set_rollout(KEY, 50)
    assert "No flag is stale." in Screen(page(admin_client, STALE)).text
    FeatureFlag.objects.all().delete()
    assert "No flag is stale." in Screen(page(admin_client, STALE)).text


def test_silent_flag_is_only_counted_until_its_review(admin_client: Client) -> None:
    # A review date in the future, which is set while the flag is stale.
    changes.flags.update(KEY, {"review_on": timezone.localdate() + timedelta(days=10)})
    shown = Screen(page(admin_client, STALE)).text
    assert "No flag is stale." in shown
    assert "1 flag is not listed until its review date." in shown


@pytest.mark.parametrize(
    ("permission", "is_offered"), [("view_featureflag", False), ("change_featureflag", True)]
)
def test_review_date_is_offered_to_users_who_may_change_flags(
    permission: str, is_offered: bool, shipped: FeatureFlag, shop: Shop
) -> None:
    screen = Screen(page(shop.client("ben", permission, is_superuser=False), STALE))
    assert KEY in screen.text
    link = ("Set a review date…", flag_url(shipped, "details"))
    assert (link in screen.links) is is_offered
    assert flag_url(shipped, "delete") not in screen.attributes("a", "href")


def test_page_says_what_is_not_known(admin_client: Client) -> None:
    collect_usage(5)
    shown = Screen(page(admin_client, STALE)).text
    assert "It is not known whether dark_mode, new_checkout were evaluated: usage is known" in shown


def test_page_makes_the_same_queries_for_many_flags(admin_client: Client) -> None:
    make_flag("unused", rollout_percent=100)
    few = count_queries(admin_client, STALE)
    for number in range(20):
        make_flag(f"flag_{number}", rollout_percent=100)
    assert count_queries(admin_client, STALE) == few <= 10


def test_key_owner_and_tags_are_escaped(admin_client: Client, shipped: FeatureFlag) -> None:
    FeatureFlag.objects.filter(pk=shipped.pk).update(
        key="<i>odd</i>", owner="<i>web</i>", tags=["<i>a</i>"]
    )
    for url in (STALE, FLAGS, flag_url(shipped)):
        assert "<i>" not in page(admin_client, url)


@pytest.mark.thorough
def test_page_with_a_thousand_flags_lists_each_of_them(admin_client: Client) -> None:
    FeatureFlag.objects.bulk_create(
        FeatureFlag(key=f"flag_{number}", review_on=date(2020, 1, 31)) for number in range(1_000)
    )
    # One more flag is stale.
    assert page(admin_client, STALE).count(">Find it in the code:") == 1_001
