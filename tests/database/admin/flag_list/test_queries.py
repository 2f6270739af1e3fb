"""The number of queries of the list of flags, with all optional apps."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from flagstaff import acting_as, changes, rollouts
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import FLAGS, staff
from tests.support.stale_flags import collect_usage, evaluate, make_flag

pytestmark = pytest.mark.django_db

MAX_QUERIES = 12


@pytest.fixture(params=["superuser", "staff"])
def client(request: pytest.FixtureRequest, admin_client: Client) -> Client:
    """Two users: Django asks the database for the permissions of the second one."""
    if request.param == "superuser":
        return admin_client
    return staff("view_featureflag", "toggle_featureflag")


@pytest.fixture
def flags() -> None:
    """Flags of which each app has something to say, with owners, users, usage and a history."""
    collect_usage()
    for number in range(3):
        key = f"flag_{number}"
        make_flag(key, rollout_percent=100 if number else 0, owner="web", tags=["a"])
        evaluate(key)
        actor = User.objects.create_user(f"user_{number}")
        changes.add_allowed_users(key, actor)
        with acting_as(actor):
            changes.update(key, {"description": "x"})
    make_flag("stale", rollout_percent=100)
    rollouts.create("flag_0", ["5:1h"])


def count(client: Client, query: str = "") -> int:
    """Returns the number of queries. Savepoints exist only in the transaction of the test."""
    with CaptureQueriesContext(connection) as queries:
        response = client.get(f"{FLAGS}{query}")
    assert response.status_code == 200
    return sum("SAVEPOINT" not in one["sql"] for one in queries.captured_queries)


@pytest.mark.usefixtures("flags")
def test_list_makes_few_queries(client: Client) -> None:
    assert count(client) <= MAX_QUERIES


@pytest.mark.usefixtures("flags")
def test_number_of_queries_does_not_depend_on_the_number_of_flags(client: Client) -> None:
    few = count(client)
    more = [FeatureFlag(key=f"more_{n}", enabled=n % 2 == 0) for n in range(300)]
    FeatureFlag.objects.bulk_create(more)
    assert count(client) == count(client, "?p=2") == few


@pytest.mark.usefixtures("flags")
@pytest.mark.parametrize("order", range(2, 8))
def test_sorted_list_makes_no_more_queries(order: int, client: Client) -> None:
    assert count(client, f"?o=-{order}") <= MAX_QUERIES


@pytest.mark.usefixtures("flags")
@pytest.mark.parametrize("query", ["?state=all", "?changed=24h", "?evaluated=not-30d", "?q=flag"])
def test_filter_counts_its_flags_with_one_more_query(query: str, client: Client) -> None:
    assert count(client, query) <= MAX_QUERIES + 1


@pytest.mark.usefixtures("flags")
def test_names_of_actors_are_shown_without_a_query(client: Client, settings: Any) -> None:
    html = client.get(FLAGS).content.decode()
    assert all(f"user_{number}" in html for number in range(3))
