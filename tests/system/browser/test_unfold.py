"""The admin with Unfold, registered as docs/how-to/admin-set-up.md shows, in a browser."""

import pytest
from selenium import webdriver

from tests.support.admin_pages import FLAGS
from tests.system.browser.conftest import Shop, Visitor
from tools.browser import PASSWORD

ENVIRONMENT = {"BESIDE": "unfold"}
# The texts of our visible buttons that their boxes cut off.
CUT_BUTTONS = """
    return [...document.querySelectorAll('.flagstaff-button, .flagstaff-confirm')]
        .filter(button => button.checkVisibility({visibilityProperty: true, opacityProperty: true}))
        .filter(button => {
            const range = document.createRange();
            range.selectNodeContents(button);
            const [text, box] = [range.getBoundingClientRect(), button.getBoundingClientRect()];
            return text.width === 0 || text.left < box.left - 1 || text.right > box.right + 1;
        })
        .map(button => button.textContent.trim());
"""


@pytest.fixture(scope="module")
def logged_in(driver: webdriver.Chrome, shop: Shop) -> Visitor:
    """A browser logged in to the admin. The form of Unfold has a button of its own."""
    visitor = Visitor(driver, shop.address)
    visitor.visit("/admin/")
    visitor.write("#id_username", "admin")
    visitor.write("#id_password", PASSWORD)
    visitor.press("[type=submit]")
    return visitor


@pytest.mark.parametrize("width", [1280, 400])
def test_flag_is_found_and_killed_with_unfold(visitor: Visitor, shop: Shop, width: int) -> None:
    pk = shop.pk_of("new_checkout")
    visitor.set_width(width)
    for path, text in [
        (FLAGS, "new_checkout"),
        (f"{FLAGS}{pk}/change/", "new_checkout"),
        (f"{FLAGS}{pk}/kill/", "Kill"),
    ]:
        visitor.visit(path)
        visitor.wait_for_text("body", text)
        # Its header begins each title with a capital letter.
        assert "New_checkout" not in visitor.text("body")
        # Unfold itself has loaded, and not Django's own look.
        assert visitor.texts("link[href*='unfold/']") != []
        assert visitor.driver.execute_script(CUT_BUTTONS) == []
    visitor.press(".flagstaff-confirm")
    visitor.wait_until(
        lambda: shop.query("SELECT enabled FROM flagstaff_featureflag WHERE key = 'new_checkout'"),
        expected=[(False,)],
    )
    visitor.reset_width()


def test_menu_of_the_page_leads_to_the_flags(visitor: Visitor) -> None:
    visitor.visit("/admin/")
    for path in ("/admin/flagstaff/featureflag/overview/", FLAGS):
        assert visitor.texts(f"#nav-sidebar-inner a[href='{path}']") != [], path
