"""The search over everything in a browser."""

from __future__ import annotations

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.system.browser.conftest import Visitor


def test_search_finds_rows_of_several_kinds_from_the_overview(visitor: Visitor) -> None:
    visitor.visit("/admin/flagstaff/featureflag/overview/")
    with visitor.leaving_page():
        visitor.find("#searchbar").send_keys("checkout", Keys.ENTER)
    visitor.driver.find_element(By.LINK_TEXT, "new_checkout")
    visitor.driver.find_element(By.LINK_TEXT, "checkout_fault_percent")
