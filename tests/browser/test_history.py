"""The history in a browser: what was changed is taken back with a button, alone or together."""

from __future__ import annotations

from selenium.webdriver.common.by import By

from tests.browser.conftest import Shop, Visitor

MESSAGE = ".messagelist"
ROWS = ".flagstaff-history tbody tr"
NEWEST = f"{ROWS}:first-child"
RAMP = "UPDATE flagstaff_featureflag SET rollout_percent = {} WHERE key = 'new_checkout'"
PAY = "UPDATE flagstaff_keyvaluestore SET value = '\"paypal\"' WHERE key = 'payment_gateway'"
PRESENT = """
    SELECT rollout_percent, value
    FROM flagstaff_featureflag AS flag, flagstaff_keyvaluestore AS store
    WHERE flag.key = 'new_checkout' AND store.key = 'payment_gateway'
"""


def open_history(visitor: Visitor, shop: Shop) -> None:
    [[pk]] = shop.query("SELECT id FROM flagstaff_featureflag WHERE key = 'new_checkout'")
    visitor.visit(f"/admin/flagstaff/featureflag/{pk}/history/")


def press(visitor: Visitor, row: str, label: str) -> None:
    buttons = visitor.one(row).find_elements(By.TAG_NAME, "button")
    [button] = [button for button in buttons if button.text.startswith(label)]
    button.click()


def test_undo_takes_back_one_change_with_a_reason(visitor: Visitor, shop: Shop) -> None:
    shop.query(RAMP.format(60))
    open_history(visitor, shop)
    assert "rollout_percent 5 → 60" in visitor.text(NEWEST)
    visitor.write("#id_reason", "orders fail")
    press(visitor, NEWEST, "Undo")
    visitor.reads(MESSAGE, "“new_checkout” is as it was")
    assert shop.query(PRESENT) == [(5, "stripe")]
    for told in ("rollout_percent 60 → 5", "admin", "orders fail"):
        assert told in visitor.text(NEWEST)


def test_restore_makes_the_flag_what_it_was_then(visitor: Visitor, shop: Shop) -> None:
    for percent in (20, 60, 100):
        shop.query(RAMP.format(percent))
    open_history(visitor, shop)
    press(visitor, f"{ROWS}:nth-child(3)", "Restore this")
    visitor.reads(MESSAGE, "“new_checkout” is as it was")
    assert shop.query(PRESENT) == [(20, "stripe")]
    assert "rollout_percent 100 → 20" in visitor.text(NEWEST)


def test_what_changed_together_is_taken_back_together(visitor: Visitor, shop: Shop) -> None:
    shop.query(f"{RAMP.format(60)}; {PAY}")
    open_history(visitor, shop)
    assert "together with payment_gateway" in visitor.text(NEWEST)
    visitor.write("#id_reason", "orders fail")
    press(visitor, NEWEST, "Undo all 2")
    visitor.reads("h1", "Take all of it back")
    assert shop.query(PRESENT) == [(60, "paypal")]
    press(visitor, "#content-main", "Undo all 2")
    visitor.reads(MESSAGE, "As they were: “new_checkout”, “payment_gateway”")
    assert shop.query(PRESENT) == [(5, "stripe")]
    assert "orders fail" in visitor.text(NEWEST)
    visitor.follow("payment_gateway")
    visitor.reads(NEWEST, 'value "paypal" → "stripe"')


def test_page_that_is_behind_takes_nothing_back(visitor: Visitor, shop: Shop) -> None:
    shop.query(f"{RAMP.format(60)}; {PAY}")
    open_history(visitor, shop)
    shop.query(RAMP.format(70))
    press(visitor, NEWEST, "Undo all 2")
    visitor.reads("h1", "Take all of it back")
    press(visitor, "#content-main", "Undo all 2")
    visitor.reads(
        MESSAGE, "Refused: new_checkout has version .* since then: .*rollout_percent 60 → 70"
    )
    assert shop.query(PRESENT) == [(70, "paypal")]
