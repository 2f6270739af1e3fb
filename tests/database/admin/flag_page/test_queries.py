"""The page of a flag takes few queries, whatever the flag has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client

from flagstaff import changes, rollouts
from flagstaff.models import FeatureFlag, Segment
from tests.support.admin_pages import FLAGS, page, staff
from tests.support.sql import statements_of
from tests.support.stale_flags import KEY, collect_usage, evaluate, make_flag
from tests.support.usage_rows import delete_usage

# Each change is a transaction of its own, as in production.
pytestmark = pytest.mark.django_db(transaction=True)

MAX_QUERIES = 16
RULES = [
    {"conditions": [{"segment": "team"}]},
    {"conditions": [{"attribute": "country", "operator": "in", "values": ["DE"]}]},
]


@pytest.fixture
def flag() -> Iterator[FeatureFlag]:
    """A flag with everything that the page shows."""
    Segment.objects.create(
        key="team",
        conditions=[{"attribute": "is_staff", "operator": "in", "values": [True]}],
    )
    flag = make_flag(rules=RULES)
    User.objects.bulk_create([User(username=f"user{number}") for number in range(100)])
    changes.flags.allow(KEY, [*User.objects.filter(username__startswith="user")])
    with transaction.atomic():
        collect_usage()
    evaluate(KEY)
    rollouts.create(KEY, steps=["60:1h"])
    yield flag
    # A flush keeps the usage.
    with transaction.atomic():
        delete_usage()


def queries(client: Client, url: str) -> list[str]:
    """Returns the statements of a page, without those of transactions."""
    found = statements_of(lambda: page(client, url))
    # Without those of the session, of its user and of the permissions of the user.
    of_request = [one for one in found if "django_session" in one or "auth_permission" in one]
    return [one for one in found if one not in of_request][1:]


def assert_few(client: Client, url: str) -> None:
    found = queries(client, url)
    assert len(found) <= MAX_QUERIES, "\n".join(one[:200] for one in found)


def test_page_takes_few_queries_whatever_the_flag_has(operator: Client, flag: FeatureFlag) -> None:
    url = f"{FLAGS}{flag.pk}/change/"
    # The user, the groups of the user, and the flag as it is stored.
    assert len(queries(operator, f"{url}?user=user7&context=country%3DDE")) <= MAX_QUERIES + 3
    assert_few(operator, url)
    for one in ("view_featureflag", "toggle_featureflag", "change_featureflag"):
        assert_few(staff(one, "view_user", name=one), url)
    before = len(queries(operator, url))
    for percent in range(60, 90):
        changes.flags.set_rollout(KEY, percent)
    FeatureFlag.objects.bulk_create([FeatureFlag(key=f"flag{number}") for number in range(50)])
    User.objects.bulk_create([User(username=f"guest{number}") for number in range(100)])
    changes.flags.allow(KEY, [*User.objects.filter(username__startswith="guest")])
    assert len(queries(operator, url)) == before
