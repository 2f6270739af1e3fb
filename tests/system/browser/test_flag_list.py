"""The list of flags in a browser: on a phone and a desktop, without scripts."""

from collections.abc import Iterator

import pytest

from tests.support.admin_pages import FLAGS
from tests.system.browser.conftest import Shop, Visitor
from tests.system.browser.layout import assert_fits

PHONE, DESKTOP = 400, 1400
ROW = "tr:has(#flag-{pk})"
BUTTON = ROW + " .flagstaff-button"
# The boxes of a row that the window cuts off.
CUT = """
    const width = document.documentElement.clientWidth;
    const cells = [...document.querySelectorAll('#result_list tbody td, #result_list tbody th')];
    return cells.filter(element => element.getBoundingClientRect().right > width + 1).length;
"""
HEIGHTS = """
    return [...document.querySelectorAll('#result_list .flagstaff-button')]
        .map(element => element.getBoundingClientRect().height);
"""
IS_SCROLLED = """
    const results = document.querySelector('#changelist .results');
    return results.scrollWidth > results.clientWidth + 1;
"""
OPEN_SIDEBAR = "localStorage.setItem('django.admin.navSidebarIsOpen', 'true')"
WHOLE_ROWS = """
    return [...document.querySelectorAll('#result_list tbody tr')]
        .filter(element => element.getBoundingClientRect().bottom <= 900).length;
"""
# Keys and labels in more than one line, and labels that do not fit.
BROKEN = """
    return [...document.querySelectorAll('#result_list :is(.flagstaff-key, .flagstaff-state)')]
        .filter(element => element.getClientRects().length > 1
            || element.scrollWidth > element.clientWidth + 1
            && element.matches('.flagstaff-state'))
        .map(element => element.textContent);
"""
# The row that the address names.
IS_MARKED = """
    const color = row => getComputedStyle(row.cells[0]).backgroundColor;
    const row = document.querySelector(':target').closest('tr');
    return color(row) !== color(document.querySelector('#result_list tbody tr'));
"""


@pytest.fixture
def phone(visitor: Visitor) -> Iterator[Visitor]:
    """A browser with the list on a phone."""
    visitor.set_width(PHONE)
    visitor.visit(FLAGS)
    yield visitor
    visitor.reset_width()


def test_cards_fit_a_phone_and_can_be_touched(phone: Visitor) -> None:
    assert_fits(phone)
    assert phone.driver.execute_script(CUT) == 0
    heights = phone.driver.execute_script(HEIGHTS)
    assert heights
    assert min(heights) >= 44


def test_card_of_a_long_key_that_needs_attention_is_low(phone: Visitor, shop: Shop) -> None:
    key = "checkout_new_payment_provider_for_companies"
    shop.query(f"""
        INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent) VALUES ('{key}', true, 5);
        INSERT INTO flagstaff_waitingaction (
            kind, action, row_kind, keys, arguments, expected, consequence, users, rough_users,
            asked_by, reason, needs_approval, state, approved_by, approval, ended_by, result,
            entries, stands_on, rests_on, takes_away
        ) VALUES (
            'flag', 'on', 'flag', '["{key}"]', '{{}}', '{{}}', 1, '', '',
            '', '', false, 'failed', '', '', '', 'the database was down',
            '[]', '[]', '[]', false
        )
    """)
    try:
        phone.visit(f"{FLAGS}?q={key}")
        card = phone.find(ROW.format(pk=shop.pk_of(key)))
        assert "the database was down" in card.text
        assert card.rect["height"] <= 76
    finally:
        shop.query(f"DELETE FROM flagstaff_featureflag WHERE key = '{key}'")
        shop.query("DELETE FROM flagstaff_waitingaction")


def test_menu_of_a_filter_on_a_phone_shows_its_choices_and_fits(phone: Visitor) -> None:
    phone.click(".flagstaff-menu summary")
    phone.wait_until(phone.find(".flagstaff-menu ul").is_displayed, expected=True)
    assert_fits(phone)
    phone.follow_link("off")
    assert phone.driver.current_url.endswith("?state=off")
    assert phone.text(".flagstaff-set").startswith("State: off")


def test_desktop_shows_fourteen_whole_rows_and_cuts_no_label(visitor: Visitor, shop: Shop) -> None:
    shop.query("""
        INSERT INTO flagstaff_featureflag (key, enabled, description, owner, rollout_percent)
        SELECT 'team.area.a_feature_' || n, n % 2 = 0, repeat('what it is for ', 9), 'checkout', n
        FROM generate_series(1, 30) AS n
    """)
    try:
        visitor.set_width(1280)
        visitor.visit(f"{FLAGS}?q=a_feature")
        visitor.driver.execute_script(OPEN_SIDEBAR)
        visitor.visit(f"{FLAGS}?q=a_feature")
        assert visitor.driver.execute_script(WHOLE_ROWS) >= 14
        assert visitor.driver.execute_script(BROKEN) == []
        assert_fits(visitor)
    finally:
        visitor.reset_width()
        shop.query("DELETE FROM flagstaff_featureflag WHERE key LIKE 'team.area.%'")


def test_all_columns_fit_between_the_side_bars(visitor: Visitor) -> None:
    visitor.set_width(DESKTOP)
    visitor.visit(FLAGS)
    assert_fits(visitor)
    assert visitor.driver.execute_script(IS_SCROLLED) is False
    visitor.reset_width()


@pytest.mark.smoke
def test_kill_without_scripts_returns_to_the_marked_row(plain_phone: Visitor, shop: Shop) -> None:
    pk = shop.pk_of("new_checkout")
    plain_phone.visit(f"{FLAGS}?q=new")
    plain_phone.press(BUTTON.format(pk=pk))
    plain_phone.press(".flagstaff-confirm")
    assert plain_phone.driver.current_url.endswith(f"{FLAGS}?q=new#flag-{pk}")
    assert plain_phone.text(ROW.format(pk=pk) + " .flagstaff-state") == "off"


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_message_of_a_kill_is_in_the_window_beside_its_row(
    width: int, visitor: Visitor, shop: Shop
) -> None:
    [[pk]] = shop.query("""
        WITH flags AS (
            INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent)
            SELECT 'last_' || n, true, 5 FROM generate_series(10, 35) AS n RETURNING key, id
        ) SELECT id FROM flags WHERE key = 'last_35'
    """)
    try:
        visitor.set_width(width)
        visitor.visit(f"{FLAGS}?o=1")
        visitor.press(BUTTON.format(pk=pk))
        visitor.press(".flagstaff-confirm")
        visitor.wait_until(lambda: visitor.driver.execute_script("return scrollY > 0"), True)
        for selector in (".messagelist", ROW.format(pk=pk)):
            box = visitor.find(selector).rect
            top = box["y"] - visitor.driver.execute_script("return scrollY")
            assert 0 <= top < visitor.driver.execute_script("return innerHeight"), selector
        assert width == PHONE or visitor.driver.execute_script(IS_MARKED)
    finally:
        visitor.reset_width()
        shop.query("DELETE FROM flagstaff_featureflag WHERE key LIKE 'last_%'")
