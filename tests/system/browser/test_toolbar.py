"""The panel of Django Debug Toolbar in a browser, under a strict Content-Security-Policy."""

from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.system.browser.conftest import Visitor
from tests.system.browser.screenshots import VIEWS, save_screenshot

ENVIRONMENT = {"BESIDE": "debug_toolbar"}
BUTTON, PANEL = "#djdt-FlagsPanel a", "#FlagsPanel"
# Writes a long key and a long value into the panel, and returns how many pixels are cut off.
CUT = """
    const [key, , value] = arguments[0].querySelectorAll('td');
    key.textContent = 'k'.repeat(100);
    value.textContent = 'v'.repeat(300);
    const table = arguments[0].querySelector('.djdt-scroll');
    return table.scrollWidth - table.clientWidth;
"""


def toolbar(visitor: Visitor, selector: str) -> WebElement:
    return visitor.find("#djDebugRoot").shadow_root.find_element(By.CSS_SELECTOR, selector)


def open_panel(visitor: Visitor, path: str) -> list[list[str]]:
    """Opens a page and its panel, and returns the cells."""
    visitor.visit(path)
    visitor.driver.execute_script("localStorage.setItem('djdt.show', 'true')")
    visitor.visit(path)
    visitor.when_interactable(lambda: toolbar(visitor, BUTTON).click())

    def rows_of_panel() -> list[WebElement]:
        return toolbar(visitor, PANEL).find_elements(By.CSS_SELECTOR, "tbody tr")

    visitor.wait_until(lambda: rows_of_panel() != [], expected=True)
    rows = rows_of_panel()
    return [[cell.text for cell in row.find_elements(By.TAG_NAME, "td")] for row in rows]


def test_panel_shows_the_flags_of_a_page_on_desktops_and_phones(visitor: Visitor) -> None:
    for scheme, width in VIEWS:
        visitor.set_scheme(scheme)
        visitor.set_width(width)
        rows = {row[0]: row[1:] for row in open_panel(visitor, "/cart/")}
        save_screenshot(visitor, f"toolbar-{scheme}-{width}")
        assert rows["summer_banner"] == ["flag", "on", "STATIC", "1"]
        # On a phone, the toolbar covers most of the panel, which can be scrolled.
        cut = visitor.driver.execute_script(CUT, toolbar(visitor, PANEL))
        assert cut == 0 or width == 400
    visitor.set_scheme("light")
    visitor.reset_width()
