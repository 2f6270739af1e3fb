"""Rollout plans in a browser under a strict policy: every page without scripts, on a phone."""

import pytest

from tests.system.browser.conftest import Shop, Visitor
from tests.system.browser.layout import assert_fits, assert_last_column_fits

PLANS = "/admin/flagstaff_rollouts/plan/"
MESSAGE = ".messagelist"
CONFIRM = "button.flagstaff-confirm"
DRIVER = """
    INSERT INTO flagstaff_rollouts_driverrun (id, last_run_at) VALUES (1, now() + interval '1 day')
    ON CONFLICT (id) DO UPDATE SET last_run_at = now() + interval '1 day'
"""
SIGNALS = """
    WITH run AS (SELECT run_id AS id FROM flagstaff_rollouts_plan WHERE run_id IS NOT NULL),
    failed AS (
        INSERT INTO flagstaff_rollouts_failedunit (run_id, guard, unit, inside, is_counted)
        SELECT run.id, 0, n, n % 4 = 0, true FROM run, generate_series(1, 40) AS n
    )
    INSERT INTO flagstaff_rollouts_seenregister (run_id, inside, left_out, register, rank)
    SELECT run.id, inside, false, n, 1 + n % 5 FROM run, generate_series(0, 999) AS n,
        unnest(ARRAY[true, false]) AS inside
"""
# Labels that do not stand in the line of their input.
BROKEN_LABELS = """
    const text = label => {
        const range = document.createRange();
        range.selectNodeContents(label.firstChild);
        return range.getBoundingClientRect();
    };
    const input = label => document.getElementById(label.htmlFor).getBoundingClientRect();
    return [...document.querySelectorAll('.flagstaff-inputs label:not(.flagstaff-hidden)')]
        .filter(label => text(label).bottom < input(label).top)
        .map(label => label.textContent.trim());
"""
HOLD = """
    UPDATE flagstaff_rollouts_plan SET state = 'holding'
    WHERE state = 'running'
"""


@pytest.mark.parametrize("width", [400, 1280])
def test_labels_of_steps_and_guards_stand_beside_their_inputs(width: int, visitor: Visitor) -> None:
    visitor.set_width(width)
    visitor.visit(f"{PLANS}add/?key=new_checkout")
    assert visitor.driver.execute_script(BROKEN_LABELS) == []
    visitor.reset_width()


def test_plan_is_created_started_and_rolled_back_without_scripts(
    plain_phone: Visitor, shop: Shop
) -> None:
    visitor = plain_phone
    shop.query(DRIVER)
    visitor.visit(shop.page_of())
    visitor.follow_link("Plan a rollout…")
    assert_fits(visitor)
    for row, texts in enumerate((("10", "1h"), ("100", ""), ("", ""), ("", ""))):
        visitor.write(f"#id_steps-{row}-percent", texts[0])
        visitor.write(f"#id_steps-{row}-time", texts[1])
    # The page shows the new steps first.
    visitor.follow(CONFIRM)
    assert_fits(visitor)
    assert "10 % for 1 h" in visitor.text("#content-main table")
    visitor.follow(CONFIRM)
    assert "created with the steps 10 % for 1 h, 100 %" in visitor.text(MESSAGE).lower()
    assert_fits(visitor)
    visitor.follow_link("Start…")
    assert_fits(visitor)
    visitor.write("#id_reason", "launch")
    visitor.follow(CONFIRM)
    assert "started: rollout 5 → 10 %" in visitor.text(MESSAGE).lower()
    shop.query(SIGNALS)
    visitor.driver.refresh()
    assert len(visitor.driver.find_elements("css selector", ".flagstaff-plan svg")) == 2
    assert_fits(visitor)
    assert_last_column_fits(visitor, "Guards", rows=1)
    assert visitor.find(".flagstaff-main").rect["height"] >= 44
    visitor.visit(shop.page_of())
    assert_fits(visitor)
    visitor.follow_link("Open the plan")
    shop.query(HOLD)
    visitor.visit(PLANS)
    assert_fits(visitor)
    assert visitor.text(".field-shown_state").startswith("holding")
    visitor.follow(".field-flag a")
    # Two clicks, as a kill.
    visitor.follow(".flagstaff-main")
    assert_fits(visitor)
    visitor.follow(CONFIRM)
    assert "rolled back: rollout 0 %" in visitor.text(MESSAGE).lower()
    visitor.follow_link("Delete…")
    assert_fits(visitor)
    visitor.follow(CONFIRM)
    assert "was deleted" in visitor.text(MESSAGE)
