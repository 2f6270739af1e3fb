"""A promotion from a file in a browser: on a phone without scripts."""

import json
from pathlib import Path

from tests.system.browser.conftest import Shop, Visitor
from tests.system.browser.layout import assert_fits
from tools.console_pages import COMPARE

RULE = {
    "name": "x" * 40,
    "conditions": [{"attribute": "country", "operator": "in", "values": ["DE"]}],
}
STATE = "SELECT key, rules, rollout_percent FROM flagstaff_featureflag ORDER BY key LIMIT 3"


def test_rules_of_three_flags_are_promoted_by_eight_clicks(
    plain_phone: Visitor, shop: Shop, tmp_path: Path
) -> None:
    visitor = plain_phone
    before = {key: (rules, percent) for key, rules, percent in shop.query(STATE)}
    flags = {key: {"rules": [RULE], "rollout_percent": 77, "enabled": False} for key in before}
    file = tmp_path / "staging.json"
    file.write_text(json.dumps({"flagstaff": 1, "partial": True, "flags": flags}))
    visitor.visit(COMPARE)
    visitor.find("#id_file").send_keys(str(file))
    visitor.press("form[enctype] button")
    assert_fits(visitor)
    for key in before:
        box = visitor.find(f"input[value='flag rules {key}']")
        # Not below the bar with the buttons.
        visitor.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", box)
        box.click()
    visitor.press(".flagstaff-selected button:not([name])")
    assert_fits(visitor)
    visitor.press(".flagstaff-confirm")
    # The file, Compare, three boxes, Import, and its confirmation.
    clicks = 2 + len(before) + 2
    assert clicks <= 8
    after = {key: (rules, percent) for key, rules, percent in shop.query(STATE)}
    assert after == {key: ([RULE], percent) for key, (_rules, percent) in before.items()}
    visitor.press(".flagstaff-undo")
    visitor.press(".flagstaff-confirm")
    assert {key: (rules, percent) for key, rules, percent in shop.query(STATE)} == before
