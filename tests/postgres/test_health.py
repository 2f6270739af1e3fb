"""What load balancers, monitors and people are told of a worker."""

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
from tests.admin_pages import permit
from tests.conftest import RunIsolated
from tests.workers import Worker
from tools.ports import free_port
from tools.postgres import Postgres

urlpatterns = [path("health/", include("flagstaff.health"))]

pytestmark = pytest.mark.urls(__name__)

FOR_MACHINES = ("live", "ready", "fresh", "metrics")


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have the views see a worker in this state."""

    def be(**fields: Any) -> None:
        monkeypatch.setattr("flagstaff.health.engine.ready", lambda _timeout: None)
        now = Status(**{**status().as_dict(), **fields})
        monkeypatch.setattr("flagstaff.health.status", lambda: now)

    return be


def asked(client: Client, name: str) -> tuple[int, Any]:
    response = client.get(f"/health/{name}")
    return response.status_code, json.loads(response.content)


STATES = {
    "nothing loaded yet": (["starting", False, None, False], 503, 503),
    "never reached": (["down", False, None, False], 503, 503),
    "live": (["live", True, 0.2, False], 200, 200),
    "cut off for a while": (["down", True, 60.0, False], 200, 200),
    "cut off for long": (["down", True, 301.0, True], 200, 503),
    "direct": (["direct", True, None, False], 200, 200),
}


@pytest.mark.parametrize("state", STATES)
def test_codes_are_those_of_the_state(state: str, known: Any, client: Client) -> None:
    of_state, ready, fresh = STATES[state]
    fields = dict(zip(("mode", "ready", "age", "stale"), of_state, strict=True))
    known(**fields)
    assert asked(client, "live") == (200, {"live": True})
    assert asked(client, "ready") == (ready, fields)
    assert asked(client, "fresh") == (fresh, fields)


def test_nothing_is_told_that_names_a_flag_a_host_or_a_user(known: Any, client: Client) -> None:
    known(last_error="to db.internal", problems=('flag "new_checkout" is set aside',), pid=4711)
    for name in ("live", "ready", "fresh"):
        text = client.get(f"/health/{name}").content.decode()
        for secret in ("internal", "new_checkout", "4711", "alice"):
            assert secret not in text


@pytest.mark.parametrize("name", FOR_MACHINES)
def test_answer_is_kept_by_no_cache_and_only_reads(name: str, client: Client) -> None:
    response = client.get(f"/health/{name}")
    assert "no-store" in response["Cache-Control"]
    assert not response.cookies
    assert client.head(f"/health/{name}").status_code == response.status_code
    assert client.post(f"/health/{name}").status_code == 405


@pytest.mark.parametrize("name", FOR_MACHINES)
def test_machine_need_not_log_in_and_needs_no_database(
    name: str, client: Client, settings: Any
) -> None:
    # Without the mark django_db, a query of this test is an error.
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
        "flagstaff.middleware.FlagstaffMiddleware",
    ]
    assert client.get(f"/health/{name}").status_code == 200


def test_metrics_are_in_the_format_of_prometheus(client: Client) -> None:
    response = client.get("/health/metrics")
    assert response["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "\n# TYPE flagstaff_loads_total counter\n" in response.content.decode()


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create(username="alice", is_staff=True)


def test_details_are_for_staff_who_may_view_flags(alice: User, client: Client) -> None:
    assert client.get("/health/details").status_code == 404
    client.force_login(alice)
    assert client.get("/health/details").status_code == 404
    permit(alice, "view_featureflag")
    code, told = asked(client, "details")
    assert (code, set(told)) == (200, set(status().as_dict()))
    User.objects.update(is_staff=False)
    assert client.get("/health/details").status_code == 404


def test_details_are_not_there_where_nobody_can_log_in(client: Client, settings: Any) -> None:
    settings.MIDDLEWARE = []
    assert client.get("/health/details").status_code == 404


@pytest.fixture
def unasked() -> Iterator[None]:
    lifecycle.close()
    yield
    lifecycle.close()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("unasked")
def test_first_look_starts_what_it_looks_at(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A worker that gets no traffic before it is ready would otherwise never be.
    FeatureFlag.objects.create(key="new_checkout")
    monkeypatch.setattr("flagstaff._engine.direct.is_required", lambda: False)
    assert client.get("/health/metrics").status_code == 200
    assert status().mode == "idle"
    code, told = asked(client, "ready")
    assert (code, told["mode"]) == (200, "live")


# A worker of its own, whose requests are all in a transaction.
WORKER = """
import os, sys, django
from django.conf import settings
django.setup()
settings.DATABASES["default"]["ATOMIC_REQUESTS"] = True
settings.ROOT_URLCONF = "tests.postgres.test_health"
from django.test import Client, RequestFactory
for name in sys.argv[1:]:
    print(name, Client(raise_request_exception=False).get(f"/health/{name}").status_code)
"""


def test_database_that_is_away_makes_no_error(run_isolated: RunIsolated) -> None:
    nowhere = f"postgres://127.0.0.1:{free_port()}/flags"
    said = run_isolated(
        WORKER, *FOR_MACHINES, DATABASE_URL=nowhere, DJANGO_SETTINGS_MODULE="tests.settings"
    )
    assert said.splitlines() == ["live 200", "ready 503", "fresh 503", "metrics 200"]


def probe(name: str) -> int:
    """What a worker answers at one of the addresses."""
    return int(getattr(health, name)(RequestFactory().get("/")).status_code)


PROBE = ["call", f"{__name__}.probe"]


def test_worker_that_has_answers_stays_ready_while_the_database_is_away(
    server: Postgres, database: str
) -> None:
    with Worker(database, MAX_STALENESS=1) as worker:
        assert worker.ask(*PROBE, "ready") == 200
        assert worker.ask(*PROBE, "fresh") == 200
        server.stop()
        worker.sees([*PROBE, "fresh"], 503, within=10)
        assert worker.ask(*PROBE, "ready") == 200
        # Nobody has asked it a question, and its log says it all the same.
        worker.sees(["mode"], "down", within=3)
        while not worker.ask("logged"):
            worker.ask(*PROBE, "ready")
        assert [level for level, _text in worker.ask("logged")] == ["WARNING"]
        server.start()
        worker.sees([*PROBE, "fresh"], 200, within=10)
