"""The layout of pages in a browser: on phones and desktops, without scripts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.system.browser.conftest import Shop, Visitor

_DESKTOP, _PHONE = 1400, 400

OVERFLOW = """
    const width = document.documentElement.clientWidth;
    const isCut = one => one.scrollWidth > one.clientWidth + 1;
    const isOutside = one => one.getBoundingClientRect().right > width + 1;
    const all = isCut(document.documentElement) ? [...document.querySelectorAll('body *')] : [];
    // These boxes cut off what does not fit. On a phone, a list is scrolled, and Django's rows are
    // wider than their boxes.
    const boxes = width < 768 ? [] : [...document.querySelectorAll('.form-row, .module, .results')];
    const found = [...all.filter(isOutside), ...boxes.filter(isCut)];
    // A label that a style sheet adds is no element.
    const wider = all.length && !found.length ? [document.documentElement] : found;
    return wider.map(one => `${one.tagName}.${one.className}`).slice(0, 5);
"""


def assert_fits(visitor: Visitor) -> None:
    """Asserts that nothing on the page is wider than the window."""
    wider = visitor.driver.execute_script(OVERFLOW)
    assert wider == [], wider


@contextmanager
def without_scripts(visitor: Visitor, width: int) -> Iterator[None]:
    """A window of this width without scripts."""
    visitor.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    visitor.set_width(width)
    yield
    enable_scripts(visitor)
    visitor.reset_width()


def plain_windows(*statements: str) -> object:
    """Returns a fixture: a window without scripts, on a desktop and on a phone.

    The statements prepare the rows of the shop before each test.
    """

    @pytest.fixture(params=(_DESKTOP, _PHONE))
    def width(request: pytest.FixtureRequest, visitor: Visitor, shop: Shop) -> Iterator[int]:
        for statement in statements:
            shop.query(statement)
        with without_scripts(visitor, request.param):
            yield request.param

    return width


def enable_scripts(visitor: Visitor) -> None:
    """Enables scripts again, and waits until a page runs them: the browser does so a bit later."""

    def runs_scripts() -> bool:
        visitor.visit("/admin/")
        # A script of Django's admin sets it.
        script = "return 'theme' in document.documentElement.dataset"
        return bool(visitor.driver.execute_script(script))

    visitor.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    visitor.wait_until(runs_scripts, expected=True)
