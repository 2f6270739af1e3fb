"""Who may see, toggle and change flags on their pages, and READ_ONLY."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.http import HttpRequest
from django.test import Client

from flagstaff import changes
from flagstaff.admin import FeatureFlagAdmin, SegmentAdmin
from flagstaff.history import flag_version
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import (
    FLAGS,
    RECENT,
    SEGMENTS,
    VALUES,
    act,
    flag_url,
    messages_of,
    page,
    restore_url,
    row_url,
    staff,
    state,
    undo,
    undo_all_url,
    undo_url,
)
from tests.support.admin_urls import EDITS, urls_for
from tests.support.experiments import EXPERIMENTS
from tests.support.pages import names_of
from tests.support.plans import PLANS
from tests.support.samples import result_of
from tests.support.screen import Screen
from tests.support.shop import STAFF, Shop

# Each change is a transaction of its own, as in production: an undo reads the history.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def flag(shop: Shop) -> FeatureFlag:
    return shop.flag("new_checkout")


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


def test_toggler_can_neither_undo_another_change_nor_restore(flag: FeatureFlag) -> None:
    client = staff("toggle_featureflag")
    rules = [{"conditions": [STAFF]}]
    others = ({"rollout_percent": 50, "description": "x"}, {"rules": rules}, {"bucket_by": "plan"})
    for fields in others:
        before, version = flag_version(flag.key), changes.flags.update(flag.key, fields).version
        assert not re.search("(undo|restore)=", page(client, flag_url(flag, "history")))
        for url in (undo_url(version), undo_all_url(version), restore_url(before)):
            assert client.get(url).status_code == 403
            assert client.post(url, {"_confirmed": "1"}).status_code == 403
        assert flag_version(flag.key) == version


@pytest.mark.usefixtures("read_only")
def test_read_only_pages_say_so_and_have_no_inputs(operator: Client, flag: FeatureFlag) -> None:
    sentence = "These pages are read-only: the setting READ_ONLY is True."
    actions = ("/add/", "/kill/", "/on/", "/rollout/", "/release/", "/details/", "/delete/")
    for url in (FLAGS, RECENT, flag_url(flag, "history")):
        shown = Screen(page(operator, url))
        assert sentence in shown.text
        assert flag.key in shown.text
        links = [link for _text, link in shown.part("#content").links]
        assert not [link for link in links if link.endswith(actions) or "undo=" in link]
    shown = Screen(page(operator, flag_url(flag)))
    assert sentence in shown.text
    assert not shown.part("#content").has("form")
    assert "setting READ_ONLY" in page(operator, flag_url(flag, "allowed-users"))
    changes.flags.disable(flag.key)  # The setting stops the pages only.
    assert state(flag) == (False, 25)


@pytest.mark.usefixtures("read_only")
def test_read_only_page_of_a_row_links_to_what_its_actions_would_do(
    shop: Shop, flag: FeatureFlag
) -> None:
    viewer = shop.client("vera", "view_featureflag")
    links = dict(Screen(page(viewer, flag_url(flag))).part("#content").links)
    assert {"Kill…", "Rules…", "Delete…"} <= links.keys(), links
    assert viewer.get(links["Delete…"]).status_code == 200
    # Who may not see users may not look for their names, either.
    assert "Allow…" not in links
    assert viewer.get(flag_url(flag, "allow"), {"users": "alice"}).status_code == 403


@pytest.mark.usefixtures("read_only")
@pytest.mark.parametrize("user", ["superuser", "toggler"])
def test_read_only_refuses_every_write(
    user: str, operator: Client, shop: Shop, flag: FeatureFlag
) -> None:
    client = operator if user == "superuser" else staff("toggle_featureflag")
    plan, segment = shop.plan("new_checkout", "pending", steps=["50:4h"]), shop.segment("staff")
    value = shop.value("payment_gateway")
    first = flag_version(flag.key)
    version = changes.flags.set_rollout(flag.key, 30).version
    rows = (flag, plan, value, segment)
    undos = (undo_url(version), undo_all_url(version), restore_url(first))
    of_actions = re.compile(r"/(add|\d+/(?!change|history|allowed-users).+)/$")
    closed = [url for url in urls_for(rows) if of_actions.search(url)]
    assert len(closed) >= 29
    before = result_of(lambda: None)
    for url in (*closed, *undos):
        assert client.post(url, EDITS).status_code == 403, url
    for url in urls_for(rows):
        client.post(url, {**EDITS, "action": "kill", "_selected_action": flag.pk})
    client.post(FLAGS, {**EDITS, "action": "delete", "_selected_action": flag.pk})
    assert result_of(lambda: None) == before


@pytest.mark.parametrize(
    ("path", "name"),
    [("details", "Can change flag"), ("kill", "Can toggle flag"), ("delete", "Can delete flag")],
)
def test_refused_page_of_an_action_names_the_permission(
    path: str, name: str, viewer: Client, flag: FeatureFlag
) -> None:
    response = viewer.get(flag_url(flag, path))
    assert response.status_code == 403
    shown = Screen(response)
    assert f"To do this, you need the permission “{name}”." in shown.text
    assert dict(shown.links)["Flags"] == FLAGS


def test_refused_pages_without_an_action_name_the_permission_for_flags(
    flag: FeatureFlag, shop: Shop
) -> None:
    client = staff("view_group")
    of_flags = (FLAGS, flag_url(flag), f"{FLAGS}workers/", RECENT)
    for url in (*of_flags, PLANS, row_url(shop.plan()), "/admin/flagstaff/waitingaction/"):
        response = client.get(url)
        assert response.status_code == 403
        text = "To do this, you need the permission “Can view flag”."
        assert Screen(response).part("#content").text.endswith(text), url


def test_page_of_a_plan_names_the_permission_for_its_flag(viewer: Client, shop: Shop) -> None:
    url = row_url(shop.plan(), "pause")
    text = "To do this, you need the permission “Can toggle flag”."
    assert text in Screen(viewer.get(url)).text
    assert "(needs “Can toggle flag”)" in Screen(page(viewer, row_url(shop.plan()))).text


def test_page_names_no_permission_that_the_user_has(
    operator: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        FeatureFlagAdmin, "has_change_permission", lambda _admin, _request, _obj=None: False
    )
    shown = Screen(page(operator, flag_url(flag))).part("#content")
    assert "Rules" in shown.text
    assert "Rules…" not in dict(shown.links)
    assert "(needs" not in shown.text


def test_read_only_page_of_an_own_waiting_action_names_no_permission(
    shop: Shop, flag: FeatureFlag, settings: Any
) -> None:
    client = shop.client("ana")
    waiting = shop.waiting(f"release {flag.key} --request")
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "READ_ONLY": True}
    shown = Screen(page(client, row_url(waiting))).part("#content")
    assert "Cancel" in shown.text
    assert "(needs" not in shown.text


def test_page_of_a_waiting_action_names_the_permission_for_its_rows(
    viewer: Client, shop: Shop, flag: FeatureFlag
) -> None:
    shop.user("ana")
    waiting = shop.waiting(f"release {flag.key} --request")
    text = "To do this, you need the permission “Can change flag”."
    assert text in Screen(viewer.get(row_url(waiting, "approve"))).text


@pytest.mark.usefixtures("read_only")
def test_read_only_list_says_once_why_its_buttons_are_disabled(
    operator: Client, flag: FeatureFlag
) -> None:
    shown = Screen(page(operator, FLAGS))
    assert flag.key in shown.text
    assert shown.text.count("the setting READ_ONLY is True") == 1
    described_by = shown.part("#result_list button[disabled]")["aria-describedby"]
    assert "the setting READ_ONLY is True" in shown.part(f"#{described_by}").text


@pytest.mark.usefixtures("read_only")
def test_refused_write_says_once_that_the_pages_are_read_only(flag: FeatureFlag) -> None:
    response = staff("toggle_featureflag").post(flag_url(flag, "kill"))
    assert response.status_code == 403
    assert Screen(response).part("#content").text.count("the setting READ_ONLY is True") == 1


# Rights for single flags, which a project decides about.


@pytest.mark.parametrize("view", ["kill", "rollout"])
def test_toggle_permission_that_a_project_restricts_is_obeyed_on_each_page(
    view: str, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    inherited = FeatureFlagAdmin.has_toggle_permission

    def has_toggle_permission(admin: Any, request: HttpRequest, obj: Any = None) -> bool:
        return (obj is None or obj.owner == "us") and inherited(admin, request, obj)

    monkeypatch.setattr(FeatureFlagAdmin, "has_toggle_permission", has_toggle_permission)
    client, flag = staff("toggle_featureflag"), shop.flag("new_checkout", owner="them")
    data = {"percent": "0"}
    assert client.post(flag_url(flag, view), data).status_code == 403
    FeatureFlag.objects.update(owner="us")
    assert client.post(flag_url(flag, view), data).status_code == 302


@pytest.mark.usefixtures("read_only")
def test_toggle_permission_of_a_project_allows_nothing_on_read_only_pages(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        FeatureFlagAdmin, "has_toggle_permission", lambda _admin, _request, obj=None: True
    )
    client, flag = staff("view_featureflag"), shop.flag("new_checkout")
    assert client.post(flag_url(flag, "kill")).status_code == 403


@pytest.mark.parametrize("permission", ["view_featureflag", "toggle_featureflag"])
def test_user_who_may_change_single_flags_only_saves_all_fields(
    permission: str, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def has_change_permission(admin: Any, request: HttpRequest, obj: Any = None) -> bool:
        return obj is not None and obj.owner == "us"

    monkeypatch.setattr(FeatureFlagAdmin, "has_change_permission", has_change_permission)
    flag = shop.flag("new_checkout", owner="us")
    act(staff(permission), flag_url(flag, "details"), description="new")
    flag.refresh_from_db()
    assert flag.description == "new"


def test_refusal_of_an_action_of_a_project_names_no_hidden_flag(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def delete_segment(*_arguments: object) -> None:
        changes.segments.delete("enterprise")

    monkeypatch.setattr(SegmentAdmin, "actions", [delete_segment])
    segment, flag = shop.segment("enterprise"), shop.flag("invoices")
    assert flag.rules
    data = {"action": "delete_segment", "_selected_action": segment.pk}
    client = staff("view_segment", "change_segment")
    [message] = messages_of(client.post("/admin/flagstaff/segment/", data, follow=True))
    assert message.startswith("Not saved: the segment 'enterprise' is used by the rules of flags,")


# The group of operators of the documentation.

OPERATOR = {
    "flagstaff.view_featureflag",
    "flagstaff.toggle_featureflag",
    "flagstaff.view_keyvaluestore",
    "flagstaff.view_segment",
    "flagstaff_experiments.view_experiment",
    "auth.view_user",
}


@pytest.fixture
def operators() -> Group:
    """The group that the code of the page creates; a second run changes nothing."""
    for _run in range(2):
        names_of("how-to/admin-set-up.md", "Flag operators")
    return Group.objects.get(name="Flag operators")


def test_group_of_the_page_has_the_permissions_of_an_operator(operators: Group) -> None:
    rows = Permission.objects.filter(group=operators)
    assert {f"{row.content_type.app_label}.{row.codename}" for row in rows} == OPERATOR


def test_member_of_the_group_opens_every_page_of_flags(
    operators: Group, shop: Shop, flag: FeatureFlag
) -> None:
    client = shop.client("olga")
    shop.user("olga").groups.add(operators)
    pages = ["overview", "stale", "unknown-keys", "user", "workers", "compare"]
    urls = [FLAGS, VALUES, SEGMENTS, RECENT, flag_url(flag), flag_url(flag, "kill")]
    urls += [PLANS, EXPERIMENTS, *(f"{FLAGS}{name}/" for name in pages)]
    statuses = {url: client.get(url).status_code for url in urls}
    assert statuses == dict.fromkeys(urls, 200)
    assert client.get(f"{FLAGS}add/").status_code == 403
