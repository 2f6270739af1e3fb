"""A member of one team requests every page, and posts to every page, for the rows of another.

The URLs are those of the admins, so a new page is requested, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest
from django.test import Client

from flagstaff import changes, experiments
from flagstaff.admin import FeatureFlagAdmin, KeyValueStoreAdmin, SegmentAdmin
from flagstaff.experiments.admin.experiments import ExperimentAdmin
from flagstaff.experiments.models import ExperimentEvent
from flagstaff.models import Change, FeatureFlag, KeyValueStore, Segment, WaitingAction
from flagstaff.rollouts import plans
from flagstaff.rollouts.models import PlanEvent
from tests.support.admin_pages import RECENT, asks, page, staff
from tests.support.admin_urls import EDITS, models, urls_of
from tests.support.plans import drive_recently
from tests.support.screen import Screen
from tests.support.usage_rows import add_usage

# Each change is a transaction of its own, as in production: an undo reads the history.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

ADMINS = (FeatureFlagAdmin, KeyValueStoreAdmin, SegmentAdmin, ExperimentAdmin)
#: What no page may name: keys, and what only the other team has written.
SECRETS = ("topsecret", "classified")
STAFF = [{"attribute": "is_staff", "operator": "in", "values": [True]}]
LOGGED_IN = [{"attribute": "is_authenticated", "operator": "in", "values": [True]}]
PERMISSIONS = [
    f"{action}_{model}"
    for model in ("featureflag", "keyvaluestore", "segment", "experiment")
    for action in ("view", "add", "change", "delete")
]
BUTTONS = ("start", "pause", "resume", "rollback", "jump", "stop", "ship", "undo", "shuffle")


def is_ours(row: Any) -> bool:
    return not row.key.startswith("topsecret")


# Each pair is a class of the project, and whether the member also has the right to toggle.
@pytest.fixture(
    params=[
        ("methods", True),
        pytest.param(("query set", False), marks=pytest.mark.thorough),
        pytest.param(("methods", False), marks=pytest.mark.thorough),
        pytest.param(("query set", True), marks=pytest.mark.thorough),
    ],
    ids=lambda pair: f"{pair[0]}, {'toggles' if pair[1] else 'changes'}",
)
def member(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Has all permissions, and the project's classes refuse or hide the rows of the other team."""
    restriction, toggles = request.param
    for admin in ADMINS:
        if restriction == "query set":
            _hide(monkeypatch, admin)
            continue
        for action in ("view", "change", "delete"):
            _refuse(monkeypatch, admin, f"has_{action}_permission")
    return staff(*PERMISSIONS, *(["toggle_featureflag"] if toggles else []))


def _refuse(monkeypatch: pytest.MonkeyPatch, admin: type[Any], name: str) -> None:
    inherited = getattr(admin, name)

    def has_permission(self: Any, request: HttpRequest, obj: Any = None) -> bool:
        return (obj is None or is_ours(obj)) and inherited(self, request, obj)

    monkeypatch.setattr(admin, name, has_permission)


def _hide(monkeypatch: pytest.MonkeyPatch, admin: type[Any]) -> None:
    inherited = admin.get_queryset

    def get_queryset(self: Any, request: HttpRequest) -> Any:
        return inherited(self, request).exclude(key__startswith="topsecret")

    monkeypatch.setattr(admin, "get_queryset", get_queryset)


@pytest.fixture
def foreign() -> list[Model]:
    """Rows of the other team of each kind, and rows of ours that have something to do with them."""
    drive_recently()
    shown: dict[str, Any] = {"description": "classified", "owner": "classified"}
    changes.segments.create("shared", STAFF)
    changes.segments.create("topsecret_segment", STAFF, description="classified")
    by_segments = [{"conditions": [{"segment": key}]} for key in ("shared", "topsecret_segment")]
    changes.flags.create(
        "topsecret_flag", enabled=True, rollout_percent=37, rules=by_segments, **shown
    )
    changes.flags.create("topsecret_off", **shown)
    changes.flags.create("topsecret_gone", enabled=True, rollout_percent=50, **shown)
    changes.flags.create("topsecret_idle", **shown)
    changes.values.create(
        "topsecret_value",
        "classified",
        rules=[{"conditions": [{"segment": "shared"}], "value": "classified too"}],
    )
    changes.flags.create("ours", owner="us")
    with transaction.atomic():
        changes.flags.set_rollout("ours", 5)
        changes.flags.set_rollout("topsecret_flag", 38)
        changes.values.update("topsecret_value", {"description": "classified"})
    plans.create("topsecret_flag", ["60:1h", "100"], required_users=77)
    plan = plans.start("topsecret_flag")
    plans.create("topsecret_gone", ["60:1h", "100"])
    experiments.create("topsecret_experiment", rules=by_segments, description="classified")
    experiment = experiments.start("topsecret_experiment")
    for key in ("topsecret_gone", "topsecret_idle"):
        changes.flags.delete(key)
    # Like a key of the other team.
    add_usage("opsecret_flag", "unknown")
    waiting = WaitingAction.objects.create(
        kind="flag",
        action="rollout",
        keys=["topsecret_off"],
        arguments={"percent": 50},
        versions={},
        consequence=0,
        users="classified",
        asked_by=str(User.objects.create_superuser("topsecret_asker").pk),
        reason="classified",
        needs_approval=True,
        state=WaitingAction.State.APPROVAL,
    )
    flags = FeatureFlag.objects.filter(key__startswith="topsecret")
    return [
        waiting,
        *flags,
        KeyValueStore.objects.get(),
        Segment.objects.get(key="topsecret_segment"),
        plan,
        experiment,
    ]


