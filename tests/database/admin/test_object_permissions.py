"""Rights for single flags: the admin of the project shows and changes those of one team only."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db.models import QuerySet
from django.http import HttpRequest
from django.test import Client

from flagstaff import changes
from flagstaff.admin import FeatureFlagAdmin
from flagstaff.models import FeatureFlag, Segment
from flagstaff.rollouts import plans
from flagstaff.rollouts.models import Plan
from tests.support.admin_pages import (
    FLAGS,
    SEGMENTS,
    act,
    flag_url,
    page,
    staff,
    undo,
    undo_url,
)
from tests.support.plans import drive_recently
from tests.support.screen import Screen

# Each change is a transaction of its own, as in production: an undo reads the history.
pytestmark = pytest.mark.django_db(transaction=True)

PLANS = "/admin/flagstaff_rollouts/plan/"
STAFF = [{"attribute": "is_staff", "operator": "in", "values": [True]}]
LOGGED_IN = [{"attribute": "is_authenticated", "operator": "in", "values": [True]}]
PERMISSIONS = [f"{action}_featureflag" for action in ("view", "add", "change", "delete", "toggle")]
THEIRS = pytest.mark.parametrize(("owner", "is_allowed"), [("us", True), ("them", False)])


@pytest.fixture(autouse=True)
def of_one_team(monkeypatch: pytest.MonkeyPatch) -> None:
    """The admin of flags refuses to show and to change those of other teams."""

    def restricted(name: str) -> Any:
        inherited = getattr(FeatureFlagAdmin, name)

        def has_permission(admin: Any, request: HttpRequest, obj: Any = None) -> bool:
            is_ours = obj is None or obj.owner == "us"
            return bool(is_ours and inherited(admin, request, obj))

        return has_permission

    for name in ("has_view_permission", "has_change_permission", "has_delete_permission"):
        monkeypatch.setattr(FeatureFlagAdmin, name, restricted(name))


@pytest.fixture
def of_one_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lists of flags leave out those of other teams."""
    rows = FeatureFlagAdmin.get_queryset

    def get_queryset(admin: Any, request: HttpRequest) -> QuerySet[Any]:
        return rows(admin, request).filter(owner="us")

    monkeypatch.setattr(FeatureFlagAdmin, "get_queryset", get_queryset)


def make(owner: str, **fields: Any) -> FeatureFlag:
    changes.flags.create("new_checkout", owner=owner, enabled=True, rollout_percent=50, **fields)
    return FeatureFlag.objects.get()


def set_rollout(key: str) -> Any:
    return changes.flags.set_rollout(key, 5)


@pytest.fixture
def member() -> Client:
    """Has all permissions for flags and segments."""
    return staff(*PERMISSIONS, "view_segment", "change_segment")


@THEIRS
@pytest.mark.parametrize("change", [changes.flags.delete, set_rollout])
def test_change_is_undone_by_the_own_team_only(
    change: Callable[[str], Any], owner: str, is_allowed: bool, member: Client
) -> None:
    make(owner)
    version = change("new_checkout").version
    response = member.post(undo_url(version), {"_confirmed": "1"})
    assert response.status_code == (200 if is_allowed else 403)
    undo(member, version)
    assert FeatureFlag.objects.filter(rollout_percent=50).exists() is is_allowed


@THEIRS
@pytest.mark.usefixtures("of_one_list")
def test_pages_of_plans_show_those_of_the_own_team_only(
    owner: str, is_allowed: bool, member: Client
) -> None:
    make(owner)
    plans.create("new_checkout", ["60:1h", "100"], required_users=77)
    html = page(member, f"{PLANS}add/?key=new_checkout")
    assert ('value="77"' in html) is is_allowed
    assert ("60:1h" in html) is is_allowed
    assert ("new_checkout" in page(member, PLANS)) is is_allowed
    changes.flags.delete("new_checkout")
    assert ("new_checkout" in page(member, PLANS)) is is_allowed


@THEIRS
@pytest.mark.parametrize("button", ["pause", "roll-back"])
def test_plan_is_stopped_by_the_own_team_only(
    button: str, owner: str, is_allowed: bool, member: Client
) -> None:
    make(owner)
    plans.create("new_checkout", ["60:1h", "100"])
    drive_recently()
    plan = plans.start("new_checkout")
    member.post(f"{PLANS}{plan.pk}/{button}/")
    assert (Plan.objects.get().state != plan.state) is is_allowed


@THEIRS
def test_segment_that_a_flag_uses_is_changed_by_its_team_only(
    owner: str, is_allowed: bool, member: Client
) -> None:
    segment = Segment.objects.create(key="team", conditions=STAFF)
    make(owner, rules=[{"conditions": [{"segment": "team"}]}])
    act(member, f"{SEGMENTS}{segment.pk}/conditions/", conditions=json.dumps(LOGGED_IN))
    segment.refresh_from_db()
    assert (segment.conditions == LOGGED_IN) is is_allowed


@THEIRS
def test_messages_suggest_keys_of_the_own_team_only(
    owner: str, is_allowed: bool, member: Client
) -> None:
    make(owner)
    url = f"{PLANS}add/"
    misspelled = Screen(page(member, url)).fields() | {"key": "new_checkou"}
    html = member.post(url, misspelled).content.decode()
    assert ("did you mean" in html) is is_allowed
    assert ("new_checkout" in html) is is_allowed
    other = {"key": "New_checkout", "kind": "release", "rollout_percent": 0, "bucket_by": "user"}
    html = member.post(f"{FLAGS}add/", other, follow=True).content.decode()
    assert "“New_checkout” was added." in html
    assert ("“new_checkout”" in html) is is_allowed


@pytest.mark.parametrize("view", ["kill", "rollout"])
def test_toggle_permission_that_a_project_restricts_is_obeyed_on_each_page(
    view: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a project that shows the flags of all teams."""
    monkeypatch.undo()
    inherited = FeatureFlagAdmin.has_toggle_permission

    def has_toggle_permission(admin: Any, request: HttpRequest, obj: Any = None) -> bool:
        return (obj is None or obj.owner == "us") and inherited(admin, request, obj)

    monkeypatch.setattr(FeatureFlagAdmin, "has_toggle_permission", has_toggle_permission)
    client = staff("toggle_featureflag")
    flag = make("them")
    data = {"percent": "0"}
    assert client.post(flag_url(flag, view), data).status_code == 403
    FeatureFlag.objects.update(owner="us")
    assert client.post(flag_url(flag, view), data).status_code == 302


def test_toggle_permission_of_a_project_allows_nothing_on_read_only_pages(
    monkeypatch: pytest.MonkeyPatch, read_only: None
) -> None:
    monkeypatch.setattr(
        FeatureFlagAdmin, "has_toggle_permission", lambda _admin, _request, obj=None: True
    )
    client, flag = staff("view_featureflag"), make("us")
    html = page(client, flag_url(flag))
    assert "/kill/" not in html
    assert client.post(flag_url(flag, "kill")).status_code == 403


@pytest.mark.parametrize("permission", ["view_featureflag", "toggle_featureflag"])
def test_user_who_may_change_single_flags_only_saves_all_fields(
    permission: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def has_change_permission(admin: Any, request: HttpRequest, obj: Any = None) -> bool:
        return obj is not None and obj.owner == "us"

    monkeypatch.setattr(FeatureFlagAdmin, "has_change_permission", has_change_permission)
    client, flag = staff(permission), make("us")
    act(client, flag_url(flag, "details"), description="new")
    assert FeatureFlag.objects.get().description == "new"
