"""Waffle's admin says where its flags are evaluated."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from flagstaff import changes
from flagstaff.models import FeatureFlag
from tests.support.mirrored_rows import flag_of, new_flag, new_switch, served
from tests.support.sql import without_table

pytestmark = [
    pytest.mark.django_db,
    # The admin of waffle 5.0.0 on the newest Django.
    pytest.mark.filterwarnings("ignore:Overriding get_actions"),
]

LIST = "/admin/waffle/switch/"


def text_of(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    return response.content.decode()


def test_list_says_that_waffle_serves(admin_client: Client) -> None:
    text = text_of(admin_client, LIST)
    assert "Served by waffle; compared with flagstaff." in text
    assert reverse("admin:flagstaff_featureflag_changelist") in text


@pytest.mark.parametrize("table", ["flagstaff_compat_wafflerow", "flagstaff_featureflag"])
def test_form_works_before_the_tables_are_there(admin_client: Client, table: str) -> None:
    url = reverse("admin:waffle_switch_change", args=[new_switch("search", active=True).pk])
    with without_table(table):
        assert "Served" not in text_of(admin_client, url)


def test_list_without_the_shadow_compares_nothing(admin_client: Client, settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "WAFFLE": {"SHADOW": 0}}
    assert "Served by waffle. <a" in text_of(admin_client, LIST)


def test_list_names_the_flags_that_flagstaff_serves(admin_client: Client, settings: Any) -> None:
    served(settings, "search", "beta_*")
    text = text_of(admin_client, LIST)
    assert "Served by flagstaff: search, beta_*. All others are served by waffle." in text


def test_form_says_where_the_row_is_served_from(admin_client: Client, settings: Any) -> None:
    served(settings, "search")
    search, other = new_switch("search", active=True), new_switch("other", active=True)
    text = text_of(admin_client, f"{LIST}{search.pk}/change/")
    assert "Served by flagstaff. <a" in text
    assert reverse("admin:flagstaff_featureflag_change", args=[flag_of("search").pk]) in text
    assert "Served by waffle; compared" in text_of(admin_client, f"{LIST}{other.pk}/change/")


def test_form_says_that_flagstaff_has_no_flag(admin_client: Client, settings: Any) -> None:
    served(settings, "search")
    search = new_switch("search", active=True)
    changes.delete("search")
    text = text_of(admin_client, f"{LIST}{search.pk}/change/")
    assert "Served by waffle, because flagstaff has no such flag." in text


def test_form_shows_the_problem_of_the_row(admin_client: Client) -> None:
    changes.create("checkout")
    row = new_flag("checkout")
    text = text_of(admin_client, f"/admin/waffle/flag/{row.pk}/change/")
    assert "The last change could not be written to flagstaff: flag &#x27;checkout&#x27;" in text


def test_banner_warns_if_changes_have_no_effect(admin_client: Client, settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "WAFFLE": {"SERVE": True, "MIRROR": False}}
    text = text_of(admin_client, LIST)
    assert '<li class="warning">Served by flagstaff. Changes on this page have no effect' in text


def test_form_for_a_new_row_has_the_banner_of_the_list(admin_client: Client) -> None:
    assert "Served by waffle; compared" in text_of(admin_client, f"{LIST}add/")


def test_link_is_for_users_who_may_view_flags(client: Client) -> None:
    user = User.objects.create_user("eve", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_switch"))
    client.force_login(user)
    text = text_of(client, LIST)
    assert "Served by waffle; compared" in text
    assert reverse("admin:flagstaff_featureflag_changelist") not in text


def test_kill_in_the_admin_of_waffle_turns_the_flags_off(admin_client: Client) -> None:
    rows = [new_flag(name, everyone=True) for name in ("checkout", "search")]
    data = {"action": "disable_for_all", "_selected_action": [row.pk for row in rows]}
    admin_client.post("/admin/waffle/flag/", data)
    assert not FeatureFlag.objects.filter(enabled=True).exists()
