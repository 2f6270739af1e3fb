"""When the reason of a hold is news."""

from __future__ import annotations

from typing import Any

import pytest

from flagstaff import rollouts
from flagstaff.rollouts.driver import run_plans
from flagstaff.rollouts.models import Plan
from tests.support.fixtures import COMMITTED
from tests.support.rollouts import KEY, STEPS, events, make_flag, plan_of

pytestmark = COMMITTED

GUARD = f"{__name__}.orders_fine"
#: What the guard of these tests returns.
returned: Any = True


def orders_fine(plan: Plan) -> object:
    return returned


@pytest.fixture(autouse=True)
def started(driver: None) -> None:
    make_flag()
    rollouts.start(KEY, STEPS, guards=[f"function={GUARD},action=hold"])


def is_news(monkeypatch: pytest.MonkeyPatch, result: object) -> bool:
    """Runs the driver while the guard returns this."""
    with monkeypatch.context() as patch:
        patch.setattr(f"{__name__}.returned", result)
        [report] = run_plans()
    assert report.state == "holding"
    return report.is_news


def test_other_figures_of_a_hold_are_no_news_but_another_reason_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert is_news(monkeypatch, "3 orders a minute")
    assert not is_news(monkeypatch, "2 orders a minute")
    assert is_news(monkeypatch, False)
    assert not is_news(monkeypatch, False)
    assert is_news(monkeypatch, None)
    # Both are of a type that is not allowed.
    assert is_news(monkeypatch, 1)
    assert events().count("held") == 4
    assert plan_of().reason == f"{GUARD} returned int; return True, False or a text"
