"""A visitor in several workers, during log-in and log-out."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.faults.app_servers import GUNICORN, TIMEOUT, WORKERS, AppServer, Browser, served
from tests.support.buckets import bucket_of
from tests.support.fixtures import Query
from tests.support.sessions import within
from tests.support.sql import insert_users

REQUESTS = 400


@pytest.fixture
def shop(database: str, query: Query) -> Iterator[AppServer]:
    """Some workers of a site with a flag for half of its visitors."""
    query(
        "INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent, bucket_by) "
        "VALUES ('new_front', true, 50, 'visitor')"
    )
    query(insert_users(1, 1))
    with served(["gunicorn", *GUNICORN], database, WITH_MIDDLEWARE="1") as server:
        server.wait()
        server.get_from_each(WORKERS)
        yield server


def test_browser_keeps_its_result_in_all_workers_after_login_and_logout(shop: AppServer) -> None:
    browser = Browser(shop.port)

    def get_in_parallel(count: int) -> list[dict[str, Any]]:
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(browser.get, ["/front"] * count))

    first = browser.get("/front")
    assert first["enabled"] is (bucket_of("new_front", first["visitor"]) < 50)
    seen = get_in_parallel(REQUESTS // 4)
    browser.get("/login")
    logged_in = get_in_parallel(REQUESTS // 2)
    assert {response["user"] for response in logged_in} == {"1"}
    browser.get("/logout")
    seen += logged_in + get_in_parallel(REQUESTS // 4)
    assert len(seen) == REQUESTS
    results = {(response["enabled"], response["visitor"]) for response in seen}
    assert results == {(first["enabled"], first["visitor"])}

    def each_worker_has_responded() -> bool:
        seen.append(browser.get("/front"))
        return len({response["pid"] for response in seen}) == WORKERS

    assert within(TIMEOUT, each_worker_has_responded)
    assert {response["visitor"] for response in seen} == {first["visitor"]}
