"""The admin's pages with other themes, in light and dark, on a desktop and on a phone.

A theme styles what all admins have. Only our own texts, buttons and fields are checked here.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.themes.conftest import PAGES, Themed

# What WCAG requires of text.
MIN_CONTRAST = 4.5
# Our own pages. In a list and a form, the theme decides what a phone shows.
OWN_PAGES = {
    "allowed-users": "Allowed users of new_checkout",
    "history": "Change history: new_checkout",
    "kill": "Kill a flag",
    "turn-on": "Turn on a flag",
    "restore": "Restore an earlier state",
    "undo-all": "Undo changes",
    "value-history": "Change history: payment_gateway",
    "segment-history": "Change history: dach",
    "unknown-keys": "Unknown keys",
    "workers": "Workers",
}

REASONS = {*OWN_PAGES, "add", "change", "value", "segment-add", "segment"}
REASONS -= {"unknown-keys", "workers", "history", "value-history", "segment-history"}

# Colours as the browser mixes them, also those in other notations.
COLORS = """
    const pixel = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const channels = color => {
        pixel.clearRect(0, 0, 1, 1);
        pixel.fillStyle = color;
        pixel.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = pixel.getImageData(0, 0, 1, 1).data;
        return [r, g, b, a / 255];
    };
    const over = ([r, g, b, a], below) =>
        [r, g, b].map((one, i) => one * a + below[i] * (1 - a)).concat(1);
    const isDark = matchMedia('(prefers-color-scheme: dark)').matches;
    const scheme = getComputedStyle(document.documentElement).colorScheme;
    const canvas = isDark && scheme.includes('dark') ? [18, 18, 18, 1] : [255, 255, 255, 1];
    const background = one => {
        const color = one && channels(getComputedStyle(one).backgroundColor);
        return one ? (color[3] === 1 ? color : over(color, background(one.parentElement))) : canvas;
    };
    const opacity = one => one ? getComputedStyle(one).opacity * opacity(one.parentElement) : 1;
    const luminance = color => color.slice(0, 3).map(one => one / 255)
        .map(one => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
        .reduce((sum, one, i) => sum + one * [0.2126, 0.7152, 0.0722][i], 0);
    const contrast = (one, other) => {
        const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
    };
    const isVisible = one => one.checkVisibility({visibilityProperty: true, opacityProperty: true});
"""
FAINT_TEXTS = f"""
    {COLORS}
    const ours = '.flagstaff-key, .flagstaff-second-line, .flagstaff-state, .flagstaff-percent, ' +
        '.flagstaff-button, .flagstaff-related, .flagstaff-history th, .flagstaff-history td, ' +
        '.flagstaff-confirm, .flagstaff-reason, .flagstaff-json, .flagstaff-heading, ' +
        '.flagstaff-rules li, .flagstaff-problem, .flagstaff-note, ' +
        '.flagstaff-example summary, ' +
        '.flagstaff-event p, .flagstaff-event time, .flagstaff-quiet, label[for$=_reason]';
    const hasText = one => (typeof one.value === 'string' && one.value.trim())
        || [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    const color = one => one && getComputedStyle(one).color;
    // The theme decides on the colours of links.
    const isLink = one => one.closest('a') && color(one) === color(one.closest('a'));
    return [...document.querySelectorAll(ours)]
        .filter(one => isVisible(one) && hasText(one) && !isLink(one))
        .map(one => {{
            const below = background(one);
            const [r, g, b, a] = channels(color(one));
            const ratio = contrast(over([r, g, b, a * opacity(one)], below), below);
            return [`${{one.className}} "${{one.textContent.trim()}}"`, ratio];
        }})
        .filter(([_text, ratio]) => ratio < {MIN_CONTRAST});
"""
CUT_BUTTONS = f"""
    {COLORS}
    return [...document.querySelectorAll('.flagstaff-button, .flagstaff-confirm')]
        .filter(isVisible)
        .filter(one => {{
            const range = document.createRange();
            range.selectNodeContents(one);
            const [text, box] = [range.getBoundingClientRect(), one.getBoundingClientRect()];
            return text.width === 0 || box.left < 0 || text.left < box.left - 1
                || text.right > box.right + 1 || text.top < box.top - 2
                || text.bottom > box.bottom + 2;
        }})
        .map(one => one.textContent.trim());
"""
IS_REASON_VISIBLE = f"{COLORS} return isVisible(document.querySelector('[id$=_reason]'));"
# A field without an edge cannot be seen.
REASON_EDGE = f"""
    {COLORS}
    const field = document.querySelector('[id$=_reason]');
    const style = getComputedStyle(field);
    const below = background(field.parentElement);
    const border = over(channels(style.borderBottomColor), below);
    const edge = parseFloat(style.borderBottomWidth) > 0 ? contrast(border, below) : 1;
    return Math.max(edge, contrast(background(field), below));
"""
CUT_DESCRIPTIONS = """
    return [...document.querySelectorAll('.field-flag .flagstaff-second-line')]
        .filter(one => {
            // A box that does not fit becomes an ellipsis.
            const cell = one.closest('td, th').getBoundingClientRect();
            return one.getBoundingClientRect().right > cell.right + 1;
        })
        .map(one => one.textContent);
"""
HEADINGS = f"""
    {COLORS}
    return [...document.querySelectorAll('h1, h2, h3, h4')]
        .filter(isVisible).map(one => one.textContent.trim());
"""
OVERFLOW = """
    const {scrollWidth, clientWidth} = document.documentElement;
    return scrollWidth - clientWidth;
"""


@pytest.fixture(scope="module", params=PAGES)
def page(request: pytest.FixtureRequest, themed: Themed) -> Iterator[str]:
    """The open page."""
    themed.set_look("light", 1280)
    themed.open(request.param)
    yield str(request.param)
    themed.visitor.reset_width()


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_own_texts_have_enough_contrast(mode: str, page: str, themed: Themed) -> None:
    themed.set_look(mode, 1280)
    themed.wait_for_transitions()
    assert themed.run(FAINT_TEXTS) == []


@pytest.mark.parametrize("width", [1280, 400])
def test_buttons_show_their_whole_text(width: int, page: str, themed: Themed) -> None:
    themed.set_look("light", width)
    assert themed.run(CUT_BUTTONS) == []


def test_list_shows_whole_description_and_has_room_for_keys_on_a_phone(
    page: str, themed: Themed
) -> None:
    if page != "list":
        pytest.skip("no list")
    themed.set_look("light", 1280)
    assert themed.run(CUT_DESCRIPTIONS) == []
    themed.set_look("light", 400)
    width = "return document.querySelector('.field-flag .flagstaff-key').offsetWidth"
    assert themed.run(width) >= 110


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_reason_can_be_seen_and_typed(mode: str, page: str, themed: Themed) -> None:
    themed.set_look(mode, 1280)
    if page not in REASONS:
        pytest.skip("the page has no such field")
    if themed.theme == "unfold-without-mixin" and page not in OWN_PAGES:
        pytest.skip("Unfold styles only the forms of its own ModelAdmin")
    for tab in ["", *themed.visitor.texts("[role=tab]")]:
        themed.open_tab(tab)
        themed.wait_for_transitions()
        if themed.run(IS_REASON_VISIBLE):
            break
    else:
        pytest.fail("no tab shows the field")
    assert themed.run(REASON_EDGE) > 1.2


def test_own_page_has_one_title_and_fits_a_phone(page: str, themed: Themed) -> None:
    if page not in OWN_PAGES:
        pytest.skip("the theme shows the title, and decides what a phone shows")
    themed.set_look("light", 1280)
    assert themed.run(HEADINGS).count(OWN_PAGES[page]) == 1
    themed.set_look("light", 400)
    assert themed.run(OVERFLOW) <= 1


def test_page_labels_no_hidden_field_and_logs_no_error(page: str, themed: Themed) -> None:
    assert not {"shown", "SubmittedState", "shown:"} & {*themed.visitor.texts("label")}
    errors = themed.visitor.console_errors()
    # Some themes load fonts from another server.
    ours = [one for one in errors if themed.visitor.address in one and "favicon.ico" not in one]
    assert ours == []
