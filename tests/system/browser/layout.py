"""The layout of pages in a browser: on phones and desktops."""

from tools.browser import Visitor

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
