"""A member of one team requests every page, and posts to every page, for the rows of another.

The URLs are those of the admins, so a new page is requested, too.
"""

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
from flagstaff.rollouts.models import Plan, PlanEvent
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
PERMISSIONS = [
    f"{action}_{model}"
    for model in ("featureflag", "keyvaluestore", "segment", "experiment")
    for action in ("view", "add", "change", "delete")
]
#: What the page of a row reads.
QUERIES = ("user=staff", "show=1")


# Each pair is a class of the project, and whether the member also has the right to toggle.
@pytest.fixture(
    params=[
        ("methods", True),
        pytest.param(("query set", False), marks=pytest.mark.thorough),
    ],
    ids=lambda pair: f"{pair[0]}, {'toggles' if pair[1] else 'changes'}",
)
def member(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Has all permissions, and the project's classes refuse or hide the rows of the other team."""
    restriction, toggles = request.param
    methods = [f"has_{action}_permission" for action in ("view", "change", "delete")]
    for admin in ADMINS:
        for name in ["get_queryset"] if restriction == "query set" else methods:
            _restrict(monkeypatch, admin, name)
    return staff(*PERMISSIONS, *(["toggle_featureflag"] if toggles else []))


def _restrict(monkeypatch: pytest.MonkeyPatch, admin: type[Any], name: str) -> None:
    """Makes a method hide or refuse the rows of the other team."""
    inherited = getattr(admin, name)

    def get_queryset(self: Any, request: HttpRequest) -> Any:
        return inherited(self, request).exclude(key__startswith="topsecret")

    def has_permission(self: Any, request: HttpRequest, obj: Any = None) -> bool:
        is_ours = obj is None or not obj.key.startswith("topsecret")
        return is_ours and inherited(self, request, obj)

    method = get_queryset if name == "get_queryset" else has_permission
    monkeypatch.setattr(admin, name, method)


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
        expected={},
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
            for address in (url.format(pk=pk) for pk in pks):
                yield address
                if address.endswith("/change/"):
                    yield from (f"{address}?{query}" for query in QUERIES)
    yield "/admin/flagstaff_rollouts/plan/add/?key=opsecret_flag"
    yield f"/admin/flagstaff/featureflag/user/?user={User.objects.get(username='staff').pk}"
    yield "/admin/flagstaff/featureflag/search/?q=opsecre"
    yield "/admin/flagstaff/featureflag/search/?q=lassified"
    for query in ("undo={}", "restore={}", "transaction={}", "transaction={}&undo=all"):
        yield from (f"{RECENT}?{query.format(version)}" for version in versions)
    yield f"{RECENT}?key=opsecre&time=24h"


ACTIONS = ("delete_selected", "kill", "on", "rollout", "release", "details", "delete")


def posts(foreign: list[Model]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields what is posted: edits, and each action for the rows of the other team.

    Of the parameters, only an undo has a form.
    """
    for url in addresses(foreign):
        if "?" not in url or "undo=" in url or "restore=" in url:
            yield url, EDITS
    for model in models():
        pks = [row.pk for row in foreign if isinstance(row, model)]
        for action in ACTIONS:
            url = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
            yield url, EDITS | {"action": action, "_selected_action": pks}


def named(response: Any) -> list[str]:
    """Returns which secrets a page and its messages have."""
    messages = (str(message) for message in get_messages(response.wsgi_request))
    text = unescape(response.getvalue().decode() + "".join(messages)).lower()
    return [word for word in SECRETS if word in text]


def read(foreign: list[Model]) -> list[Any]:
    """Returns what is stored of the other team, the conditions that it uses, and its histories."""
    rows = [type(row)._base_manager.filter(pk=row.pk) for row in foreign]
    entries = Change.objects.filter(key__startswith="topsecret")
    histories: tuple[Any, ...] = (entries, PlanEvent.objects, ExperimentEvent.objects)
    newest = [history.latest("pk").pk for history in histories]
    shared = {"conditions": Segment.objects.get(key="shared").conditions}
    return [*(row for stored in rows for row in stored.values()), shared, newest]


def test_pages_name_no_row_of_another_team(member: Client, foreign: list[Model]) -> None:
    responses = {url: member.get(url) for url in addresses(foreign)}
    assert {response.status_code for response in responses.values()} <= {200, 302, 403, 404}
    naming = {url: words for url, response in responses.items() if (words := named(response))}
    assert naming == {}
    assert len(responses) >= 110
    assert "ours" in page(member)


def test_posts_change_no_row_of_another_team(member: Client, foreign: list[Model]) -> None:
    before = read(foreign)
    posted = [*posts(foreign)]
    assert len(posted) >= 100
    naming = []
    for url, body in posted:
        response: Any = member.post(url, body)
        if not response.streaming and asks(response):
            response = member.post(url, body | Screen(response).fields())
        if words := named(response):
            naming.append((url, body, words))
    assert naming == []
    assert read(foreign) == before


@pytest.mark.parametrize("key", ["topsecret_flag", "topsecret_full"])
def test_plan_for_a_flag_of_another_team_is_refused_as_one_without_a_flag(
    member: Client, foreign: list[Model], key: str
) -> None:
    changes.flags.create("topsecret_full", enabled=True, rollout_percent=100)
    url = "/admin/flagstaff_rollouts/plan/add/"
    steps = {"steps": "1:1h\n100", "guards": "errors", "required_users": "100", "_reason": ""}
    errors = [
        [str(error).replace(wanted, "KEY") for error in form.non_field_errors()]
        for wanted in (key, "missing")
        for form in [member.post(url, {"key": wanted, **steps}).context["form"]]
    ]
    assert errors[0] == errors[1]


def test_plan_of_a_renamed_flag_starts_none_for_a_flag_of_another_team(
    member: Client, foreign: list[Model]
) -> None:
    """A new flag of the other team has its key, and no plan of its own."""
    changes.flags.create("topsecret_moved", enabled=True)
    plans.create("topsecret_moved", ["60:1h", "100"])
    plans.start("topsecret_moved")
    plan = plans.rollback("topsecret_moved")
    changes.flags.update("topsecret_moved", {"key": "moved"})
    changes.flags.create("topsecret_moved", enabled=True)
    url = f"/admin/flagstaff_rollouts/plan/{plan.pk}/start/"
    shown = member.get(url)
    assert shown.status_code == 200
    member.post(url, {**Screen(shown).fields(), "_reason": "mine"})
    assert Plan.objects.filter(key="topsecret_moved").count() == 1
