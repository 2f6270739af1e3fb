"""The pages of values in a browser: a rule refuses a typo, and a mistake in JSON is selected."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.browser.axe import findings
from tests.system.browser.conftest import Shop, Visitor

VALUES = "/admin/flagstaff/keyvaluestore/"
GATEWAY = "SELECT id FROM flagstaff_keyvaluestore WHERE key = 'payment_gateway'"
STATE = "SELECT value, type, choices FROM flagstaff_keyvaluestore WHERE key = 'payment_gateway'"
NO_RULE = """
    UPDATE flagstaff_keyvaluestore SET type = '', choices = '[]', value = '"stripe"'
    WHERE key = 'payment_gateway'
"""
ERRORS = ".errorlist"


@pytest.fixture(autouse=True)
def value_without_a_rule(shop: Shop, visitor: Visitor) -> Iterator[None]:
    shop.query(NO_RULE)
    yield
    visitor.reset_width()


def open_value(visitor: Visitor, shop: Shop) -> None:
    [[pk]] = shop.query(GATEWAY)
    visitor.visit(f"{VALUES}{pk}/change/")


@pytest.mark.parametrize("width", [1280, 400])
def test_wrong_value_is_refused_by_its_rule_and_fixed(
    width: int, visitor: Visitor, shop: Shop
) -> None:
    visitor.set_width(width)
    open_value(visitor, shop)
    visitor.write("#id_value", '"strpie"')
    visitor.write("#id_choices", '["stripe", "paypal"]')
    visitor.press("[name=_continue]")
    visitor.wait_for_text(ERRORS, '"strpie" is not one of "stripe", "paypal"; did you mean')
    assert shop.query(STATE) == [("stripe", "", [])]
    # The choices can be selected now, and what was typed is not lost.
    assert visitor.texts("#id_value option") == ['"stripe"', '"paypal"', '"strpie"']
    visitor.click("#id_value option[value='\"paypal\"']")
    visitor.press("[name=_continue]")
    visitor.wait_for_text(".messagelist", "paypal")
    assert shop.query(STATE) == [("paypal", "", ["stripe", "paypal"])]


def test_mistake_in_json_is_selected(visitor: Visitor, shop: Shop) -> None:
    open_value(visitor, shop)
    visitor.write("#id_value", '{"a": "🥐",\n "b": two}')
    visitor.press("[name=_save]")
    visitor.wait_for_text(".flagstaff-mistake", "Line 2, column 7")
    script = """
        const area = document.activeElement;
        return area.id + " " + area.value.slice(area.selectionStart, area.selectionEnd);
    """
    visitor.wait_until(lambda: visitor.driver.execute_script(script), "id_value t")


def test_new_type_is_confirmed_with_a_check_box(visitor: Visitor, shop: Shop) -> None:
    open_value(visitor, shop)
    visitor.write("#id_value", "25")
    visitor.press("[name=_continue]")
    visitor.wait_for_text(ERRORS, "The value was a string and would become a number")
    assert shop.query(STATE) == [("stripe", "", [])]
    visitor.click("[name=_new_type]")
    visitor.press("[name=_continue]")
    visitor.wait_for_text(".messagelist", "25")
    assert shop.query(STATE) == [(25, "", [])]


@pytest.mark.parametrize("width", [1280, 400])
def test_pages_with_errors_are_accessible(width: int, visitor: Visitor, shop: Shop) -> None:
    visitor.set_width(width)
    for text, shown in (("{", ".flagstaff-mistake"), ("25", ".flagstaff-new-type")):
        open_value(visitor, shop)
        visitor.write("#id_value", text)
        visitor.press("[name=_save]")
        visitor.wait_for_text(shown, "[a-z]")
        assert findings(visitor) == []
    # Of axe-core itself, which adds styles to the page.
    visitor.console_errors()
