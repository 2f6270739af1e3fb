"""Every page of the admin that this package has, and the rows that fill them.

A new page is one line of PAGES.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tools.browser import Visitor
from tools.demo import flags_in_turn

FLAGS = "/admin/flagstaff/featureflag/"
VALUES = "/admin/flagstaff/keyvaluestore/"
SEGMENTS = "/admin/flagstaff/segment/"
PLANS = "/admin/flagstaff_rollouts/plan/"
EXPERIMENTS = "/admin/flagstaff_experiments/experiment/"
OVERVIEW = "/admin/flagstaff/featureflag/overview/"
RECENT = "/admin/flagstaff/featureflag/changes/"
STALE = "/admin/flagstaff/featureflag/stale/"
COMPARE = "/admin/flagstaff/featureflag/compare/"
UNKNOWN = "/admin/flagstaff/featureflag/unknown-keys/"
WORKERS = "/admin/flagstaff/featureflag/workers/"
USER_FLAGS = "/admin/flagstaff/featureflag/user/"

# The actions for the selected flags of the list.
BULK_ACTIONS = ("kill", "on", "rollout", "release", "details", "delete")


class Page(NamedTuple):
    """A page: its URL, with the names of rows, and the way that leads to it from there."""

    path: str
    #: The buttons that open one page after the other.
    buttons: tuple[str, ...] = ()
    #: What is clicked on the first page before them.
    clicks: tuple[str, ...] = ()
    user: str = "admin"


PAGES = {
    "index": Page("/admin/"),
    "overview": Page(OVERVIEW),
    "search": Page(f"{FLAGS}search/?q=check"),
    "search-no-match": Page(f"{FLAGS}search/?q=no-such-key"),
    "flag-list": Page(FLAGS),
    "flag-list-as-release": Page(FLAGS, user="release"),
    "flag-list-changed": Page(f"{FLAGS}?changed=24h"),
    **{
        f"flag-list-{action}": Page(
            FLAGS,
            ("#changelist .actions button",),
            ("#action-toggle", f"select[name=action] option[value={action}]"),
        )
        for action in BULK_ACTIONS
    },
    "flag-list-rollout-errors": Page(
        FLAGS,
        ("#changelist .actions button", ".flagstaff-confirm"),
        ("#action-toggle", "select[name=action] option[value=rollout]"),
    ),
    "flag-list-no-match": Page(f"{FLAGS}?q=no-such-flag"),
    "flag-add": Page(f"{FLAGS}add/"),
    "flag-add-errors": Page(f"{FLAGS}add/", (".flagstaff-confirm",)),
    "flag": Page(f"{FLAGS}{{flag}}/change/"),
    "flag-with-rules": Page(f"{FLAGS}{{ruled}}/change/"),
    "flag-as-release": Page(f"{FLAGS}{{ruled}}/change/", user="release"),
    "flag-rules": Page(f"{FLAGS}{{ruled}}/rules/"),
    "flag-details": Page(f"{FLAGS}{{flag}}/details/"),
    "flag-rollout": Page(f"{FLAGS}{{flag}}/rollout/?percent=50"),
    "flag-release": Page(f"{FLAGS}{{flag}}/release/"),
    "flag-unit": Page(f"{FLAGS}{{flag}}/unit/"),
    "flag-allow": Page(f"{FLAGS}{{flag}}/allow/"),
    "flag-off": Page(f"{FLAGS}{{off}}/change/"),
    "flag-who-has-it": Page(f"{FLAGS}{{ruled}}/change/?user=alice&context=country%3DDE"),
    "flag-who-errors": Page(f"{FLAGS}{{flag}}/change/?user=alcie&context=country"),
    "flag-allowed-users": Page(f"{FLAGS}{{flag}}/allowed-users/"),
    "flag-delete": Page(f"{FLAGS}{{ruled}}/delete/"),
    "flag-history": Page(f"{FLAGS}{{flag}}/history/"),
    "flag-kill": Page(f"{FLAGS}{{flag}}/kill/"),
    "flag-turn-on": Page(f"{FLAGS}{{off}}/on/"),
    "flag-restore": Page(f"{FLAGS}{{flag}}/history/", ("a[href*='?restore=']",)),
    "flag-undo-all": Page(
        f"{FLAGS}{{flag}}/history/", ("a[href*='?transaction=']", "a[href*='undo=all']")
    ),
    "value-list": Page(VALUES),
    "value-add": Page(f"{VALUES}add/"),
    "value-add-errors": Page(f"{VALUES}add/", (".flagstaff-confirm",)),
    "value": Page(f"{VALUES}{{value}}/change/"),
    "value-set": Page(f"{VALUES}{{value}}/set/"),
    "value-set-asks": Page(f"{VALUES}{{object}}/set/?value=25"),
    "value-rules": Page(f"{VALUES}{{value}}/rules/"),
    "value-details": Page(f"{VALUES}{{chosen}}/details/"),
    "value-choices": Page(f"{VALUES}{{chosen}}/set/"),
    "value-object": Page(f"{VALUES}{{object}}/change/"),
    "value-object-history": Page(f"{VALUES}{{object}}/history/"),
    "value-delete": Page(f"{VALUES}{{value}}/delete/"),
    "value-history": Page(f"{VALUES}{{value}}/history/"),
    "segment-list": Page(SEGMENTS),
    "segment-add": Page(f"{SEGMENTS}add/"),
    "segment": Page(f"{SEGMENTS}{{segment}}/change/"),
    "segment-conditions": Page(f"{SEGMENTS}{{segment}}/conditions/"),
    "segment-details": Page(f"{SEGMENTS}{{segment}}/details/"),
    "segment-delete": Page(f"{SEGMENTS}{{segment}}/delete/"),
    "segment-history": Page(f"{SEGMENTS}{{segment}}/history/"),
    "plan-list": Page(PLANS),
    "plan-add": Page(f"{PLANS}add/?key=beta_reviews"),
    "plan": Page(f"{PLANS}{{plan}}/change/"),
    "plan-rolled-back": Page(f"{PLANS}{{tripped}}/change/"),
    "plan-resume": Page(f"{PLANS}{{tripped}}/resume/"),
    "plan-pause": Page(f"{PLANS}{{plan}}/pause/"),
    "plan-roll-back": Page(f"{PLANS}{{plan}}/roll-back/"),
    "plan-delete": Page(f"{PLANS}{{tripped}}/delete/"),
    "experiment-list": Page(EXPERIMENTS),
    "experiment-add": Page(f"{EXPERIMENTS}add/"),
    "experiment-add-errors": Page(f"{EXPERIMENTS}add/", ("button.flagstaff-confirm",)),
    "experiment-draft": Page(f"{EXPERIMENTS}{{draft}}/change/"),
    **{
        f"experiment-{action}": Page(f"{EXPERIMENTS}{{draft}}/{action}/")
        for action in ("edit", "start", "delete")
    },
    "experiment": Page(f"{EXPERIMENTS}{{experiment}}/change/"),
    **{
        f"experiment-{action}": Page(f"{EXPERIMENTS}{{experiment}}/{action}/")
        for action in ("stop", "ship", "grow", "add-metric", "restart", "force")
    },
    "experiment-shipped": Page(f"{EXPERIMENTS}{{shipped}}/change/"),
    "experiment-undo": Page(f"{EXPERIMENTS}{{shipped}}/undo/"),
    "recent-changes": Page(RECENT),
    "recent-changes-filtered": Page(f"{RECENT}?q=CHECK&kind=flag&from=2026-01-01"),
    "recent-changes-errors": Page(f"{RECENT}?from=yesterday"),
    "recent-changes-no-match": Page(f"{RECENT}?actor=nobody"),
    "recent-changes-undo": Page(
        f"{RECENT}?kind=segment&from=2026-01-01", ("a[href*='undo=']:not([aria-label])",)
    ),
    "recent-changes-bring-back": Page(f"{RECENT}?kind=flag", ("a[aria-label^='Bring back']",)),
    "recent-changes-transaction": Page(RECENT, ("a[href*='?transaction=']",)),
    "stale-flags": Page(STALE),
    "compare": Page(COMPARE),
    "unknown-keys": Page(UNKNOWN),
    "unknown-keys-as-release": Page(UNKNOWN, user="release"),
    "unknown-keys-create": Page(UNKNOWN, ("a[href$='?key=old_banner']",)),
    "workers": Page(WORKERS),
    "user-flags": Page(f"{USER_FLAGS}?user=alice&context=country%3DDE"),
    "user-flags-errors": Page(f"{USER_FLAGS}?user=alcie&context=country"),
    "user-flags-as-release": Page(USER_FLAGS, user="release"),
}

# Each is a transaction: the history has something to undo, to restore, and to undo together.
_CHANGES = (
    "UPDATE flagstaff_featureflag SET rollout_percent = 25 WHERE key = 'new_checkout'",
    "UPDATE flagstaff_featureflag SET enabled = false WHERE key = 'new_checkout'",
    """
    UPDATE flagstaff_featureflag SET rollout_percent = 5, enabled = true WHERE key = 'new_checkout';
    UPDATE flagstaff_keyvaluestore SET value = '"paypal"' WHERE key = 'payment_gateway'
    """,
    "UPDATE flagstaff_segment SET description = 'Customers with an account.'",
    """
    INSERT INTO flagstaff_keyvaluestore (key, value, description, type, choices) VALUES
        ('parcel_service', '"DHL"', 'Who delivers.', 'string', '["DHL", "UPS"]'),
        ('checkout.payment.retry_policy.maximum_number_of_attempts_per_order',
            '{"max": 3, "wait": [1, 5]}', '', 'object', '[]')
    """,
    """
    UPDATE flagstaff_keyvaluestore SET value = '{"max": 5, "wait": [1]}' WHERE type = 'object'
    """,
    """
    INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent, rules, description) VALUES
        ('fast_search', false, 25, '[]', 'The new index of the search.'),
        ('slow_search', true, 0, '[]', ''),
        ('slow_filter', true, 0, '[]', ''),
        ('express_delivery', true, 0, '[{"name": "near", "rollout_percent": 50, "conditions": [
            {"attribute": "country", "operator": "in", "values": ["DE", "FR"]}]}]', '')
    """,
)
#: Evaluations of a day, and a flag that nobody has changed for a long time.
USAGE_AND_AGE = (
    """
    INSERT INTO flagstaff_usage (hour, key, result, count, last_at)
    SELECT date_trunc('hour', at), 'new_checkout', result, 90 + 200 * (result = 'true')::int, at
    FROM generate_series(now() - interval '23 hours', now(), interval '1 hour') AS at,
        unnest(ARRAY['true', 'false']) AS result
    ON CONFLICT DO NOTHING
    """,
    "UPDATE flagstaff_change SET at = now() - interval '41 days' WHERE key = 'summer_banner'",
)
_PAST = (
    *USAGE_AND_AGE,
    """
    INSERT INTO flagstaff_experiments_exposure (experiment_id, run, unit, variant, at)
    SELECT e.id, 0, (1000000 + n)::text, (ARRAY['control', 'treatment'])[1 + n % 2],
        now() - interval '18 days' + n * interval '10 days' / 4000
    FROM flagstaff_experiments_experiment AS e, generate_series(1, 4000) AS n
    WHERE e.key = 'checkout_button'
    """,
    # Keys without a flag: misspelt, long, of a flag that was deleted, and not valid.
    """
    INSERT INTO flagstaff_usage (hour, key, result, count, last_at)
    SELECT date_trunc('hour', now()), key, 'unknown', n * n * 977, now() - n * interval '7 minutes'
    FROM unnest(ARRAY['new_chekout', 'old_banner', repeat('payment_retry_policy_', 4),
        'cart:badge', '(other keys)']) WITH ORDINALITY AS keys (key, n)
    ON CONFLICT DO NOTHING;
    INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent)
    VALUES ('old_banner', true, 5)
    """,
    "DELETE FROM flagstaff_featureflag WHERE key = 'old_banner'",
    """
    UPDATE flagstaff_experiments_experiment
    SET started_at = now() - interval '18 days', runs_since = now() - interval '18 days'
    WHERE state <> 'draft'
    """,
    # A plan that a guard has rolled back.
    """
    UPDATE flagstaff_rollouts_plan SET state = 'rolled_back', ended_at = now(),
        reason = 'rolled back: 5 of 8 failed',
        trip_reason = '5 of 8 failed'
    WHERE key = 'slow_filter'
    """,
)
_COMMANDS = (
    "run-jobs",
    "plan start slow_filter --step 25:1h --step 100",
    "plan start slow_search --step 5:1h --step 25:1h --step 50:1h --required-users 1",
    "experiment start checkout_button",
    "experiment create large_photos --description large",
    "experiment edit large_photos --primary orders --planned-units 20000",
    "experiment create gift_paper --description 'Do buyers pay for gift paper?'",
    "experiment edit gift_paper --primary orders",
    "experiment start gift_paper",
    "experiment ship gift_paper treatment --yes",
)
_PKS = """
    SELECT 'flag', id FROM flagstaff_featureflag WHERE key = 'new_checkout' UNION ALL
    SELECT 'ruled', id FROM flagstaff_featureflag WHERE key = 'express_delivery' UNION ALL
    SELECT 'off', id FROM flagstaff_featureflag WHERE key = 'fast_search' UNION ALL
    SELECT 'value', id FROM flagstaff_keyvaluestore WHERE key = 'payment_gateway' UNION ALL
    SELECT 'chosen', id FROM flagstaff_keyvaluestore WHERE key = 'parcel_service' UNION ALL
    SELECT 'object', id FROM flagstaff_keyvaluestore WHERE type = 'object' UNION ALL
    SELECT 'segment', id FROM flagstaff_segment WHERE key = 'customers' UNION ALL
    SELECT 'plan', max(id) FROM flagstaff_rollouts_plan UNION ALL
    SELECT 'tripped', min(id) FROM flagstaff_rollouts_plan UNION ALL
    SELECT 'experiment', id FROM flagstaff_experiments_experiment WHERE key = 'checkout_button'
    UNION ALL
    SELECT 'draft', id FROM flagstaff_experiments_experiment WHERE key = 'large_photos'
    UNION ALL
    SELECT 'shipped', id FROM flagstaff_experiments_experiment WHERE key = 'gift_paper'
"""
Rows = dict[str, int]


def fill(query: Callable[[str], Any], environment: dict[str, str]) -> Rows:
    """Writes the rows into a demo, and returns the primary keys that the paths of PAGES name."""
    for statement in _CHANGES:
        query(statement)
    flags_in_turn(_COMMANDS, environment)
    for statement in _PAST:
        query(statement)
    return dict(query(_PKS))


def open_page(visitor: Visitor, page: Page, rows: Rows) -> None:
    """Opens a page as its user, by its buttons if it has any."""
    if page.user != visitor.username:
        visitor.log_in_to_admin(page.user)
    visitor.visit(page.path.format(**rows))
    for element in page.clicks:
        visitor.click(element)
    for button in page.buttons:
        visitor.press(button)
