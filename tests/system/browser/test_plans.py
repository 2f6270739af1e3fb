"""Rollout plans in a browser under a strict policy: every page without scripts, on two widths."""

from __future__ import annotations

from tests.system.browser.conftest import Shop, Visitor
from tests.system.browser.layout import assert_fits, plain_windows

PLANS = "/admin/flagstaff_rollouts/plan/"
FLAGS = "/admin/flagstaff/featureflag/"
MESSAGE = ".messagelist"
DRIVER = """
    INSERT INTO flagstaff_rollouts_driverrun (id, last_run_at) VALUES (1, now() + interval '1 day')
    ON CONFLICT (id) DO UPDATE SET last_run_at = now() + interval '1 day'
"""
SIGNALS = """
    WITH run AS (SELECT run_id AS id FROM flagstaff_rollouts_plan WHERE run_id IS NOT NULL),
    failed AS (
        INSERT INTO flagstaff_rollouts_failedunit (run_id, guard, unit, inside, at)
        SELECT run.id, 0, n, n % 4 = 0, now() FROM run, generate_series(1, 40) AS n
    )
    INSERT INTO flagstaff_rollouts_seenregister (run_id, inside, register, rank)
    SELECT run.id, inside, n, 1 + n % 5 FROM run, generate_series(0, 999) AS n,
        unnest(ARRAY[true, false]) AS inside
"""
HOLD = """
    UPDATE flagstaff_rollouts_plan SET state = 'holding', reason_kind = 'held'
    WHERE state = 'running'
"""


width = plain_windows(DRIVER)


def label_of_step(visitor: Visitor) -> str:
    """Returns what is shown before the first step in the list."""
    script = """
        const cell = document.querySelector('.field-shown_step [data-label]');
        return getComputedStyle(cell, '::before').content;
    """
    return str(visitor.driver.execute_script(script))


def test_form_of_a_plan_fits_with_all_its_fields(width: int, visitor: Visitor) -> None:
    visitor.visit("/admin/flagstaff_rollouts/plan/add/")
    visitor.driver.find_element("css selector", "details:has(.flagstaff-guards) > summary").click()
    assert_fits(visitor)


def test_plan_is_created_started_and_rolled_back_without_scripts(
    width: int, visitor: Visitor, shop: Shop
) -> None:
    [[pk]] = shop.query("SELECT id FROM flagstaff_featureflag WHERE key = 'new_checkout'")
    visitor.visit(f"{FLAGS}{pk}/change/")
    visitor.follow_link("Plan a rollout")
    assert_fits(visitor)
    visitor.write("#id_steps-0-time", "2")
    visitor.follow("[name=_more][value=steps]")
    assert len(visitor.driver.find_elements("css selector", "[id$=-percent]")) == 6
    visitor.follow(".submit-row [name=_save]")
    assert "was created" in visitor.text(MESSAGE)
    assert_fits(visitor)
    visitor.follow("[name=_button][value=start]")
    assert_fits(visitor)
    visitor.write("#id_reason", "launch")
    visitor.follow("button.flagstaff-confirm")
    assert "has started" in visitor.text(MESSAGE)
    shop.query(SIGNALS)
    visitor.driver.refresh()
    assert len(visitor.driver.find_elements("css selector", "svg.flagstaff-chart")) == 1
    assert_fits(visitor)
    assert visitor.find("[name=_button][value=rollback]").rect["height"] >= (
        44 if width < 768 else 20
    )
    visitor.visit(PLANS)
    assert_fits(visitor)
    assert label_of_step(visitor) == ('"Step: "' if width < 768 else "none")
    visitor.visit(f"{FLAGS}{pk}/change/")
    assert_fits(visitor)
    visitor.follow_link("Open the plan")
    shop.query(HOLD)
    visitor.visit(PLANS)
    assert_fits(visitor)
    label = visitor.text(".field-shown_state .flagstaff-attention")
    assert label.startswith("plan holds at ")
    visitor.follow(".field-flag a")
    visitor.follow("[name=_button][value=rollback]")
    assert "was rolled back" in visitor.text(MESSAGE)
    visitor.follow(".deletelink")
    assert_fits(visitor)
    visitor.follow("button.flagstaff-confirm")
    assert "was deleted" in visitor.text(MESSAGE)
