"""Visitors in several workers, during log-in and log-out, and behind a shared cache."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from http.client import HTTPConnection
from http.cookies import SimpleCookie
from typing import Any

import pytest

from tests.faults.app_servers import TIMEOUT, AppServer, program
from tests.faults.caching_proxy import running_proxy
from tests.support.sessions import within
from tools.ports import LOOPBACK

WORKERS = 4
REQUESTS = 1000
PARALLEL = 8
NAME = "flagstaff_visitor"
Query = Callable[..., Any]


class Browser:
    """Keeps its cookies. Each request has a connection of its own, so any worker may get it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookies: dict[str, str] = {}

    def get(self, path: str = "/") -> dict[str, Any]:
        """Returns what a page says."""
        connection = HTTPConnection(LOOPBACK, self.port, timeout=10)
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
    """Four workers of a site with a flag for half of its visitors."""
    query(
        "INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent, bucket_by) "
        "VALUES ('new_front', true, 50, 'visitor')"
    )
    query(
        "INSERT INTO auth_user (username, password, is_superuser, first_name, last_name, email, "
        "is_staff, is_active, date_joined) "
        "VALUES ('alice', '', false, '', '', '', false, true, now())"
    )
    options = ["--bind=127.0.0.1:{port}", f"--workers={WORKERS}", "--keep-alive=0"]
    options += ["--worker-tmp-dir=/dev/shm", "--no-control-socket"]
    command = [program("gunicorn"), *options, "tests.faults.served.wsgi"]
    settings = "tests.faults.served.visitor_settings"
    with AppServer(*command, database=database, DJANGO_SETTINGS_MODULE=settings) as server:
        assert within(TIMEOUT, lambda: _responds(server)), server.log()
        server.get_from_each(WORKERS, "/imprint")
        yield server


def _responds(server: AppServer) -> bool:
    try:
        return bool(server.get("/imprint"))
    except OSError:
        return False


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


def test_visitors_behind_a_shared_cache_share_neither_id_nor_result(shop: AppServer) -> None:
    with running_proxy(shop.port) as proxy:
        browsers = [Browser(proxy.port) for _ in range(40)]
        # A page that is the same for all is stored, so the cache works.
        assert len({browser.get("/imprint")["pid"] for browser in browsers}) == 1
        for _ in range(3):
            with ThreadPoolExecutor(PARALLEL) as pool:
                pages = list(pool.map(lambda browser: browser.get("/public"), browsers))
            assert len({page["visitor"] for page in pages}) == len(browsers)
            for browser, page in zip(browsers, pages, strict=True):
                assert browser.cookies[NAME].split(":")[0] == page["visitor"]
                assert page["enabled"] is is_enabled_for(page["visitor"])
    assert proxy.hits == {"/imprint": len(browsers) - 1}


def test_page_that_needs_no_visitor_is_stored_by_a_shared_cache(
    shop: AppServer, query: Query
) -> None:
    query("UPDATE flagstaff_featureflag SET rollout_percent = 100")
    updated: set[int] = set()

    def each_worker_has_the_change() -> bool:
        response = Browser(shop.port).get()
        if response["visitor"] is None:
            updated.add(response["pid"])
        return len(updated) == WORKERS

    assert within(TIMEOUT, each_worker_has_the_change)
    with running_proxy(shop.port) as proxy:
        browsers = [Browser(proxy.port) for _ in range(3)]
        assert all(browser.get("/public")["enabled"] for browser in browsers)
    assert [browser.cookies for browser in browsers] == [{}, {}, {}]
    assert proxy.hits == {"/public": 2}
