"""The demo in a browser: a change in the admin reaches every worker."""

import pytest

from tests.support.admin_pages import FLAGS
from tests.support.buckets import bucket_of
from tests.system.browser.conftest import WORKERS, Shop, Visitor
from tests.system.browser.layout import assert_fits

ENVIRONMENT = {"WORKERS": str(WORKERS)}
MESSAGE = ".messagelist"
PROGRESS = "[data-progress]"
LONG_KEY = "checkout." * 28
ALICE = "alice"


def user_counts(shop: Shop, percent: int) -> tuple[int, int]:
    """Returns how many users of the crowd page have new_checkout, and how many users it has."""
    [[allowed]] = shop.query("SELECT user_id FROM flagstaff_featureflag_allowed_users")
    users = [pk for (pk,) in shop.query("SELECT id FROM auth_user WHERE NOT is_staff")]
    return sum(pk == allowed or bucket_of("new_checkout", pk) < percent for pk in users), len(users)


def panel_texts(visitor: Visitor) -> list[str]:
    """Returns the user count and the rollout of each worker's panel."""
    counts, rollouts = visitor.texts(".panel [data-count]"), visitor.texts(".panel [data-rollout]")
    return [f"{count}, {rollout}" for count, rollout in zip(counts, rollouts, strict=True)]


def wait_for_panels(visitor: Visitor, shop: Shop, percent: int, rollout: str) -> None:
    """Waits until the panel of every worker shows this rollout and the right number of dots."""
    enabled, total = user_counts(shop, percent)
    enabled = 0 if rollout == "off" else enabled
    visitor.wait_until(lambda: panel_texts(visitor), [f"{enabled} of {total}, {rollout}"] * WORKERS)
    assert len(visitor.texts(".panel .dots .enabled")) == WORKERS * enabled


def test_steps_of_the_crowd_page_reach_every_worker(visitor: Visitor, shop: Shop) -> None:
    visitor.visit(FLAGS)
    visitor.open_tab("/crowd/")
    visitor.wait_for_text(PROGRESS, f"Connected to all {WORKERS} workers")
    assert set(visitor.texts(".panel [data-pid]")) == shop.workers()
    wait_for_panels(visitor, shop, 5, "rollout 5 %")
    steps = [
        ("50 %", "rollout 5 → 50 %", 50, "rollout 50 %"),
        ("Kill…", "turned off", 0, "off"),
        ("Undo", "turned on", 50, "rollout 50 %"),
    ]
    texts = visitor.texts(".crowd-head li")
    visitor.switch_to_tab(0)
    visitor.follow_link("new_checkout")
    for (link, message, percent, rollout), step in zip(steps, texts, strict=True):
        assert link in step
        visitor.switch_to_tab(0)
        visitor.follow_link(link)
        visitor.follow(".flagstaff-confirm")
        visitor.wait_for_text(MESSAGE, message)
        visitor.switch_to_tab(1)
        wait_for_panels(visitor, shop, percent, rollout)
        visitor.wait_for_text(PROGRESS, f"changed in {WORKERS} of {WORKERS} workers")


@pytest.mark.parametrize("width", [1400, 400])
def test_crowd_page_fits_with_a_long_key(width: int, visitor: Visitor, shop: Shop) -> None:
    shop.query(f"INSERT INTO flagstaff_featureflag (key) VALUES ('{LONG_KEY}')")
    visitor.set_width(width)
    try:
        visitor.visit("/crowd/")
        assert_fits(visitor)
    finally:
        visitor.reset_width()
        shop.query(f"DELETE FROM flagstaff_featureflag WHERE key = '{LONG_KEY}'")


def test_payment_gateway_of_admin_is_on_receipt(visitor: Visitor, shop: Shop) -> None:
    before = shop.workers()
    visitor.visit("/things/pennant/")
    visitor.follow(".buy button")
    visitor.wait_for_text("[role=status]", "Harbour pennant is in your cart")
    visitor.log_in_as(ALICE)
    visitor.visit("/checkout/")
    assert visitor.text(".bill button") == "Pay with Stripe"
    visitor.open_tab("/admin/flagstaff/keyvaluestore/")
    visitor.follow_link("payment_gateway")
    visitor.follow_link("Set…")
    visitor.click("#id_value option:last-child")
    assert visitor.text("#id_value option:checked") == "paypal"
    visitor.follow(".flagstaff-confirm")
    visitor.follow(".flagstaff-confirm")
    visitor.wait_for_text(MESSAGE, "“payment_gateway” was changed: value")
    visitor.switch_to_tab(0)
    visitor.follow(".bill button")
    visitor.wait_for_text("h1", "Paid with PayPal")
    assert shop.workers() == before
