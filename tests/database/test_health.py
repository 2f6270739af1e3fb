"""The health and metrics endpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import include, path

from flagstaff._engine import lifecycle
from flagstaff._engine.status import Status, status
from flagstaff._words.text import Text
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import permit

urlpatterns = [path("health/", include("flagstaff.health"))]

pytestmark = pytest.mark.urls(__name__)
PUBLIC = ("live", "ready", "fresh", "metrics")


@pytest.fixture
def set_status(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Returns a function that sets the status which the views see."""

    def set_fields(**fields: Any) -> None:
        monkeypatch.setattr("flagstaff.health.start", lambda: None)
        now = Status(**{**vars(status()), **fields})
        monkeypatch.setattr("flagstaff.health.status", lambda: now)

    return set_fields


def response_of(client: Client, name: str) -> tuple[int, Any]:
    response = client.get(f"/health/{name}")
    return response.status_code, json.loads(response.content)


STATES = {
    "nothing loaded yet": (["starting", False, None, False], 503, 503),
    "never reached": (["down", False, None, False], 503, 503),
    "live": (["live", True, 0.2, False], 200, 200),
    "unreachable for a minute": (["down", True, 60.0, False], 200, 200),
    "unreachable for too long": (["down", True, 301.0, True], 200, 503),
    "direct": (["direct", True, None, False], 200, 200),
}


@pytest.mark.parametrize("state", STATES)
def test_status_codes_depend_on_state(state: str, set_status: Any, client: Client) -> None:
    values, ready, fresh = STATES[state]
    fields = dict(zip(("mode", "ready", "age", "stale"), values, strict=True))
    set_status(**fields)
    assert response_of(client, "live") == (200, {"live": True})
    assert response_of(client, "ready") == (ready, fields)
    assert response_of(client, "fresh") == (fresh, fields)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_endpoint_is_not_cached_and_needs_no_login_and_no_database(
    name: str, client: Client, settings: Any
) -> None:
    # Without the mark django_db, a query would fail this test.
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
        "flagstaff.middleware.FlagstaffMiddleware",
    ]
    response = client.get(f"/health/{name}")
    assert response.status_code == client.head(f"/health/{name}").status_code == 200
    assert "no-store" in response["Cache-Control"]
    assert not response.cookies
    assert client.post(f"/health/{name}").status_code == 405


def test_details_need_staff_user_with_view_permission(
    alice: User, client: Client, settings: Any
) -> None:
    User.objects.update(is_staff=True)
    assert client.get("/health/details").status_code == 404
    client.force_login(alice)
    assert client.get("/health/details").status_code == 404
    permit(alice, "view_featureflag")
    code, content = response_of(client, "details")
    assert (code, set(content)) == (200, set(status().as_dict()))
    User.objects.update(is_staff=False)
    assert client.get("/health/details").status_code == 404
    settings.MIDDLEWARE = []
    assert client.get("/health/details").status_code == 404


def test_details_have_the_texts_of_problems(alice: User, client: Client, set_status: Any) -> None:
    text = "load: a table is locked by another session"
    error = Text("{step}: a table is locked by another session", step="load")
    set_status(last_error=error, problems=(error,))
    User.objects.update(is_staff=True)
    permit(alice, "view_featureflag")
    client.force_login(alice)
    _code, content = response_of(client, "details")
    assert (content["last_error"], content["problems"]) == (text, [text])


@pytest.fixture
def stopped_engine() -> Iterator[None]:
    lifecycle.close()
    yield
    lifecycle.close()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("stopped_engine")
def test_ready_starts_engine_and_metrics_does_not(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A worker gets no traffic before it is ready, so the probe must start the engine.
    FeatureFlag.objects.create(key="new_checkout")
    monkeypatch.setattr("flagstaff._engine.direct.is_required", lambda: False)
    metrics = client.get("/health/metrics")
    assert metrics["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "\n# TYPE flagstaff_loads_total counter\n" in metrics.content.decode()
    assert status().mode == "idle"
    code, content = response_of(client, "ready")
    # It is ready after the load, and live a moment later.
    assert code == 200
    assert content["mode"] in {"starting", "live"}
