"""Rules and segments in a browser: from a form with an error to sentences with links."""

from __future__ import annotations

from tests.system.browser.conftest import Shop, Visitor

FLAGS, SEGMENTS = "/admin/flagstaff/featureflag/", "/admin/flagstaff/segment/"
MESSAGE = ".messagelist"
SENTENCES = ".flagstaff-rules li"
BROKEN = '[{"conditions": [{"segment": "customers"}],\n"rollout_percent": half}]'


def open_flag(visitor: Visitor, shop: Shop) -> None:
    [[pk]] = shop.query("SELECT id FROM flagstaff_featureflag WHERE key = 'new_checkout'")
    visitor.visit(f"{FLAGS}{pk}/change/")


def save(visitor: Visitor, rules: str) -> None:
    """Writes the rules as JSON, and saves with the button that stays on the page."""
    if not visitor.texts("#id_rules"):
        visitor.press("[name=_rule_edit][value=json]")
    visitor.write("#id_rules", rules)
    visitor.press("[name=_continue]")


def test_rules_are_written_read_and_followed_to_their_segment(visitor: Visitor, shop: Shop) -> None:
    try:
        open_flag(visitor, shop)
        save(visitor, BROKEN)
        visitor.wait_for_text(".errorlist", "line 2, column 20")
        assert visitor.find("#id_rules").get_property("value") == BROKEN
        save(visitor, BROKEN.replace("half", "50"))
        visitor.press(".flagstaff-confirm")
        visitor.wait_for_text(MESSAGE, "new_checkout")
        assert visitor.texts(SENTENCES) == ['50 % if in segment "customers"']
        visitor.follow(f"{SENTENCES} a")
        visitor.wait_for_text("h1", "Change segment")
        assert visitor.texts(".field-saved_conditions .readonly") == ["is_authenticated is true"]
        assert "new_checkout" in visitor.texts(".field-used_by a")
        visitor.press(".deletelink")
        visitor.wait_for_text(MESSAGE, "rules of .* use the segment “customers”")
    finally:
        shop.query("UPDATE flagstaff_featureflag SET rules = '[]' WHERE key = 'new_checkout'")


def test_example_opens_without_a_script(visitor: Visitor, shop: Shop) -> None:
    visitor.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        visitor.visit(f"{FLAGS}add/")
        visitor.press("[name=_rule_edit][value=json]")
        visitor.click(".flagstaff-example summary")
        assert '"conditions"' in visitor.text(".flagstaff-example pre")
    finally:
        visitor.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
