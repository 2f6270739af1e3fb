"""Who may see, toggle and change flags on their pages, and READ_ONLY."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from flagstaff import changes, rollouts
from flagstaff.history import flag_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore, Segment
from tests.support.action_pages import button_names
from tests.support.admin_pages import (
    FLAGS,
    RECENT,
    SEGMENTS,
    VALUES,
    asks,
    browser_form,
    confirmed,
    flag_url,
    form_data,
    kill,
    messages_of,
    page,
    restore_url,
    save_flag,
    staff,
    state,
    toggle_url,
    turn_on,
    undo,
    undo_all_url,
    undo_url,
    undo_urls,
)
from tests.support.plan_pages import PLANS, plan_url
from tests.support.plan_pages import press as press_plan
from tests.support.rollouts import drive_recently

# Each change is a transaction of its own, as in production: an undo reads the history.
pytestmark = pytest.mark.django_db(transaction=True)

STAFF = {"attribute": "is_staff", "operator": "in", "values": [True]}
WHY_NOT = "To turn flags on or off, you need the permission “flagstaff.toggle_featureflag”."
HIDDEN = re.compile(r'type="(hidden|submit)"')
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


def stored() -> dict[str, Any]:
    """Returns the stored fields but the rollout and the time."""
    row = dict(FeatureFlag.objects.values().get())
    return {name: row[name] for name in {*row} - {"rollout_percent", "changed_at"}}


def inputs(html: str) -> set[str]:
    """Returns the names of the inputs of the form of a flag, without hidden ones and buttons."""
    form = html.partition('id="featureflag_form"')[2].partition("</form>")[0]
    tags = re.findall(r"<(?:input|select|textarea)[^>]*>", form)
    names = [re.findall(r' name="([^"]+)"', tag) for tag in tags if not HIDDEN.search(tag)]
    return {name for found in names for name in found}


def save_buttons(html: str) -> list[str]:
    return re.findall(r'<(?:input|button) type="submit"[^>]* name="(_save|_continue)"', html)


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
    for view in ("change", "kill", "turn-on", "delete", "history", "allowed-users", "impact"):
        data = {"rollout_percent": 5, "_confirmed": "1", "post": "yes"}
        assert client.post(flag_url(flag, view), data).status_code == 403
    assert client.post(undo_url(version), {"_confirmed": "1"}).status_code == 403
    assert state(flag) == (True, 50)
    for view, after in (("kill", (False, 50)), ("turn-on", (True, 50))):
        url = flag_url(flag, view)
        assert client.post(url, confirmed(client.get(url))).status_code == 302
        assert state(flag) == after
    undo(client, version)
    assert state(flag) == (True, 25)


# View.


def test_viewer_has_no_inputs_and_no_buttons(viewer: Client, flag: FeatureFlag) -> None:
    html = page(viewer, flag_url(flag))
    assert (inputs(html), save_buttons(html)) == (set(), [])
    [button] = re.findall(r'<button [^>]*disabled[^>]*aria-describedby="(.*?)"', html)
    assert f'id="{button}">{WHY_NOT}<' in html
    assert "/kill/" not in html
    assert viewer.post(flag_url(flag), {"rollout_percent": "5"}).status_code == 403
    plan = rollouts.create(flag.key, ["50:4h", "100"])
    assert viewer.get(f"{PLANS}add/").status_code == 403
    assert button_names(page(viewer, plan_url(plan))) == []
    assert viewer.post(plan_url(plan), {"_button": "start"}).status_code == 403
    assert state(flag) == (True, 25)


# Toggle only.


def test_toggler_sees_pages_and_inputs_of_release_only(toggler: Client, flag: FeatureFlag) -> None:
    assert "/kill/" in page(toggler)
    html = page(toggler, flag_url(flag))
    assert "/kill/" in html
    assert inputs(html) == {"enabled", "rollout_percent", "_reason"}
    assert save_buttons(html)
    assert flag.key in page(toggler, flag_url(flag, "history"))
    assert FLAGS in page(toggler, "/admin/")


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
    assert button_names(page(toggler, plan_url(plan))) == ["start"]
    press_plan(toggler, plan, "start")
    assert state(flag) == (True, 50)


def test_toggler_saves_the_release_with_a_reason_and_no_other_field(
    toggler: Client, flag: FeatureFlag
) -> None:
    before = stored()
    others = {"description": "x", "kind": "ops", "bucket_by": "visitor", "owner": "me", "tags": "a"}
    others |= {"rules": '[{"conditions": []}]', "client_side": "on", "key": "renamed"}
    data = form_data(toggler.get(flag_url(flag))) | others
    data |= {"allowed_users": "", "rollout_percent": "5"}
    response = toggler.post(flag_url(flag), data)
    if asks(response):  # If 5 % leaves the toggler out.
        toggler.post(flag_url(flag), confirmed(response))
    assert state(flag) == (True, 5)
    response = save_flag(toggler, flag, rollout_percent=50, _reason="release 42")
    assert asks(response)
    toggler.post(flag_url(flag), confirmed(response))
    assert state(flag) == (True, 50)
    assert Change.objects.latest("id").reason == "release 42"
    assert (stored(), flag.allowed_users.count()) == (before, 1)


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
    data = browser_form(toggler, flag, key="copy", _saveasnew="1")
    assert toggler.post(flag_url(flag), data).status_code == 403
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


# Change.


def test_editor_without_permission_to_toggle_edits_all_fields_and_kills(flag: FeatureFlag) -> None:
    editor = staff("change_featureflag")
    names = inputs(page(editor, flag_url(flag)))
    assert {"enabled", "rollout_percent", "description", "kind", "bucket_by", "_reason"} <= names
    [url] = undo_urls(kill(editor, flag))
    assert state(flag) == (False, 25)
    editor.post(url, confirmed(editor.get(url)))
    assert state(flag) == (True, 25)


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
    assert (inputs(html), save_buttons(html)) == (set(), [])
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
    version = changes.flags.set_rollout(flag.key, 30).version
    posts: list[tuple[str, dict[str, Any]]] = [
        (flag_url(flag), {"rollout_percent": "5"}),
        (flag_url(flag, "kill"), {}),
        (flag_url(flag, "turn-on"), {}),
        (flag_url(flag, "delete"), {"post": "yes"}),
        (restore_url(version), {}),
        (flag_url(flag, "allowed-users"), {"names": "admin", "_add": "1"}),
        (undo_url(version), {}),
        (undo_all_url(version), {}),
        (f"{FLAGS}add/", {"key": "b", "rollout_percent": "0", "kind": "release"}),
        (f"{VALUES}{value.pk}/change/", {"value": '"paypal"'}),
        (f"{VALUES}add/", {"key": "b", "value": "1"}),
        (f"{SEGMENTS}{segment.pk}/conditions/", {"conditions": "[]"}),
        (f"{SEGMENTS}{segment.pk}/details/", {"description": "x"}),
        (f"{SEGMENTS}{segment.pk}/delete/", {}),
        (f"{SEGMENTS}add/", {"key": "b", "conditions": "[]"}),
        (plan_url(plan), {"_button": "start"}),
        (f"{PLANS}add/", {"key": flag.key}),
        (f"{PLANS}{plan.pk}/delete/", {}),
    ]
    for url, data in posts:
        assert client.post(url, {**data, "_confirmed": "1"}).status_code == 403, url
    for action in ("delete_selected", "turn_off"):
        data = {"action": action, "_selected_action": flag.pk, "post": "yes", "_confirmed": "1"}
        client.post(FLAGS, data)
    assert button_names(page(client, plan_url(plan))) == []
    assert flag_version(flag.key) == version
    assert list(FeatureFlag.objects.values_list("key", flat=True)) == [flag.key]
