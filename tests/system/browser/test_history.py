"""The history in a browser: buttons undo and restore one change, or a whole transaction."""

from __future__ import annotations

from selenium.webdriver.common.by import By

from tests.system.browser.conftest import Shop, Visitor

MESSAGE = ".messagelist"
ROWS = ".flagstaff-history tbody tr"
NEWEST = f"{ROWS}:first-child"
SET_ROLLOUT = "UPDATE flagstaff_featureflag SET rollout_percent = {} WHERE key = 'new_checkout'"
SET_GATEWAY = (
    "UPDATE flagstaff_keyvaluestore SET value = '\"paypal\"' WHERE key = 'payment_gateway'"
)
STATE = """
    SELECT rollout_percent, value
    FROM flagstaff_featureflag AS flag, flagstaff_keyvaluestore AS store
    WHERE flag.key = 'new_checkout' AND store.key = 'payment_gateway'
"""


def open_history(visitor: Visitor, shop: Shop) -> None:
    [[pk]] = shop.query("SELECT id FROM flagstaff_featureflag WHERE key = 'new_checkout'")
    visitor.visit(f"/admin/flagstaff/featureflag/{pk}/history/")


def press(visitor: Visitor, row: str, label: str) -> None:
    buttons = visitor.find(row).find_elements(By.TAG_NAME, "button")
    [button] = [button for button in buttons if button.text.startswith(label)]
    with visitor.leaving_page():
        button.click()


def test_undo_button_undoes_one_change_with_reason(visitor: Visitor, shop: Shop) -> None:
    shop.query(SET_ROLLOUT.format(60))
    open_history(visitor, shop)
    assert "rollout_percent 5 → 60" in visitor.text(NEWEST)
    visitor.write("#id_reason", "orders fail")
    press(visitor, NEWEST, "Undo")
    visitor.wait_for_text(MESSAGE, "The change of “new_checkout” was undone")
    assert shop.query(STATE) == [(5, "stripe")]
    for text in ("rollout_percent 60 → 5", "admin", "orders fail"):
        assert text in visitor.text(NEWEST)


def test_restore_button_restores_version(visitor: Visitor, shop: Shop) -> None:
    for percent in (20, 60, 100):
        shop.query(SET_ROLLOUT.format(percent))
    open_history(visitor, shop)
    press(visitor, f"{ROWS}:nth-child(3)", "Restore")
    visitor.wait_for_text("h1", "Restore an earlier state")
    assert visitor.texts(ROWS) == ["rollout_percent 100 20"]
    assert shop.query(STATE) == [(100, "stripe")]
    press(visitor, "#content-main", "Restore")
    visitor.wait_for_text(MESSAGE, "“new_checkout” was restored")
    assert shop.query(STATE) == [(20, "stripe")]
    assert "rollout_percent 100 → 20" in visitor.text(NEWEST)


def test_undo_all_button_undoes_transaction(visitor: Visitor, shop: Shop) -> None:
    shop.query(f"{SET_ROLLOUT.format(60)}; {SET_GATEWAY}")
    open_history(visitor, shop)
    assert "changed together with payment_gateway" in visitor.text(NEWEST)
    visitor.write("#id_reason", "orders fail")
    press(visitor, NEWEST, "Undo all 2")
    visitor.wait_for_text("h1", "Undo all changes of a transaction")
    assert shop.query(STATE) == [(60, "paypal")]
    press(visitor, "#content-main", "Undo all 2")
    visitor.wait_for_text(MESSAGE, "Undone: “new_checkout”, “payment_gateway”")
    assert shop.query(STATE) == [(5, "stripe")]
    assert "orders fail" in visitor.text(NEWEST)
    visitor.follow_link("payment_gateway")
    visitor.wait_for_text(NEWEST, 'value "paypal" → "stripe"')


def test_undo_all_over_newer_change_is_rejected(visitor: Visitor, shop: Shop) -> None:
    shop.query(f"{SET_ROLLOUT.format(60)}; {SET_GATEWAY}")
    open_history(visitor, shop)
    shop.query(SET_ROLLOUT.format(70))
    press(visitor, NEWEST, "Undo all 2")
    visitor.wait_for_text("h1", "Undo all changes of a transaction")
    press(visitor, "#content-main", "Undo all 2")
    visitor.wait_for_text(
        MESSAGE,
        "Not saved: new_checkout has version .* changes after version .*: .*"
        "rollout_percent 60 → 70",
    )
    assert shop.query(STATE) == [(70, "paypal")]
