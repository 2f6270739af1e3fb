"""What the driver does, from the verdict and the function guards."""

from contextvars import ContextVar
from threading import Event

import pytest

from flagstaff.rollouts.driver import Decision, decide
from flagstaff.rollouts.evidence import (
    GuardOutcome,
    GuardTimeoutError,
    call_guards,
    call_with_timeout,
)
from flagstaff.rollouts.models import Plan
from flagstaff.rollouts.steps_and_guards import Guard, StepEvidence, StepVerdict

ORDERS = Guard("function", path="shop.orders")
HOLDING = Guard("function", path="shop.stock", action="hold")
NOTHING = StepEvidence(0, 0, 0, {}, (0, 0))
PASSED = StepVerdict(NOTHING, None, None, passed=True, why="enough users")
OPEN = StepVerdict(NOTHING, None, None, passed=False, why="waits for users")
TRIPPED = StepVerdict(NOTHING, "errors", "rollback", passed=False, why="too many errors")
HELD = StepVerdict(NOTHING, "errors", "hold", passed=False, why="too many errors")

FINE = GuardOutcome(ORDERS, fine=True, why="")
BAD = GuardOutcome(ORDERS, fine=False, why="no orders")
LOW = GuardOutcome(HOLDING, fine=False, why="low stock")
UNKNOWN = GuardOutcome(ORDERS, None, "shop.orders raised ValueError")


@pytest.mark.parametrize(
    ("verdict", "outcomes", "is_due", "expected"),
    [
        (PASSED, [], True, Decision("proceed", "enough users")),
        (PASSED, [FINE], True, Decision("proceed", "enough users")),
        (PASSED, [], False, Decision("wait", "enough users")),
        (OPEN, [], True, Decision("hold", "waits for users")),
        (OPEN, [], False, Decision("wait", "waits for users")),
        (TRIPPED, [], False, Decision("rollback", "too many errors", "errors")),
        (HELD, [], False, Decision("hold", "too many errors", "errors")),
        (HELD, [BAD], True, Decision("rollback", "no orders", "shop.orders")),
        (TRIPPED, [LOW], True, Decision("rollback", "too many errors", "errors")),
        (PASSED, [LOW], True, Decision("hold", "low stock", "shop.stock")),
        (PASSED, [UNKNOWN], True, Decision("hold", "shop.orders raised ValueError")),
        (PASSED, [UNKNOWN, LOW], True, Decision("hold", "low stock", "shop.stock")),
        (TRIPPED, [UNKNOWN], True, Decision("rollback", "too many errors", "errors")),
    ],
)
def test_decision_puts_a_rollback_first(
    verdict: StepVerdict, outcomes: list[GuardOutcome], is_due: bool, expected: Decision
) -> None:
    assert decide(verdict, outcomes, is_due=is_due) == expected


#: What `guard` returns or raises.
result: object = None


def guard(plan: Plan) -> object:
    if isinstance(result, Exception):
        raise result
    return result


@pytest.mark.parametrize(
    ("returned", "fine", "why"),
    [
        (True, True, ""),
        (False, False, ".guard returned False"),
        ("3 orders a minute", False, ".guard: 3 orders a minute"),
        (None, None, ".guard returned NoneType; return True, False"),
        (1, None, ".guard returned int; return True, False"),
        (ValueError("hunter2"), None, ".guard raised ValueError; repair it"),
    ],
)
def test_function_guard_is_fine_only_if_it_returns_true(
    returned: object, fine: bool | None, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.result", returned)
    [outcome] = call_guards(Plan(guards=["errors", f"function={__name__}.guard"]))
    assert outcome.fine is fine
    assert outcome.why.startswith(f"{__name__}{why}" if why else "")
    assert "hunter2" not in outcome.why
    [outcome] = call_guards(Plan(guards=["errors", f"function={__name__}.was_removed"]))
    assert outcome.fine is None
    assert outcome.why.startswith(f"{__name__}.was_removed raised ImportError; repair it")


SECONDS = 10.0
variable = ContextVar("variable", default="outside")


def test_result_of_the_function_in_the_context_of_its_caller_is_returned() -> None:
    token = variable.set("inside")
    try:
        assert call_with_timeout("one", variable.get, SECONDS) == "inside"
    finally:
        variable.reset(token)


def test_function_that_is_late_is_not_called_again_before_it_ends() -> None:
    released, ended = Event(), Event()

    def wait() -> None:
        released.wait()
        ended.set()

    with pytest.raises(GuardTimeoutError):
        call_with_timeout("late", wait, 0.01)
    with pytest.raises(GuardTimeoutError):
        call_with_timeout("late", lambda: 7, SECONDS)
    assert call_with_timeout("another", lambda: 7, SECONDS) == 7
    released.set()
    ended.wait(SECONDS)


@pytest.mark.parametrize("error", [SystemExit(3), TimeoutError()], ids=["exit", "timeout"])
def test_error_of_the_function_is_raised_in_the_caller(error: BaseException) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        call_with_timeout("one", fail, SECONDS)
    assert raised.value is error
