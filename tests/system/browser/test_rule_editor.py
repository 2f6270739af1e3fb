"""The script of the editor of rules in a browser, by keyboard and on a phone.

The database tests press the same buttons without a script.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from selenium.webdriver.support.select import Select

from tests.support.admin_pages import SEGMENTS
from tests.system.browser.conftest import Shop, Visitor

# Flags of the shop use this segment.
KEY = "customers"
CUSTOMERS = [{"attribute": "is_authenticated", "operator": "in", "values": [True]}]
COUNTRY = {"attribute": "country", "operator": "in", "values": ["DE", "AT"]}


@pytest.fixture
def conditions(visitor: Visitor, shop: Shop) -> Iterator[str]:
    """The path of the page with the conditions of a segment."""
    yield f"{SEGMENTS}{shop.pk_of(KEY, 'segment')}/conditions/"
    write(shop, CUSTOMERS)


def write(shop: Shop, conditions: list[Any]) -> None:
    text = json.dumps(conditions)
    shop.query(f"UPDATE flagstaff_segment SET conditions = '{text}' WHERE key = '{KEY}'")


def stored(shop: Shop) -> Any:
    [[conditions]] = shop.query(f"SELECT conditions FROM flagstaff_segment WHERE key = '{KEY}'")
    return conditions


def open_page(visitor: Visitor, path: str) -> None:
    """Opens a page. The browser drops keys that it gets before it has painted the page."""
    visitor.visit(path)
    visitor.wait_until_painted()


def edit(visitor: Visitor, button: str) -> None:
    """Presses a button of the editor."""
    visitor.click(f"[name=_edit][value='{button}']")


def save(visitor: Visitor) -> None:
    """Confirms the change, of which the script has shown what it does."""
    visitor.wait_for_text(".flagstaff-preview", "beta_reviews")
    visitor.follow(".flagstaff-confirm")
    visitor.wait_for_text(".messagelist", KEY)


def focused(visitor: Visitor) -> str | None:
    element = visitor.driver.switch_to.active_element
    return element.get_attribute("value" if element.tag_name == "button" else "name")


def choose(visitor: Visitor, selector: str, text: str) -> None:
    visitor.when_interactable(lambda: Select(visitor.find(selector)).select_by_visible_text(text))


def visibility_of_values(visitor: Visitor) -> Any:
    """Whether the first input of values is seen, read in one step."""
    return visitor.driver.execute_script(
        "return getComputedStyle(document.querySelector('[name$=values]')).visibility"
    )


def test_condition_is_added_filled_in_and_saved(
    conditions: str, visitor: Visitor, shop: Shop
) -> None:
    open_page(visitor, conditions)
    edit(visitor, "attribute:0")
    visitor.wait_until(lambda: focused(visitor), "conditions-0-1-attribute")
    visitor.write("[name=conditions-0-1-attribute]", "seats")
    choose(visitor, "[name=conditions-0-1-operator]", "is at least")
    visitor.write("[name=conditions-0-1-values]", "100\n200")
    save(visitor)
    seats = {"attribute": "seats", "operator": "gte", "values": [100, 200]}
    assert stored(shop) == [*CUSTOMERS, seats]


def test_button_removes_a_row_and_keeps_the_focus(
    conditions: str, visitor: Visitor, shop: Shop
) -> None:
    write(shop, [*CUSTOMERS, COUNTRY])
    open_page(visitor, conditions)
    edit(visitor, "remove:0-0")
    visitor.wait_until(lambda: focused(visitor), "remove:0-0")
    assert visitor.find("[name=conditions-0-0-values]").get_property("value") == "DE, AT"
    save(visitor)
    assert stored(shop) == [COUNTRY]


def test_page_answers_while_a_row_is_typed(conditions: str, visitor: Visitor) -> None:
    open_page(visitor, conditions)
    visitor.write("[name=conditions-0-0-attribute]", "is_staf")
    visitor.wait_for_text(".flagstaff-hint", "Did you mean “is_staff”?")
    visitor.write("[name=conditions-0-0-attribute]", "is_staff")
    visitor.wait_for_text("[name=conditions-0-0-values]", "yes")
    visitor.wait_for_text(".flagstaff-preview", "beta_reviews")
    assert focused(visitor) == "conditions-0-0-attribute"


def test_operator_without_values_hides_them(conditions: str, visitor: Visitor) -> None:
    open_page(visitor, conditions)
    visitor.wait_until(lambda: visibility_of_values(visitor), "visible")
    choose(visitor, "[name$=operator]", "is missing")
    visitor.wait_until(lambda: visibility_of_values(visitor), "hidden")


def test_refusal_of_the_server_is_shown_after_a_button(conditions: str, visitor: Visitor) -> None:
    open_page(visitor, conditions)
    cookies = visitor.driver.get_cookies()
    try:
        visitor.driver.delete_cookie("csrftoken")
        visitor.follow("[name=_edit][value='attribute:0']")
        assert "403" in visitor.driver.title
    finally:
        for cookie in cookies:
            visitor.driver.add_cookie(cookie)
        # Those of the page of Django.
        assert visitor.console_errors() != []


def test_editor_fits_the_page(conditions: str, visitor: Visitor, shop: Shop) -> None:
    long = {"attribute": "a" * 90, "operator": "version_gte", "values": ["1.0.0"] * 60}
    write(shop, [long, COUNTRY])
    open_page(visitor, conditions)
    try:
        for width in (320, 400, 768, 1280):
            visitor.set_width(width)
            places = visitor.driver.execute_script(
                "return [...document.querySelectorAll('.flagstaff-editor *')]"
                ".map(e => e.getBoundingClientRect().right)"
            )
            assert max(places) <= width, width
    finally:
        visitor.reset_width()
