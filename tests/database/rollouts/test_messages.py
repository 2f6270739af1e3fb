"""Messages of plans as they are stored, and when the reason of a hold is news."""

from __future__ import annotations

from typing import Any

import pytest
from django.core import serializers

from flagstaff import rollouts
from flagstaff._words.message import Message, to_json
from flagstaff.rollouts import messages
from flagstaff.rollouts.driver import run_plans
from flagstaff.rollouts.models import Plan, PlanEvent
from tests.support.fixtures import COMMITTED
from tests.support.rollouts import KEY, STEPS, events, make_flag, plan_of

pytestmark = COMMITTED

GUARD = f"{__name__}.orders_fine"
#: What the guard of these tests returns.
returned: Any = True
FEW = messages.GUARD_TEXT(path="shop.orders", returned="1 order")


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


@pytest.mark.parametrize("reason", [FEW, "what a person wrote", ""], ids=["code", "text", "empty"])
def test_stored_reason_is_read_and_loaded_from_a_fixture_with_its_code(reason: str) -> None:
    Plan.objects.update(reason=reason)
    fixture = serializers.serialize("json", Plan.objects.all())
    Plan.objects.update(reason="another")
    for loaded in serializers.deserialize("json", fixture):
        loaded.save()
    assert type(plan_of().reason) is type(reason)
    assert to_json(plan_of().reason) == to_json(reason)
    stored = Plan.objects.values_list("reason__text", flat=True).get()
    assert stored == (reason or None)


@pytest.mark.parametrize("sign", ["\0", "\ud83d"], ids=["NUL", "half a pair"])
def test_character_that_cannot_be_stored_is_replaced_in_the_text_and_the_values(sign: str) -> None:
    message = messages.GUARD_TEXT(path="shop.orders", returned=f"few{sign}")
    PlanEvent.objects.update(message=messages.HELD(why=message))
    event = PlanEvent.objects.latest("id")
    assert event.message == "holds: shop.orders: few\ufffd"
    assert isinstance(event.message, Message)
    assert event.message.values["why"].values["returned"] == "few\ufffd"  # type: ignore[union-attr]


def test_stored_message_is_found_by_its_code_and_values() -> None:
    PlanEvent.objects.update(message=messages.HELD(why=FEW))
    assert PlanEvent.objects.filter(message__code="plan_held").exists()
    assert PlanEvent.objects.filter(message__values__why__values__path="shop.orders").exists()
    assert not PlanEvent.objects.filter(message__code="plan_paused").exists()
