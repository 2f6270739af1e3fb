"""The health endpoints of a worker whose database is down."""

import pytest
from django.test import RequestFactory
from django.urls import include, path

from flagstaff import health
from tests.conftest import RunIsolated
from tests.support.workers import Worker, calling
from tools.ports import free_port
from tools.postgres import Postgres

urlpatterns = [path("health/", include("flagstaff.health"))]

pytestmark = pytest.mark.urls(__name__)
PUBLIC = ("live", "ready", "fresh", "metrics")
# A process with ATOMIC_REQUESTS.
WORKER = """
import sys, django
from django.conf import settings
django.setup()
settings.DATABASES["default"]["ATOMIC_REQUESTS"] = True
settings.FLAGSTAFF = {"STARTUP_TIMEOUT": 1}
settings.ROOT_URLCONF = "tests.system.engine.test_health"
from django.test import Client, RequestFactory
for name in sys.argv[1:]:
    print(name, Client(raise_request_exception=False).get(f"/health/{name}").status_code)
"""


def test_unreachable_database_is_no_server_error(run_isolated: RunIsolated) -> None:
    unreachable = f"postgres://127.0.0.1:{free_port()}/flags"
    output = run_isolated(WORKER, *PUBLIC, DATABASE_URL=unreachable)
    assert output.splitlines() == ["live 200", "ready 503", "fresh 503", "metrics 200"]


def probe(name: str) -> int:
    """Returns the status code of an endpoint."""
    return int(getattr(health, name)(RequestFactory().get("/")).status_code)


PROBE = calling(probe)


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
