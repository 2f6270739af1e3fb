"""A release in the browser: create a flag, roll it out, see the impact, kill it, undo."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.system.browser.conftest import WORKERS, Shop, Visitor
from tests.system.browser.layout import assert_fits, without_scripts

FLAGS = "/admin/flagstaff/featureflag/"
MESSAGE = ".messagelist"
IMPACT = "[data-flagstaff-impact]"
CONFIRM = ".flagstaff-confirm"
ALL_WORKERS = f"{WORKERS} of {WORKERS} workers have applied it after "
STATE = "SELECT enabled, rollout_percent FROM flagstaff_featureflag WHERE key = '{}'"
DELETE = "DELETE FROM flagstaff_featureflag WHERE key = 'fast_search'"
TOGGLER = """
    INSERT INTO auth_user (username, password, is_superuser, is_staff, is_active, first_name,
        last_name, email, date_joined)
    SELECT 'toggler', password, false, true, true, '', '', '', now()
    FROM auth_user WHERE username = 'admin' ON CONFLICT DO NOTHING;
    INSERT INTO auth_user_user_permissions (user_id, permission_id)
    SELECT auth_user.id, auth_permission.id FROM auth_user, auth_permission
    WHERE username = 'toggler' AND codename = 'toggle_featureflag' ON CONFLICT DO NOTHING
"""
CONNECTED = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'fs2 %'"
# The names of the inputs of the form.
INPUTS = """
    const inputs = document.querySelector('#featureflag_form').elements;
    return [...inputs].filter(one => !['hidden', 'submit', 'button', 'fieldset'].includes(one.type))
        .map(one => one.name);
"""
# More keys than there are links before the list.
MAX_TABS = 150


def page_of(shop: Shop, page: str = "change", key: str = "new_checkout") -> str:
    [[pk]] = shop.query(f"SELECT id FROM flagstaff_featureflag WHERE key = '{key}'")
    return f"{FLAGS}{pk}/{page}/"


def state(shop: Shop, key: str = "new_checkout") -> tuple[bool, int]:
    [found] = shop.query(STATE.format(key))
    return found[0], found[1]


def choose(visitor: Visitor, percent: int) -> None:
    visitor.click(f".flagstaff-rollout button[value='{percent}']")


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
    visitor.follow(".submit-row [name=_save]")
    visitor.wait_for_text(MESSAGE, new_flag)
    visitor.visit(page_of(shop, key=new_flag))
    visitor.wait_for_text(IMPACT, r"^If the flag were on, 0 of \d+ users would have it\.$")
    visitor.click("#id_enabled")
    choose(visitor, 25)
    visitor.wait_for_text(IMPACT, r"^0 → 25 %: \d+ users gain the flag\. Afterwards \d+ of \d+")
    gain = re.search(r"(\d+) users gain", visitor.text(IMPACT))
    visitor.follow(".flagstaff-save")
    assert gain is not None
    visitor.wait_for_text(".flagstaff-notice", f"{gain[1]} users gain the flag")
    assert state(shop, new_flag) == (False, 0)
    visitor.follow(CONFIRM)
    visitor.wait_for_text(MESSAGE, f"rollout_percent 0 → 25.*{gain[1]} users gain.*{ALL_WORKERS}")
    assert state(shop, new_flag) == (True, 25)
    visitor.follow(".flagstaff-kill")
    visitor.follow(CONFIRM)
    visitor.wait_for_text(MESSAGE, f"is now off.*{ALL_WORKERS}")
    assert state(shop, new_flag) == (False, 25)
    visitor.follow(f"{MESSAGE} .flagstaff-undo")
    visitor.wait_for_text("#change-history", "enabled")
    visitor.follow(CONFIRM)
    visitor.wait_for_text(MESSAGE, f"was undone.*{ALL_WORKERS}")
    assert state(shop, new_flag) == (True, 25)


def test_kill_takes_two_taps_from_the_list(visitor: Visitor, shop: Shop) -> None:
    visitor.visit(FLAGS)
    visitor.follow(f"#result_list a[href*='{page_of(shop, 'kill')}']")
    visitor.follow(CONFIRM)
    visitor.wait_for_text(MESSAGE, f"“new_checkout” is now off.*{ALL_WORKERS}")
    assert visitor.driver.current_url.partition("#")[2].startswith("flag-")
    assert state(shop) == (False, 5)


def test_edits_of_two_people_are_both_kept(visitor: Visitor, shop: Shop) -> None:
    visitor.visit(page_of(shop))
    visitor.open_tab(page_of(shop))
    visitor.write("#id_description", "Everything on one page")
    visitor.follow(".submit-row [name=_continue]")
    visitor.switch_to_tab(0)
    visitor.write("#id_rollout_percent", "1")
    visitor.follow(".flagstaff-save")
    visitor.wait_for_text(MESSAGE, "Changes that others made while this page was open were kept")
    assert state(shop) == (True, 1)
    assert visitor.find("#id_description").text == "Everything on one page"


def test_back_to_the_form_keeps_what_was_typed(visitor: Visitor, shop: Shop) -> None:
    visitor.visit(page_of(shop))
    visitor.write("#id_description", "typed")
    choose(visitor, 50)
    visitor.follow(".flagstaff-save")
    visitor.follow("[name=_edit]")
    assert visitor.find("#id_rollout_percent").get_property("value") == "50"
    assert visitor.find("#id_description").text == "typed"
    assert state(shop) == (True, 5)


def test_user_who_may_toggle_rolls_out_and_edits_nothing_else(visitor: Visitor, shop: Shop) -> None:
    shop.query(TOGGLER)
    visitor.log_in_to_admin("toggler")
    try:
        visitor.visit(page_of(shop))
        assert sorted(visitor.driver.execute_script(INPUTS)) == [
            "_reason",
            "enabled",
            "rollout_percent",
        ]
        choose(visitor, 25)
        visitor.follow(".flagstaff-save")
        visitor.follow(CONFIRM)
        visitor.wait_for_text(MESSAGE, "rollout_percent 5 → 25")
        assert state(shop) == (True, 25)
    finally:
        visitor.log_in_to_admin("admin")


def test_kill_needs_the_keyboard_only(visitor: Visitor, shop: Shop) -> None:
    visitor.visit(page_of(shop))
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
        visitor.driver.switch_to.active_element.send_keys(Keys.ENTER)
    visitor.wait_for_text(MESSAGE, "is now off")
    assert state(shop) == (False, 5)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 400])
def test_release_works_without_scripts(
    width: int, scheme: str, visitor: Visitor, shop: Shop
) -> None:
    visitor.set_scheme(scheme)
    with without_scripts(visitor, width):
        visitor.visit(page_of(shop))
        visitor.write("#id_rollout_percent", "50")
        visitor.press("[name=_count]")
        assert re.match(
            r"5 → 50 %: \d+ users gain the flag",
            visitor.driver.find_element(By.CSS_SELECTOR, IMPACT).text,
        )
        assert visitor.find("#id_rollout_percent").get_attribute("value") == "50"
        visitor.press(".flagstaff-save")
        visitor.press(CONFIRM)
        assert state(shop) == (True, 50)
        visitor.press(".flagstaff-kill")
        visitor.press(CONFIRM)
        assert state(shop) == (False, 50)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 400])
@pytest.mark.parametrize("page", ["change", "kill", "history", "delete"])
def test_page_of_a_flag_fits(
    page: str, width: int, scheme: str, visitor: Visitor, shop: Shop
) -> None:
    visitor.set_scheme(scheme)
    visitor.set_width(width)
    visitor.visit(page_of(shop, page))
    assert_fits(visitor)
    visitor.reset_width()
