"""Overrides together with rows: in all kinds of tests, in memory and in direct mode."""

from __future__ import annotations

from typing import Any
from urllib.request import urlopen

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.test import Client, TestCase, TransactionTestCase
from django.urls import path

from flagstaff import explain, flag_enabled, get_value, status
from flagstaff._engine import lifecycle
from flagstaff.exceptions import UnknownFlagError
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.testing import live_engine, override_flag, override_value

COMMITTED = pytest.mark.django_db(transaction=True, available_apps=django_settings.INSTALLED_APPS)


def checkout(request: Any) -> HttpResponse:
    design = "new" if flag_enabled("new_checkout", request.user) else "old"
    return HttpResponse(f"{design} checkout, paid through {get_value('gateway', 'stripe')}")


def request_flags_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.flags.enabled("new_checkout"))  # type: ignore[attr-defined]


urlpatterns = [path("checkout/", checkout), path("request-flags/", request_flags_view)]


def create_rows(*, enabled: bool) -> None:
    FeatureFlag.objects.create(key="new_checkout", enabled=enabled, rollout_percent=100)
    KeyValueStore.objects.create(key="gateway", value="adyen")


def results() -> tuple[bool, Any]:
    return flag_enabled("new_checkout"), get_value("gateway")


@pytest.mark.django_db
@pytest.mark.parametrize("enabled", [True, False])
def test_override_wins_over_row(enabled: bool) -> None:
    create_rows(enabled=enabled)
    with override_flag("new_checkout", not enabled), override_value("gateway", None):
        assert results() == (not enabled, None)
    assert results() == (enabled, "adyen")


@pytest.mark.django_db
def test_override_does_not_write(django_assert_num_queries: Any) -> None:
    with (
        django_assert_num_queries(0),
        override_flag("new_checkout", True),
        override_value("gateway", "paypal"),
    ):
        assert results() == (True, "paypal")
    assert (FeatureFlag.objects.count(), KeyValueStore.objects.count()) == (0, 0)


@COMMITTED
def test_override_wins_over_snapshot_in_memory() -> None:
    create_rows(enabled=False)
    alice = User.objects.create(username="alice")
    with override_flag("new_checkout", True), live_engine():
        assert status().mode == "live"
        with override_value("gateway", ["paypal"]):
            assert results() == (True, ["paypal"])
            assert flag_enabled("new_checkout", alice) is True
            get_value("gateway").append("stripe")
            assert results() == (True, ["paypal"])
        assert results() == (True, "adyen")
        assert explain("new_checkout", alice).reason == "STATIC"
    assert results() == (False, "adyen")


@COMMITTED
def test_override_survives_restart_of_engine() -> None:
    create_rows(enabled=False)
    with override_flag("new_checkout", True):
        lifecycle.close()
        assert results() == (True, "adyen")
        with live_engine():
            assert results() == (True, "adyen")
        assert results() == (True, "adyen")


@COMMITTED
def test_override_can_end_while_engine_runs() -> None:
    create_rows(enabled=True)
    override = override_flag("new_checkout", False)
    override.enable()
    with live_engine():
        assert results() == (False, "adyen")
        override.disable()
        assert results() == (True, "adyen")


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


@pytest.mark.django_db
def test_override_applies_to_request_flags(client: Client, settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "flagstaff.middleware.FlagstaffMiddleware"]
    with override_flag("new_checkout", True):
        assert client.get("/request-flags/").content == b"True"
    assert client.get("/request-flags/").content == b"False"


@pytest.mark.django_db
def test_overridden_key_is_not_unknown(settings: Any) -> None:
    settings.FLAGSTAFF = {"UNKNOWN_KEY": "raise"}
    lifecycle.close()
    try:
        with override_flag("new_checkout", True):
            assert flag_enabled("new_checkout") is True
        with pytest.raises(UnknownFlagError):
            flag_enabled("new_checkout")
    finally:
        lifecycle.close()


@override_flag("new_checkout", True)
class DecoratedTestCase(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        # Test data are created before the override is active.
        assert flag_enabled("new_checkout") is False
        create_rows(enabled=False)

    def test_decorated_class_has_override(self) -> None:
        assert results() == (True, "adyen")

    async def test_decorated_class_has_override_in_async_test(self) -> None:
        assert results() == (True, "adyen")

    @override_value("gateway", "paypal")
    async def test_decorated_async_method_has_override(self) -> None:
        assert results() == (True, "paypal")


@override_flag("new_checkout", True)
class DecoratedTransactionTestCase(TransactionTestCase):
    available_apps = django_settings.INSTALLED_APPS

    def test_decorated_class_has_override(self) -> None:
        create_rows(enabled=False)
        assert results() == (True, "adyen")
        with live_engine():
            assert results() == (True, "adyen")
