"""The view `client_flags`."""

import pytest
from django.test import Client
from django.urls import include, path

from flagstaff import all_flags
from flagstaff.models import FeatureFlag
from flagstaff.testing import override_flag
from tests.support.fixtures import Load
from tests.support.shop import GERMAN, Shop

urlpatterns = [path("flags/", include("flagstaff.urls"))]

pytestmark = pytest.mark.urls(__name__)


@pytest.fixture(autouse=True)
def flags(shop: Shop) -> None:
    """A client-side flag for alice only, and another flag."""
    shop.flag(rollout_percent=0, client_side=True)
    shop.flag("dark_mode")


def test_response_has_results_of_the_user_for_client_side_flags_only(
    load: Load, client: Client, shop: Shop
) -> None:
    load()
    response = client.get("/flags/")
    assert response.json() == {"flags": {"new_checkout": False}}
    assert "no-store" in response["Cache-Control"]
    assert response["Vary"] == "Cookie"
    assert client.post("/flags/").status_code == 405
    alice = shop.user("alice")
    client.force_login(alice)
    assert client.get("/flags/").json() == {"flags": {"new_checkout": True}}
    assert all_flags(alice) == {"dark_mode": True, "new_checkout": True}
    assert all_flags(alice, client_side=True) == {"new_checkout": True}


def test_query_and_body_set_no_attribute(client: Client) -> None:
    FeatureFlag.objects.update(rules=[{"conditions": [GERMAN]}])
    response = client.get("/flags/?country=DE&context=country%3DDE", HTTP_X_COUNTRY="DE")
    assert response.json() == {"flags": {"new_checkout": False}}
    response = client.generic("GET", "/flags/", '{"country": "DE"}', "application/json")
    assert response.json() == {"flags": {"new_checkout": False}}


def test_override_is_in_response_for_client_side_flags_only(client: Client) -> None:
    with override_flag("new_checkout", True), override_flag("dark_mode", False):
        assert client.get("/flags/").json() == {"flags": {"new_checkout": True}}
