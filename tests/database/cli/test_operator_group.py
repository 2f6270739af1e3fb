"""`manage.py flags create-operator-group`."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.test import Client

from flagstaff.conf import Conf
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import FLAGS, RECENT, SEGMENTS, VALUES, flag_url
from tests.support.models_of_others import flag_fields, model_of
from tests.support.sql import without_table
from tests.support.terminals import document, run

pytestmark = pytest.mark.django_db

VERB = "create-operator-group"
OPERATOR = [
    "flagstaff.view_featureflag",
    "flagstaff.toggle_featureflag",
    "flagstaff.view_keyvaluestore",
    "flagstaff.view_segment",
    "flagstaff_experiments.view_experiment",
    "flagstaff_compat.view_difference",
    "auth.view_user",
]


def granted(name: str = "Flag operators") -> set[str]:
    """Returns the permissions of a group."""
    rows = Permission.objects.filter(group__name=name)
    return {f"{row.content_type.app_label}.{row.codename}" for row in rows}


def permission(app: str, codename: str) -> Permission:
    return Permission.objects.get(content_type__app_label=app, codename=codename)


def test_group_is_created_with_the_permissions_of_an_operator() -> None:
    ran = run(VERB)
    text = 'created the group "Flag operators" with 7 permissions; add staff users to it\n'
    assert (ran.status, ran.err) == (0, text)
    assert ran.out.splitlines() == [f"{name}\tadded" for name in OPERATOR]
    assert granted() == set(OPERATOR)


def test_second_run_changes_nothing() -> None:
    run(VERB)
    ran = run(VERB)
    text = 'the group "Flag operators" has these permissions already; nothing was changed\n'
    assert (ran.status, ran.err) == (0, text)
    assert ran.out.splitlines() == [f"{name}\tunchanged" for name in OPERATOR]
    assert Group.objects.count() == 1


def test_existing_group_gets_exactly_these_permissions_of_flags() -> None:
    group = Group.objects.create(name="Support")
    group.permissions.add(
        permission("flagstaff", "view_featureflag"),
        permission("flagstaff", "change_featureflag"),
        permission("auth", "add_user"),
    )
    ran = run(f"{VERB} --name Support")
    assert ran.err == 'updated the group "Support"\n'
    assert "flagstaff.view_featureflag\tunchanged\n" in ran.out
    assert "flagstaff.change_featureflag\tremoved\n" in ran.out
    # What is not about flags is the project's.
    assert granted("Support") == {*OPERATOR, "auth.add_user"}


def test_permission_to_see_users_can_be_left_out() -> None:
    run(VERB)
    ran = run(f"{VERB} --no-users")
    assert "auth.view_user\tremoved\n" in ran.out
    assert granted() == {*OPERATOR} - {"auth.view_user"}


def test_dry_run_says_what_it_would_do_and_writes_nothing() -> None:
    ran = run(f"{VERB} --dry-run")
    assert "flagstaff.toggle_featureflag\tadded\n" in ran.out
    assert ran.err.endswith("dry run: nothing was written\n")
    assert not Group.objects.exists()


def test_json_has_the_difference() -> None:
    dry = document(VERB, "--dry-run")
    assert (dry["added"], dry["dry_run"]) == (OPERATOR, True)
    assert document(VERB) == {
        "group": "Flag operators",
        "created": True,
        "permissions": OPERATOR,
        "added": OPERATOR,
        "removed": [],
    }


@pytest.fixture
def switch(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The flag model of a project, without a column for rules."""
    model = model_of("Switch", flag_fields())
    monkeypatch.setattr(Conf, "flag_model", model)
    return model


def test_permissions_are_those_of_the_flag_model_of_the_project(switch: Any) -> None:
    replaced = {"flagstaff.view_featureflag", "flagstaff.toggle_featureflag"}
    kind = ContentType.objects.create(app_label="common", model="switch")
    for action in ("view", "toggle"):
        Permission.objects.create(content_type=kind, codename=f"{action}_switch", name=action)
    group = Group.objects.create(name="Flag operators")
    group.permissions.add(permission("flagstaff", "toggle_featureflag"))
    run(VERB)
    expected = {*OPERATOR, "common.view_switch", "common.toggle_switch"} - replaced
    # Without a column for rules, no rule can use a segment.
    assert granted() == expected - {"flagstaff.view_segment"}


@pytest.mark.usefixtures("switch")
def test_permission_that_does_not_exist_is_an_error() -> None:
    ran = run(VERB)
    assert ran.status == 1
    assert "there is no permission common.view_switch, common.toggle_switch" in ran.err
    assert "default_permissions" in ran.err
    assert not Group.objects.exists()


def test_name_that_no_group_can_have_is_refused() -> None:
    ran = run(f"{VERB} --name {'x' * 151}")
    assert (ran.status, "use 1 to 150 printable characters" in ran.err) == (2, True)


def test_missing_tables_are_an_error() -> None:
    with without_table("auth_group"):
        ran = run(VERB)
    text = 'database "default" has no tables of django.contrib.auth; run "manage.py migrate"'
    assert (ran.status, text in ran.err) == (1, True)


def test_project_without_the_app_gets_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apps, "is_installed", lambda name: False)
    ran = run(VERB)
    assert (ran.status, ran.err) == (
        1,
        "CommandError: django.contrib.auth is not in INSTALLED_APPS\n",
    )


def test_member_of_the_group_opens_every_page_of_flags() -> None:
    flag = FeatureFlag.objects.create(key="new_checkout", enabled=True)
    run(VERB)
    user = User.objects.create_user("olga", is_staff=True)
    user.groups.add(Group.objects.get())
    client = Client()
    client.force_login(user)
    pages = ["unknownkey", "connectedworker", "flagsofuser"]
    urls = [FLAGS, VALUES, SEGMENTS, RECENT, flag_url(flag), flag_url(flag, "kill")]
    urls += [f"/admin/flagstaff/{one}/" for one in pages]
    urls += [
        "/admin/flagstaff_rollouts/plan/",
        "/admin/flagstaff_experiments/experiment/",
        "/admin/flagstaff/staleflag/",
        "/admin/flagstaff_compat/difference/",
    ]
    statuses = {url: client.get(url).status_code for url in urls}
    assert statuses == dict.fromkeys(urls, 200)
    assert client.get(f"{FLAGS}add/").status_code == 403
