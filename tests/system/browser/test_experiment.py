"""An experiment from end to end: shoppers, a report in the admin, and a winner for everyone."""

from __future__ import annotations

import pytest

from tests.system.browser.conftest import Shop, Visitor
from tests.system.browser.test_demo import ALICE, BOB, add_to_cart
from tools.demo_experiment import BUTTON, PHOTOS, page_of, run_experiments

CHECK_OUT, BUY_NOW = "Check out", "Buy now"
# Their keys decide: 1 and 2.
BY_CUSTOMER = {ALICE: BUY_NOW, BOB: CHECK_OUT, "": CHECK_OUT}
VERDICT = ".flagstaff-verdict"
SHIP = "[name=_experiment][value=ship]"
EXPOSURES = """
    SELECT u.username, e.variant FROM flagstaff_experiments_exposure AS e
    JOIN auth_user AS u ON e.unit = u.id::text WHERE u.username IN ('alice', 'bob') ORDER BY 1
"""

pytestmark = pytest.mark.timeout(170)


@pytest.fixture(scope="module")
def planted(shop: Shop) -> Shop:
    """The shop with the experiments of `make demo-experiment`, three weeks after their start."""
    run_experiments(shop.environment)
    return shop


def buttons(visitor: Visitor) -> dict[str, str]:
    """Returns the button in the cart of each customer, and of a user who is not logged in."""
    found = {}
    for customer in BY_CUSTOMER:
        visitor.visit("/cart/")
        visitor.log_in_as(customer)
        found[customer] = visitor.text(".actions .button")
    return found


def test_winner_of_the_report_is_shipped_by_a_button_to_everyone(
    planted: Shop, visitor: Visitor
) -> None:
    add_to_cart(visitor)
    assert buttons(visitor) == BY_CUSTOMER
    visitor.wait_until(lambda: planted.query(EXPOSURES), [(ALICE, "treatment"), (BOB, "control")])

    page = page_of(BUTTON, planted.database)
    visitor.visit(page)
    assert "the treatment is better" in visitor.text(VERDICT)
    visitor.press(SHIP)
    visitor.click("[name=winner][value=treatment]")
    visitor.press(".flagstaff-confirm")
    visitor.wait_for_text(".messagelist", BUTTON)
    visitor.wait_for_text(".flagstaff-summary", "everyone gets “treatment”")
    assert "the treatment is better" in visitor.text(VERDICT)

    # The answer of the button came after the commit, and each worker applies it by itself.
    visitor.wait_until(lambda: buttons(visitor), dict.fromkeys(BY_CUSTOMER, BUY_NOW))


def test_wrong_shares_leave_no_verdict(planted: Shop, visitor: Visitor) -> None:
    visitor.visit(page_of(PHOTOS, planted.database))
    assert "no verdict: the shares are wrong" in visitor.text(VERDICT)
    visitor.wait_for_text(".flagstaff-problem", "treatment: 7,526 units, 8,750 expected")
    assert "orders" not in visitor.texts("#content-main h3")
