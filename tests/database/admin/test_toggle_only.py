"""A user whose only permission is to toggle flags sees them, whatever the model and its admin."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test import Client
from django.test.utils import isolate_apps
from django.urls import path

from flagstaff.admin import FeatureFlagAdmin
from flagstaff.base_models import AbstractFeatureFlag
from flagstaff.conf import Conf
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import (
    FLAGS,
    confirmed,
    flag_url,
    page,
    staff,
    state,
    undo_urls,
)

pytestmark = pytest.mark.django_db

SWITCHES = "/admin/sessions/switch/"


@pytest.mark.parametrize("url", ["/admin/", "/admin/flagstaff/"])
def test_index_lists_the_flags(url: str) -> None:
    assert f'href="{FLAGS}"' in page(staff("toggle_featureflag"), url)


def test_list_and_page_of_a_flag_are_shown(flag: FeatureFlag) -> None:
    client = staff("toggle_featureflag")
    assert flag.key in page(client, FLAGS)
    assert flag.key in page(client, flag_url(flag))
    assert flag.key in page(client, flag_url(flag, "history"))


@pytest.mark.parametrize(("view", "enabled"), [("kill", True), ("turn-on", False)])
def test_flag_is_killed_and_turned_on(view: str, enabled: bool, flag: FeatureFlag) -> None:
    client = staff("toggle_featureflag")
    FeatureFlag.objects.update(enabled=enabled)
    url = flag_url(flag, view)
    response = client.post(url, confirmed(client.get(url)), follow=True)
    assert state(flag)[0] is not enabled
    [undo] = undo_urls(response)
    client.post(undo, confirmed(client.get(undo)))
    assert state(flag)[0] is enabled


class Switches:
    """The admin of a project with a flag model of its own."""

    def __init__(self, model: Any, settings: Any) -> None:
        self.model, self._settings = model, settings

    def register(self, admin: type[ModelAdmin[Any]]) -> Client:
        """Registers the model. Returns the client of a user who may only toggle its rows."""
        site = AdminSite()
        site.register(self.model, admin)
        patterns = [path("admin/", site.urls)]
        self._settings.ROOT_URLCONF = type("urls", (), {"urlpatterns": patterns})
        kind = ContentType.objects.create(app_label="sessions", model="switch")
        Permission.objects.create(content_type=kind, codename="toggle_switch", name="toggle")
        return staff("toggle_switch")


@pytest.fixture
def switches(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Switches:
    with isolate_apps() as isolated:
        apps: Any = isolated
        for known in (User, Group):
            apps.register_model("auth", known)

        class Switch(AbstractFeatureFlag):
            class Meta(AbstractFeatureFlag.Meta):
                app_label = "sessions"

            def __copy__(self) -> Any:
                # Django copies a row by the registry of apps, which does not have the model.
                row = type(self)()
                vars(row).update(vars(self))
                return row

    with connection.schema_editor() as editor:
        editor.create_model(Switch)
    monkeypatch.setattr(Conf, "flag_model", Switch)
    return Switches(Switch, settings)


def test_own_flag_model_with_flagstaffs_admin_is_shown(switches: Switches) -> None:
    client = switches.register(FeatureFlagAdmin)
    row = switches.model._base_manager.create(key="new_checkout")
    for url in ("/admin/", "/admin/sessions/"):
        assert f'href="{SWITCHES}"' in page(client, url)
    assert "new_checkout" in page(client, SWITCHES)
    assert "new_checkout" in page(client, f"{SWITCHES}{row.pk}/change/")


@pytest.mark.parametrize("permission", ["toggle", "view"])
def test_read_only_fields_are_words_and_empty_ones_are_left_out(permission: str) -> None:
    flag = FeatureFlag.objects.create(key="a", tags=["checkout", "x y"], owner="web")
    client = staff(f"{permission}_featureflag")

    def shown() -> dict[str, str]:
        html = page(client, flag_url(flag))
        row = r'<label>([^<]*):</label>(?:(?!<label).)*?<div class="readonly">(.*?)</div>'
        rows = re.findall(row, html, re.DOTALL)
        return dict(rows)

    first = shown()
    assert (first["Tags"], first["Client side"], first["Owner"]) == ("checkout, x y", "no", "web")
    assert not {"Description", "Review on"} & {*first}
    assert first.get("Enabled", "no") == "no"
    FeatureFlag.objects.update(tags={"odd": 1}, client_side=True, description="x", owner="")
    second = shown()
    assert (second["Client side"], second["Description"]) == ("yes", "x")
    assert second["Tags"] == "{&quot;odd&quot;: 1}"
    assert "Owner" not in second
