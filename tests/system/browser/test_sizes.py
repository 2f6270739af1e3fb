"""How much of the console is seen without scrolling: on a desktop, and on phones."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.admin_pages import FLAGS
from tests.system.browser.conftest import Shop, Visitor
from tools.demo import flags_in_turn

KEY = "search.ranking"
DESKTOP, PHONE, SMALL_PHONE = (1280, 900), (400, 900), (375, 667)
# What run-jobs leaves: a plan starts only if it has just run.
JOBS_RUN = """
    INSERT INTO flagstaff_rollouts_driverrun (id, last_run_at) VALUES (1, now())
    ON CONFLICT (id) DO UPDATE SET last_run_at = now()
"""
# A flag with a description, a rule and a chart, and as many others as a screen has.
ROWS = (
    f"""
    INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent, rules, description, owner)
    VALUES ('{KEY}', true, 0, '[{{"name": "Germany", "rollout_percent": 50, "conditions": [
        {{"attribute": "country", "operator": "in", "values": ["DE", "AT"]}}]}}]',
        'Ranks by what people bought.', 'search')
    """,
    f"""
    INSERT INTO flagstaff_usage (hour, key, result, count, last_at)
    SELECT date_trunc('hour', now()) - n * interval '1 hour', '{KEY}', result, 90, now()
    FROM generate_series(0, 23) AS n, unnest(ARRAY['true', 'false']) AS result
    """,
    """
    INSERT INTO flagstaff_featureflag (key, enabled, description, owner, rollout_percent)
    SELECT 'team.area.a_feature_' || n, true, repeat('what it is for ', 9), 'checkout', n
    FROM generate_series(1, 30) AS n
    """,
)
TRIP = """
    UPDATE flagstaff_rollouts_plan SET state = 'rolled_back', ended_at = now(), due_at = NULL,
        reason = 'rolled back: 9 of 20 failed', trip_reason = '9 of 20 failed, 0 of 38 without'
"""
BOTTOM = "return document.querySelector(arguments[0]).getBoundingClientRect().bottom"
HEIGHTS = """
    return [...document.querySelectorAll('#result_list tbody tr')]
        .map(row => row.getBoundingClientRect().height);
"""
WHOLE_ROWS = """
    return [...document.querySelectorAll('#result_list tbody tr')]
        .filter(row => row.getBoundingClientRect().bottom <= innerHeight).length;
"""


@pytest.fixture(scope="module", autouse=True)
def rows(shop: Shop) -> None:
    """A flag with two notes and five changes, and a second one with a plan."""
    for statement in (JOBS_RUN, *ROWS):
        shop.query(statement)
    for percent in range(1, 6):
        shop.query(
            f"UPDATE flagstaff_featureflag SET rollout_percent = {percent} WHERE key = '{KEY}'"
        )
    at = (datetime.now(UTC) + timedelta(days=30)).strftime("%Y-%m-%dT%H:%M")
    commands = (
        *(f"plan start {key} --step 10:1h --step 100" for key in (KEY, "new_checkout")),
        f"rollout {KEY} 50 --at {at} --as admin",
    )
    flags_in_turn(commands, shop.environment)


@pytest.fixture
def window(visitor: Visitor) -> Iterator[Visitor]:
    """A browser whose window gets its usual size after the test."""
    yield visitor
    visitor.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def resize(visitor: Visitor, width: int, height: int) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    visitor.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


@pytest.mark.parametrize("query", ["", "?user=alice&context=country%3DDE"])
def test_page_of_a_flag_with_two_notes_is_at_most_780_pixels_high(
    query: str, window: Visitor, shop: Shop
) -> None:
    resize(window, *DESKTOP)
    window.visit(shop.page_of(KEY) + query)
    assert len(window.texts(".flagstaff-notice")) == 2
    assert len(window.texts(".flagstaff-event")) == 5
    assert len(window.texts(".flagstaff-bars")) == 1
    assert len(window.texts(".flagstaff-decides")) == bool(query)
    assert window.driver.execute_script(BOTTOM, "#content-main") <= 780


def test_kill_of_a_flag_with_notes_is_seen_at_once_on_a_small_phone(
    window: Visitor, shop: Shop
) -> None:
    resize(window, *SMALL_PHONE)
    window.visit(shop.page_of(KEY, "kill"))
    assert "this will not run" in " ".join(window.texts(".flagstaff-notice"))
    assert window.driver.execute_script(BOTTOM, ".flagstaff-confirm") <= SMALL_PHONE[1]


def test_list_with_two_flags_that_need_attention_shows_fourteen_rows(
    window: Visitor, shop: Shop
) -> None:
    shop.query(TRIP)
    resize(window, *DESKTOP)
    window.visit(FLAGS)
    assert window.text(".flagstaff-shortcuts a").startswith("2 in need of attention")
    assert window.driver.execute_script(WHOLE_ROWS) >= 14


def test_what_is_to_know_of_a_flag_has_one_line_of_its_card_on_a_phone(
    window: Visitor, shop: Shop
) -> None:
    key = "team.area.a_feature_1"
    shop.query(f"UPDATE flagstaff_featureflag SET review_on = '2020-01-01' WHERE key = '{key}'")
    resize(window, *PHONE)
    window.visit(f"{FLAGS}?q={key}")
    # A text that is hidden is empty.
    assert window.text("#result_list small.flagstaff-reason").startswith("stale: ")
    assert max(window.driver.execute_script(HEIGHTS)) <= 76


def test_flags_on_a_phone_begin_high_and_need_little_room(window: Visitor, shop: Shop) -> None:
    shop.query(TRIP)
    resize(window, *PHONE)
    window.visit(FLAGS)
    assert len(window.texts("#result_list .flagstaff-alert")) == 2
    assert window.driver.execute_script(BOTTOM, "#result_list .flagstaff-button") <= 360
    assert max(window.driver.execute_script(HEIGHTS)) <= 76