def addresses(foreign: list[Model]) -> Iterator[str]:
    """Yields the URL of each page, for rows of the other team, with each parameter that it reads.

    What is typed is never a whole key, because pages repeat it.
    """
    entries = Change.objects.filter(key__startswith="topsecret").order_by("pk")
    versions = [*entries.values_list("pk", flat=True)]
    ours, shared = FeatureFlag.objects.get(key="ours"), Segment.objects.get(key="shared")
    for model in models():
        pks = [row.pk for row in (*foreign, ours, shared) if isinstance(row, model)]
        for url in urls_of(model):
            if "{pk}" not in url:
                yield from (f"{url}{query}" for query in ("", "?q=opsecre", "?format=csv"))
                continue
            for one in (url.format(pk=pk) for pk in pks):
                yield one
                if "change" in one:
                    yield from (f"{one}?edit=1", f"{one}?format=json", f"{one}?_button=rollback")
    yield "/admin/flagstaff_rollouts/plan/add/?key=opsecret_flag"
    yield f"/admin/flagstaff/featureflag/user/?user={User.objects.get(username='staff').pk}"
    yield "/admin/flagstaff/featureflag/search/?q=opsecre"
    yield "/admin/flagstaff/featureflag/search/?q=lassified"
    for query in ("undo={}", "restore={}", "transaction={}", "transaction={}&undo=all"):
        yield from (f"{RECENT}?{query.format(version)}" for version in versions)
    yield f"{RECENT}?key=opsecre&time=24h"


ACTIONS = ("delete_selected", "kill", "on", "rollout", "release", "details", "delete")


def bodies(url: str, foreign: list[Model]) -> Iterator[dict[str, Any]]:
    """Yields what is posted to a page: each button and action, for the rows of the other team."""
    yield EDITS
    if url.endswith("/change/"):
        yield from ({"_button": button, **EDITS} for button in BUTTONS)
    for model in models():
        if url == f"/admin/{model._meta.app_label}/{model._meta.model_name}/":
            pks = [row.pk for row in foreign if isinstance(row, model)]
            for action in ACTIONS:
                yield EDITS | {"action": action, "_selected_action": pks}


def post_and_confirm(client: Client, url: str, body: dict[str, Any]) -> Any:
    """Posts to a page, and then what it asks to be confirmed."""
    response = client.post(url, body)
    if response.streaming or not asks(response):
        return response
    return client.post(url, body | Screen(response).fields())


def named(response: Any) -> list[str]:
    """Returns which secrets a page and its messages have."""
    messages = (str(one) for one in get_messages(response.wsgi_request))
    text = unescape(response.getvalue().decode() + "".join(messages)).lower()
    return [word for word in SECRETS if word in text]


def read(foreign: list[Model]) -> list[dict[str, Any]]:
    """Returns the rows of the other team as they are stored, and the conditions that they use."""
    rows = [type(row)._base_manager.filter(pk=row.pk) for row in foreign]
    shared = {"conditions": Segment.objects.get(key="shared").conditions}
    return [*(row for found in rows for row in found.values()), shared]


def newest() -> list[int]:
    """Returns the newest entry about the other team in each history."""
    entries = Change.objects.filter(key__startswith="topsecret")
    of_plans, of_experiments = PlanEvent.objects, ExperimentEvent.objects
    return [rows.latest("pk").pk for rows in (entries, of_plans, of_experiments)]


def test_pages_name_no_row_of_another_team(member: Client, foreign: list[Model]) -> None:
    responses = {url: member.get(url) for url in addresses(foreign)}
    assert {one.status_code for one in responses.values()} <= {200, 302, 403, 404}
    assert {url: words for url, one in responses.items() if (words := named(one))} == {}
    assert len(responses) >= 110
    assert "ours" in page(member)


def test_posts_change_no_row_of_another_team(member: Client, foreign: list[Model]) -> None:
    before, last = read(foreign), newest()
    posts = [(url, body) for url in addresses(foreign) for body in bodies(url, foreign)]
    responses = [(post, named(post_and_confirm(member, *post))) for post in posts]
    assert [(post, words) for post, words in responses if words] == []
    assert (read(foreign), newest()) == (before, last)
    assert len(posts) >= 32
