"""Plans of flags whose rules need others, or that others need."""

from collections.abc import Callable
from functools import partial

import pytest
from django.contrib.auth.models import User

from flagstaff import changes, rollouts
from flagstaff.models import FeatureFlag, WaitingAction
from flagstaff.rollouts.driver import run_plans
from flagstaff.rollouts.looks import look_at_start
from flagstaff.rollouts.models import Plan, PlanEvent
from tests.support.admin_pages import permit
from tests.support.conditions import needs
from tests.support.fixtures import COMMITTED
from tests.support.plans import KEY, STEPS, drive_recently, plan_of, rollout
from tests.support.screen import Screen
from tests.support.segment_rules import rules
from tests.support.shop import STAFF, Shop
from tests.support.terminals import asked, refused, run
from tests.support.waiting import TOMORROW, make_due, run_jobs

OWN_BUCKET = [{"conditions": [{"bucket": KEY, "operator": "lt", "values": [0.5]}]}]
#: Why a plan is paused.
NEEDED = "a flag or a segment on which the flag depends was changed"


@pytest.fixture
def needing(shop: Shop) -> Plan:
    """A running plan of a flag that needs another one, through a segment."""
    shop.flag("search_v2", rollout_percent=50)
    changes.segments.create("found", [{"flag": "search_v2", "is": True}])
    shop.flag(KEY, rollout_percent=0, rules=rules("found"))
    return shop.plan(KEY, steps=STEPS)


MOVES: dict[str, Callable[[], object]] = {
    "kill": partial(changes.flags.disable, "search_v2"),
    "rollout": partial(changes.flags.set_rollout, "search_v2", 60),
    "allowed user": lambda: changes.flags.allow("search_v2", User.objects.create(username="x")),
    "segment": partial(changes.segments.update, "found", {"conditions": [STAFF]}),
    "SQL": lambda: FeatureFlag.objects.filter(key="search_v2").update(bucket_by="visitor"),
}


@pytest.mark.parametrize("change", MOVES.values(), ids=MOVES)
def test_change_of_what_the_flag_needs_pauses_the_plan(
    change: Callable[[], object], needing: Plan
) -> None:
    assert run_plans()[0].state == "running"
    change()
    assert run_plans()[0].state == "paused"
    assert plan_of().reason == NEEDED


def test_description_of_what_the_flag_needs_does_not_pause_the_plan(needing: Plan) -> None:
    changes.flags.update("search_v2", description="Faster")
    assert run_plans()[0].state == "running"


@COMMITTED
def test_start_deletes_the_rules_of_the_own_bucket_if_asked(shop: Shop) -> None:
    drive_recently()
    flag = shop.flag(KEY, rollout_percent=0, rules=[*OWN_BUCKET, {"conditions": [STAFF]}])
    assert any("does not compare its users" in note for note in look_at_start(KEY).notes)
    asked(f"plan start {KEY} --step 5:1h --step 100 --delete-bucket-rules", "y")
    flag.refresh_from_db()
    assert (flag.rules, flag.rollout_percent) == ([{"conditions": [STAFF]}], 5)
    text = "started: rollout 0 → 5 %; the rules by the bucket of the flag were deleted"
    assert PlanEvent.objects.get(kind="started").message == text
    # The plan has written both.
    assert run_plans()[0].state == "running"


@COMMITTED
def test_page_offers_the_deletion_to_who_may_change_the_rules(shop: Shop) -> None:
    drive_recently()
    shop.flag(KEY, rollout_percent=0, rules=OWN_BUCKET)
    plan = rollouts.create(KEY, STEPS)
    url = f"/admin/flagstaff_rollouts/plan/{plan.pk}/start/"
    offer = "Delete the rules by the bucket of the flag"
    assert offer in Screen(shop.client("ana").get(url)).text
    toggles = shop.client("olga", "toggle_featureflag", "view_featureflag", "view_plan")
    assert offer not in Screen(toggles.get(url)).text


def test_plan_that_waits_needs_the_right_for_what_depends_on_its_flag(
    shop: Shop, plain_terminal: None
) -> None:
    shop.flag(KEY, rollout_percent=0)
    olga = shop.user("olga", is_staff=True)
    permit(olga, "toggle_featureflag")
    drive_recently()
    line = f"plan start {KEY} --step 5:1h --step 100 --as olga --at {TOMORROW}"
    changes.values.create("limit", 1, rules=[{**needs(KEY)[0], "value": 2}])
    refused(line, 4, "lacks the right to toggle all that uses")
    changes.values.delete("limit")
    assert run(line).status == 0
    # Nobody had asked about it.
    changes.values.create("limit", 1, rules=[{**needs(KEY)[0], "value": 2}])
    make_due()
    drive_recently()
    run_jobs()
    [waiting] = WaitingAction.objects.all()
    assert (waiting.state, rollout()) == ("failed", 0)
