"""The page of recent changes in a browser, without scripts, on a phone."""

from selenium.webdriver.common.keys import Keys

from tests.support.admin_pages import RECENT
from tests.system.browser.conftest import Shop, Visitor
from tests.system.browser.layout import assert_fits

LONG = "checkout_payment_retry_policy_" * 8
MESSAGE = ".messagelist"
# Changes of two people, in several transactions, and a long key.
ROWS = (
    "DELETE FROM flagstaff_change",
    f"DELETE FROM flagstaff_featureflag WHERE key IN ('old_banner', '{LONG}')",
    f"""
    INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent) VALUES
        ('old_banner', true, 30), ('{LONG}', true, 100)
    """,
    """
    SET flagstaff.actor = 'deploy'; SET flagstaff.reason = 'release 42';
    UPDATE flagstaff_featureflag SET rollout_percent = 80 WHERE key = 'new_checkout'
    """,
    """
    SET flagstaff.actor = 'deploy';
    UPDATE flagstaff_keyvaluestore SET value = '"paypal"' WHERE key = 'payment_gateway'
    """,
)
PERCENT = "SELECT rollout_percent FROM flagstaff_featureflag WHERE key = '{}'"


def test_change_of_the_last_hour_is_found_and_undone(plain_phone: Visitor, shop: Shop) -> None:
    visitor = plain_phone
    for statement in ROWS:
        shop.query(statement)
    visitor.visit(RECENT)
    assert_fits(visitor)
    # The link has the time of an hour ago.
    visitor.follow(".flagstaff-filters nav li:first-child a")
    visitor.find(".flagstaff-filters summary").click()
    visitor.write("#id_actor", "deploy")
    visitor.follow("details:has(#id_actor) [type=submit]")
    visitor.write("#id_q", "CHECKOUT")
    with visitor.leaving_page():
        visitor.find("#id_q").send_keys(Keys.ENTER)
    assert_fits(visitor)
    assert visitor.texts(".flagstaff-event .flagstaff-key") == ["new_checkout"]
    assert "rollout 5 → 80 %" in visitor.text(".flagstaff-change")
    visitor.follow(".flagstaff-event .flagstaff-links a")
    assert_fits(visitor)
    assert "80 % 5 %" in " ".join(visitor.text(".flagstaff-preview").split())
    visitor.follow(".flagstaff-confirm")
    assert "was undone: rollout 80 → 5 %" in visitor.text(MESSAGE)
    assert shop.query(PERCENT.format("new_checkout")) == [(5,)]
    # Back to the same changes, among which the undo of another person is not.
    assert "actor=deploy" in visitor.driver.current_url
