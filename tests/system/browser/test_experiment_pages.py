"""Experiments in a browser under a strict policy: every page without scripts, on a phone."""

from __future__ import annotations

import pytest

from tests.system.browser.conftest import Shop, Visitor
from tests.system.browser.layout import assert_fits, plain_windows

EXPERIMENTS = "/admin/flagstaff_experiments/experiment/"
KEY = "color_of_the_button_on_the_page_of_the_cart"
LONG = "a_very_long_name_of_a_variant_that_no_phone_has_room_for"
MESSAGE = ".messagelist"
BUTTON = "[name=_button][value={}]"
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


width = plain_windows(RENAME)


def press(visitor: Visitor, name: str) -> None:
    """Presses a button, and confirms the page that asks."""
    visitor.press(BUTTON.format(name))
    assert_fits(visitor)
    visitor.press(CONFIRM)


def create(visitor: Visitor) -> None:
    """Creates the experiment by the form, at the second attempt."""
    visitor.visit(f"{EXPERIMENTS}add/")
    assert_fits(visitor)
    visitor.write("#id_key", KEY)
    visitor.write("#id_variants", f"control\n{LONG}")
    visitor.click("#id_guardrails-0-metric option[value=double_orders]")
    visitor.write("#id_guardrails-0-harm", "1")
    visitor.write("#id_planned_units", "0")
    visitor.click("#id_primary_metric option[value=orders]")
    visitor.press("[name=_save]")
    assert "Please correct the errors below." in visitor.text(".errornote")
    assert_fits(visitor)
    visitor.write("#id_planned_units", "4000")
    visitor.click("[name=_edit][value=attribute]")
    visitor.write("[name=rules-0-0-attribute]", "is_active")
    visitor.press("[name=_estimate]")
    assert "4,000 planned units" in visitor.text(".flagstaff-estimate")
    assert_fits(visitor)
    visitor.click("[name=_edit][value='remove:0']")
    visitor.wait_until(lambda: visitor.texts(".flagstaff-rule"), [])
    visitor.press("input[name=_save]")
    assert "was created" in visitor.text(MESSAGE)


def edit(visitor: Visitor) -> None:
    """Changes the draft by the same form."""
    visitor.press("a[href='?edit=1']")
    assert_fits(visitor)
    visitor.write("#id_description", "Does the colour matter?")
    visitor.press("input[name=_save]")
    assert "was saved" in visitor.text(MESSAGE)
    assert "Does the colour matter?" in visitor.text(".flagstaff-head")


# test_accessibility.py has its pages on a desktop.
@pytest.mark.parametrize("width", [400], indirect=True)
def test_experiment_is_created_started_and_shipped_without_scripts(
    width: int, visitor: Visitor, shop: Shop
) -> None:
    create(visitor)
    assert_fits(visitor)
    edit(visitor)
    press(visitor, "start")
    assert "has started" in visitor.text(MESSAGE)
    shop.query(EXPOSURES)
    visitor.driver.refresh()
    # No user of this test has ordered, so no metric has an interval.
    assert "undecided" in visitor.text(".flagstaff-verdict")
    assert_fits(visitor)
    # Tables of the same numbers as the charts.
    for summary in visitor.driver.find_elements("css selector", "details summary"):
        visitor.driver.execute_script("arguments[0].parentNode.open = true", summary)
    assert_fits(visitor)
    for name in ("weights", "metrics", "force", "ship"):
        visitor.press(BUTTON.format(name))
        assert_fits(visitor)
        visitor.press(".flagstaff-cancel")
    for name, said in [
        ("stop", "was stopped: every call gets its default"),
        ("start", "continues"),
        ("shuffle", "its report starts again"),
    ]:
        press(visitor, name)
        assert said in visitor.text(MESSAGE)
    visitor.visit(EXPERIMENTS)
    assert_fits(visitor)
    visitor.follow_link(KEY)
    visitor.press(BUTTON.format("ship"))
    assert "takes it back, with all exposures" in visitor.text("#content-main form > p")
    assert_fits(visitor)
    visitor.click("[name=winner][value=control]")
    visitor.write("#id_reason", "the old one is simpler")
    visitor.press(CONFIRM)
    assert f"flags references {KEY}" in visitor.text(MESSAGE)
    assert "everyone gets “control”" in visitor.text(".flagstaff-summary")
    assert_fits(visitor)
    visitor.press(f"{MESSAGE} .flagstaff-undo")
    assert_fits(visitor)
    visitor.press(CONFIRM)
    assert "is as it was before" in visitor.text(MESSAGE)
    assert "Started" in visitor.text(".flagstaff-summary")
    press(visitor, "stop")
    visitor.press(".deletelink")
    assert_fits(visitor)
    visitor.press(CONFIRM)
    assert "was deleted" in visitor.text(MESSAGE)
