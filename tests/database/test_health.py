"""The health and metrics endpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client, RequestFactory
from django.urls import include, path

from flagstaff import health
from flagstaff._engine import lifecycle
from flagstaff._engine.status import Status, status
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import permit
from tests.conftest import RunIsolated
from tests.support.workers import Worker
from tools.ports import free_port
from tools.postgres import Postgres

urlpatterns = [path("health/", include("flagstaff.health"))]

pytestmark = pytest.mark.urls(__name__)

PUBLIC = ("live", "ready", "fresh", "metrics")


@pytest.fixture
def set_status(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Returns a function that sets the status which the views see."""

    def set_fields(**fields: Any) -> None:
        monkeypatch.setattr("flagstaff.health._core.start", lambda: None)
        now = Status(**{**status().as_dict(), **fields})
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


def test_public_endpoints_do_not_name_flags_hosts_or_users(set_status: Any, client: Client) -> None:
    set_status(last_error="to db.internal", problems=('flag "new_checkout" is ignored',), pid=4711)
    for name in ("live", "ready", "fresh"):
        text = client.get(f"/health/{name}").content.decode()
        for secret in ("internal", "new_checkout", "4711", "alice"):
            assert secret not in text


@pytest.mark.parametrize("name", PUBLIC)
def test_response_is_not_cached_and_post_is_not_allowed(name: str, client: Client) -> None:
    response = client.get(f"/health/{name}")
    assert "no-store" in response["Cache-Control"]
    assert not response.cookies
    assert client.head(f"/health/{name}").status_code == response.status_code
    assert client.post(f"/health/{name}").status_code == 405


@pytest.mark.parametrize("name", PUBLIC)
def test_public_endpoint_needs_no_login_and_no_database(
    name: str, client: Client, settings: Any
) -> None:
    # Without the mark django_db, a query would fail this test.
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
        "flagstaff.middleware.FlagstaffMiddleware",
    ]
    assert client.get(f"/health/{name}").status_code == 200


def test_metrics_have_prometheus_text_format(client: Client) -> None:
    response = client.get("/health/metrics")
    assert response["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "\n# TYPE flagstaff_loads_total counter\n" in response.content.decode()


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create(username="alice", is_staff=True)


def test_details_need_staff_user_with_view_permission(alice: User, client: Client) -> None:
    assert client.get("/health/details").status_code == 404
    client.force_login(alice)
    assert client.get("/health/details").status_code == 404
    permit(alice, "view_featureflag")
    code, content = response_of(client, "details")
    assert (code, set(content)) == (200, set(status().as_dict()))
    User.objects.update(is_staff=False)
    assert client.get("/health/details").status_code == 404


def test_details_without_auth_middleware_are_not_found(client: Client, settings: Any) -> None:
    settings.MIDDLEWARE = []
    assert client.get("/health/details").status_code == 404


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
    assert client.get("/health/metrics").status_code == 200
    assert status().mode == "idle"
    code, content = response_of(client, "ready")
    assert (code, content["mode"]) == (200, "live")


# A process with ATOMIC_REQUESTS.
WORKER = """
import os, sys, django
from django.conf import settings
django.setup()
settings.DATABASES["default"]["ATOMIC_REQUESTS"] = True
settings.FLAGSTAFF = {"STARTUP_TIMEOUT": 1}
settings.ROOT_URLCONF = "tests.database.test_health"
from django.test import Client, RequestFactory
for name in sys.argv[1:]:
    print(name, Client(raise_request_exception=False).get(f"/health/{name}").status_code)
"""


def test_unreachable_database_is_no_server_error(run_isolated: RunIsolated) -> None:
    unreachable = f"postgres://127.0.0.1:{free_port()}/flags"
    output = run_isolated(
        WORKER, *PUBLIC, DATABASE_URL=unreachable, DJANGO_SETTINGS_MODULE="tests.support.settings"
    )
    assert output.splitlines() == ["live 200", "ready 503", "fresh 503", "metrics 200"]


def probe(name: str) -> int:
    """Returns the status code of an endpoint."""
    return int(getattr(health, name)(RequestFactory().get("/")).status_code)


PROBE = ["call", f"{__name__}.probe"]


def test_loaded_worker_stays_ready_when_database_is_down(server: Postgres, database: str) -> None:
    with Worker(database, MAX_STALENESS=1) as worker:
        assert worker.ask(*PROBE, "ready") == 200
        assert worker.ask(*PROBE, "fresh") == 200
        server.stop()
        worker.sees([*PROBE, "fresh"], 503, within=10)
        assert worker.ask(*PROBE, "ready") == 200
        # The state is logged without an evaluation.
        worker.sees(["mode"], "down", within=3)
        while not worker.ask("logged"):
            worker.ask(*PROBE, "ready")
        assert [level for level, _text in worker.ask("logged")] == ["WARNING"]
        server.start()
        worker.sees([*PROBE, "fresh"], 200, within=10)
