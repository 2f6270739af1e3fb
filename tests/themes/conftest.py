"""The admin with one theme after the other, and a browser.

The themes and their Django are in an environment of their own: `make test-themes` creates it.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from selenium import webdriver

from tests.support.workers import address
from tests.system.browser.conftest import Visitor, driver, programs
from tools.limits import seconds
from tools.ports import LOOPBACK, free_port
from tools.postgres import Postgres

__all__ = ["driver", "programs"]

ROOT = Path(__file__).resolve().parent.parent.parent
TIMEOUT = 60.0
FLAGS = "/admin/flagstaff/featureflag/"
VALUES = "/admin/flagstaff/keyvaluestore/"
SEGMENTS = "/admin/flagstaff/segment/"
UNKNOWN = "/admin/flagstaff/unknownkey/"
WORKERS = "/admin/flagstaff/connectedworker/"
THEMES = (*("django", "unfold", "unfold-without-mixin", "jazzmin", "grappelli", "admin-interface"),)


class Themed(NamedTuple):
    """A browser in the admin with a theme."""

    theme: str
    visitor: Visitor
    pks: dict[str, int]

    def run(self, script: str, *arguments: object) -> Any:
        """Runs a script in the page and returns its result."""
        return self.visitor.driver.execute_script(script, *arguments)

    def open(self, page: str) -> None:
        """Opens a page by its name in PAGES."""
        path, button = PAGES[page]
        self.visitor.visit(path.format(**self.pks))
        if button:
            # Some themes put another element over a button's edge.
            self.run("document.querySelector(arguments[0]).click()", button)
            self.visitor.wait_for_text(".flagstaff-confirm", ".")

    def open_tab(self, label: str) -> None:
        """Opens a tab of the form by its label; without a label, does nothing."""
        script = """
            const tabs = [...document.querySelectorAll('[role=tab]')];
            tabs.find(one => one.textContent.trim() === arguments[0])?.click();
        """
        self.run(script, label)

    def wait_for_transitions(self) -> None:
        """Waits until no colour fades any more."""
        running = (
            "return document.getAnimations().filter(one => one.playState === 'running').length"
        )
        self.visitor.wait_until(lambda: self.run(running), expected=False)

    def set_look(self, mode: str, width: int) -> None:
        """Chooses a light or dark page, on a desktop or a phone."""
        feature = {"name": "prefers-color-scheme", "value": mode}
        self.visitor.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        self.visitor.set_width(width)


# The path of each page, and the button that opens it.
PAGES = {
    "list": (FLAGS, ""),
    "add": (f"{FLAGS}add/", ""),
    "change": (FLAGS + "{flag}/change/", ""),
    "who-has-it": (FLAGS + "{flag}/change/?user=admin&context=country%3DDE", ""),
    "allowed-users": (FLAGS + "{flag}/allowed-users/", ""),
    "unreadable-rules": (FLAGS + "{unreadable}/change/", ""),
    "delete": (FLAGS + "{flag}/delete/", ""),
    "history": (FLAGS + "{flag}/history/", ""),
    "kill": (FLAGS + "{flag}/kill/", ""),
    "turn-on": (FLAGS, "[aria-label='Turn on… summer_banner']"),
    "restore": (FLAGS + "{flag}/history/", "a[href*='?restore=']"),
    "undo-all": (FLAGS + "{flag}/history/", "a[href*=undo-transaction]"),
    "values": (VALUES, ""),
    "value": (VALUES + "{value}/change/", ""),
    "value-history": (VALUES + "{value}/history/", ""),
    "segments": (SEGMENTS, ""),
    "segment-add": (f"{SEGMENTS}add/", ""),
    "segment": (SEGMENTS + "{segment}/change/", ""),
    "segment-history": (SEGMENTS + "{segment}/history/", ""),
    "unknown-keys": (UNKNOWN, ""),
    "workers": (WORKERS, ""),
    "user-flags": ("/admin/flagstaff/flagsofuser/?user=alice", ""),
}


@pytest.fixture(scope="module")
def python() -> str:
    """The interpreter of the environment with the themes."""
    path = os.environ.get("THEMES_PYTHON")
    if not path:
        pytest.fail("run `make test-themes`, which creates the environment of the themes")
    return path


@pytest.fixture(scope="module")
def start(
    python: str, module_postgres_server: Postgres, driver: webdriver.Chrome
) -> Iterator[Callable[[str], Themed]]:
    """Starts the admin with a theme, unless it runs already."""
    started: dict[str, Themed] = {}
    with ExitStack() as servers:

        def themed(theme: str) -> Themed:
            if theme not in started:
                url, port = _create_database(module_postgres_server, theme), free_port()
                servers.enter_context(_serve(python, theme, url, port))
                visitor = Visitor(driver, f"http://{LOOPBACK}:{port}")
                started[theme] = Themed(theme, visitor, _pks(url))
            return started[theme]

        yield themed


@pytest.fixture(scope="module", params=THEMES)
def themed(request: pytest.FixtureRequest, start: Callable[[str], Themed]) -> Themed:
    """The admin with a theme, in a browser."""
    return start(request.param)


def _create_database(server: Postgres, theme: str) -> str:
    name = theme.replace("-", "_")
    with psycopg.connect(server.url, autocommit=True) as session:
        session.execute(f"CREATE DATABASE {name}".encode())
    return address(server.url, name)


@contextmanager
def _serve(python: str, theme: str, database: str, port: int) -> Iterator[None]:
    variables = {
        "DATABASE_URL": database,
        "THEME": theme,
        "PYTHONPATH": f"{ROOT / 'python'}:{ROOT}",
    }
    with TemporaryFile() as log:
        process = subprocess.Popen(
            [python, "-m", "tests.themes.server", str(port)],
            cwd=ROOT,
            env=os.environ | variables,
            stdout=log,
            stderr=log,
        )
        try:
            if not _answers(port, process):
                log.seek(0)
                pytest.fail(log.read().decode()[-5_000:], pytrace=False)
            yield
        finally:
            process.terminate()
            process.wait()


def _pks(url: str) -> dict[str, int]:
    with psycopg.connect(make_conninfo(url)) as session:
        row = session.execute(
            "SELECT flag.id, store.id, segment.id, unreadable.id "
            "FROM flagstaff_featureflag AS flag, flagstaff_keyvaluestore AS store, "
            "flagstaff_segment AS segment, flagstaff_featureflag AS unreadable "
            "WHERE flag.key = 'new_checkout' AND unreadable.key = 'express_delivery'"
        ).fetchone()
    assert row is not None
    return dict(zip(("flag", "value", "segment", "unreadable"), row, strict=True))


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    """Waits for the first page."""
    deadline = time.monotonic() + seconds(TIMEOUT)
    while process.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=seconds(TIMEOUT))
        try:
            connection.request("GET", FLAGS)
            return connection.getresponse().status == http.client.OK
        except OSError:
            time.sleep(0.1)
        finally:
            connection.close()
    return False
