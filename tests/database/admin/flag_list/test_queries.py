"""The number of queries of the list of flags, with all optional apps."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flagstaff import acting_as, changes, rollouts
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import FLAGS, count_queries, page, staff
from tests.support.stale_flags import collect_usage, evaluate, make_flag

pytestmark = pytest.mark.django_db

MAX_QUERIES = 13


@pytest.fixture(params=["superuser", "staff"])
def client(request: pytest.FixtureRequest, operator: Client) -> Client:
    """Two users: Django asks the database for the permissions of the second one."""
    if request.param == "superuser":
        return operator
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
        changes.flags.allow(key, actor)
        with acting_as(actor):
            changes.flags.update(key, {"description": "x"})
    make_flag("stale", rollout_percent=100)
    rollouts.create("flag_0", ["5:1h"])


@pytest.mark.usefixtures("flags")
def test_list_makes_few_queries_whatever_it_shows(client: Client) -> None:
    html = page(client)
    assert all(f"user_{number}" in html for number in range(3))
    few = count_queries(client)
    assert few <= MAX_QUERIES
    for order in range(2, 8):
        assert count_queries(client, f"{FLAGS}?o=-{order}") <= MAX_QUERIES
    # A filter counts its flags.
    for query in ("?state=all", "?changed=24h", "?evaluated=not-30d", "?q=flag"):
        assert count_queries(client, f"{FLAGS}{query}") <= MAX_QUERIES + 1
    more = [FeatureFlag(key=f"more_{n}", enabled=n % 2 == 0) for n in range(300)]
    FeatureFlag.objects.bulk_create(more)
    assert count_queries(client) == count_queries(client, f"{FLAGS}?p=2") == few
