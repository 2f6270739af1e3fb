"""The pages of unknown keys and of workers in a browser, without scripts, on two widths."""

from __future__ import annotations

from tests.system.browser.conftest import Shop, Visitor
from tests.system.browser.layout import assert_fits, plain_windows

UNKNOWN = "/admin/flagstaff/unknownkey/"
WORKERS = "/admin/flagstaff/connectedworker/"
FLAGS = "/admin/flagstaff/featureflag/"
LONG = "checkout_payment_retry_policy_" * 3
MESSAGES = ".messagelist"
# A misspelt key, a long one, and one of a flag that was deleted.
ROWS = f"""
    DELETE FROM flagstaff_featureflag WHERE key = 'old_banner';
    INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent)
    VALUES ('old_banner', true, 5);
    DELETE FROM flagstaff_featureflag WHERE key = 'old_banner';
    INSERT INTO flagstaff_usage
    SELECT date_trunc('hour', now()), key, false, 0, 1234, now()
    FROM unnest(ARRAY['new_chekout', '{LONG}', 'old_banner']) AS key
    ON CONFLICT DO NOTHING;
    INSERT INTO flagstaff_usage_worker VALUES (
        'unknown', 'web-1', 1, now() - interval '90 days', 60, 1, now(), now()
    ) ON CONFLICT DO NOTHING
"""


width = plain_windows(ROWS)


def test_flag_is_created_from_an_unknown_key(visitor: Visitor, shop: Shop, width: int) -> None:
    visitor.visit(FLAGS)
    visitor.follow(f".object-tools a[href='{UNKNOWN}']")
    assert visitor.text("h1") == "Unknown keys"
    assert "new_checkout" in visitor.text("tr:has([href$='=new_chekout']) .flagstaff-note")
    assert_fits(visitor)
    visitor.follow("a[href$='?key=old_banner']")
    assert "1,234 times" in visitor.text(MESSAGES)
    assert "A flag with this key was deleted on" in visitor.text(MESSAGES)
    assert visitor.find("#id_key").get_property("value") == "old_banner"
    assert_fits(visitor)
    visitor.press("[name=_save]")
    assert "was added successfully" in visitor.text(MESSAGES)
    created = "SELECT enabled, rollout_percent FROM flagstaff_featureflag WHERE key = 'old_banner'"
    assert shop.query(created) == [(False, 0)]
    visitor.visit(UNKNOWN)
    assert "old_banner" not in visitor.texts(".flagstaff-unknown .flagstaff-key")


def test_workers_are_checked(visitor: Visitor, width: int) -> None:
    visitor.visit("/")
    visitor.visit(FLAGS)
    visitor.follow(f".object-tools a[href='{WORKERS}']")
    assert visitor.text("h1") == "Workers"
    assert_fits(visitor)
    visitor.follow("[name=_check]")
    assert "Checked at" in visitor.text(MESSAGES)
    assert_fits(visitor)
    visitor.follow_link("Reload")
    assert visitor.text("h1") == "Workers"
