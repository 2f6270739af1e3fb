"""The page of stale flags in a browser under a strict policy, without scripts, on two widths."""

from __future__ import annotations

from tests.system.browser.conftest import Visitor
from tests.system.browser.layout import assert_fits, plain_windows

STALE = "/admin/flagstaff_cleanup/snooze/"
FLAGS = "/admin/flagstaff/featureflag/"
LONG = "checkout_payment_retry_policy_" * 8
MESSAGE = ".messagelist"
SNOOZE = "button[name=_snooze][value=old_banner]"
# A flag that is on for all users, one that nobody evaluates, and one with a long key.
ROWS = f"""
    DELETE FROM flagstaff_cleanup_snooze;
    DELETE FROM flagstaff_featureflag WHERE key IN ('old_banner', 'one_page', '{LONG}');
    INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent, created_at) VALUES
        ('one_page', true, 100, now() - interval '60 days'),
        ('old_banner', false, 0, now() - interval '60 days'),
        ('{LONG}', true, 100, now() - interval '60 days');
    UPDATE flagstaff_change SET at = now() - interval '41 days'
    WHERE key IN ('old_banner', 'one_page', '{LONG}');
    INSERT INTO flagstaff_usage VALUES (
        date_trunc('hour', now() - interval '90 days'), 'another', true, 1, 1, now()
    ) ON CONFLICT DO NOTHING;
    INSERT INTO flagstaff_usage_worker VALUES (
        'stale', 'web-1', 1, now() - interval '90 days', 60, 1, now(), now()
    ) ON CONFLICT DO NOTHING
"""


width = plain_windows(ROWS)


def test_flag_is_snoozed_without_scripts(visitor: Visitor, width: int) -> None:
    visitor.visit(FLAGS)
    assert_fits(visitor)
    visitor.follow(f".object-tools a[href='{STALE}']")
    assert visitor.text("h1") == "Stale flags"
    assert_fits(visitor)
    visitor.click("tr:has([value=old_banner]) summary")
    assert_fits(visitor)
    visitor.write("tr:has([value=old_banner]) [name=_reason]", "used in winter")
    visitor.follow(SNOOZE)
    assert "is snoozed until" in visitor.text(MESSAGE)
    assert_fits(visitor)
    visitor.follow("button[name=_end_snooze]")
    assert "is no longer snoozed" in visitor.text(MESSAGE)


def test_page_of_a_flag_shows_the_signals(visitor: Visitor, width: int) -> None:
    visitor.visit(FLAGS)
    visitor.follow_link("one_page")
    assert "On for all users for 41 days" in visitor.text(".flagstaff-stale-panel")
    assert_fits(visitor)
