"""The view `client_flags`."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import include, path

from flagstaff import all_flags, refresh
from flagstaff.models import FeatureFlag
from flagstaff.testing import live_engine, override_flag

urlpatterns = [path("flags/", include("flagstaff.urls"))]

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


@pytest.fixture(autouse=True)
def alice(db: None) -> User:
    """The only user of the client-side flag."""
    alice = User.objects.create(username="alice")
    flag = FeatureFlag.objects.create(key="new_checkout", enabled=True, client_side=True)
    flag.allowed_users.add(alice)
    FeatureFlag.objects.create(key="hidden", enabled=True, rollout_percent=100)
    return alice


def test_response_has_client_side_flags_only(client: Client) -> None:
    assert client.get("/flags/").json() == {"flags": {"new_checkout": False}}


def test_response_has_results_of_user(client: Client, alice: User) -> None:
    client.force_login(alice)
    assert client.get("/flags/").json() == {"flags": {"new_checkout": True}}


def test_query_and_body_set_no_attribute(client: Client) -> None:
    condition = {"attribute": "country", "operator": "in", "values": ["DE"]}
    FeatureFlag.objects.update(rules=[{"conditions": [condition]}])
    response = client.get("/flags/?country=DE&context=country%3DDE", HTTP_X_COUNTRY="DE")
    assert response.json() == {"flags": {"new_checkout": False}}
    response = client.generic("GET", "/flags/", '{"country": "DE"}', "application/json")
    assert response.json() == {"flags": {"new_checkout": False}}


def test_response_is_not_cached(client: Client) -> None:
    response = client.get("/flags/")
    assert "no-store" in response["Cache-Control"]
    assert response["Vary"] == "Cookie"


def test_post_is_not_allowed(client: Client) -> None:
    assert client.post("/flags/").status_code == 405


def test_override_is_in_response_for_client_side_flags_only(client: Client) -> None:
    with override_flag("new_checkout", True), override_flag("hidden", False):
        assert client.get("/flags/").json() == {"flags": {"new_checkout": True}}


@pytest.mark.django_db(transaction=True)
def test_response_from_memory_is_same(client: Client, alice: User) -> None:
    client.force_login(alice)
    with live_engine():
        refresh()
        assert client.get("/flags/").json() == {"flags": {"new_checkout": True}}


def test_all_flags_with_client_side_selects_client_side_flags(alice: User) -> None:
    expected: dict[str, Any] = {"hidden": True, "new_checkout": True}
    assert all_flags(alice) == expected
    assert all_flags(alice, client_side=True) == {"new_checkout": True}
