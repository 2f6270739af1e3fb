"""A release in the browser: create a flag, roll it out, see the impact, kill it, undo."""

import re
from collections.abc import Iterator

import pytest
from selenium.webdriver.common.keys import Keys

from tests.support.admin_pages import FLAGS
from tests.system.browser.conftest import WORKERS, Shop, Visitor

ENVIRONMENT = {"WORKERS": str(WORKERS)}
MESSAGE = ".messagelist"
NOTICE = ".flagstaff-notice"
CONFIRM = ".flagstaff-confirm"
PROBLEM = ".errorlist"
ALL_WORKERS = f"Applied by {WORKERS} of {WORKERS} workers after "
STATE = "SELECT enabled, rollout_percent FROM flagstaff_featureflag WHERE key = '{}'"
DELETE = "DELETE FROM flagstaff_featureflag WHERE key = 'fast_search'"
CONNECTED = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'flagstaff %'"
HAS_FOCUS = "return !!document.activeElement?.matches(arguments[0])"
# More keys than there are links before the list.
MAX_TABS = 150


def state(shop: Shop, key: str = "new_checkout") -> tuple[bool, int]:
    [row] = shop.query(STATE.format(key))
    return row[0], row[1]


@pytest.fixture(autouse=True)
def connected_workers(visitor: Visitor, shop: Shop) -> None:
    """Opens pages of the shop until every worker evaluates: it connects at its first evaluation."""

    def connected() -> int:
        visitor.visit("/")
        [[count]] = shop.query(CONNECTED)
        return int(count)

    visitor.wait_until(connected, WORKERS)


@pytest.fixture
def new_flag(shop: Shop) -> Iterator[str]:
    """The key of a flag that does not exist yet."""
    shop.query(DELETE)
    yield "fast_search"
    shop.query(DELETE)


def test_flag_is_created_rolled_out_killed_and_brought_back(
    new_flag: str, visitor: Visitor, shop: Shop
) -> None:
    visitor.visit(f"{FLAGS}add/")
    visitor.write("#id_key", new_flag)
    visitor.follow(CONFIRM)
    visitor.wait_for_text(MESSAGE, new_flag)
    visitor.follow(f".flagstaff-act [href$='?percent={25}']")
    visitor.follow(CONFIRM)
    assert state(shop, new_flag) == (False, 25)
    visitor.follow(".flagstaff-main")
    visitor.wait_for_text(NOTICE, r"^\d+ users gain the flag\. Afterwards \d+ of \d+")
    gain = re.search(r"(\d+) users gain", visitor.text(NOTICE))
    assert gain is not None
    visitor.follow(CONFIRM)
    visitor.wait_for_text(MESSAGE, f"turned on.*{gain[1]} users gain.*{ALL_WORKERS}")
    assert state(shop, new_flag) == (True, 25)
    visitor.follow(".flagstaff-kill")
    visitor.follow(CONFIRM)
    visitor.wait_for_text(MESSAGE, f"turned off.*{ALL_WORKERS}")
    assert state(shop, new_flag) == (False, 25)
    visitor.follow(f"{MESSAGE} .flagstaff-undo")
    visitor.wait_for_text(NOTICE, f"^{gain[1]} users gain the flag")
    visitor.wait_for_text(".flagstaff-preview", "Off for all users. On for 25 %")
    visitor.follow(CONFIRM)
    visitor.wait_for_text(MESSAGE, f"was undone.*{ALL_WORKERS}")
    assert state(shop, new_flag) == (True, 25)


def test_kill_needs_the_keyboard_only(visitor: Visitor, shop: Shop) -> None:
    visitor.visit(shop.page_of())
    visitor.wait_until_painted()
    body = visitor.find("body")
    for _ in range(MAX_TABS):
        body.send_keys(Keys.TAB)
        body = visitor.driver.switch_to.active_element
        if "flagstaff-kill" in (body.get_attribute("class") or ""):
            break
    with visitor.leaving_page():
        body.send_keys(Keys.ENTER)
    # The button that confirms has the focus.
    with visitor.leaving_page():
        visitor.press_keys(Keys.ENTER)
    visitor.wait_for_text(MESSAGE, "turned off")
    assert state(shop) == (False, 5)


def test_kill_and_its_undo_in_the_list_need_eight_keys(visitor: Visitor, shop: Shop) -> None:
    def press(key: str, focused: str) -> None:
        """Presses a key, and waits until an element that matches has the focus."""
        visitor.press_keys(key)
        visitor.wait_until(lambda: visitor.driver.execute_script(HAS_FOCUS, focused), expected=True)

    visitor.visit(f"{FLAGS}?q=new_checkout")
    visitor.driver.execute_script("document.querySelector('#content-start').focus()")
    press(Keys.TAB, ".flagstaff-skip")
    press(Keys.ENTER, "body")
    press(Keys.TAB, ".field-on_off a")
    press(Keys.ENTER, CONFIRM)
    press(Keys.ENTER, ".flagstaff-receipt")
    assert state(shop) == (False, 5)
    press(Keys.TAB, ".flagstaff-undo")
    press(Keys.ENTER, CONFIRM)
    press(Keys.ENTER, ".flagstaff-receipt")
    assert state(shop) == (True, 5)


def test_preview_follows_what_is_typed(visitor: Visitor, shop: Shop) -> None:
    visitor.visit(shop.page_of(view="rollout"))
    visitor.write("#id_percent", "50")
    visitor.wait_for_text(NOTICE, r"^5 → 50 %: \d+ users gain the flag")
    visitor.wait_for_text(CONFIRM, "Roll out to 50 %")
    visitor.follow(CONFIRM)
    assert state(shop) == (True, 50)


def test_problem_of_a_field_is_gone_when_it_is_filled_in(visitor: Visitor, shop: Shop) -> None:
    visitor.visit(shop.page_of(view="rollout"))
    visitor.follow(CONFIRM)
    assert visitor.texts(PROBLEM) == ["This field is required."]
    visitor.write("#id_percent", "50")
    visitor.wait_for_text(NOTICE, r"^5 → 50 %: \d+ users gain the flag")
    assert visitor.texts(f"{PROBLEM}, .errors") == []


def test_problem_of_a_field_stays_while_another_one_is_filled_in(visitor: Visitor) -> None:
    visitor.visit("/admin/flagstaff/keyvaluestore/add/")
    visitor.follow(CONFIRM)
    of_key, of_value = visitor.texts(PROBLEM)
    assert of_key == "This field is required."
    visitor.write("#id_key", "page_size")
    visitor.wait_until(lambda: of_key in visitor.texts(PROBLEM), expected=False)
    assert visitor.texts(f".errors {PROBLEM}") == [of_value]


def test_release_works_without_scripts(plain_phone: Visitor, shop: Shop) -> None:
    visitor = plain_phone
    visitor.visit(shop.page_of())
    visitor.press(f".flagstaff-act [href$='?percent={50}']")
    assert re.match(r"5 → 50 %: \d+ users gain the flag", visitor.text(NOTICE))
    visitor.press(CONFIRM)
    assert state(shop) == (True, 50)
    visitor.press(".flagstaff-kill")
    visitor.press(CONFIRM)
    assert state(shop) == (False, 50)
