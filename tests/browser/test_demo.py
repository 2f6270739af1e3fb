"""What the demo promises, seen in a browser: a change in the admin is in every worker."""

from __future__ import annotations

import hashlib

from tests.browser.conftest import WORKERS, Shop, Visitor

FLAGS = "/admin/flagstaff/featureflag/"
MESSAGE = ".messagelist"
PANEL = ".panel footer"
WAVE = "[data-wave]"
ALICE, BOB = "alice", "bob"


def has_it(pk: int, percent: int) -> bool:
    digest = hashlib.sha256(f"new_checkout:{pk}".encode()).hexdigest()
    return int(digest, 16) % 100 < percent


def crowd(shop: Shop, percent: int) -> tuple[int, int]:
    """How many of the crowd have new_checkout, and how many there are."""
    [[allowed]] = shop.query("SELECT user_id FROM flagstaff_featureflag_allowed_users")
    people = [pk for (pk,) in shop.query("SELECT id FROM auth_user WHERE NOT is_staff")]
    return sum(pk == allowed or has_it(pk, percent) for pk in people), len(people)


def all_panels(visitor: Visitor) -> list[str]:
    """What each worker's panel says of the flag, without the news of when."""
    counts, rollouts = visitor.texts(".panel [data-count]"), visitor.texts(".panel [data-rollout]")
    return [f"{count}, {rollout}" for count, rollout in zip(counts, rollouts, strict=True)]


def watch_crowd(visitor: Visitor, shop: Shop) -> None:
    """Open the crowd beside the page that is open, and wait until every worker is on it."""
    visitor.tab("/crowd/")
    visitor.reads(WAVE, f"All {WORKERS} workers answer")
    assert set(visitor.texts(".panel [data-pid]")) == shop.workers()


def everybody_sees(visitor: Visitor, shop: Shop, percent: int, rollout: str) -> None:
    """Wait until every worker's panel says so, and lights as many dots."""
    lit, people = crowd(shop, percent)
    lit = 0 if rollout == "switched off" else lit
    visitor.sees(lambda: all_panels(visitor), [f"{lit} of {people}, {rollout}"] * WORKERS)
    assert len(visitor.texts(".panel .dots .lit")) == WORKERS * lit


def put_something_into_the_cart(visitor: Visitor) -> None:
    visitor.visit("/things/pennant/")
    visitor.click(".buy button")
    visitor.reads("[role=status]", "Harbour pennant is in your cart")


def test_switch_in_the_list_reaches_every_worker(visitor: Visitor, shop: Shop) -> None:
    visitor.visit(FLAGS)
    watch_crowd(visitor, shop)
    everybody_sees(visitor, shop, 5, "rollout 5 %")
    visitor.turn_to(0)
    visitor.click("[aria-label='Turn off new_checkout']")
    visitor.reads(MESSAGE, "The flag “new_checkout” is off now.")
    visitor.turn_to(1)
    everybody_sees(visitor, shop, 0, "switched off")
    visitor.turn_to(0)
    visitor.click("[aria-label='Turn on new_checkout']")
    visitor.reads(MESSAGE, "The flag “new_checkout” is on now.")
    visitor.turn_to(1)
    everybody_sees(visitor, shop, 5, "rollout 5 %")


def test_step_of_the_ramp_reaches_every_worker(visitor: Visitor, shop: Shop) -> None:
    watch_crowd(visitor, shop)
    visitor.turn_to(0)
    visitor.visit(FLAGS)
    visitor.follow("new_checkout")
    visitor.click("[data-flagstaff-steps] button[value='50']")
    assert visitor.one("#id_rollout_percent").get_attribute("value") == "50"
    visitor.click("[name=_save]")
    visitor.reads(MESSAGE, "“new_checkout” was changed successfully")
    visitor.turn_to(1)
    everybody_sees(visitor, shop, 50, "rollout 50 %")
    visitor.reads(WAVE, f"switched in {WORKERS} of {WORKERS} workers")


def test_checkout_differs_for_alice_and_bob(visitor: Visitor) -> None:
    put_something_into_the_cart(visitor)
    visitor.becomes(ALICE)
    visitor.visit("/checkout/")
    assert visitor.text("h1") == "Checkout new_checkout is on for you"
    visitor.becomes(BOB)
    visitor.visit("/checkout/")
    assert visitor.text("h1") == "Checkout the classic one, in three steps"


def test_gateway_of_the_admin_stands_on_the_receipt(visitor: Visitor, shop: Shop) -> None:
    before = shop.workers()
    put_something_into_the_cart(visitor)
    visitor.becomes(ALICE)
    visitor.visit("/checkout/")
    assert visitor.text(".bill button") == "Pay with Stripe"
    visitor.tab("/admin/flagstaff/keyvaluestore/")
    visitor.follow("payment_gateway")
    visitor.write("#id_value", '"paypal"')
    visitor.click("[name=_save]")
    visitor.reads(MESSAGE, "“payment_gateway” was changed successfully")
    visitor.turn_to(0)
    visitor.click(".bill button")
    visitor.reads("h1", "Paid with PayPal")
    assert shop.workers() == before


def test_value_without_quotes_is_explained_where_it_is_written(visitor: Visitor) -> None:
    visitor.visit("/admin/flagstaff/keyvaluestore/add/")
    visitor.write("#id_key", "page_size")
    visitor.write("#id_value", "twenty")
    visitor.click("[name=_save]")
    visitor.reads(".errorlist", "a text stands in double quotes")
    assert visitor.one("#id_value").get_attribute("value") == "twenty"


def test_switch_is_in_sight_on_a_small_screen(visitor: Visitor) -> None:
    for width in (400, 1280):
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        visitor.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        visitor.visit(FLAGS)
        place = visitor.one("[aria-label='Turn off new_checkout']").rect
        assert (
            place["x"] + place["width"]
            <= visitor.one("#changelist .results").rect["x"]
            + (visitor.one("#changelist .results").rect["width"])
        )
    visitor.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
