"""Every page of the admin shows only texts that can be translated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.utils import timezone

from flagstaff import changes, experiments, rollouts
from flagstaff.experiments.models import Experiment
from flagstaff.models import Change, FeatureFlag, KeyValueStore, Segment
from flagstaff.rollouts.models import Plan
from tests import experiment_pages
from tests.admin_pages import FLAGS, SEGMENTS, VALUES
from tests.experiment_pages import EXPERIMENTS, expose
from tests.marked_texts import marked, unmarked_texts
from tests.plan_pages import PLANS
from tests.rollouts import drive_recently, fail, run_of, see
from tests.stale_flags import collect_usage, evaluate

STALE = "/admin/flagstaff_cleanup/snooze/"

# Each change is a transaction of its own, as in production.
pytestmark = pytest.mark.django_db(transaction=True)
RULES = [
    {
        "name": "r1",
        "rollout_percent": 50,
        "conditions": [
            {"attribute": "a1", "operator": "in", "values": ["1", "2"]},
            {"segment": "s1"},
        ],
    }
]
CONDITIONS = [{"attribute": "a1", "operator": "version_lt", "values": ["1.2"], "negate": True}]


@pytest.fixture(autouse=True)
def translated(settings: Any) -> Iterator[None]:
    """Deletes the entries of other tests, and marks all texts."""
    metrics = {f"m{name}": f"{__name__}.{path}" for name, path in METRICS}
    environment = {"name": "E1", "color": "red", "production": False}
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "METRICS": metrics, "ENVIRONMENT": environment}
    Change.objects.all().delete()
    with marked(), timezone.override("UTC"):
        yield


orders = replace(experiment_pages.orders, description="", unit="b1")
revenue = replace(experiment_pages.revenue, unit="b1")
METRICS = (("1", "orders"), ("2", "revenue"))


@pytest.fixture
def operator() -> Client:
    user = User.objects.create_superuser("u1", password="u1")
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def rows(operator: Client) -> dict[str, Any]:
    """The primary keys of flags with a history, evaluations, rules, and of the other rows."""
    changes.create_segment("s1", CONDITIONS)
    changes.create("f1", enabled=True, rollout_percent=5)
    changes.add_allowed_users("f1", User.objects.get())
    changes.update("f1", {"rules": RULES, "tags": ["t1"], "owner": "o1"})
    changes.set_rollout("f1", 25)
    changes.disable("f1")
    changes.create_value("v1", {"a1": [1, 2]})
    changes.create_value("v2", "x1", secret=True)
    with transaction.atomic():
        changes.enable("f1")
        changes.set_value("v1", "y1")
    changes.create("f2")
    FeatureFlag.objects.filter(key="f2").update(rules={})
    changes.create("f3", enabled=True, rollout_percent=100)
    with transaction.atomic():
        collect_usage()
    for key in "f1", "f3":
        evaluate(key, times=7)
    flags = {row.key: row.pk for row in FeatureFlag.objects.all()}
    values = {row.key: row.pk for row in KeyValueStore.objects.all()}
    return {**flags, **values, "s1": Segment.objects.get().pk}


@pytest.fixture
def plan(rows: dict[str, Any]) -> None:
    """A plan of one step that has counted, and one that has not begun."""
    drive_recently()
    changes.create("f4", enabled=True)
    guards = ["errors", "latency=0.5,action=hold"]
    rollouts.create("f4", ["5:90m", "25:1d", "100"], guards=guards)
    changes.create("f5", enabled=True)
    rollouts.create("f5", ["5:90m", "100"], guards=guards)
    rollouts.start("f4")
    for inside in (True, False):
        see(run_of("f4"), inside=inside, users=300)
        fail(run_of("f4"), inside=inside, users=30)
    for key in "f4", "f5":
        rows[f"plan-{key}"] = Plan.objects.get(key=key).pk
        rows[key] = FeatureFlag.objects.get(key=key).pk


@pytest.fixture
def experiment(rows: dict[str, Any]) -> None:
    """An experiment with results, and a draft."""
    for key in "x1", "x2":
        experiments.create(key, ["n1", "n2"], bucket_by="b1")
        experiments.set_metrics(key, primary="m1", planned_users=4000, others=["m2"])
        rows[key] = Experiment.objects.get(key=key).pk
    running = experiments.start("x1")
    expose(running, "n1", 400, 40)
    expose(running, "n2", 400, 80)


PAGES = {
    "index": "/admin/",
    "app-index": "/admin/flagstaff/",
    "flag-list": FLAGS,
    "flag-list-no-match": f"{FLAGS}?q=zz1",
    "flag-list-changed": f"{FLAGS}?changed=24h",
    "flag-add": f"{FLAGS}add/",
    "flag": FLAGS + "{f1}/change/",
    "flag-unreadable": FLAGS + "{f2}/change/",
    "flag-for-all": FLAGS + "{f3}/change/",
    "flag-who": FLAGS + "{f1}/change/?user=u1&context=a1%3D1",
    "flag-who-errors": FLAGS + "{f1}/change/?user=u2&context=a1",
    "flag-allowed-users": FLAGS + "{f1}/allowed-users/",
    "flag-allowed-users-search": FLAGS + "{f1}/allowed-users/?q=u1",
    "flag-delete": FLAGS + "{f1}/delete/",
    "flag-history": FLAGS + "{f1}/history/",
    "flag-kill": FLAGS + "{f1}/kill/",
    "flag-turn-on": FLAGS + "{f2}/turn-on/",
    "value-list": VALUES,
    "value-add": f"{VALUES}add/",
    "value": VALUES + "{v1}/change/",
    "value-secret": VALUES + "{v2}/change/",
    "value-delete": VALUES + "{v1}/delete/",
    "value-history": VALUES + "{v1}/history/",
    "value-secret-history": VALUES + "{v2}/history/",
    "segment-list": SEGMENTS,
    "segment-add": f"{SEGMENTS}add/",
    "segment": SEGMENTS + "{s1}/change/",
    "segment-history": SEGMENTS + "{s1}/history/",
    "stale": STALE,
}
PLAN_PAGES = {
    "flag-list-with-plans": FLAGS,
    "flag-with-plan": FLAGS + "{f4}/change/",
    "plan-list": PLANS,
    "plan-add": f"{PLANS}add/?flag=f1",
    "plan": PLANS + "{plan-f4}/change/",
    "plan-pending": PLANS + "{plan-f5}/change/",
    "plan-delete": PLANS + "{plan-f5}/delete/",
}
EXPERIMENT_PAGES = {
    "experiment-list": EXPERIMENTS,
    "experiment-add": f"{EXPERIMENTS}add/",
    "experiment": EXPERIMENTS + "{x1}/change/",
    "experiment-draft": EXPERIMENTS + "{x2}/change/",
    "experiment-delete": EXPERIMENTS + "{x2}/delete/",
}


def check(response: Any) -> None:
    """Fails on a page with a text that cannot be translated."""
    assert response.status_code == 200, response
    # The alternative text of Django's own picture is not translated.
    html = response.content.decode().replace('alt="Search"', "")
    found = unmarked_texts(html)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", PAGES)
def test_page_shows_only_marked_texts(name: str, operator: Client, rows: dict[str, Any]) -> None:
    check(operator.get(PAGES[name].format(**rows)))


@pytest.mark.parametrize("name", PLAN_PAGES)
def test_page_with_plans_shows_only_marked_texts(
    name: str, operator: Client, rows: dict[str, Any], plan: None
) -> None:
    check(operator.get(PLAN_PAGES[name].format(**rows)))


@pytest.mark.parametrize("name", EXPERIMENT_PAGES)
def test_page_with_experiments_shows_only_marked_texts(
    name: str, operator: Client, rows: dict[str, Any], experiment: None
) -> None:
    check(operator.get(EXPERIMENT_PAGES[name].format(**rows)))
