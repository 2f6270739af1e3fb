"""Texts that are too long for a page: a clear error, before anything is looked up."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from flagstaff.models import FeatureFlag, KeyValueStore, Segment
from tests.support.admin_pages import FLAGS, SEGMENTS, VALUES, errors_of, flag_url, page
from tests.support.experiments import EXPERIMENTS
from tests.support.plans import PLANS

pytestmark = pytest.mark.django_db

TOO_MANY = "These are 10,001 users; a page takes at most 10,000 at a time."


@pytest.fixture
def flag() -> FeatureFlag:
    return FeatureFlag.objects.create(key="new_checkout")


def conditions_of(client: Client, url: str) -> tuple[str, int]:
    """Returns a page, and how many conditions on a part of a text its queries have."""
    with CaptureQueriesContext(connection) as captured:
        html = page(client, url)
    return html, sum(query["sql"].count(" LIKE ") for query in captured)


@pytest.mark.parametrize("url", [FLAGS, VALUES, SEGMENTS, PLANS, EXPERIMENTS])
def test_list_does_not_search_for_more_than_200_characters(
    operator: Client, flag: FeatureFlag, url: str
) -> None:
    KeyValueStore.objects.create(key="new_limit", value=1)
    Segment.objects.create(key="new_segment", conditions=[])
    searched, count = conditions_of(operator, f"{url}?{urlencode({'q': 'n ' * 100})}")
    assert count >= 100
    assert "The search has" not in searched
    refused, count = conditions_of(operator, f"{url}?{urlencode({'q': 'n ' * 1_000})}")
    # Segments look for their uses.
    assert count < 10
    assert refused.count("The search has 2,000 characters; use at most 200.") == 1
    assert "/change/" not in refused.partition('id="changelist-form"')[2]


def test_search_over_everything_says_that_the_text_is_too_long(
    operator: Client, flag: FeatureFlag
) -> None:
    html, count = conditions_of(operator, f"{FLAGS}search/?{urlencode({'q': 'new ' * 100})}")
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


def test_context_of_a_user_has_at_most_10_000_characters(
    operator: Client, flag: FeatureFlag, alice: User
) -> None:
    context = "\n".join(f"name_{number}=1" for number in range(1_000))
    for url in (f"{FLAGS}user/", flag_url(flag)):
        html = page(operator, f"{url}?{urlencode({'user': 'alice', 'context': context})}")
        assert "at most 10000 characters" in html
