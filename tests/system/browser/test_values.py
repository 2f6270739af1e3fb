"""The pages of values in a browser."""

from collections.abc import Iterator

import pytest

from tests.support.admin_pages import VALUES
from tests.system.browser.axe import findings
from tests.system.browser.conftest import Shop, Visitor

NO_RULE = """
    UPDATE flagstaff_keyvaluestore SET type = '', choices = '[]', value = '"stripe"'
    WHERE key = 'payment_gateway'
"""

UNDECLARED = """
    INSERT INTO flagstaff_keyvaluestore (key, value) VALUES ('page_size', '20')
    ON CONFLICT DO NOTHING
"""


@pytest.fixture(autouse=True)
def value_without_a_rule(shop: Shop, visitor: Visitor) -> Iterator[None]:
    shop.query(NO_RULE)
    yield
    visitor.reset_width()


@pytest.mark.parametrize("width", [1280, 400])
def test_page_with_a_mistake_and_page_that_asks_are_accessible(
    width: int, visitor: Visitor, shop: Shop
) -> None:
    visitor.set_width(width)
    # No code declares it, so its input is JSON.
    shop.query(UNDECLARED)
    pk = shop.pk_of("page_size", "keyvaluestore")
    for text, shown in (("{", ".errorlist"), ("25", ".flagstaff-preview")):
        visitor.visit(f"{VALUES}{pk}/set/")
        visitor.write("#id_value", text)
        visitor.press(".flagstaff-confirm")
        visitor.wait_for_text(shown, "[a-z0-9]")
        assert findings(visitor) == []
    # Of axe-core itself, which adds styles to the page.
    visitor.console_errors()
