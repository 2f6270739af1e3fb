"""The layout of pages in a browser: on phones and desktops."""

from tools.browser import Visitor

OVERFLOW = """
    const width = document.documentElement.clientWidth;
    const isCut = element => element.scrollWidth > element.clientWidth + 1;
    const isOutside = element => element.getBoundingClientRect().right > width + 1;
    const all = isCut(document.documentElement) ? [...document.querySelectorAll('body *')] : [];
    // These boxes cut off what does not fit. On a phone, a list is scrolled, and Django's rows are
    // wider than their boxes.
    const boxes = width < 768 ? [] : [...document.querySelectorAll('.form-row, .module, .results')];
    const overflowing = [...all.filter(isOutside), ...boxes.filter(isCut)];
    // A label that a style sheet adds is no element.
    const wider = all.length && !overflowing.length
        ? [document.documentElement] : overflowing;
    return wider.map(element => `${element.tagName}.${element.className}`).slice(0, 5);
"""
# What one clicks is at least 24 pixels wide and high, on a phone 44, and nothing lies on it. A link
# in a sentence may be as small as its text, and a check box as the browser draws it.
SMALL_TARGETS = r"""
    const least = innerWidth < 768 ? 44 : 24;
    const controls = 'button, input:not([type="hidden"]), select, textarea, summary';
    const targets = `#content :is(a[href], ${controls})`;
    const ofDjango = 'thead *, .addlink, .changelink, .actions *, .datetimeshortcuts *';
    const others = `${ofDjango}, .flagstaff-hidden, .flagstaff-skip, [type=checkbox], [type=radio]`;
    const hasWords = node => [...node.childNodes].some(child => child.nodeType === Node.TEXT_NODE
        ? /\p{L}/u.test(child.data)
        : child instanceof Element && !child.matches(targets) && hasWords(child));
    const isInSentence = element => element.matches(':is(p, li, small, td, dd, div) a')
        && getComputedStyle(element).display.startsWith('inline')
        && hasWords(element.closest('p, li, small, td, dd, div'));
    const isSmall = element => {
        element.scrollIntoView({block: 'center', inline: 'nearest'});
        const {left, right, top, bottom} = element.getBoundingClientRect();
        // Two of them may share a border.
        const [x, y, reach] = [(left + right) / 2, (top + bottom) / 2, least / 2 - 1.5];
        const edges = [[-reach, 0], [reach, 0], [0, -reach], [0, reach]];
        return edges.some(([right, down]) => {
            return !element.contains(document.elementFromPoint(x + right, y + down));
        });
    };
    // A menu lies above the page.
    const closed = document.querySelectorAll('details:not(.flagstaff-menu)');
    closed.forEach(element => element.open = true);
    return [...document.querySelectorAll(targets)]
        .filter(element => element.checkVisibility({visibilityProperty: true}) && !element.disabled)
        .filter(element => !element.matches(others) && !isInSentence(element) && isSmall(element))
        .map(element => {
            const {width, height} = element.getBoundingClientRect();
            const size = `${Math.round(width)} x ${Math.round(height)}`;
            return `${element.outerHTML.slice(0, 200)}, ${size}`;
        });
"""

# Whether the window cuts off the last cell of each row of a table.
CUT_OFF = """
    const width = document.documentElement.clientWidth;
    const cells = [...document.querySelectorAll(`[aria-label="${arguments[0]}"] td:last-child`)];
    return cells.map(cell => cell.getBoundingClientRect().right > width);
"""


def assert_fits(visitor: Visitor) -> None:
    """Asserts that nothing on the page is wider than the window."""
    wider = visitor.driver.execute_script(OVERFLOW)
    assert wider == [], wider


def assert_last_column_fits(visitor: Visitor, label: str, *, rows: int) -> None:
    """Asserts that the window shows the last column of a table with so many rows."""
    assert visitor.driver.execute_script(CUT_OFF, label) == [False] * rows
