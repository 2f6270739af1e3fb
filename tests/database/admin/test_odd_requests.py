"""Requests that no page makes, and pages without their tables: never an error of the server."""

from __future__ import annotations

import pytest
from django.test import Client

from flagstaff import changes
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import FLAGS, SEGMENTS, VALUES, listed_keys, page
from tests.support.experiments import EXPERIMENTS
from tests.support.plans import PLANS
from tests.support.sql import without_table

pytestmark = pytest.mark.django_db

OTHERS = [
    f"/admin/{name}/"
    for name in (
        *(
            "flagstaff/featureflag/unknown-keys",
            "flagstaff/featureflag/workers",
            "flagstaff/featureflag/changes",
        ),
        *(
            "flagstaff/featureflag/overview",
            "flagstaff/featureflag/user",
            "flagstaff/featureflag/stale",
        ),
    )
]
# One request each; the parameters of one request are joined by "&".
NUL_QUERIES = {
    FLAGS: "q state kind__exact rules owner tag key description",
    VALUES: "q key secret__exact",
    SEGMENTS: "q key",
    PLANS: "q state__exact key reason",
    EXPERIMENTS: "q state__exact key owner",
    **dict.fromkeys(OTHERS, "q&page&days&key&actor&kind&action&time&from&to&before"),
    OTHERS[3]: "user user&context user&p&on",
    f"{FLAGS}add/": "key&description&kind",
    f"{PLANS}add/": "key&steps&guards",
    f"{EXPERIMENTS}add/": "key&owner",
}


@pytest.mark.parametrize("url", NUL_QUERIES)
def test_nul_in_a_parameter_of_a_page_is_ignored(operator: Client, url: str) -> None:
    changes.flags.create("new_checkout", description="One page")
    for names in NUL_QUERIES[url].split():
        query = "&".join(f"{name}=a%00" for name in names.split("&"))
        assert operator.get(f"{url}?{query}").status_code in {200, 302}, query


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
        ("flagstaff_featureflag", OTHERS[-1]),
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
