"""What all pages share that are about no single row: rights, links, the menu, and what fails."""

from typing import Any

import pytest
from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test import Client
from django.test.utils import isolate_apps
from django.urls import path, resolve

from flagstaff.admin import FeatureFlagAdmin
from flagstaff.base_models import AbstractFeatureFlag
from flagstaff.conf import Conf
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import FLAGS, VALUES, page, staff
from tests.support.experiments import EXPERIMENTS
from tests.support.pages import names_of
from tests.support.sql import rows as execute
from tests.support.sql import without_table

PAGES = ["overview", "changes", "user", "unknown-keys", "workers", "stale", "compare", "search"]
# Who may open a page, as the page of the documentation says.
_OF_FLAGS = frozenset({"view_featureflag", "toggle_featureflag"})
ANYTHING = {"view_featureflag", "toggle_featureflag", "view_keyvaluestore", "view_segment"}
RIGHTS = {
    "overview": {*ANYTHING, "view_experiment"},
    "changes": ANYTHING,
    "compare": ANYTHING,
    "search": {*ANYTHING, "view_experiment"},
    **dict.fromkeys(("user", "unknown-keys", "workers", "stale"), _OF_FLAGS),
}
EVERY = [*sorted(RIGHTS["overview"]), "view_user"]


def url(name: str) -> str:
    return f"{FLAGS}{name}/"


@pytest.mark.parametrize("permission", EVERY)
def test_page_opens_for_users_with_its_permission_only(permission: str) -> None:
    client = staff(permission)
    opened = {name for name in PAGES if client.get(url(name)).status_code == 200}
    assert opened == {name for name in PAGES if permission in RIGHTS[name]}


# A page that compares says what to do.
@pytest.mark.parametrize("name", [name for name in PAGES if name != "compare"])
def test_post_without_a_form_is_refused(name: str, operator: Client) -> None:
    assert operator.post(url(name), {"key": "a"}).status_code == 403


@pytest.mark.parametrize("name", PAGES)
def test_page_is_not_in_the_transaction_of_a_request(name: str) -> None:
    assert resolve(url(name)).func._non_atomic_requests == {"default"}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "table"), [("workers", "flagstaff_token"), ("stale", "flagstaff_featureflag")]
)
def test_page_without_its_table_or_the_right_to_read_it_says_what_to_do(
    name: str, table: str, operator: Client
) -> None:
    advice = "Run “manage.py migrate”, and check that the database user may use the tables"
    with without_table(table):
        assert advice in page(operator, url(name))
    execute("CREATE ROLE poor; GRANT ALL ON ALL TABLES IN SCHEMA public TO poor")
    execute(f"REVOKE SELECT ON {table} FROM poor; SET LOCAL ROLE poor")
    assert advice in page(operator, url(name))


# The flags themselves cannot be read as on SQLite here.
@pytest.mark.parametrize("name", [name for name in PAGES if name != "stale"])
def test_page_opens_without_postgresql(
    name: str, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "vendor", "sqlite")
    page(operator, url(name))


def menu(response: Any) -> dict[str, list[str]]:
    """Returns the links of Django's menu, by the label of the app."""
    apps = response.context["available_apps"]
    return {app["app_label"]: [model["admin_url"] for model in app["models"]] for app in apps}


def test_menu_of_each_page_of_flags_has_the_pages_in_one_block(operator: Client) -> None:
    for address in (FLAGS, VALUES, url("workers")):
        links = menu(operator.get(address))["flagstaff"]
        assert links[:2] == [url("overview"), FLAGS]
        assert links[-6:] == [url(name) for name in PAGES[1:-1]]


def test_menu_has_the_pages_that_the_user_may_open() -> None:
    assert menu(staff("view_keyvaluestore").get(VALUES))["flagstaff"] == [
        *(url("overview"), VALUES, "/admin/flagstaff/waitingaction/"),
        *(url("changes"), url("compare")),
    ]
    response = staff("view_experiment", name="other").get(EXPERIMENTS)
    assert menu(response) == {
        "flagstaff": [url("overview"), "/admin/flagstaff/waitingaction/"],
        "flagstaff_experiments": [EXPERIMENTS],
    }


def test_list_of_flags_links_to_the_pages(operator: Client) -> None:
    html = page(operator)
    for name in PAGES[:-1]:
        assert f'href="{url(name)}"' in html


def test_site_of_the_documentation_lists_the_pages_once_in_its_index_and_its_menu(
    admin_user: User, client: Client, settings: Any
) -> None:
    site = names_of("how-to/admin-set-up.md", "ShopAdminSite")["ShopAdminSite"]()
    site.register(FeatureFlag, FeatureFlagAdmin)
    patterns = [path("admin/", site.urls)]
    settings.ROOT_URLCONF = type("urls", (), {"urlpatterns": patterns})
    client.force_login(admin_user)
    for address in ("/admin/", url("workers")):
        links = menu(client.get(address))["flagstaff"]
        assert links == [url("overview"), FLAGS, *(url(name) for name in PAGES[1:-1])]
    assert f'href="{url("workers")}"' in page(client, "/admin/")
    assert client.get("/admin/auth/").status_code == 404


@pytest.fixture
def switches(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A flag model of the project, with its table."""
    with isolate_apps() as isolated:
        apps: Any = isolated
        for known in (User, Group):
            apps.register_model("auth", known)

        class Switch(AbstractFeatureFlag):
            class Meta(AbstractFeatureFlag.Meta):
                app_label = "sessions"

    with connection.schema_editor() as editor:
        editor.create_model(Switch)
    monkeypatch.setattr(Conf, "flag_model", Switch)
    kind = ContentType.objects.create(app_label="sessions", model="switch")
    Permission.objects.create(content_type=kind, codename="toggle_switch", name="toggle")
    return Switch


class ClosedAdmin(FeatureFlagAdmin):
    def has_view_permission(self, request: Any, obj: Any = None) -> bool:
        return False


@pytest.mark.parametrize(
    ("admin", "status"), [(FeatureFlagAdmin, 200), (ClosedAdmin, 403), (ModelAdmin, 302)]
)
def test_pages_belong_to_the_admin_of_the_projects_own_flags(
    switches: Any, settings: Any, admin: type[Any], status: int
) -> None:
    site = AdminSite()
    site.register(switches, admin)
    patterns = [path("admin/", site.urls)]
    settings.ROOT_URLCONF = type("urls", (), {"urlpatterns": patterns})
    client = staff("toggle_switch")
    for name in ("workers", "unknown-keys"):
        url = f"/admin/sessions/switch/{name}/"
        assert client.get(url).status_code == status
