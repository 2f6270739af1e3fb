"""Who may see, toggle and change flags on their pages, and READ_ONLY."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from flagstaff import changes, rollouts
from flagstaff.history import flag_version
from flagstaff.models import FeatureFlag, KeyValueStore, Segment
from flagstaff.rollouts.models import Plan
from tests.support.admin_pages import (
    FLAGS,
    RECENT,
    confirmed,
    flag_url,
    kill,
    messages_of,
    page,
    restore_url,
    staff,
    state,
    turn_on,
    undo,
    undo_all_url,
    undo_url,
    undo_urls,
)
from tests.support.admin_urls import EDITS, urls_for
from tests.support.plans import PLANS, action_url, actions_of, do, drive_recently, plan_url
from tests.support.screen import Screen

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
        assert client.post(url, Screen(page(client, url)).fields()).status_code == 302
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
    actions = ("kill", "on", "rollout", "release", "details", "delete")
    assert not [url for _text, url in Screen(html).links if url.split("/")[-2:][0] in actions]
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
    rows = (flag, plan, value, segment)
    undos = (undo_url(version), undo_all_url(version), restore_url(first))
    of_actions = re.compile(r"/(add|\d+/(?!change|history|allowed-users).+)/$")
    closed = [url for url in urls_for(rows) if of_actions.search(url)]
    assert len(closed) >= 29
    for url in (*closed, *undos):
        assert client.post(url, EDITS).status_code == 403, url
    for url in urls_for(rows):
        client.post(url, {**EDITS, "action": "kill", "_selected_action": flag.pk})
    client.post(FLAGS, {**EDITS, "action": "delete", "_selected_action": flag.pk})
    assert actions_of(page(client, plan_url(plan))) == []
    assert flag_version(flag.key) == version
    assert [row.key for row in FeatureFlag.objects.all()] == [flag.key]
    stored = [KeyValueStore.objects.get().value, Segment.objects.get().conditions]
    assert stored == ["stripe", [STAFF]]
    assert Plan.objects.get().state == plan.state
