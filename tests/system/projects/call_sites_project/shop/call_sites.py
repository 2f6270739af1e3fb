"""What holds with waffle and with the stand-in, beside the public tests of waffle."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import waffle
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client, RequestFactory
from waffle.testutils import override_flag, override_sample, override_switch

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _empty_cache() -> None:
    """Waffle's lists of rows outlive the transaction of a test."""
    cache.clear()


@pytest.fixture
def all_but_flag() -> Iterator[None]:
    """A flag, a switch and a sample of the same name; only the flag is off."""
    with (
        override_flag("search", active=False),
        override_switch("search", active=True),
        override_sample("search", active=100.0),
    ):
        yield


def content(client: Client, path: str) -> str:
    return client.get(path).content.decode().strip()


@pytest.mark.usefixtures("all_but_flag")
def test_functions_and_tags_have_the_results_of_their_kind(client: Client) -> None:
    assert content(client, "/results/") == content(client, "/tags/") == "off on on"


def test_view_may_respond_by_invalid_waffle(client: Client) -> None:
    with override_sample("search", active=0.0):
        assert content(client, "/sample/") == "not this time"


def test_middleware_stores_random_results_and_those_of_a_test(client: Client) -> None:
    cookies = client.get("/cookies/").cookies
    assert [(name, cookie.value, bool(cookie["max-age"])) for name, cookie in cookies.items()] == [
        ("dwf_drawn", "True", True),
        ("dwf_rollout", "False", False),
        ("dwft_tested", "True", False),
    ]


def test_cookies_have_names_and_age_of_settings(client: Client, settings: Any) -> None:
    settings.WAFFLE_COOKIE = "flag_%s"
    settings.WAFFLE_MAX_AGE = 60
    cookie = client.get("/cookies/").cookies["flag_drawn"]
    assert (cookie["max-age"], cookie["secure"]) == (60, True)


def test_rows_of_a_migration_decide(client: Client) -> None:
    assert waffle.flag_is_active(RequestFactory().get("/"), "from_migration")
    assert waffle.switch_is_active("switch_of_migration")


def test_rows_are_created_read_changed_and_deleted() -> None:
    flags = waffle.get_waffle_flag_model()
    flag, created = flags.objects.get_or_create(name="new", defaults={"percent": "12.5"})
    assert (created, flags.objects.get(name="new").percent) == (True, Decimal("12.5"))
    flags.objects.update_or_create(name="new", defaults={"everyone": True})
    assert flags.get("new").everyone is True
    flags.objects.bulk_create([flags(name="other", everyone=True)])
    assert {row.name for row in flags.get_all() if row.everyone} >= {"new", "other"}
    flag.delete()
    assert not flags.objects.filter(name="new").exists()


def test_fixture_is_loaded(tmp_path: Path) -> None:
    fixture = tmp_path / "flags.json"
    fields = {"name": "of_fixture", "everyone": True}
    fixture.write_text(json.dumps([{"model": "waffle.flag", "fields": fields}]))
    call_command("loaddata", str(fixture), verbosity=0)
    assert waffle.flag_is_active(RequestFactory().get("/"), "of_fixture")


def test_commands_change_rows() -> None:
    call_command("waffle_flag", "sale", create=True, everyone=True, stdout=StringIO())
    call_command("waffle_switch", "shop", "on", "--create", stdout=StringIO())
    assert waffle.flag_is_active(RequestFactory().get("/"), "sale")
    assert waffle.switch_is_active("shop")


def test_command_for_a_percentage_ends_everyone() -> None:
    waffle.get_waffle_flag_model().objects.create(name="limited", everyone=True, superusers=False)
    call_command("waffle_flag", "limited", "--percent", "0", stdout=StringIO())
    assert not waffle.flag_is_active(RequestFactory().get("/"), "limited")


def test_command_creates_flag_only_for_those_that_it_names() -> None:
    call_command("waffle_flag", "limited", "--create", "--staff", stdout=StringIO())
    row = waffle.get_waffle_flag_model().objects.get(name="limited")
    assert (row.everyone, row.percent, row.staff, row.superusers) == (None, None, True, False)


def test_scripts_and_status_have_results(client: Client) -> None:
    with override_switch("a </b>", active=True):
        assert client.get("/waffle_status").json()["switches"]["a </b>"]["is_active"] is True
        script = client.get("/wafflejs").content.decode()
    assert "</b>" not in script
