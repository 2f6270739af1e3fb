"""Experiments in a browser under a strict policy: every page without scripts, on a phone."""

from tests.system.browser.conftest import Shop, Visitor
from tests.system.browser.layout import assert_fits, assert_last_column_fits

EXPERIMENTS = "/admin/flagstaff_experiments/experiment/"
KEY = "color_of_the_button_on_the_page_of_the_cart"
LONG = "a_very_long_name_of_a_variant_that_no_phone_has_room_for"
MESSAGE = ".messagelist"
ACTION = "a[href$='/{}/']"
CONFIRM = "button.flagstaff-confirm"
# An experiment that an earlier test has left.
RENAME = f"UPDATE flagstaff_experiments_experiment SET key = 'left_' || id WHERE key = '{KEY}'"
# Two thousand users of each variant, in the ten days before the window of a week.
EXPOSURES = f"""
    UPDATE flagstaff_experiments_experiment
    SET started_at = now() - interval '18 days', runs_since = now() - interval '18 days'
    WHERE key = '{KEY}';
    INSERT INTO flagstaff_experiments_exposure (experiment_id, run, unit, variant, at)
    SELECT e.id, 0, (1000000 + n)::text, (ARRAY['control', '{LONG}'])[1 + n % 2],
        now() - interval '18 days' + n * interval '10 days' / 4000
    FROM flagstaff_experiments_experiment AS e, generate_series(1, 4000) AS n
    WHERE e.key = '{KEY}'
"""


def act(visitor: Visitor, name: str) -> None:
    """Opens the page of an action, and confirms it."""
    visitor.press(ACTION.format(name))
    assert_fits(visitor)
    visitor.press(CONFIRM)


def create(visitor: Visitor) -> None:
    """Creates the experiment at the second attempt, and sees first what it would be."""
    visitor.visit(f"{EXPERIMENTS}add/")
    assert_fits(visitor)
    visitor.write("#id_key", KEY)
    visitor.write("#id_variants", f"control\n{LONG}:x")
    visitor.press(CONFIRM)
    assert "Line 2: " in visitor.text(".errorlist")
    assert_fits(visitor)
    visitor.write("#id_variants", f"control\n{LONG}")
    visitor.press(CONFIRM)
    assert "50.0" in visitor.text(".flagstaff-preview")
    assert_fits(visitor)
    visitor.press(CONFIRM)
    assert "created with control 1" in visitor.text(MESSAGE)


def edit(visitor: Visitor) -> None:
    """Sets the metrics of the draft."""
    visitor.press(ACTION.format("edit"))
    assert_fits(visitor)
    visitor.write("#id_guardrails", "double_orders=0.01")
    visitor.write("#id_planned_units", "4000")
    visitor.click("#id_primary option[value=orders]")
    visitor.press(CONFIRM)
    assert "double_orders (0.01)" in visitor.text(".flagstaff-preview")
    assert_fits(visitor)
    visitor.press(CONFIRM)
    assert "Primary metric: none → orders" in visitor.text(MESSAGE)


def test_experiment_is_created_started_and_shipped_without_scripts(
    plain_phone: Visitor, shop: Shop
) -> None:
    visitor = plain_phone
    shop.query(RENAME)
    create(visitor)
    assert_fits(visitor)
    edit(visitor)
    act(visitor, "start")
    assert "started: control " in visitor.text(MESSAGE)
    shop.query(EXPOSURES)
    visitor.driver.refresh()
    # No user of this test has ordered, so no metric has an interval.
    assert "undecided" in visitor.text(".flagstaff-head-line")
    assert_last_column_fits(visitor, "Metrics", rows=2)
    assert_last_column_fits(visitor, "Units", rows=2)
    assert_fits(visitor)
    act(visitor, "stop")
    assert "every call returns its default" in visitor.text(MESSAGE)
    act(visitor, "start")
    act(visitor, "restart")
    assert "the exposures so far are no longer reported" in visitor.text(MESSAGE)
    visitor.visit(EXPERIMENTS)
    assert_fits(visitor)
    visitor.follow_link(KEY)
    visitor.press(ACTION.format("ship"))
    visitor.click("[name=winner][value=control]")
    visitor.write("#id_reason", "the old one is simpler")
    visitor.press(CONFIRM)
    assert "everyone gets “control”" in visitor.text(".flagstaff-preview")
    assert_fits(visitor)
    visitor.press(CONFIRM)
    assert "shipped: all units get control" in visitor.text(MESSAGE)
    assert_fits(visitor)
    visitor.press(f"{MESSAGE} .flagstaff-undo")
    assert_fits(visitor)
    visitor.press(CONFIRM)
    assert "undone: " in visitor.text(MESSAGE)
    act(visitor, "stop")
    act(visitor, "delete")
    assert "was deleted" in visitor.text(MESSAGE)
