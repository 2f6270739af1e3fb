"""The page of stale flags in the admin."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from django.test import Client
from django.utils import timezone
from django.utils.html import strip_tags

from flagstaff import changes
from flagstaff.models import Change, FeatureFlag
from tests.support.admin_pages import (
    FLAGS,
    count_queries,
    page,
    staff,
)
from tests.support.stale_flags import (
    KEY,
    age_history,
    collect_usage,
    evaluate,
    make_flag,
    set_columns,
)

pytestmark = pytest.mark.django_db

STALE = f"{FLAGS}stale/"


def day(ahead: int) -> str:
    return (timezone.localdate() + timedelta(days=ahead)).isoformat()


def text(html: str) -> str:
    content = html.partition('id="content"')[2].replace("<", " <")
    return " ".join(strip_tags(content).split())


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


def silence(ahead: int = 10) -> None:
    """Sets a review date in the future while the flag is stale."""
    changes.flags.update(KEY, {"review_on": timezone.localdate() + timedelta(days=ahead)})


def test_page_lists_stale_flags_with_evidence_owner_and_next_steps(
    admin_client: Client, shipped: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_columns(monkeypatch, shipped, owner="web", tags=["q3"])
    html = page(admin_client, STALE)
    assert "On for all users for 41 days, since " in text(html)
    assert ">web</td>" in html
    assert ">q3</td>" in html
    assert "dark_mode" not in text(html)
    assert f'href="{FLAGS}{shipped.pk}/change/"' in html
    assert f">python manage.py flags references {KEY}</code>" in html
    assert ">41 days</td>" in html
    assert f'href="{FLAGS}{shipped.pk}/delete/"' in html


def test_page_without_a_stale_flag_says_so(admin_client: Client) -> None:
    changes.flags.set_rollout(KEY, 50)
    assert "No flag is stale." in text(page(admin_client, STALE))
    FeatureFlag.objects.all().delete()
    assert "No flag is stale." in text(page(admin_client, STALE))


def test_silent_flag_is_only_counted_until_its_review(admin_client: Client) -> None:
    silence()
    shown = text(page(admin_client, STALE))
    assert "No flag is stale." in shown
    assert "1 flag is not listed until its review date." in shown


@pytest.mark.parametrize(
    ("permission", "is_offered"), [("view_featureflag", False), ("change_featureflag", True)]
)
def test_review_date_is_offered_to_users_who_may_change_flags(
    permission: str, is_offered: bool, shipped: FeatureFlag
) -> None:
    client = staff(permission)
    html = page(client, STALE)
    assert KEY in html
    link = f'<a href="{FLAGS}{shipped.pk}/details/">Set a review date…</a>'
    assert (link in html) is is_offered
    assert "/delete/" not in html


def test_page_says_what_is_not_known(admin_client: Client) -> None:
    collect_usage(5)
    shown = text(page(admin_client, STALE))
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
    assert "<i>" not in page(admin_client, STALE)
    for url in (FLAGS, f"{FLAGS}{shipped.pk}/change/"):
        assert "<i>" not in page(admin_client, url)


@pytest.mark.thorough
def test_page_with_a_thousand_flags_lists_each_of_them(admin_client: Client) -> None:
    FeatureFlag.objects.bulk_create(
        FeatureFlag(key=f"flag_{number}", review_on=date(2020, 1, 31)) for number in range(1_000)
    )
    # One more flag is stale.
    assert page(admin_client, STALE).count(">Find it in the code:") == 1_001
