"""The page of the differences between waffle and flagstaff in the admin."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flagstaff.compat.models import WaffleRow
from tests.support.admin_pages import count_queries, page, rows_of, staff
from tests.support.plan_pages import text_of
from tests.support.shadow import add_difference
from tests.support.sql import rows as execute

pytestmark = pytest.mark.django_db

DIFFERENCES = "/admin/flagstaff_compat/difference/"
OVERVIEW = "/admin/flagstaff/overview/"


def text(html: str) -> str:
    return text_of(html.partition('id="content"')[2].replace("<", " <"))


def links(html: str, label: str) -> dict[str, str]:
    """The links of a menu, by text."""
    [menu] = re.findall(rf'aria-label="{label}">(.*?)</nav>', html, re.DOTALL)
    return {name: url for url, name in re.findall(r'href="([^"]*)"[^>]*>([^<]*)<', menu)}


@pytest.fixture
def differences(admin_user: User) -> None:
    add_difference("rule", count=1_234, user_pk=str(admin_user.pk), path="/cart/")
    add_difference("percentage", name="banner", days=3)
    add_difference("other", name="old", days=20)
    add_difference("equal", count=10)


def test_page_lists_the_differences_and_explains_their_causes(
    operator: Client, differences: None
) -> None:
    html = page(operator, DIFFERENCES)
    assert "1,245 evaluations were compared; 10 had equal results." in text(html)
    first, second = rows_of(html)
    assert first.startswith("new_checkout flag rule on off 1,234 10 ")
    assert first.endswith(" /cart/ admin")
    assert second.startswith("banner flag percentage on off 1 0 ")
    assert "A rule or an allowed user decides on one side only." in text(html)
    assert "waffle has drawn nothing" in text(html)
    assert "changed on one side only" not in text(html)


def test_page_filters_by_period_cause_and_name(operator: Client, differences: None) -> None:
    def names(query: str) -> list[str]:
        html = page(operator, f"{DIFFERENCES}{query.replace('&amp;', '&')}")
        return [row.split()[0] for row in rows_of(html)] if "<tbody>" in html else []

    html = page(operator, DIFFERENCES)
    periods, causes = links(html, "Period"), links(html, "Cause")
    assert names(periods["Last 1 day"]) == ["new_checkout"]
    assert names(periods["Last 30 days"]) == ["new_checkout", "old", "banner"]
    assert names(causes["Percentage"]) == ["banner"]
    assert names("?name=banner") == ["banner"]
    assert names("?name=banner&cause=rule") == []
    assert names("?days=x") == ["new_checkout", "banner"]
    one = page(operator, f"{DIFFERENCES}?name=banner&days=30")
    assert "Only “banner”." in text(one)
    assert 'href="?days=30"' in one


def test_page_names_changes_that_were_not_written_here(operator: Client) -> None:
    WaffleRow.objects.create(kind="switch", name="<b>", key="b", problem="a lock timeout")
    shown = page(operator, DIFFERENCES)
    assert "The last change of the switch “&lt;b&gt;” in waffle was not written here" in shown
    assert "a lock timeout" in shown


def test_page_without_a_comparison_or_its_table_says_why(operator: Client) -> None:
    assert "Nothing was compared, and no worker is connected." in text(page(operator, DIFFERENCES))
    execute("DROP TABLE flagstaff_compat_difference")
    assert "The differences cannot be shown." in text(page(operator, DIFFERENCES))


def test_page_needs_its_permission_and_shows_users_only_with_theirs(differences: None) -> None:
    assert staff("view_featureflag").get(DIFFERENCES).status_code == 403
    html = page(staff("view_difference", name="viewer"), DIFFERENCES)
    assert rows_of(html)[0].endswith(" /cart/")
    both = staff("view_difference", "view_user", name="both")
    assert rows_of(page(both, DIFFERENCES))[0].endswith(" /cart/ admin")
    assert both.post(DIFFERENCES).status_code == 403


def test_page_makes_the_same_queries_for_many_differences(
    operator: Client, differences: None
) -> None:
    page(operator, DIFFERENCES)  # Fills Django's caches.
    few = count_queries(operator, DIFFERENCES)
    for number in range(30):
        add_difference("rule", name=f"flag_{number}", user_pk=str(number), path="/")
    assert count_queries(operator, DIFFERENCES) == few <= 6


def test_overview_counts_the_names_that_must_be_looked_at(operator: Client) -> None:
    def lines() -> list[str]:
        content = page(operator, OVERVIEW).partition('id="content"')[2]
        found = re.findall(r"<tr.*?</tr>", content, re.DOTALL)
        return [shown for one in found if "Differences from waffle" in (shown := text_of(one))]

    add_difference("percentage")
    add_difference("rule", name="old", days=20)
    assert lines() == []
    add_difference("rule")
    add_difference("other")
    [line] = lines()
    assert "1 name of waffle must be looked at before flagstaff serves it." in line
    WaffleRow.objects.create(kind="switch", name="search", key="search", problem="a lock timeout")
    [line] = lines()
    assert "2 names of waffle must be looked at before flagstaff serves them." in line
    assert f'href="{DIFFERENCES}"' in page(operator, OVERVIEW)
    assert "Differences from waffle" not in page(staff("view_featureflag"), OVERVIEW)
