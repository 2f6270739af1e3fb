"""Requests that no page makes, and pages without their tables: never an error of the server."""

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from flagstaff import changes
from flagstaff.models import FeatureFlag, KeyValueStore, Segment
from tests.support.admin_pages import (
    FLAGS,
    SEGMENTS,
    VALUES,
    errors_of,
    flag_url,
    listed_keys,
    page,
)
from tests.support.experiments import EXPERIMENTS
from tests.support.plans import PLANS
from tests.support.sql import without_table

PAGES = "q&page&days&key&actor&kind&action&time&from&to&before"
# One request each; the parameters of one request are joined by "&".
NUL_QUERIES = {
    FLAGS: "q state kind__exact rules owner tag key description",
    VALUES: "q key secret__exact",
    SEGMENTS: "q key",
    PLANS: "q state key reason",
    EXPERIMENTS: "q state__exact key owner",
    f"{FLAGS}unknown-keys/": PAGES,
    f"{FLAGS}workers/": PAGES,
    f"{FLAGS}changes/": PAGES,
    f"{FLAGS}overview/": PAGES,
    f"{FLAGS}stale/": PAGES,
    f"{FLAGS}user/": "user user&context user&p&on",
    f"{FLAGS}add/": "key&description&kind",
    f"{PLANS}add/": "key&steps&guards",
    f"{EXPERIMENTS}add/": "key&owner",
}


def test_nul_in_a_parameter_of_a_page_is_ignored(operator: Client) -> None:
    changes.flags.create("new_checkout", description="One page")
    for url, queries in NUL_QUERIES.items():
        for names in queries.split():
            query = "&".join(f"{name}=a%00" for name in names.split("&"))
            status = operator.get(f"{url}?{query}").status_code
            assert status in {200, 302}, f"{url}?{query}"


def test_nul_beside_other_characters_of_a_filter_is_left_out(operator: Client) -> None:
    FeatureFlag.objects.create(key="a", kind="ops")
    FeatureFlag.objects.create(key="b")
    assert listed_keys(page(operator, f"{FLAGS}?kind__exact=o%00ps")) == ["a"]


@pytest.mark.parametrize(
    ("table", "url"),
    [
        ("flagstaff_experiments_experiment", EXPERIMENTS),
        ("flagstaff_experiments_experiment", f"{EXPERIMENTS}1/change/"),
        ("flagstaff_experiments_experiment", f"{EXPERIMENTS}1/delete/"),
        ("flagstaff_rollouts_plan", PLANS),
        ("flagstaff_rollouts_plan", f"{PLANS}1/change/"),
        ("flagstaff_rollouts_plan", f"{PLANS}add/?key=new_checkout"),
        ("flagstaff_featureflag", f"{FLAGS}stale/"),
        ("flagstaff_segment", SEGMENTS),
        ("flagstaff_keyvaluestore", VALUES),
        ("flagstaff_keyvaluestore", f"{VALUES}1/history/"),
        ("flagstaff_featureflag", FLAGS),
    ],
)
def test_page_without_its_table_says_to_migrate(operator: Client, table: str, url: str) -> None:
    FeatureFlag.objects.create(key="new_checkout")
    with without_table(table):
        html = page(operator, url)
    assert "Run “manage.py migrate”" in html


# Texts that are too long for a page: a clear error, before anything is looked up.

TOO_MANY = "These are 10,001 users; a page takes at most 10,000 at a time."


def conditions_of(client: Client, url: str, text: str) -> tuple[str, int]:
    """Returns the page of a search, and the number of conditions on a part of a text."""
    with CaptureQueriesContext(connection) as captured:
        html = page(client, url, q=text)
    return html, sum(query["sql"].count(" LIKE ") for query in captured)


@pytest.mark.parametrize("url", [FLAGS, VALUES, SEGMENTS, PLANS, EXPERIMENTS])
def test_list_does_not_search_for_more_than_200_characters(
    operator: Client, flag: FeatureFlag, url: str
) -> None:
    KeyValueStore.objects.create(key="new_limit", value=1)
    Segment.objects.create(key="new_segment", conditions=[])
    searched, count = conditions_of(operator, url, "n " * 100)
    assert count >= 100
    assert "The search has" not in searched
    refused, count = conditions_of(operator, url, "n " * 1_000)
    # Segments look for their uses.
    assert count < 10
    assert refused.count("The search has 2,000 characters; use at most 200.") == 1
    assert "/change/" not in refused.partition('id="changelist-form"')[2]


def test_search_over_everything_says_that_the_text_is_too_long(
    operator: Client, flag: FeatureFlag
) -> None:
    html, count = conditions_of(operator, f"{FLAGS}search/", "new " * 100)
    assert count == 0
    assert "The search has 399 characters; use at most 200." in html


@pytest.mark.parametrize("view", ["allow", "disallow"])
def test_more_than_10_000_pasted_users_are_refused_before_they_are_looked_up(
    operator: Client, flag: FeatureFlag, view: str
) -> None:
    names = "\n".join(f"nobody {number}" for number in range(10_001))
    with CaptureQueriesContext(connection) as captured:
        response = operator.post(flag_url(flag, view), {"users": names})
    [error] = errors_of(response)
    assert error.startswith(TOO_MANY)
    assert "--file PATH" in error
    assert not any("nobody 1" in query["sql"] for query in captured)


def test_user_that_is_pasted_10_001_times_is_one_user(
    operator: Client, flag: FeatureFlag, alice: User
) -> None:
    response = operator.post(flag_url(flag, "allow"), {"users": "alice\n" * 10_001})
    assert response.status_code == 302
    assert list(flag.allowed_users.all()) == [alice]
