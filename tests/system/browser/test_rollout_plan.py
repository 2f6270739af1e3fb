"""A rollout plan from end to end: a fault at 25 % of the users brings every worker back to 0 %."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import final
from urllib.parse import urlsplit

import pytest

from tests.system.browser.conftest import WORKERS, Shop, Visitor
from tests.system.browser.test_demo import open_crowd_page, wait_for_panels
from tools.demo import EXAMPLE
from tools.plan_watch import PlanRow, PlanWatch, Seen
from tools.shoppers import CLASSIC, FAILED, NEW, log_in_all
from tools.shoppers import Shop as HttpShop

KEY = "new_checkout"
# Enough for a few users inside at 5 %; more would only take longer.
SHOPPERS = 40
# Some of them were inside at 25 %.
FEW = 10
THREADS = 4
START = f"plan {KEY} start --step 5:1h --step 25:1h --step 50:1h --required-users 1"
END_DWELL_TIME = "UPDATE flagstaff_rollouts_plan SET due_at = now() - interval '1 s'"
ROLLOUT = f"SELECT rollout_percent FROM flagstaff_featureflag WHERE key = '{KEY}'"
EVENT = "SELECT text FROM flagstaff_rollouts_planevent WHERE kind = '{}'"


@final
class Site:
    """The shop with its plan, its simulated users and its driver."""

    def __init__(self, shop: Shop, watch: PlanWatch) -> None:
        self._shop, self._watch = shop, watch
        port = urlsplit(shop.address).port
        assert port
        self._http = HttpShop(port)
        # The first one is alice, whom no plan counts, because she is an allowed user.
        self._users = log_in_all(shop.environment)[1 : SHOPPERS + 1]

    def flags(self, arguments: str) -> None:
        """Runs `manage.py flags` in the shop."""
        command = [sys.executable, "manage.py", "flags", *arguments.split()]
        environment = self._shop.environment
        subprocess.run(command, cwd=EXAMPLE, env=environment, capture_output=True, check=True)

    def order_once(self, users: int = SHOPPERS) -> Counter[str]:
        """Lets the first users order once, and returns how many orders ended in which way."""
        with ThreadPoolExecutor(THREADS) as pool:
            return Counter(pool.map(self._http.order, self._users[:users]))

    def plan(self) -> PlanRow:
        plan = self._watch.plan()
        assert plan
        return plan

    def seen(self) -> Seen:
        """Returns what the workers have written for the present step."""
        return self._watch.seen(self.plan().run_id)

    def rollout(self) -> int:
        [[percent]] = self._shop.query(ROLLOUT)
        return int(percent)

    def rollout_after_run(self) -> int:
        """Runs the driver, and returns the rollout after it."""
        self.flags("run-jobs")
        return self.rollout()

    def event(self, kind: str) -> str:
        """Returns the text of the only event of a kind."""
        [[text]] = self._shop.query(EVENT.format(kind))
        return str(text)


@pytest.fixture
def site(shop: Shop, visitor: Visitor) -> Iterator[Site]:
    """The shop at 0 %, while the driver runs."""
    shop.query(f"UPDATE flagstaff_featureflag SET rollout_percent = 0 WHERE key = '{KEY}'")
    with PlanWatch(shop.database) as watch:
        site = Site(shop, watch)
        site.flags("run-jobs")
        yield site


@pytest.mark.timeout(90)
def test_planted_fault_at_25_percent_brings_every_worker_back_to_0(
    site: Site, shop: Shop, visitor: Visitor
) -> None:
    site.flags(f"{START} --wait")
    orders = site.order_once()
    assert orders[FAILED] == 0
    assert orders[NEW] > 0
    assert orders[CLASSIC] > 0
    visitor.wait_until(lambda: site.seen().inside >= 1 <= site.seen().outside, True)
    shop.query(END_DWELL_TIME)
    visitor.wait_until(site.rollout_after_run, 25)

    # It waits for the workers, so the step is in all of them, too.
    site.flags("value set checkout_fault_percent 100 --wait")
    failed = site.order_once()[FAILED]
    assert failed > 5
    visitor.wait_until(lambda: (site.seen().failed_inside, site.seen().failed_outside), (failed, 0))
    for _ in range(2):
        site.flags("run-jobs")
    assert site.rollout() == 0
    assert site.event("propagated") == f"applied by all connected workers: {WORKERS}"
    assert site.order_once(FEW) == {CLASSIC: FEW}

    open_crowd_page(visitor, shop)
    wait_for_panels(visitor, shop, 0, "rollout 0 %")
    visitor.visit(f"/admin/flagstaff_rollouts/plan/{site.plan().id}/change/")
    why = site.event("tripped")
    assert f"{failed} of " in why
    visitor.wait_for_text("#content-main", re.escape(why))
