"""The group of operators that the code in docs/how-to/admin.md makes."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from flagstaff.models import FeatureFlag
from tests.support.admin_pages import FLAGS, RECENT, SEGMENTS, VALUES, flag_url
from tests.support.pages import names_of

pytestmark = pytest.mark.django_db


def test_member_of_the_group_opens_every_page_of_flags_and_changes_no_field() -> None:
    flag = FeatureFlag.objects.create(key="new_checkout", enabled=True)
    # A second run changes nothing.
    for _ in range(2):
        names_of("how-to/admin.md", "Flag operators")
    group = Group.objects.get()
    assert {row.codename for row in group.permissions.all()} == {
        "toggle_featureflag",
        "view_experiment",
        "view_featureflag",
        "view_keyvaluestore",
        "view_segment",
        "view_user",
    }
    user = User.objects.create_user("olga", is_staff=True)
    user.groups.add(group)
    client = Client()
    client.force_login(user)
    pages = ["unknownkey", "connectedworker", "flagsofuser"]
    urls = [FLAGS, VALUES, SEGMENTS, RECENT, flag_url(flag), flag_url(flag, "kill")]
    urls += [f"/admin/flagstaff/{one}/" for one in pages]
    urls += ["/admin/flagstaff_rollouts/plan/", "/admin/flagstaff_experiments/experiment/"]
    statuses = {url: client.get(url).status_code for url in urls}
    assert statuses == dict.fromkeys(urls, 200)
    assert client.get(f"{FLAGS}add/").status_code == 403
