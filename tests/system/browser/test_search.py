"""The keys "/" and "?" in a browser."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.system.browser.conftest import Visitor

FLAGS = "/admin/flagstaff/featureflag/"
OVERVIEW = "/admin/flagstaff/featureflag/overview/"
FOCUSED = "return document.activeElement.id"
DIALOGS = "return document.querySelectorAll('dialog[open]').length"


def press(visitor: Visitor, *keys: str) -> None:
    """Presses keys, wherever the focus is."""
    ActionChains(visitor.driver).send_keys(*keys).perform()


@pytest.mark.parametrize(("path", "search"), [(FLAGS, "searchbar"), (OVERVIEW, "flagstaff-search")])
def test_slash_goes_to_the_search_of_the_page(visitor: Visitor, path: str, search: str) -> None:
    visitor.visit(path)
    press(visitor, "/")
    assert visitor.driver.execute_script(FOCUSED) == search
    press(visitor, "a/?b")
    field = visitor.driver.find_element(By.ID, search)
    assert field.get_attribute("value") == "a/?b"
    assert visitor.driver.execute_script(DIALOGS) == 0


def test_question_mark_lists_the_keys_and_escape_closes_the_list(visitor: Visitor) -> None:
    visitor.visit(OVERVIEW)
    press(visitor, "??")
    assert visitor.driver.execute_script(DIALOGS) == 1
    dialog = visitor.driver.find_element(By.CSS_SELECTOR, "dialog[open]")
    assert "go to the search of this page" in dialog.text
    press(visitor, Keys.ESCAPE)
    assert visitor.driver.execute_script(DIALOGS) == 0


def test_search_finds_rows_of_several_kinds_from_the_overview(visitor: Visitor) -> None:
    visitor.visit(OVERVIEW)
    press(visitor, "/", "checkout")
    with visitor.leaving_page():
        press(visitor, Keys.ENTER)
    visitor.driver.find_element(By.LINK_TEXT, "new_checkout")
    visitor.driver.find_element(By.LINK_TEXT, "checkout_fault_percent")
