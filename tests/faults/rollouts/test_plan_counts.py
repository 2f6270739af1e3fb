"""What rollout plans measure is counted exactly under application servers and task queues."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.app_servers import CELERY, GUNICORN, UVICORN, UWSGI, Browser, served
from tests.faults.served.broker import application, deliver
from tests.support.buckets import bucket_of
from tests.support.fixtures import Query
from tests.support.plans import counted, failed_users, start_run
from tools.limits import seconds

pytestmark = pytest.mark.timeout(120)

USERS, ROUNDS = 120, 2
MEASURED = json.dumps({"MEASURE_INTERVAL": 0.5})
SERVERS = {
    "gunicorn": (["gunicorn", *GUNICORN], "buy"),
    "gunicorn with threads": (
        ["gunicorn", "--worker-class=gthread", "--threads=4", *GUNICORN],
        "buy",
    ),
    "gunicorn with gevent": (["gunicorn", "--worker-class=gevent", *GUNICORN], "buy"),
    "gunicorn, forked after the import": (["gunicorn", "--preload", *GUNICORN], "buy"),
    "uwsgi": (["uwsgi", *UWSGI], "buy"),
    "uvicorn, sync view": (["uvicorn", *UVICORN], "buy"),
    "uvicorn, async view": (["uvicorn", *UVICORN], "buy/loop"),
}


INSIDE = [user for user in range(USERS) if bucket_of("new_checkout", user) < 33]
FAILING = [user for user in INSIDE if user % 10 == 0]


@pytest.mark.parametrize("name", SERVERS)
def test_stopped_server_has_counted_every_request(name: str, database: str, query: Query) -> None:
    run = start_run(query, limits="{}")
    command, page = SERVERS[name]
    paths = [f"/{page}/{user}" for user in range(USERS)] * ROUNDS
    with served(command, database, WITH_MIDDLEWARE="1", FLAGSTAFF=MEASURED) as server:
        server.wait("/process")
        with ThreadPoolExecutor(4) as threads:
            browser = Browser(server.port)
            statuses = [*threads.map(lambda path: browser.send("GET", path)[0], paths)]
    failures = ROUNDS * len(FAILING)
    assert statuses.count(500) == failures
    assert statuses.count(200) == len(paths) - failures
    inside = ROUNDS * len(INSIDE)
    assert counted(query, run, "r") == (len(paths) - inside, inside)
    outside_failed, inside_failed = counted(query, run, "f")
    # Of each user, the first failure in each worker.
    assert outside_failed == 0
    assert len(FAILING) <= inside_failed <= failures
    assert failed_users(query, run) == (0, len(FAILING))
    lost = query(
        "SELECT count(*) FROM flagstaff_report WHERE report = 'measurements' AND stopped_at IS NULL"
    )
    assert lost == (0,)


def test_celery_counts_every_task(database: str, query: Query, tmp_path: Path) -> None:
    run = start_run(query, limits="{}")
    app = application(tmp_path)
    with served(CELERY, database, CELERY_FOLDER=str(tmp_path), FLAGSTAFF=MEASURED):
        tasks = [app.send_task("buy", (user,)) for user in range(USERS)]
        deliver(tmp_path)
        results = [task.get(timeout=seconds(40), interval=0.01, propagate=False) for task in tasks]
    assert sum(isinstance(result, Exception) for result in results) == len(FAILING)
    assert counted(query, run, "r") == (USERS - len(INSIDE), len(INSIDE))
    assert failed_users(query, run) == (0, len(FAILING))
