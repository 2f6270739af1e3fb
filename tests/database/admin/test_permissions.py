"""Who may see, toggle and change flags on their pages, and READ_ONLY."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from flagstaff import changes, rollouts
from flagstaff.history import flag_version
from flagstaff.models import FeatureFlag, KeyValueStore, Segment
from tests.support.admin_pages import (
    FLAGS,
    RECENT,
    SEGMENTS,
    VALUES,
    confirmed,
    flag_url,
    kill,
    messages_of,
    page,
    restore_url,
    staff,
    state,
    toggle_url,
    turn_on,
    undo,
    undo_all_url,
    undo_url,
    undo_urls,
)
from tests.support.form_inputs import inputs_of
from tests.support.plan_pages import PLANS, action_url, actions_of, do, plan_url
from tests.support.rollouts import drive_recently

# Each change is a transaction of its own, as in production: an undo reads the history.
pytestmark = pytest.mark.django_db(transaction=True)

STAFF = {"attribute": "is_staff", "operator": "in", "values": [True]}
READ_ONLY = "These pages are read-only: the setting READ_ONLY is True."


@pytest.fixture
def flag() -> FeatureFlag:
    flag = FeatureFlag.objects.create(
        key="new_checkout", enabled=True, rollout_percent=25, description="One page"
    )
    flag.allowed_users.add(User.objects.create(username="alice"))
    return flag


@pytest.fixture
def toggler() -> Client:
    """May only toggle flags: this includes to see them."""
    return staff("toggle_featureflag")


# The permission.


def test_permission_to_toggle_exists_for_flags_only() -> None:
    [permission] = Permission.objects.filter(codename__startswith="toggle_")
    assert permission.codename == "toggle_featureflag"
    assert permission.name == "Can toggle flag"


@pytest.mark.parametrize(
    ("permissions", "may_see", "may_kill"),
    [
        ((), False, False),
        (("view_featureflag",), True, False),
        (("toggle_featureflag",), True, True),
        (("change_featureflag",), True, True),
        (("add_featureflag", "delete_featureflag"), False, False),
        (("change_keyvaluestore",), False, False),
    ],
    ids=str,
)
def test_permission_decides_who_sees_and_kills_a_flag(
    permissions: tuple[str, ...], may_see: bool, may_kill: bool, flag: FeatureFlag
) -> None:
    client = staff(*permissions)
    assert (client.get(flag_url(flag)).status_code == 200) is may_see
    status = client.post(toggle_url(flag, "kill"), {"_confirmed": "1"}).status_code
    assert status == (302 if may_kill else 403)
    assert state(flag)[0] is not may_kill


def test_forms_need_their_csrf_token(admin_user: User, flag: FeatureFlag) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    version = changes.flags.set_rollout(flag.key, 50).version
    for view in ("kill", "on", "rollout", "delete", "history", "allowed-users"):
        data = {"percent": "5", "_confirmed": "1", "post": "yes"}
        assert client.post(flag_url(flag, view), data).status_code == 403
    assert client.post(undo_url(version), {"_confirmed": "1"}).status_code == 403
    assert state(flag) == (True, 50)
    for view, after in (("kill", (False, 50)), ("on", (True, 50))):
        url = flag_url(flag, view)
        assert client.post(url, inputs_of(page(client, url), "")).status_code == 302
        assert state(flag) == after
    undo(client, version)
    assert state(flag) == (True, 25)


# View.


def test_viewer_has_no_buttons_of_plans(viewer: Client, flag: FeatureFlag) -> None:
    plan = rollouts.create(flag.key, ["50:4h", "100"])
    assert viewer.get(f"{PLANS}add/").status_code == 403
    assert actions_of(page(viewer, plan_url(plan))) == []
    assert viewer.post(action_url(plan, "start")).status_code == 403
    assert state(flag) == (True, 25)


# Toggle only.


def test_toggler_kills_turns_on_undoes_both_and_uses_plans(
    toggler: Client, flag: FeatureFlag
) -> None:
    [url] = undo_urls(kill(toggler, flag))
    assert state(flag) == (False, 25)
    toggler.post(url, confirmed(toggler.get(url)))
    assert state(flag) == (True, 25)
    kill(toggler, flag)
    turn_on(toggler, flag)
    assert state(flag) == (True, 25)
    version, history = changes.flags.set_rollout(flag.key, 50).version, flag_url(flag, "history")
    assert f'href="{undo_url(version)}&amp;back=' in page(toggler, history)
    undo(toggler, version)
    assert state(flag) == (True, 25)
    drive_recently()
    plan = rollouts.create(flag.key, ["50:4h", "100"])
    assert toggler.get(f"{PLANS}add/").status_code == 200
    assert actions_of(page(toggler, plan_url(plan))) == ["start", "delete"]
    do(toggler, plan, "start")
    assert state(flag) == (True, 50)


def test_toggler_can_neither_add_nor_copy_nor_delete(toggler: Client, flag: FeatureFlag) -> None:
    value = KeyValueStore.objects.create(key="gateway", value="stripe")
    segment = Segment.objects.create(key="team", conditions=[STAFF])
    data = {"key": "b", "rollout_percent": 5, "kind": "release", "post": "yes"}
    for url in (
        *(f"{FLAGS}add/", flag_url(flag, "delete")),
        *(f"{VALUES}{value.pk}/change/", f"{SEGMENTS}{segment.pk}/change/"),
    ):
        assert toggler.get(url).status_code == 403
        assert toggler.post(url, data).status_code == 403
    assert list(FeatureFlag.objects.values_list("key", flat=True)) == [flag.key]


def test_toggler_can_neither_undo_another_change_nor_restore(
    toggler: Client, flag: FeatureFlag
) -> None:
    rules = [{"conditions": [STAFF]}]
    others = ({"rollout_percent": 50, "description": "x"}, {"rules": rules}, {"bucket_by": "plan"})
    for fields in others:
        before, version = flag_version(flag.key), changes.flags.update(flag.key, fields).version
        assert not re.search("(undo|restore)=", page(toggler, flag_url(flag, "history")))
        pages = undo_url(version), undo_all_url(version), restore_url(before)
        for address in pages:
            assert toggler.get(address).status_code == 403
            assert toggler.post(address, {"_confirmed": "1"}).status_code == 403
        assert flag_version(flag.key) == version


# READ_ONLY.


@pytest.mark.usefixtures("read_only")
def test_read_only_pages_say_so_and_have_no_inputs(operator: Client, flag: FeatureFlag) -> None:
    html = page(operator, flag_url(flag))
    listed = page(operator)
    history = page(operator, flag_url(flag, "history"))
    users = page(operator, flag_url(flag, "allowed-users"))
    assert all(READ_ONLY in one for one in (html, listed, history))
    assert "setting READ_ONLY" in users
    assert messages_of(operator.get(FLAGS)) == []
    assert flag.key in listed
    assert not re.search(rf"/kill/|{FLAGS}add/", listed)
    assert "?undo=" not in history
    assert "?undo=" not in page(operator, RECENT)
    changes.flags.disable(flag.key)  # The setting stops the pages only.
    assert state(flag) == (False, 25)


@pytest.mark.usefixtures("read_only")
@pytest.mark.parametrize("user", ["superuser", "toggler"])
def test_read_only_refuses_every_write(user: str, operator: Client, flag: FeatureFlag) -> None:
    client = operator if user == "superuser" else staff("toggle_featureflag")
    drive_recently()
    plan = rollouts.create(flag.key, ["50:4h", "100"])
    value = KeyValueStore.objects.create(key="gateway", value="stripe")
    segment = Segment.objects.create(key="team", conditions=[STAFF])
    first = flag_version(flag.key)
    version = changes.flags.set_rollout(flag.key, 30).version
    posts: list[tuple[str, dict[str, Any]]] = [
        (flag_url(flag, "rollout"), {"percent": "5"}),
        (flag_url(flag, "kill"), {}),
        (flag_url(flag, "on"), {}),
        (flag_url(flag, "delete"), {"post": "yes"}),
        *((flag_url(flag, name), {}) for name in ("details", "release", "rules", "unit")),
        (restore_url(first), {}),
        (flag_url(flag, "allow"), {"users": "admin"}),
        (flag_url(flag, "disallow"), {"users": "alice"}),
        (undo_url(version), {}),
        (undo_all_url(version), {}),
        (f"{FLAGS}add/", {"key": "b", "rollout_percent": "0", "kind": "release"}),
        (f"{VALUES}{value.pk}/set/", {"value": '"paypal"'}),
        (f"{VALUES}{value.pk}/details/", {"description": "x"}),
        (f"{VALUES}{value.pk}/delete/", {}),
        (f"{VALUES}add/", {"key": "b", "value": "1"}),
        (f"{SEGMENTS}{segment.pk}/conditions/", {"conditions": "[]"}),
        (f"{SEGMENTS}{segment.pk}/details/", {"description": "x"}),
        (f"{SEGMENTS}{segment.pk}/delete/", {}),
        (f"{SEGMENTS}add/", {"key": "b", "conditions": "[]"}),
        *((action_url(plan, name), {}) for name in ("start", "pause", "resume", "roll-back")),
        (f"{PLANS}add/", {"key": flag.key}),
        (action_url(plan, "delete"), {}),
    ]
    for url, data in posts:
        assert client.post(url, {**data, "_confirmed": "1"}).status_code == 403, url
    for action in ("delete", "kill"):
        data = {"action": action, "_selected_action": flag.pk, "post": "yes", "_confirmed": "1"}
        client.post(FLAGS, data)
    assert actions_of(page(client, plan_url(plan))) == []
    assert flag_version(flag.key) == version
    assert list(FeatureFlag.objects.values_list("key", flat=True)) == [flag.key]
