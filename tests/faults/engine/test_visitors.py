"""A visitor in several workers, during log-in and log-out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from http.client import HTTPConnection
from http.cookies import SimpleCookie
from typing import Any

import pytest

from tests.faults.app_servers import GUNICORN, TIMEOUT, WORKERS, AppServer, served
from tests.support.fixtures import Query
from tests.support.sessions import within
from tests.support.sql import insert_users
from tools.limits import seconds
from tools.ports import LOOPBACK

REQUESTS = 400
PARALLEL = 8


class Browser:
    """Keeps its cookies. Each request has a connection of its own, so any worker may get it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookies: dict[str, str] = {}

    def get(self, path: str = "/") -> dict[str, Any]:
        """Returns what a page says."""
        connection = HTTPConnection(LOOPBACK, self.port, timeout=seconds(10))
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        try:
            connection.request("GET", path, headers={"Cookie": cookies} if cookies else {})
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        assert response.status == 200, body
        for text in response.headers.get_all("Set-Cookie", []):
            self._keep(SimpleCookie(text))
        return dict(json.loads(body))

    def _keep(self, cookies: SimpleCookie) -> None:
        for name, cookie in cookies.items():
            if cookie["max-age"] == "0":
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = cookie.value

    def get_in_parallel(self, count: int) -> list[dict[str, Any]]:
        """Requests the page several times at once."""
        with ThreadPoolExecutor(PARALLEL) as pool:
            return list(pool.map(lambda _: self.get(), range(count)))


@pytest.fixture
def shop(database: str, query: Query) -> Iterator[AppServer]:
    """Some workers of a site with a flag for half of its visitors."""
    query(
        "INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent, bucket_by) "
        "VALUES ('new_front', true, 50, 'visitor')"
    )
    query(insert_users(1, 1))
    settings = "tests.faults.served.visitor_settings"
    with served(["gunicorn", *GUNICORN], database, DJANGO_SETTINGS_MODULE=settings) as server:
        server.wait()
        server.get_from_each(WORKERS)
        yield server


def is_enabled_for(visitor: str) -> bool:
    return int(sha256(f"new_front:{visitor}".encode()).hexdigest(), 16) % 100 < 50


def test_browser_keeps_its_result_in_all_workers_after_login_and_logout(shop: AppServer) -> None:
    browser = Browser(shop.port)
    first = browser.get()
    assert first["enabled"] is is_enabled_for(first["visitor"])
    seen = browser.get_in_parallel(REQUESTS // 4)
    browser.get("/login")
    logged_in = browser.get_in_parallel(REQUESTS // 2)
    assert {response["user"] for response in logged_in} == {"1"}
    browser.get("/logout")
    seen += logged_in + browser.get_in_parallel(REQUESTS // 4)
    assert len(seen) == REQUESTS
    results = {(response["enabled"], response["visitor"]) for response in seen}
    assert results == {(first["enabled"], first["visitor"])}

    def each_worker_has_responded() -> bool:
        seen.append(browser.get())
        return len({response["pid"] for response in seen}) == WORKERS

    assert within(TIMEOUT, each_worker_has_responded)
    assert {response["visitor"] for response in seen} == {first["visitor"]}
