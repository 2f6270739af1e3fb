"""The example as `make demo` serves it, and a browser that uses it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, final

import psycopg
import pytest
from selenium import webdriver
from selenium.common.exceptions import ElementNotInteractableException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tools.demo import ROOT, manage, wait_for_answer, workers
from tools.ports import LOOPBACK, free_port
from tools.postgres import Postgres

WORKERS = 3
TIMEOUT = 10.0
OPTIONS = """
    --headless=new --no-sandbox --disable-dev-shm-usage --disable-gpu --disable-quic --no-first-run
    --disable-background-networking --disable-component-update --disable-sync
    --window-size=1280,900
"""
# The state in which each test starts.
RESET = """
    UPDATE flagstaff_featureflag SET enabled = true, rollout_percent = 5 WHERE key = 'new_checkout';
    UPDATE flagstaff_keyvaluestore SET value = '"stripe"' WHERE key = 'payment_gateway'
"""


class Shop(NamedTuple):
    """The running example."""

    address: str
    database: str
    master: int
    #: The environment of its processes.
    environment: dict[str, str]

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Runs a statement and returns its rows."""
        with psycopg.connect(self.database, autocommit=True) as session:
            cursor = session.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def workers(self) -> set[str]:
        """Returns the process ids of the workers."""
        children = Path(f"/proc/{self.master}/task/{self.master}/children")
        return set(children.read_text().split())


@final
class Visitor:
    """A user with a browser. Waits poll the page; nothing sleeps for a fixed time."""

    def __init__(self, driver: webdriver.Chrome, address: str) -> None:
        self.driver = driver
        self.address = address
        #: The user of the admin.
        self.username = ""

    def visit(self, path: str) -> None:
        self.driver.get(self.address + path)

    def open_tab(self, path: str) -> None:
        """Opens a page in a new tab."""
        self.driver.switch_to.new_window("tab")
        self.visit(path)

    def switch_to_tab(self, tab: int) -> None:
        self.driver.switch_to.window(self.driver.window_handles[tab])

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        """Returns the texts of all matching elements, read in one step."""
        script = "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)"
        found = self.driver.execute_script(script, selector)
        return [" ".join(text.split()) for text in found]

    def text(self, selector: str) -> str:
        return " ".join(self.find(selector).text.split())

    def write(self, selector: str, text: str) -> None:
        def write() -> None:
            field = self.find(selector)
            field.clear()
            field.send_keys(text)

        self.when_interactable(write)

    def click(self, selector: str) -> None:
        self.when_interactable(lambda: self.find(selector).click())

    def when_interactable(self, act: Callable[[], object]) -> None:
        """Acts as soon as the element can be used: the layout of the page may not be ready."""

        def has_acted(_driver: object) -> bool:
            act()
            return True

        ignored = [ElementNotInteractableException]
        WebDriverWait(self.driver, TIMEOUT, 0.02, ignored).until(has_acted)

    @contextmanager
    def leaving_page(self) -> Iterator[None]:
        """Waits after the block until another page has replaced the open one.

        The driver returns from a click before the answer to a form is there.
        """
        self.driver.execute_script("document.documentElement.dataset.left = ''")
        yield
        self.wait_until(lambda: self.driver.find_elements(By.CSS_SELECTOR, "[data-left]"), [])

    def follow(self, selector: str) -> None:
        """Clicks a link or a button, and waits until the next page is open."""
        with self.leaving_page():
            self.click(selector)

    def press(self, selector: str) -> None:
        """Follows a button that may be outside the window or under another element."""
        with self.leaving_page():
            self.driver.execute_script("arguments[0].click()", self.find(selector))

    def follow_link(self, text: str) -> None:
        """Clicks the first link with this text, and waits until the next page is open."""
        with self.leaving_page():
            self.driver.find_element(By.PARTIAL_LINK_TEXT, text).click()

    def wait_until(self, read: Callable[[], Any], expected: Any) -> None:
        """Waits until `read` returns the expected result."""
        found: list[Any] = []

        def is_as_expected(_driver: object) -> bool:
            found[:] = [read()]
            return bool(found[0] == expected)

        try:
            WebDriverWait(self.driver, TIMEOUT, poll_frequency=0.02).until(is_as_expected)
        except Exception as error:
            raise AssertionError(f"{found} is not {expected!r}") from error

    def wait_for_text(self, selector: str, pattern: str) -> None:
        """Waits until the text of an element matches a pattern."""
        self.wait_until(lambda: bool(re.search(pattern, " ".join(self.texts(selector)))), True)

    def log_in_to_admin(self, username: str) -> None:
        """Opens the admin as another user. All staff users of the tests have one password."""
        self.visit("/admin/")
        self.driver.delete_all_cookies()
        self.visit("/admin/")
        self.write("#id_username", username)
        self.write("#id_password", "flagstaff")
        self.follow("input[type=submit]")
        self.wait_for_text("h1", "Shop administration")
        self.username = username

    def set_width(self, width: int) -> None:
        """Resizes the page, as on a phone or on a desktop. A phone has no scroll bars."""
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": width < 768})

    def reset_width(self) -> None:
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    def set_scheme(self, scheme: str) -> None:
        """Shows the page as on a system with this color scheme: light or dark."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def console_errors(self) -> list[str]:
        """Returns the errors of scripts, requests and policies since the last call."""
        entries = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def log_in_as(self, customer: str) -> None:
        """Chooses a customer in the menu of the shop."""
        self.click(".account summary")
        self.follow(f".account button[value='{customer}']")
        self.wait_for_text(".account summary", customer.capitalize() or "Anonymous")


@pytest.fixture(scope="module")
def programs() -> tuple[str, str]:
    """The paths of the browser and its driver."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser and driver:
        return browser, driver
    if os.environ.get("REQUIRE_BROWSER") == "1":
        pytest.fail("REQUIRE_BROWSER=1, and chromium or chromedriver is missing")
    pytest.skip("chromium or chromedriver is missing")


@pytest.fixture(scope="module")
def shop(programs: object, module_postgres_server: Postgres) -> Iterator[Shop]:
    """The running example, with its sample data and several workers."""
    port, database = free_port(), module_postgres_server.url
    settings = {
        "DATABASE_URL": database,
        "PORT": str(port),
        "WORKERS": str(WORKERS),
        "DJANGO_SETTINGS_MODULE": "tests.browser.settings",
        "PYTHONPATH": str(ROOT),
    }
    environment = os.environ | settings
    for command in ("migrate", "seed"):
        manage(command, environment)
    with workers(environment) as master:
        wait_for_answer(port, master)
        yield Shop(f"http://{LOOPBACK}:{port}", database, master.pid, environment)


@pytest.fixture(scope="module")
def driver(
    programs: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[webdriver.Chrome]:
    """A browser with an empty profile."""
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
    """A browser logged in to the admin."""
    visitor = Visitor(driver, shop.address)
    visitor.log_in_to_admin("admin")
    return visitor


@pytest.fixture
def visitor(logged_in: Visitor, shop: Shop) -> Iterator[Visitor]:
    """A browser with one tab, anonymous in the shop. Fails on errors in the browser's console."""
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
    assert logged_in.console_errors() == []
