"""What a browser is told."""

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
    """Alone has the flag that browsers may ask for."""
    alice = User.objects.create(username="alice")
    shown = FeatureFlag.objects.create(key="new_checkout", enabled=True, client_side=True)
    shown.allowed_users.add(alice)
    FeatureFlag.objects.create(key="hidden", enabled=True, rollout_percent=100)
    return alice


def test_flags_that_are_not_marked_are_not_told(client: Client) -> None:
    assert client.get("/flags/").json() == {"flags": {"new_checkout": False}}


def test_answer_is_that_of_the_user(client: Client, alice: User) -> None:
    client.force_login(alice)
    assert client.get("/flags/").json() == {"flags": {"new_checkout": True}}


def test_answer_is_kept_by_no_cache(client: Client) -> None:
    response = client.get("/flags/")
    assert "no-store" in response["Cache-Control"]
    assert response["Vary"] == "Cookie"


def test_only_reading_is_allowed(client: Client) -> None:
    assert client.post("/flags/").status_code == 405


def test_flag_that_a_test_has_set_needs_its_mark_all_the_same(client: Client) -> None:
    with override_flag("new_checkout", True), override_flag("hidden", False):
        assert client.get("/flags/").json() == {"flags": {"new_checkout": True}}


@pytest.mark.django_db(transaction=True)
def test_answer_from_memory_is_the_same(client: Client, alice: User) -> None:
    client.force_login(alice)
    with live_engine():
        refresh()
        assert client.get("/flags/").json() == {"flags": {"new_checkout": True}}


def test_marks_change_no_answer(alice: User) -> None:
    expected: dict[str, Any] = {"hidden": True, "new_checkout": True}
    assert all_flags(alice) == expected
    assert all_flags(alice, client_side=True) == {"new_checkout": True}
