"""The group of operators that the page of the admin creates."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from flagstaff.models import FeatureFlag
from tests.support.admin_pages import FLAGS, RECENT, SEGMENTS, VALUES, flag_url
from tests.support.pages import names_of

pytestmark = pytest.mark.django_db

OPERATOR = {
    "flagstaff.view_featureflag",
    "flagstaff.toggle_featureflag",
    "flagstaff.view_keyvaluestore",
    "flagstaff.view_segment",
    "flagstaff_experiments.view_experiment",
    "auth.view_user",
}


def create_group() -> Group:
    """Runs the code of the page."""
    names_of("how-to/admin-set-up.md", "Flag operators")
    return Group.objects.get(name="Flag operators")


def test_group_of_the_page_has_the_permissions_of_an_operator() -> None:
    create_group()
    # A second run changes nothing.
    group = create_group()
    rows = Permission.objects.filter(group=group)
    assert {f"{row.content_type.app_label}.{row.codename}" for row in rows} == OPERATOR


def test_member_of_the_group_opens_every_page_of_flags() -> None:
    flag = FeatureFlag.objects.create(key="new_checkout", enabled=True)
    user = User.objects.create_user("olga", is_staff=True)
    user.groups.add(create_group())
    client = Client()
    client.force_login(user)
    pages = ["overview", "stale", "unknown-keys", "user", "workers"]
    urls = [FLAGS, VALUES, SEGMENTS, RECENT, flag_url(flag), flag_url(flag, "kill")]
    urls += [f"{FLAGS}{one}/" for one in pages]
    urls += [
        "/admin/flagstaff_rollouts/plan/",
        "/admin/flagstaff_experiments/experiment/",
    ]
    statuses = {url: client.get(url).status_code for url in urls}
    assert statuses == dict.fromkeys(urls, 200)
    assert client.get(f"{FLAGS}add/").status_code == 403
