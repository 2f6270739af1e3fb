"""Who may see, toggle and change flags on their pages, and READ_ONLY."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from flagstaff import rollouts
from flagstaff.changes import disable, set_rollout, update
from flagstaff.history import flag_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore, Segment
from tests.support.admin_pages import (
    FLAGS,
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
    permit,
    save_flag,
    staff,
    toggle_url,
    turn_on,
    undo_urls,
)
from tests.support.plan_pages import PLANS, button_names, plan_url
from tests.support.plan_pages import press as press_plan
from tests.support.rollouts import drive_recently

# Each change is a transaction of its own, as in production: an undo reads the history.
pytestmark = pytest.mark.django_db(transaction=True)

STAFF = {"attribute": "is_staff", "operator": "in", "values": [True]}
WHY_NOT = "To turn flags on or off, you need the permission “flagstaff.toggle_featureflag”."
HIDDEN = re.compile(r'type="(hidden|submit)"')
READ_ONLY = "These pages are read-only: the setting READ_ONLY is True."


@pytest.fixture(autouse=True)
def empty_history() -> None:
    """Deletes the entries of other tests: a flush keeps them."""
    Change.objects.all().delete()


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


@pytest.fixture
def viewer() -> Client:
    return staff("view_featureflag")


@pytest.fixture
def editor() -> Client:
    return staff("change_featureflag")


@pytest.fixture
def read_only(settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "READ_ONLY": True}


def state(flag: FeatureFlag) -> tuple[bool, int]:
    flag.refresh_from_db()
    return flag.enabled, flag.rollout_percent


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


def test_permission_to_toggle_exists() -> None:
    permission = Permission.objects.get(codename="toggle_featureflag")
    assert permission.name == "Can toggle feature flag"
    others = Permission.objects.filter(codename__startswith="toggle_")
    assert list(others) == [permission]


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


# View.


def test_viewer_has_no_inputs_and_no_buttons(viewer: Client, flag: FeatureFlag) -> None:
    html = page(viewer, flag_url(flag))
    assert inputs(html) == set()
    assert save_buttons(html) == []
    assert WHY_NOT in html
    assert "/kill/" not in html


def test_save_of_a_viewer_is_forbidden(viewer: Client, flag: FeatureFlag) -> None:
    response = viewer.post(flag_url(flag), {"rollout_percent": "5"})
    assert response.status_code == 403
    assert state(flag) == (True, 25)


def test_viewer_cannot_open_the_page_of_an_undo(viewer: Client, flag: FeatureFlag) -> None:
    version = set_rollout(flag.key, 50).version
    url = flag_url(flag, "history")
    assert viewer.get(f"{url}?undo={version}").status_code == 403
    assert viewer.post(url, {"_undo": version, "_confirmed": "1"}).status_code == 403
    assert state(flag) == (True, 50)


# Toggle only.


def test_toggler_sees_the_list_and_the_page(toggler: Client, flag: FeatureFlag) -> None:
    assert "/kill/" in page(toggler)
    assert "/kill/" in page(toggler, flag_url(flag))
    assert flag.key in page(toggler, flag_url(flag, "history"))
    assert "/admin/flagstaff/featureflag/" in page(toggler, "/admin/")


def test_toggler_kills_and_turns_on(toggler: Client, flag: FeatureFlag) -> None:
    kill(toggler, flag)
    assert state(flag) == (False, 25)
    turn_on(toggler, flag)
    assert state(flag) == (True, 25)


def test_toggler_can_edit_the_release_only(toggler: Client, flag: FeatureFlag) -> None:
    html = page(toggler, flag_url(flag))
    assert inputs(html) == {"enabled", "rollout_percent", "_reason"}
    assert save_buttons(html)


def test_toggler_saves_the_release_with_a_reason(toggler: Client, flag: FeatureFlag) -> None:
    response = save_flag(toggler, flag, rollout_percent=50, _reason="release 42")
    assert asks(response)
    toggler.post(flag_url(flag), confirmed(response))
    assert state(flag) == (True, 50)
    event = Change.objects.order_by("-id")[0]
    assert event.reason == "release 42"


@pytest.mark.parametrize(
    "edit",
    [
        {"description": "Changed"},
        {"kind": "ops"},
        {"bucket_by": "visitor"},
        {"rules": '[{"conditions": []}]'},
        {"owner": "me", "tags": "a"},
        {"client_side": "on"},
        {"allowed_users": ""},
        {"key": "renamed"},
    ],
)
def test_toggler_cannot_edit_another_field(
    edit: dict[str, str], toggler: Client, flag: FeatureFlag
) -> None:
    before = stored()
    data = form_data(toggler.get(flag_url(flag)))
    response = toggler.post(flag_url(flag), {**data, **edit, "rollout_percent": "5"})
    assert response.status_code == 302
    assert state(flag) == (True, 5)
    assert stored() == before
    assert flag.allowed_users.count() == 1


def test_toggler_without_permission_for_users_sees_their_number_only(
    toggler: Client, flag: FeatureFlag
) -> None:
    assert "alice" not in page(toggler, flag_url(flag))
    permit(User.objects.get(username="staff"), "view_user")
    assert "alice" in page(toggler, flag_url(flag))


@pytest.mark.parametrize("view", ["add/", "{}/delete/"])
def test_toggler_can_neither_add_nor_delete(view: str, toggler: Client, flag: FeatureFlag) -> None:
    url = FLAGS + view.format(flag.pk)
    assert toggler.get(url).status_code == 403
    data = {"key": "b", "rollout_percent": 5, "kind": "release", "post": "yes"}
    assert toggler.post(url, data).status_code == 403
    assert list(FeatureFlag.objects.values_list("key", flat=True)) == [flag.key]


def test_toggler_cannot_save_a_copy(toggler: Client, flag: FeatureFlag) -> None:
    data = browser_form(toggler, flag, key="copy", _saveasnew="1")
    assert toggler.post(flag_url(flag), data).status_code == 403
    assert FeatureFlag.objects.count() == 1


def test_toggler_undoes_a_toggle(toggler: Client, flag: FeatureFlag) -> None:
    version = set_rollout(flag.key, 50).version
    url = flag_url(flag, "history")
    assert f'name="_undo" value="{version}"' in page(toggler, url)
    toggler.post(url, {"_undo": version})
    assert state(flag) == (True, 25)


def test_toggler_undoes_own_kill_by_its_message(toggler: Client, flag: FeatureFlag) -> None:
    [url] = undo_urls(kill(toggler, flag))
    response = toggler.get(url)
    assert asks(response)
    toggler.post(url, confirmed(response))
    assert state(flag) == (True, 25)


@pytest.mark.parametrize(
    "fields",
    [
        {"description": "Other"},
        {"rollout_percent": 50, "description": "Other"},
        {"rules": [{"conditions": [STAFF]}]},
        {"bucket_by": "visitor"},
    ],
)
def test_toggler_cannot_undo_another_change(
    fields: dict[str, Any], toggler: Client, flag: FeatureFlag
) -> None:
    version = update(flag.key, fields).version
    url = flag_url(flag, "history")
    assert 'name="_undo"' not in page(toggler, url)
    assert toggler.get(f"{url}?undo={version}").status_code == 403
    assert toggler.post(url, {"_undo": version, "_confirmed": "1"}).status_code == 403
    assert flag_version(flag.key) == version


@pytest.mark.parametrize("button", ["_restore", "_undo_all"])
def test_toggler_can_neither_restore_nor_undo_a_transaction(
    button: str, toggler: Client, flag: FeatureFlag
) -> None:
    version = flag_version(flag.key)
    newest = set_rollout(flag.key, 50).version
    url = flag_url(flag, "history")
    assert f'name="{button}"' not in page(toggler, url)
    assert toggler.post(url, {button: version, "_confirmed": "1"}).status_code == 403
    assert flag_version(flag.key) == newest


def test_toggler_has_no_values_and_segments_to_change(toggler: Client) -> None:
    value = KeyValueStore.objects.create(key="gateway", value="stripe")
    segment = Segment.objects.create(key="team", conditions=[STAFF])
    assert toggler.get(f"{VALUES}{value.pk}/change/").status_code == 403
    assert toggler.post(f"{SEGMENTS}{segment.pk}/change/", {"key": "x"}).status_code == 403


def test_toggler_uses_rollout_plans(toggler: Client, flag: FeatureFlag) -> None:
    drive_recently()
    plan = rollouts.create(flag.key, ["50:4h", "100"])
    assert toggler.get(f"{PLANS}add/").status_code == 200
    assert button_names(page(toggler, plan_url(plan))) == ["start"]
    press_plan(toggler, plan, "start")
    assert state(flag) == (True, 50)


def test_viewer_sees_rollout_plans_only(viewer: Client, flag: FeatureFlag) -> None:
    drive_recently()
    plan = rollouts.create(flag.key, ["50:4h", "100"])
    assert viewer.get(f"{PLANS}add/").status_code == 403
    assert button_names(page(viewer, plan_url(plan))) == []
    assert viewer.post(plan_url(plan), {"_plan": "start"}).status_code == 403
    assert state(flag) == (True, 25)


# Change.


def test_editor_edits_all_fields(editor: Client, flag: FeatureFlag) -> None:
    names = inputs(page(editor, flag_url(flag)))
    assert {"enabled", "rollout_percent", "description", "kind", "bucket_by", "_reason"} <= names


def test_editor_without_permission_to_toggle_kills_and_undoes(
    editor: Client, flag: FeatureFlag
) -> None:
    [url] = undo_urls(kill(editor, flag))
    assert state(flag) == (False, 25)
    editor.post(url, confirmed(editor.get(url)))
    assert state(flag) == (True, 25)


# READ_ONLY.


@pytest.mark.usefixtures("read_only")
def test_read_only_pages_are_there_without_inputs(admin_client: Client, flag: FeatureFlag) -> None:
    html = page(admin_client, flag_url(flag))
    assert inputs(html) == set()
    assert save_buttons(html) == []
    assert READ_ONLY in html
    listed = page(admin_client)
    assert flag.key in listed
    assert "/kill/" not in listed
    assert f"{FLAGS}add/" not in listed
    assert 'name="_undo"' not in page(admin_client, flag_url(flag, "history"))


@pytest.mark.usefixtures("read_only")
@pytest.mark.parametrize("user", ["superuser", "toggler"])
def test_read_only_refuses_every_write_to_a_flag(
    user: str, admin_client: Client, flag: FeatureFlag
) -> None:
    client = admin_client if user == "superuser" else staff("toggle_featureflag")
    version = set_rollout(flag.key, 30).version
    posts = [
        (flag_url(flag), {"rollout_percent": "5"}),
        (flag_url(flag, "kill"), {"_confirmed": "1"}),
        (flag_url(flag, "turn-on"), {"_confirmed": "1"}),
        (flag_url(flag, "delete"), {"post": "yes", "_confirmed": "1"}),
        (flag_url(flag, "history"), {"_undo": version, "_confirmed": "1"}),
        (flag_url(flag, "history"), {"_restore": version, "_confirmed": "1"}),
        (flag_url(flag, "history"), {"_undo_all": version, "_confirmed": "1"}),
        (f"{FLAGS}add/", {"key": "b", "rollout_percent": "0", "kind": "release"}),
    ]
    assert [client.post(url, data).status_code for url, data in posts] == [403] * len(posts)
    client.post(FLAGS, {"action": "delete_selected", "_selected_action": flag.pk, "post": "yes"})
    assert flag_version(flag.key) == version
    assert list(FeatureFlag.objects.values_list("key", flat=True)) == [flag.key]


@pytest.mark.usefixtures("read_only")
def test_read_only_refuses_writes_to_values_segments_and_plans(
    admin_client: Client, flag: FeatureFlag
) -> None:
    drive_recently()
    plan = rollouts.create(flag.key, ["50:4h", "100"])
    value = KeyValueStore.objects.create(key="gateway", value="stripe")
    segment = Segment.objects.create(key="team", conditions=[STAFF])
    posts = [
        (f"{VALUES}{value.pk}/change/", {"value": '"paypal"'}),
        (f"{VALUES}add/", {"key": "b", "value": "1"}),
        (f"{SEGMENTS}{segment.pk}/change/", {"conditions": "[]"}),
        (plan_url(plan), {"_plan": "start", "_confirmed": "1"}),
        (f"{PLANS}add/", {"key": flag.key}),
        (f"{PLANS}{plan.pk}/delete/", {"_confirmed": "1"}),
    ]
    assert [admin_client.post(url, data).status_code for url, data in posts] == [403] * len(posts)
    assert button_names(page(admin_client, plan_url(plan))) == []


@pytest.mark.usefixtures("read_only")
def test_read_only_stops_the_pages_only(flag: FeatureFlag) -> None:
    disable(flag.key)
    assert state(flag) == (False, 25)


@pytest.mark.usefixtures("read_only")
@pytest.mark.parametrize("view", ["", "{}/change/", "{}/history/"])
def test_read_only_is_said_on_each_page(view: str, admin_client: Client, flag: FeatureFlag) -> None:
    html = page(admin_client, FLAGS + view.format(flag.pk))
    assert READ_ONLY in html
    assert messages_of(admin_client.get(FLAGS)) == []
