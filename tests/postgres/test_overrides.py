"""What a test sets in memory, beside rows: in tests of all kinds, and where memory answers."""

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


def pinned_checkout(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.flags.enabled("new_checkout"))  # type: ignore[attr-defined]


urlpatterns = [path("checkout/", checkout), path("pinned/", pinned_checkout)]


def rows(*, enabled: bool) -> None:
    FeatureFlag.objects.create(key="new_checkout", enabled=enabled, rollout_percent=100)
    KeyValueStore.objects.create(key="gateway", value="adyen")


def both() -> tuple[bool, Any]:
    return flag_enabled("new_checkout"), get_value("gateway")


@pytest.mark.django_db
@pytest.mark.parametrize("enabled", [True, False])
def test_override_goes_before_the_row(enabled: bool) -> None:
    rows(enabled=enabled)
    with override_flag("new_checkout", not enabled), override_value("gateway", None):
        assert both() == (not enabled, None)
    assert both() == (enabled, "adyen")


@pytest.mark.django_db
def test_override_writes_nothing(django_assert_num_queries: Any) -> None:
    with (
        django_assert_num_queries(0),
        override_flag("new_checkout", True),
        override_value("gateway", "paypal"),
    ):
        assert both() == (True, "paypal")
    assert (FeatureFlag.objects.count(), KeyValueStore.objects.count()) == (0, 0)


@COMMITTED
def test_override_goes_before_memory_too() -> None:
    rows(enabled=False)
    alice = User.objects.create(username="alice")
    with override_flag("new_checkout", True), live_engine():
        assert status().mode == "live"
        with override_value("gateway", ["paypal"]):
            assert both() == (True, ["paypal"])
            assert flag_enabled("new_checkout", alice) is True
            get_value("gateway").append("stripe")
            assert both() == (True, ["paypal"])
        assert both() == (True, "adyen")
        assert explain("new_checkout", alice).reason == "STATIC"
    assert both() == (False, "adyen")


@COMMITTED
def test_override_stays_when_the_engine_ends_and_begins() -> None:
    rows(enabled=False)
    with override_flag("new_checkout", True):
        lifecycle.close()
        assert both() == (True, "adyen")
        with live_engine():
            assert both() == (True, "adyen")
        assert both() == (True, "adyen")


@COMMITTED
def test_override_ends_while_memory_answers() -> None:
    rows(enabled=True)
    override = override_flag("new_checkout", False)
    override.enable()
    with live_engine():
        assert both() == (False, "adyen")
        override.disable()
        assert both() == (True, "adyen")


@COMMITTED
def test_page_of_the_live_server_follows_the_override(live_server: Any, settings: Any) -> None:
    settings.ROOT_URLCONF = __name__

    def shown() -> bytes:
        with urlopen(f"{live_server.url}/checkout/") as response:
            return bytes(response.read())

    assert shown() == b"old checkout, paid through stripe"
    with override_flag("new_checkout", True), override_value("gateway", "paypal"):
        assert shown() == b"new checkout, paid through paypal"
    assert shown() == b"old checkout, paid through stripe"


@pytest.mark.django_db
def test_moment_of_a_request_has_the_override(client: Client, settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "flagstaff.middleware.FlagstaffMiddleware"]
    with override_flag("new_checkout", True):
        assert client.get("/pinned/").content == b"True"
    assert client.get("/pinned/").content == b"False"


@pytest.mark.django_db
def test_key_that_is_set_is_not_unknown(settings: Any) -> None:
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
        # The class's own test data are made before its first test, and so before the override.
        assert flag_enabled("new_checkout") is False
        rows(enabled=False)

    def test_class_is_decorated(self) -> None:
        assert both() == (True, "adyen")

    async def test_async_test_is_decorated(self) -> None:
        assert both() == (True, "adyen")

    @override_value("gateway", "paypal")
    async def test_async_method_is_decorated(self) -> None:
        assert both() == (True, "paypal")


@override_flag("new_checkout", True)
class DecoratedTransactionTestCase(TransactionTestCase):
    available_apps = django_settings.INSTALLED_APPS

    def test_class_is_decorated(self) -> None:
        rows(enabled=False)
        assert both() == (True, "adyen")
        with live_engine():
            assert both() == (True, "adyen")
