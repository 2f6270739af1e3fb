"""Will it run? is asked in a number of queries that depends on nothing."""

import pytest

from flagstaff import changes, experiments
from flagstaff.models import WaitingAction
from flagstaff.rollouts import plans
from flagstaff.waiting.outlook import foresee
from tests.support.conditions import rule
from tests.support.plans import STEPS, drive_recently
from tests.support.shop import GERMAN, STAFF, Shop
from tests.support.sql import statements_of
from tests.support.terminals import json_word
from tests.support.waiting import ask

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("plain_terminal")]

#: The actions, the history, flags, values, users, and all else.
QUERIES = 6
ROOT = {"flag": "root", "is": True}


#: Of all kinds: with rules, segments, flags that need others, plans and experiments.
LINES = (
    "on needing",
    "rollout segmented 5",
    f"rules by_flag {json_word([rule(ROOT)])}",
    "allow listed carol",
    "off new_checkout",
    "delete dark_mode --yes",
    "create brand_new",
    "details base --owner team",
    "release root",
    "value set page_size 30",
    f"value rules delivery_fee {json_word([rule(ROOT, value=4)])}",
    "value delete payment_gateway --yes",
    "value create new_value 3",
    f"segment conditions german {json_word([STAFF])}",
    f"segment conditions staff {json_word([ROOT])}",
    f"segment create new_segment {json_word([GERMAN])}",
    "segment delete enterprise --yes",
    "plan start planned",
    "plan resume paused",
    "experiment start draft --yes",
    "experiment grow small 100 --yes",
    "experiment stop running",
    "experiment ship shipped treatment --yes",
)


@pytest.fixture
def world(shop: Shop) -> None:
    """What the lines are about. `needing` needs `base`, which needs `root`."""
    drive_recently()
    for name in ("ana", "alice", "carol"):
        shop.user(name)
    for key in ("german", "staff", "enterprise"):
        shop.segment(key)
    for key in ("page_size", "delivery_fee", "payment_gateway"):
        shop.value(key)
    for key in ("new_checkout", "dark_mode"):
        shop.flag(key)
    for key in ("root", "by_flag", "listed"):
        shop.flag(key, rollout_percent=10)
    shop.flag("base", rules=[{"conditions": [ROOT]}])
    changes.segments.create("of_base", conditions=[{"flag": "base", "is": True}])
    shop.flag("segmented", rules=[{"conditions": [{"segment": "of_base"}]}])
    needs = [{"flag": "base", "is": True}, {"segment": "german"}]
    shop.flag("needing", enabled=False, rules=[{"conditions": needs}])
    for key in ("planned", "paused"):
        shop.flag(key, rollout_percent=0)
        plans.create(key, STEPS)
    plans.start("paused")
    plans.pause("paused")
    for key in ("draft", "small", "running", "shipped"):
        experiments.create(key, traffic_percent=20)
        if key != "draft":
            experiments.start(key)


def queries() -> list[str]:
    """Returns the queries of the question, without that of the rows."""
    actions = [*WaitingAction.objects.all()]
    return statements_of(lambda: foresee(actions))


@pytest.mark.usefixtures("world")
def test_question_about_one_action_of_any_kind_and_about_twenty_makes_few_queries() -> None:
    counts, asked = {}, []
    for line in LINES:
        asked.append(ask(line))
        [waiting] = foresee(WaitingAction.objects.all())
        assert not waiting.obstacle, line
        counts[line] = len(queries())
        # One action may be in the way of another.
        WaitingAction.objects.all().delete()
    # An experiment by itself has no history.
    assert counts == {line: QUERIES - line.startswith("experiment") for line in LINES}
    WaitingAction.objects.bulk_create(asked)
    assert WaitingAction.objects.count() > 20
    assert len(queries()) == QUERIES


def test_question_about_no_action_makes_no_query() -> None:
    assert not queries()
