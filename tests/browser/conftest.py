"""The example as `make demo` serves it, and a browser in front of it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, final

import psycopg
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tools.demo import manage, wait_for_answer, workers
from tools.ports import LOOPBACK, free_port
from tools.postgres import Postgres

WORKERS = 3
PATIENCE = 10.0
OPTIONS = """
    --headless=new --no-sandbox --disable-dev-shm-usage --disable-gpu --disable-quic --no-first-run
    --disable-background-networking --disable-component-update --disable-sync
    --window-size=1280,900
"""
# Each test begins with this, whatever the one before has done.
RESET = """
    UPDATE flagstaff_featureflag SET enabled = true, rollout_percent = 5 WHERE key = 'new_checkout';
    UPDATE flagstaff_keyvaluestore SET value = '"stripe"' WHERE key = 'payment_gateway'
"""


class Shop(NamedTuple):
    """The example at work."""

    address: str
    database: str
    master: int

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """The rows of a statement, as psql would give them."""
        with psycopg.connect(self.database, autocommit=True) as session:
            cursor = session.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def workers(self) -> set[str]:
        """The processes that serve."""
        children = Path(f"/proc/{self.master}/task/{self.master}/children")
        return set(children.read_text().split())


@final
class Visitor:
    """Somebody in front of a browser. Nothing is waited for by sleeping, only by looking."""

    def __init__(self, driver: webdriver.Chrome, address: str) -> None:
        self.driver = driver
        self.address = address

    def visit(self, path: str) -> None:
        self.driver.get(self.address + path)

    def tab(self, path: str) -> None:
        """Open a page beside the others."""
        self.driver.switch_to.new_window("tab")
        self.visit(path)

    def turn_to(self, tab: int) -> None:
        self.driver.switch_to.window(self.driver.window_handles[tab])

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        """The texts of all that fits, read at one moment."""
        script = "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)"
        found = self.driver.execute_script(script, selector)
        return [" ".join(text.split()) for text in found]

    def text(self, selector: str) -> str:
        return " ".join(self.one(selector).text.split())

    def write(self, selector: str, text: str) -> None:
        field = self.one(selector)
        field.clear()
        field.send_keys(text)

    def click(self, selector: str) -> None:
        self.one(selector).click()

    def follow(self, link: str) -> None:
        self.driver.find_element(By.PARTIAL_LINK_TEXT, link).click()

    def sees(self, looks: Callable[[], Any], expected: Any) -> None:
        """Wait until what is looked at is as expected."""
        found: list[Any] = []

        def look(_driver: object) -> bool:
            found[:] = [looks()]
            return bool(found[0] == expected)

        try:
            WebDriverWait(self.driver, PATIENCE, poll_frequency=0.02).until(look)
        except Exception as error:
            raise AssertionError(f"{found} is not {expected!r}") from error

    def reads(self, selector: str, pattern: str) -> None:
        """Wait until a text of the page is like this."""
        self.sees(lambda: bool(re.search(pattern, " ".join(self.texts(selector)))), True)

    def becomes(self, customer: str) -> None:
        """Choose in the shop's menu who to be."""
        self.click(".who summary")
        self.click(f".who button[value='{customer}']")
        self.reads(".who summary", customer.capitalize() or "nobody")


@pytest.fixture(scope="module")
def programs() -> tuple[str, str]:
    """Where the browser and its driver are."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser and driver:
        return browser, driver
    if os.environ.get("REQUIRE_BROWSER") == "1":
        pytest.fail("REQUIRE_BROWSER=1, and chromium or chromedriver is missing")
    pytest.skip("chromium or chromedriver is missing")


@pytest.fixture(scope="module")
def shop(programs: object, module_postgres_server: Postgres) -> Iterator[Shop]:
    """The example, with its sample data and several workers."""
    port, database = free_port(), module_postgres_server.url
    own = {"DATABASE_URL": database, "PORT": str(port), "WORKERS": str(WORKERS)}
    environment = os.environ | own
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    for command in ("migrate", "seed"):
        manage(command, environment)
    with workers(environment) as master:
        wait_for_answer(port, master)
        yield Shop(f"http://{LOOPBACK}:{port}", database, master.pid)


@pytest.fixture(scope="module")
def driver(
    programs: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[webdriver.Chrome]:
    """A browser without a past."""
    browser, chromedriver = programs
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for option in (*OPTIONS.split(), f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def logged_in(driver: webdriver.Chrome, shop: Shop) -> Visitor:
    """The operator, who has a log-in to the admin."""
    operator = Visitor(driver, shop.address)
    operator.visit("/admin/")
    operator.write("#id_username", "admin")
    operator.write("#id_password", "flagstaff")
    operator.click("input[type=submit]")
    operator.reads("h1", "Behind the counter")
    return operator


@pytest.fixture
def visitor(logged_in: Visitor, shop: Shop) -> Iterator[Visitor]:
    """One tab, nobody in the shop, the sample data as they were, and no complaint at the end."""
    shop.query(RESET)
    logged_in.visit("/")
    logged_in.driver.delete_cookie("shop_session")
    yield logged_in
    driver = logged_in.driver
    first, *others = driver.window_handles
    for tab in others:
        driver.switch_to.window(tab)
        driver.close()
    driver.switch_to.window(first)
    assert [
        entry
        for entry in driver.get_log("browser")  # type: ignore[no-untyped-call]
        if entry["level"] == "SEVERE"
    ] == []
