"""The pages of values in a browser: a mistake in JSON is selected."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.browser.axe import findings
from tests.system.browser.conftest import Shop, Visitor

VALUES = "/admin/flagstaff/keyvaluestore/"
GATEWAY = "SELECT id FROM flagstaff_keyvaluestore WHERE key = 'payment_gateway'"
NO_RULE = """
    UPDATE flagstaff_keyvaluestore SET type = '', choices = '[]', value = '"stripe"'
    WHERE key = 'payment_gateway'
"""


@pytest.fixture(autouse=True)
def value_without_a_rule(shop: Shop, visitor: Visitor) -> Iterator[None]:
    shop.query(NO_RULE)
    yield
    visitor.reset_width()


def open_value(visitor: Visitor, shop: Shop) -> None:
    [[pk]] = shop.query(GATEWAY)
    visitor.visit(f"{VALUES}{pk}/change/")


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
