"""OpenFeature's web provider against the example: in its page, and in Node.js."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.browser.conftest import Shop, Visitor, required
from tools import front_end
from tools.browser import chromium
from tools.limits import SERVER, seconds

PAGE = "/front-end/"
STATE, REASON = (f"[data-flag=new_checkout] {part}" for part in (".state", "small"))
OFF = "UPDATE flagstaff_featureflag SET enabled = false WHERE key = 'new_checkout'"
VISIBILITY = "return performance.getEntriesByType('visibility-state').map(element => element.name)"
SCRIPT = Path(__file__).with_name("web_provider.cjs")


@pytest.fixture(scope="module", autouse=True)
def packages() -> Path:
    """The directory `node_modules`. The page has its script before the example starts."""
    return required(front_end.build)


@pytest.fixture
def other_browser(programs: tuple[str, str], shop: Shop, tmp_path: Path) -> Iterator[Visitor]:
    with chromium(*programs, tmp_path) as driver:
        yield Visitor(driver, shop.address)


def responses(visitor: Visitor) -> list[int]:
    """Returns how many responses the page has had, and which one brought the last change."""
    return [int(number) for number in re.findall(r": (\d+)", visitor.text("[data-responses]"))]


def test_page_shows_a_change_without_a_reload_for_its_own_user(
    visitor: Visitor, other_browser: Visitor, shop: Shop
) -> None:
    shop.query(OFF)
    for browser, user in ((visitor, "alice"), (other_browser, "bob")):
        browser.visit(PAGE)
        browser.log_in_as(user)
        browser.wait_for_text(REASON, "disabled")
        assert browser.text(STATE) == "off"
    # Not a tab: the page stays visible, so only its interval makes it ask.
    driver = visitor.driver
    driver.switch_to.new_window("window")
    visitor.visit("/admin/flagstaff/featureflag/")
    visitor.follow("[aria-label='Turn on… new_checkout']")
    visitor.follow(".flagstaff-confirm")
    visitor.wait_for_text(".messagelist", "“new_checkout” was changed: turned on.")
    visitor.switch_to_tab(0)
    before, _ = responses(visitor)
    visitor.wait_for_text(REASON, "targeting match")
    assert visitor.text(STATE) == "on"
    # One response may have been on its way.
    assert responses(visitor)[1] <= before + 2
    assert driver.execute_script(VISIBILITY) == ["visible"]
    other_browser.wait_for_text(REASON, "split")
    assert other_browser.text(STATE) == "off"
    assert other_browser.console_errors() == []


def test_web_provider_gets_client_side_flags_only(packages: Path, shop: Shop) -> None:
    command = ["node", str(SCRIPT), str(packages), shop.address]
    results = json.loads(subprocess.check_output(command, timeout=seconds(SERVER)))
    browser, wrong, limited = results["browser"], results["wrong"], results["limited"]
    assert (browser["state"], browser["statuses"][:2]) == ("READY", [200, 304])
    shown, hidden = browser["shown"], browser["hidden"]
    assert (shown["value"], shown["reason"]) == (False, "UNKNOWN")
    assert shown["flagMetadata"] == {"reason": "DEFAULT"}
    assert (hidden["value"], hidden["errorCode"]) == (True, "FLAG_NOT_FOUND")
    assert (wrong["state"], wrong["statuses"]) == ("FATAL", [401, 401])
    assert wrong["shown"]["value"] is True
    # The second request waits as long as the first response says.
    assert (limited["state"], limited["statuses"]) == ("ERROR", [429])
    assert limited["shown"]["value"] is True
    assert (results["single"], results["singleHidden"]) == ([200, False], [404, "FLAG_NOT_FOUND"])
