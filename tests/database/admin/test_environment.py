"""The name of the deployment on the pages of the admin, and in the title of the tab."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from flagstaff import changes
from flagstaff.models import FeatureFlag, KeyValueStore, Segment
from tests.support.admin_pages import FLAGS, SEGMENTS, VALUES, flag_url, page, production

pytestmark = pytest.mark.django_db

STAFF = {"attribute": "is_staff", "operator": "in", "values": [True]}
VIEWS = ["", "add/", "{}/change/", "{}/delete/", "{}/history/"]


@pytest.fixture
def rows() -> dict[str, int]:
    """The primary key of a flag, a value and a segment, each with a history."""
    changes.create("a", enabled=True)
    changes.create_value("a", 1)
    changes.create_segment("a", [STAFF])
    models: dict[str, Any] = {FLAGS: FeatureFlag, VALUES: KeyValueStore, SEGMENTS: Segment}
    return {url: model.objects.get().pk for url, model in models.items()}


def strips(html: str) -> list[str]:
    """Returns the names of environments that a page shows."""
    found = re.findall(r'<p class="flagstaff-environment [^"]*">(.*?)</p>', html, re.DOTALL)
    return [re.sub(r"<[^>]*>", "", one).strip() for one in found]


def title(html: str) -> str:
    [found] = re.findall(r"<title>(.*?)</title>", html, re.DOTALL)
    return " ".join(found.split())


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("models", [FLAGS, VALUES, SEGMENTS])
def test_page_names_the_environment_once(
    models: str, view: str, admin_client: Client, rows: dict[str, int], settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ENVIRONMENT": {"name": "Staging"}}
    html = page(admin_client, models + view.format(rows[models]))
    assert strips(html) == ["Staging"]
    assert title(html).startswith("Staging | ")
    assert html.count("<title>") == 1


@pytest.mark.parametrize("view", ["kill", "history"])
def test_page_that_asks_names_the_environment_once(
    view: str, admin_client: Client, rows: dict[str, int], settings: Any
) -> None:
    production(settings)
    html = page(admin_client, f"{FLAGS}{rows[FLAGS]}/{view}/")
    assert strips(html) == ["⚠ Production"]
    assert title(html).startswith("Production | ")


@pytest.mark.parametrize("view", VIEWS)
def test_page_without_the_setting_names_none(
    view: str, admin_client: Client, rows: dict[str, int]
) -> None:
    html = page(admin_client, FLAGS + view.format(rows[FLAGS]))
    assert strips(html) == []
    assert " | Django site admin" in title(html)


def test_class_of_the_strip_is_the_color(
    admin_client: Client, rows: dict[str, int], settings: Any
) -> None:
    environment = {"name": "Staging", "color": "purple"}
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ENVIRONMENT": environment}
    assert '"flagstaff-environment flagstaff-environment-purple"' in page(admin_client)


def test_name_is_escaped(admin_client: Client, rows: dict[str, int], settings: Any) -> None:
    production(settings, "<b>shop</b>")
    for url in (FLAGS, flag_url(FeatureFlag.objects.get()), f"{FLAGS}{rows[FLAGS]}/kill/"):
        html = page(admin_client, url)
        assert "<b>shop" not in html
        assert "&lt;b&gt;shop" in title(html)


def test_page_of_another_model_names_none(admin_client: Client, settings: Any) -> None:
    production(settings)
    assert strips(page(admin_client, "/admin/auth/user/")) == []
