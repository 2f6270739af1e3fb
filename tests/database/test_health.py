"""The health and metrics endpoints."""

import json
import re
from datetime import timedelta
from threading import Event
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models.functions import Now
from django.test import Client
from django.urls import include, path
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from flagstaff._engine import lifecycle
from flagstaff._jobs import HEARTBEAT
from flagstaff._text import say
from flagstaff._workers.status import Status, status
from flagstaff.contrib.webhooks.models import Delivery
from flagstaff.models import FeatureFlag, JobsRun, WaitingAction
from tests.support.shop import Shop
from tests.support.sql import without_table
from tools.limits import CHILD

urlpatterns = [path("health/", include("flagstaff.health"))]

pytestmark = pytest.mark.urls(__name__)
PUBLIC = ("live", "ready", "fresh", "metrics")
WAITING: dict[str, Any] = {
    "kind": "flag",
    "action": "off",
    "row_kind": "flag",
    "keys": ["new_checkout"],
    "arguments": {},
    "expected": {},
    "consequence": 0,
    "asked_by": "1",
}
DELIVERY = {"receiver": "ops", "kind": "flag", "object_pk": "1", "key": "k", "entry_ids": []}


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


def test_details_need_staff_user_with_view_permission(shop: Shop, settings: Any) -> None:
    for client in (Client(), shop.client("bob")):
        assert client.get("/health/details").status_code == 404
    client = shop.client("alice", "view_featureflag")
    late = timezone.now() - timedelta(hours=1)
    late_action = WaitingAction.objects.create(
        **WAITING, needs_approval=False, run_at=late, state="waiting", takes_away=True
    )
    code, content = response_of(client, "details")
    assert (code, set(content)) == (200, {*status().as_dict(), "waiting"})
    assert content["waiting"] == {late_action.key: "will not run"}
    User.objects.update(is_staff=False)
    assert client.get("/health/details").status_code == 404
    settings.MIDDLEWARE = []
    assert client.get("/health/details").status_code == 404


def test_details_have_the_texts_of_problems(shop: Shop, set_status: Any) -> None:
    text = "load: a table is locked by another session"
    error = say("{step}: a table is locked by another session", step="load")
    set_status(last_error=error, problems=(error,))
    _code, content = response_of(shop.client("alice", "view_featureflag"), "details")
    assert (content["last_error"], content["problems"]) == (text, [text])


def test_jobs_have_the_age_of_the_last_run_and_what_waits_or_was_given_up(
    client: Client, django_assert_num_queries: Any
) -> None:
    response = client.get("/health/jobs")
    # Before the first run.
    assert "flagstaff_jobs_age_seconds " not in re.sub("(?m)^#.*", "", response.content.decode())
    for _ in range(2):
        HEARTBEAT.run(Event())
    JobsRun.objects.update(last_run_at=Now() - timedelta(minutes=20))
    hours = {"waiting": (-1, 0.01, 1), "approval": (None,), "done": (1,)}
    for state, ages in (hours | {"expired": (3,), "failed": (3, 3)}).items():
        for age in ages:
            at = None if age is None else timezone.now() - timedelta(hours=age)
            needs_approval = state == "approval"
            WaitingAction.objects.create(
                **WAITING, needs_approval=needs_approval, run_at=at, state=state
            )
    Delivery.objects.create(**DELIVERY)
    Delivery.objects.create(**DELIVERY, failed_at=timezone.now())
    with django_assert_num_queries(3):
        response = client.get("/health/jobs")
    assert response["Content-Type"] == client.get("/health/metrics")["Content-Type"]
    numbers = {
        (sample.name, sample.labels.get("state")): sample.value
        for family in text_string_to_metric_families(response.content.decode())
        for sample in family.samples
    }
    assert 1200 <= numbers.pop(("flagstaff_jobs_age_seconds", None)) < 1200 + CHILD
    assert numbers == {
        ("flagstaff_waiting", "pending"): 3,
        ("flagstaff_waiting", "overdue"): 1,
        ("flagstaff_waiting", "expired"): 1,
        ("flagstaff_waiting", "failed"): 2,
        ("flagstaff_deliveries", "pending"): 1,
        ("flagstaff_deliveries", "failed"): 1,
    }


@pytest.mark.django_db(transaction=True)
def test_jobs_without_their_tables_are_unavailable(client: Client) -> None:
    with without_table("flagstaff_jobsrun"):
        response = client.get("/health/jobs")
    assert response.status_code == 503
    assert response.content == b"# the database cannot be read: ProgrammingError\n"


@pytest.mark.django_db(transaction=True)
def test_ready_starts_engine_and_metrics_does_not(
    client: Client, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    lifecycle.close()
    request.addfinalizer(lifecycle.close)
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
