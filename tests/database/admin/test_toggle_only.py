"""A user whose only permission is to toggle flags sees them, whatever the model and its admin."""

from __future__ import annotations

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
from flagstaff.admin.unknown_keys import UnknownKeysAdmin
from flagstaff.admin.workers import WorkersAdmin
from flagstaff.base_models import AbstractFeatureFlag
from flagstaff.conf import Conf
from flagstaff.models import ConnectedWorker, FeatureFlag, UnknownKey
from tests.support.admin_pages import FLAGS, flag_url, page, staff

pytestmark = pytest.mark.django_db

SWITCHES = "/admin/sessions/switch/"
PLAIN_PAGES = ("/admin/flagstaff/connectedworker/", "/admin/flagstaff/unknownkey/")


@pytest.mark.parametrize("url", ["/admin/", "/admin/flagstaff/"])
def test_index_lists_the_flags_and_the_pages_about_them(url: str) -> None:
    html = page(staff("toggle_featureflag"), url)
    for one in (FLAGS, *PLAIN_PAGES):
        assert f'href="{one}"' in html


def test_list_and_page_of_a_flag_are_shown(flag: FeatureFlag) -> None:
    client = staff("toggle_featureflag")
    assert flag.key in page(client, FLAGS)
    assert flag.key in page(client, flag_url(flag))
    assert flag.key in page(client, flag_url(flag, "history"))


class Switches:
    """The admin of a project with a flag model of its own."""

    def __init__(self, model: Any, settings: Any) -> None:
        self.model, self._settings = model, settings

    def register(self, admin: type[ModelAdmin[Any]]) -> Client:
        """Registers the model. Returns the client of a user who may only toggle its rows."""
        site = AdminSite()
        site.register(self.model, admin)
        site.register(ConnectedWorker, WorkersAdmin)
        site.register(UnknownKey, UnknownKeysAdmin)
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
    for url in PLAIN_PAGES:
        page(client, url)


def test_own_flag_model_with_djangos_admin_has_the_pages_about_flags(switches: Switches) -> None:
    client = switches.register(ModelAdmin)
    html = page(client, "/admin/")
    for url in PLAIN_PAGES:
        assert f'href="{url}"' in html
        page(client, url)


class ClosedAdmin(ModelAdmin):  # type: ignore[type-arg]  # not at run time
    def has_view_permission(self, request: Any, obj: Any = None) -> bool:
        return False


def test_admin_that_decides_who_sees_flags_is_obeyed(switches: Switches) -> None:
    client = switches.register(ClosedAdmin)
    assert [client.get(url).status_code for url in PLAIN_PAGES] == [403, 403]
