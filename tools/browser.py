"""A headless Chromium, for the browser tests and for the pictures of the documentation."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from selenium import webdriver
from selenium.common.exceptions import (
    ElementNotInteractableException,
    StaleElementReferenceException,
)
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tools.limits import SERVER, seconds
from tools.ports import LOOPBACK

__all__ = ["PASSWORD", "Visitor", "chromium"]

#: The password of all staff users of the example.
PASSWORD = "flagstaff"  # noqa: S105

# The width below which Django's admin is laid out for a phone.
_DESKTOP = 768
_HAS_PAINTED = "return performance.getEntriesByType('paint').length > 0"
OPTIONS = """
    --headless=new --no-sandbox --disable-dev-shm-usage --disable-gpu --disable-quic --no-first-run
    --disable-background-networking --disable-component-update --disable-sync
    --hide-scrollbars --window-size=1280,900
"""


@contextmanager
def chromium(browser: str, chromedriver: str, profile: Path) -> Iterator[webdriver.Chrome]:
    """Yields a browser whose profile is an empty directory, and ends it."""
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for option in (*OPTIONS.split(), f"--user-data-dir={profile}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    try:
        yield driver
    finally:
        driver.quit()


@final
class Visitor:
    """A user with a browser. Waits poll the page; nothing sleeps for a fixed time."""

    def __init__(self, driver: webdriver.Chrome, address: str) -> None:
        self.driver = driver
        self.address = address
        #: The user of the admin.
        self.username = ""

    def visit(self, path: str) -> None:
        # As in the shop's links: the admin has another host, and so another session.
        is_admin = path.startswith("/admin/")
        address = self.address.replace(LOOPBACK, "localhost") if is_admin else self.address
        self.driver.get(address + path)
        # The driver may return early when it opens the URL of the open page again.
        script = "return document.readyState"
        self.wait_until(lambda: self.driver.execute_script(script), "complete")

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
        shown = self.driver.execute_script(script, selector)
        return [" ".join(text.split()) for text in shown]

    def text(self, selector: str) -> str:
        return " ".join(self.find(selector).text.split())

    def write(self, selector: str, text: str) -> None:
        def write() -> None:
            field = self.find(selector)
            field.clear()
            field.send_keys(text)

        self.wait_until_painted()
        self.when_interactable(write)

    def press_keys(self, *keys: str) -> None:
        """Presses keys, wherever the focus is."""
        self.wait_until_painted()
        ActionChains(self.driver).send_keys(*keys).perform()

    def wait_until_painted(self) -> None:
        """Waits for the first picture of the page: the browser drops keys that it gets before."""
        self.wait_until(lambda: self.driver.execute_script(_HAS_PAINTED), expected=True)

    def click(self, selector: str) -> None:
        self.when_interactable(lambda: self.find(selector).click())

    def when_interactable(self, act: Callable[[], object]) -> None:
        """Acts as soon as the element can be used.

        The layout of the page may not be ready, or a fragment may just replace the element.
        """

        def has_acted(_driver: object) -> bool:
            act()
            return True

        ignored = [ElementNotInteractableException, StaleElementReferenceException]
        WebDriverWait(self.driver, seconds(SERVER), 0.02, ignored).until(has_acted)

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
            script = "arguments[0].click()"
            self.when_interactable(lambda: self.driver.execute_script(script, self.find(selector)))

    def follow_link(self, text: str) -> None:
        """Clicks the first link with this text, and waits until the next page is open."""
        with self.leaving_page():
            self.driver.find_element(By.PARTIAL_LINK_TEXT, text).click()

    def wait_until(self, read: Callable[[], Any], expected: Any) -> None:
        """Waits until `read` returns the expected result."""
        last: list[Any] = []

        def is_as_expected(_driver: object) -> bool:
            last[:] = [read()]
            return bool(last[0] == expected)

        try:
            WebDriverWait(self.driver, seconds(SERVER), poll_frequency=0.02).until(is_as_expected)
        except Exception as error:
            raise AssertionError(f"{last} is not {expected!r}") from error

    def wait_for_text(self, selector: str, pattern: str) -> None:
        """Waits until the text of an element matches a pattern."""
        self.wait_until(
            lambda: bool(re.search(pattern, " ".join(self.texts(selector)))), expected=True
        )

    def log_in_to_admin(self, username: str) -> None:
        """Opens the admin as another user. All staff users of the tests have one password."""
        self.visit("/admin/")
        self.driver.delete_all_cookies()
        self.visit("/admin/")
        self.write("#id_username", username)
        self.write("#id_password", PASSWORD)
        self.follow("input[type=submit]")
        self.wait_for_text("h1", "Site administration")
        self.username = username

    def set_width(self, width: int) -> None:
        """Resizes the page, as on a phone or on a desktop. A phone has no scroll bars."""
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": width < _DESKTOP})

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
