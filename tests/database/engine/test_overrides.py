"""Overrides and FLAGSTAFF_FORCE_OFF together with rows, in memory and in direct mode."""

from typing import Any
from urllib.request import urlopen

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client, TestCase
from django.urls import include, path

from flagstaff import all_flags, explain, flag_enabled, get_value, read_own_writes, snapshot, status
from flagstaff._engine import lifecycle
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.testing import live_engine, override_flag, override_value
from tests.support.evaluations import flag_and_value
from tests.support.fixtures import COMMITTED, Load
from tests.support.forced_off import forced_off
from tests.support.views import request_of, with_flags


def checkout(request: Any) -> HttpResponse:
    design = "new" if flag_enabled("new_checkout", request.user) else "old"
    return HttpResponse(f"{design} checkout, paid through {get_value('gateway', 'stripe')}")


urlpatterns = [path("checkout/", checkout), path("flags/", include("flagstaff.urls"))]


def create_rows(*, enabled: bool) -> None:
    FeatureFlag.objects.create(key="new_checkout", enabled=enabled, rollout_percent=100)
    KeyValueStore.objects.create(key="gateway", value="adyen")


@pytest.mark.parametrize("enabled", [True, False])
def test_override_wins_over_row_and_does_not_write(
    enabled: bool, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(0), override_flag("new_checkout", enabled):
        assert flag_and_value() == (enabled, None)
    assert not FeatureFlag.objects.exists()
    create_rows(enabled=enabled)
    with override_flag("new_checkout", not enabled), override_value("gateway", None):
        assert flag_and_value() == (not enabled, None)
    assert flag_and_value() == (enabled, "adyen")


@COMMITTED
def test_override_wins_over_snapshot_in_memory() -> None:
    create_rows(enabled=False)
    alice = User.objects.create(username="alice")
    with override_flag("new_checkout", True), live_engine():
        assert (status().mode, get_value("gateway")) == ("live", "adyen")
        with override_value("gateway", ["paypal"]):
            assert flag_and_value() == (True, ["paypal"])
            assert flag_enabled("new_checkout", alice) is True
            get_value("gateway").append("stripe")
            assert flag_and_value() == (True, ["paypal"])
        assert flag_and_value() == (True, "adyen")
        assert explain("new_checkout", alice).reason == "STATIC"
    assert flag_and_value() == (False, "adyen")


@COMMITTED
def test_override_survives_restart_of_engine_and_can_end_while_it_runs() -> None:
    create_rows(enabled=False)
    override = override_flag("new_checkout", True)
    override.enable()
    lifecycle.close()
    assert flag_and_value() == (True, "adyen")
    with live_engine():
        assert flag_and_value() == (True, "adyen")
    assert flag_and_value() == (True, "adyen")
    with live_engine():
        override.disable()
        assert flag_and_value() == (False, "adyen")


@COMMITTED
def test_override_applies_to_live_server(live_server: Any, settings: Any) -> None:
    settings.ROOT_URLCONF = __name__

    def page() -> bytes:
        with urlopen(f"{live_server.url}/checkout/") as response:
            return bytes(response.read())

    assert page() == b"old checkout, paid through stripe"
    with override_flag("new_checkout", True), override_value("gateway", "paypal"):
        assert page() == b"new checkout, paid through paypal"
    assert page() == b"old checkout, paid through stripe"


@override_flag("new_checkout", True)
class DecoratedTestCase(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        # Test data are created before the override is active.
        assert flag_enabled("new_checkout") is False
        create_rows(enabled=False)

    def test_decorated_class_has_override(self) -> None:
        assert flag_and_value() == (True, "adyen")

    async def test_decorated_class_has_override_in_async_test(self) -> None:
        assert flag_and_value() == (True, "adyen")

    @override_value("gateway", "paypal")
    async def test_decorated_async_method_has_override(self) -> None:
        assert flag_and_value() == (True, "paypal")


@pytest.mark.urls(__name__)
def test_forced_off_flag_is_off_everywhere_unless_a_test_overrides_it(
    load: Load, client: Client
) -> None:
    for key in ("new_checkout", "banner"):
        FeatureFlag.objects.create(key=key, enabled=True, rollout_percent=100, client_side=True)
    load()
    expected = {"banner": True, "new_checkout": False}
    with forced_off(["new_checkout"]):
        assert flag_enabled("new_checkout", 42, default=True) is False
        assert all_flags(42) == snapshot().all_flags(42) == expected
        with read_own_writes():
            assert flag_enabled("new_checkout", 42) is False
        explanation = explain("new_checkout", 42)
        assert (explanation.reason, explanation.override) == ("DISABLED", "FLAGSTAFF_FORCE_OFF")
        assert explain("banner", 42).override is None
        request = with_flags(request_of(User(pk=42)))
        assert request.flags.enabled("new_checkout") is False
        assert request.flags.all() == client.get("/flags/").json()["flags"] == expected
        with override_flag("new_checkout", True):
            assert flag_enabled("new_checkout") is True
        assert flag_enabled("new_checkout") is False
