"""Pages of the admin in a browser, with long keys, on desktops, tablets and phones."""

from collections.abc import Iterator

import pytest

from tests.system.browser.conftest import Shop, Visitor
from tests.system.browser.layout import assert_fits

LONG_KEY = "checkout.payment.retry_policy.maximum_number_of_attempts_per_order"
INSERT = (
    f"INSERT INTO flagstaff_keyvaluestore (key, value) VALUES ('{LONG_KEY}', '\"stripe\"') "
    "ON CONFLICT DO NOTHING"
)
# One transaction, so it has the button that undoes all of it.
TOGETHER = f"""
    UPDATE flagstaff_featureflag SET rollout_percent = 7 WHERE key = 'new_checkout';
    UPDATE flagstaff_keyvaluestore SET value = '"paypal"' WHERE key = '{LONG_KEY}'
"""
DELETE = f"DELETE FROM flagstaff_keyvaluestore WHERE key = '{LONG_KEY}'"


@pytest.fixture(autouse=True)
def long_key(visitor: Visitor, shop: Shop) -> Iterator[None]:
    shop.query(INSERT)
    yield
    visitor.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    visitor.reset_width()
    shop.query(DELETE)


@pytest.mark.parametrize("width", [400, 1280])
def test_long_key_leaves_room_for_value(width: int, visitor: Visitor) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    visitor.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    visitor.visit("/admin/flagstaff/keyvaluestore/")
    place = visitor.find("#result_list tbody tr:first-child .field-shown_value").rect
    assert place["width"] >= 130
    assert place["x"] + place["width"] <= width
    assert place["height"] < 150


def test_buttons_of_changes_fit_in_german(visitor: Visitor, shop: Shop) -> None:
    def speak(language: str) -> None:
        headers = {"headers": {"Accept-Language": language}}
        visitor.driver.execute_cdp_cmd("Network.setExtraHTTPHeaders", headers)

    shop.query(TOGETHER)
    visitor.driver.execute_cdp_cmd("Network.enable", {})
    speak("de")
    visitor.set_width(1400)
    try:
        visitor.visit("/admin/flagstaff/featureflag/changes/")
        assert visitor.text("h1") == "Letzte Änderungen"
        assert_fits(visitor)
    finally:
        speak("en")
        visitor.driver.execute_cdp_cmd("Network.disable", {})


@pytest.mark.parametrize("page", ["featureflag/changes/", "featureflag/{}/history/"])
def test_table_of_changes_fits_between_a_phone_and_a_desktop(
    page: str, visitor: Visitor, shop: Shop
) -> None:
    pk = shop.pk_of("new_checkout")
    visitor.visit(f"/admin/flagstaff/{page.format(pk)}")
    for width in (800, 1030, 1300):
        visitor.set_width(width)
        assert_fits(visitor)
