"""The admin of stale flags while something is missing, or with very many flags."""

from __future__ import annotations

from datetime import date

import pytest
from django.db import connection
from django.test import Client

from flagstaff.models import FeatureFlag
from tests.support.admin_pages import FLAGS, page
from tests.support.stale_flags import KEY, collect_usage, make_flag

pytestmark = pytest.mark.django_db

STALE = "/admin/flagstaff_cleanup/snooze/"


@pytest.fixture
def flag() -> FeatureFlag:
    """A flag that is stale."""
    collect_usage()
    return make_flag(enabled=False)


@pytest.fixture
def _unmigrated(flag: FeatureFlag) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE flagstaff_cleanup_snooze")


@pytest.mark.usefixtures("_unmigrated")
def test_page_without_its_table_says_what_to_run(admin_client: Client) -> None:
    html = page(admin_client, STALE)
    assert "manage.py migrate" in html


@pytest.mark.usefixtures("_unmigrated")
def test_snooze_without_its_table_says_what_to_run(admin_client: Client) -> None:
    form = {"_snooze": KEY, "until": "2099-01-31"}
    answer = admin_client.post(STALE, form, follow=True)
    assert "manage.py migrate" in answer.content.decode()


@pytest.mark.usefixtures("_unmigrated")
def test_pages_of_flags_work_without_the_table(admin_client: Client, flag: FeatureFlag) -> None:
    assert KEY in page(admin_client, FLAGS)
    assert KEY in page(admin_client, f"{FLAGS}{flag.pk}/change/")


@pytest.mark.usefixtures("_unmigrated")
def test_end_of_a_snooze_without_the_table_is_no_error(admin_client: Client) -> None:
    answer = admin_client.post(STALE, {"_end_snooze": KEY}, follow=True)
    assert answer.status_code == 200


def test_page_without_flags_says_so(admin_client: Client) -> None:
    assert "No flag is stale." in page(admin_client, STALE)


def test_page_with_a_thousand_flags_lists_each_of_them(admin_client: Client) -> None:
    collect_usage()
    FeatureFlag.objects.bulk_create(
        FeatureFlag(key=f"flag_{number}", review_on=date(2020, 1, 31)) for number in range(1_000)
    )
    html = page(admin_client, STALE)
    assert html.count("flagstaff-evidence") == 1_000
