"""The example as `make demo` serves it, and a browser that uses it."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from selenium import webdriver

import flagstaff
from tests.support.admin_pages import FLAGS
from tests.support.migrated_database import cluster
from tools.browser import Visitor, chromium
from tools.demo import ROOT, manage, wait_for_answer, workers
from tools.ports import LOOPBACK, free_port
from tools.postgres import Postgres

__all__ = ["RESET", "WORKERS", "Shop", "Visitor"]

# Where a test looks at several workers: each of them starts for as long as a test takes.
WORKERS = 3
# The processes serve the package that the test has imported.
_PACKAGE = Path(flagstaff.__file__).parent.parent
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

    def pk_of(self, key: str, table: str = "featureflag") -> int:
        """Returns the primary key of the row with a key."""
        [[pk]] = self.query(f"SELECT id FROM flagstaff_{table} WHERE key = '{key}'")
        return int(pk)

    def page_of(self, key: str = "new_checkout", view: str = "change") -> str:
        """Returns the path of a page of a flag."""
        return f"{FLAGS}{self.pk_of(key)}/{view}/"

    def workers(self) -> set[str]:
        """Returns the process ids of the workers."""
        children = Path(f"/proc/{self.master}/task/{self.master}/children")
        return set(children.read_text().split())


@pytest.fixture(scope="session")
def programs() -> tuple[str, str]:
    """The paths of the browser and its driver."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser and driver:
        return browser, driver
    if os.environ.get("REQUIRE_BROWSER") == "1":
        pytest.fail("REQUIRE_BROWSER=1, and chromium or chromedriver is missing")
    pytest.skip("chromium or chromedriver is missing")


def required(packages: Callable[[], Path]) -> Path:
    """Returns the folder of packages of npm. Skips a test without them, or fails it in CI."""
    try:
        return packages()
    except LookupError as error:
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(f"REQUIRE_BROWSER=1, and {error}")
        pytest.skip(str(error))


def environment_of(database: str) -> dict[str, str]:
    """Returns the environment of the example's processes on this database."""
    settings = {
        "DATABASE_URL": database,
        "WORKERS": "1",
        "DJANGO_SETTINGS_MODULE": "tests.system.browser.settings",
        "PYTHONPATH": os.pathsep.join(map(str, (_PACKAGE, ROOT))),
    }
    return os.environ | settings


@contextmanager
def serving(database: str, **variables: str) -> Iterator[Shop]:
    """Serves the example on a database, with more variables in the environment of its processes."""
    port = free_port()
    environment = environment_of(database) | {"PORT": str(port)} | variables
    with workers(environment) as master:
        wait_for_answer(port, master)
        yield Shop(f"http://{LOOPBACK}:{port}", database, master.pid, environment)


@pytest.fixture(scope="session")
def migrated_cluster() -> Iterator[Path]:
    """The data directory of a stopped server with the example's sample data, to be copied."""
    with cluster("example", _seed) as data:
        yield data


def _seed(server: Postgres) -> None:
    for command in ("migrate", "seed"):
        manage(command, environment_of(server.url))


@pytest.fixture(scope="module")
def shop(
    request: pytest.FixtureRequest, programs: object, module_postgres_server: Postgres
) -> Iterator[Shop]:
    """The running example, with its sample data and one worker.

    A file adds variables to the environment of its processes by a dict ENVIRONMENT.
    """
    variables: dict[str, str] = getattr(request.module, "ENVIRONMENT", {})
    with serving(module_postgres_server.url, **variables) as shop:
        yield shop


@pytest.fixture(scope="session")
def browser(
    programs: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[webdriver.Chrome]:
    """A browser that began with an empty profile."""
    with chromium(*programs, tmp_path_factory.mktemp("browser")) as driver:
        yield driver


@pytest.fixture(scope="module")
def driver(browser: webdriver.Chrome) -> Iterator[webdriver.Chrome]:
    """The browser, for the tests of one file, whose shop is at an address of its own."""
    yield browser
    browser.get("about:blank")
    # Cookies are those of a machine, and not of a port.
    for command in ("Network.clearBrowserCookies", "Network.clearBrowserCache"):
        browser.execute_cdp_cmd(command, {})
    visitor = Visitor(browser, "")
    visitor.reset_width()
    visitor.set_scheme("light")
    # The shop of the file may have ended while a page was open.
    visitor.console_errors()


@pytest.fixture(scope="module")
def logged_in(driver: webdriver.Chrome, shop: Shop) -> Visitor:
    """A browser logged in to the admin."""
    visitor = Visitor(driver, shop.address)
    visitor.log_in_to_admin("admin")
    return visitor


@pytest.fixture
def visitor(logged_in: Visitor, shop: Shop) -> Iterator[Visitor]:
    """A browser with one tab, anonymous in the shop. Fails on errors in the browser's console."""
    # The page of the test before asks for nothing of the rows that are gone now.
    logged_in.visit("/")
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


@pytest.fixture
def plain_phone(visitor: Visitor) -> Iterator[Visitor]:
    """A phone without scripts. test_accessibility.py has the pages on a desktop."""

    def runs_scripts() -> bool:
        visitor.visit("/admin/")
        # A script of Django's admin sets it.
        script = "return 'theme' in document.documentElement.dataset"
        return bool(visitor.driver.execute_script(script))

    disable = "Emulation.setScriptExecutionDisabled"
    visitor.driver.execute_cdp_cmd(disable, {"value": True})
    visitor.set_width(400)
    yield visitor
    # The browser enables scripts a bit later.
    visitor.driver.execute_cdp_cmd(disable, {"value": False})
    visitor.wait_until(runs_scripts, expected=True)
    visitor.reset_width()
