"""The cost of an evaluation, as a ratio to the floor of the same run.

    python -m benches.evaluation      (beside a DATABASE_URL; `make bench` runs all)

The rounds of all candidates alternate, and each candidate's best round counts: on a shared machine
the minimum is the cost of the code, and the rest is other load.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

from benches._floor import floor
from benches._project import EXPERIMENT, add_members, outside, set_up

ROUNDS = 60
CALLS = 20_000
# The article's code on the ORM takes thousands of times longer, so it runs less often.
ORM_CALLS = 60
#: What a candidate is compared with, if that is not the floor above it.
REFERENCES = {
    "resolve_flag: 50 %": "flag_enabled: 50 %",
    "resolve_flag: everyone": "flag_enabled: everyone",
    "flag_enabled: 50 %, one listener": "flag_enabled: 50 %",
    "get_variant": "flag_enabled: 50 %",
    "get_variant: request.user": "flag_enabled: 50 %, request.user",
    "the article's code on the ORM": "flag_enabled: 50 %",
}


def main() -> None:
    """Measures and prints."""
    set_up()
    add_members()
    candidates = _candidates()
    best = dict.fromkeys(candidates, float("inf"))
    for _ in range(ROUNDS):
        for name, (function, calls) in candidates.items():
            remove = _listen() if name.endswith("one listener") else lambda: None
            best[name] = min(best[name], round_of(function, calls))
            remove()
    _print(best)


def _listen() -> Callable[[], None]:
    from flagstaff import listeners  # noqa: PLC0415 (after set-up)

    return listeners.add(lambda evaluation: None)


def _candidates() -> dict[str, tuple[Callable[[], object], int]]:
    from django.contrib.auth import get_user_model  # noqa: PLC0415 (after set-up)
    from django.utils.functional import SimpleLazyObject  # noqa: PLC0415

    from flagstaff import flag_enabled, get_value, ready, resolve_flag  # noqa: PLC0415
    from flagstaff.experiments import get_variant  # noqa: PLC0415
    from flagstaff.models import FeatureFlag  # noqa: PLC0415
    from tests.conformance.oracle import Article  # noqa: PLC0415

    user: Any = get_user_model().objects.first()
    lazy = SimpleLazyObject(lambda: user)
    assert lazy.pk == user.pk  # noqa: S101 (evaluates it, as a request's first use does)
    assert ready(10)  # noqa: S101
    base = floor()
    allowed, country = outside("listed"), {"country": "AT"}
    flags = [(f"flag_{number}", True, 50) for number in range(197)]
    flags += [("everyone", True, 100), ("listed", True, 50)]
    base.fill(flags, {"gateway": "stripe"}, {"listed": [allowed.pk]})
    enabled, lookup = base.enabled, base.lookup
    article = Article(FeatureFlag)
    return {
        "empty function": (lambda: None, CALLS),
        "floor: 50 %": (lambda: enabled("flag_7", user), CALLS),
        "flag_enabled: 50 %": (lambda: flag_enabled("flag_7", user), CALLS),
        "resolve_flag: 50 %": (lambda: resolve_flag("flag_7", user), CALLS),
        "flag_enabled: 50 %, one listener": (lambda: flag_enabled("flag_7", user), CALLS),
        "flag_enabled: 50 %, request.user": (lambda: flag_enabled("flag_7", lazy), CALLS),
        "flag_enabled: 50 %, bare key": (lambda: flag_enabled("flag_7", 1), CALLS),
        "flag_enabled: rule on the context": (
            lambda: flag_enabled("rule_context", user, context=country),
            CALLS,
        ),
        "flag_enabled: rule on a column": (lambda: flag_enabled("rule_column", user), CALLS),
        "flag_enabled: rule on is_staff": (lambda: flag_enabled("rule_staff", user), CALLS),
        "flag_enabled: rule on a group": (lambda: flag_enabled("rule_group", user), CALLS),
        "get_value: rule on the context": (
            lambda: get_value("value_context", None, user=user, context=country),
            CALLS,
        ),
        "get_value: rule on is_staff": (lambda: get_value("value_staff", None, user=user), CALLS),
        "flag_enabled: 50 % by country": (
            lambda: flag_enabled("by_country", user, context=country),
            CALLS,
        ),
        "get_variant": (lambda: get_variant(EXPERIMENT, user), CALLS),
        "get_variant: request.user": (lambda: get_variant(EXPERIMENT, lazy), CALLS),
        "floor: allowed user": (lambda: enabled("listed", allowed), CALLS),
        "flag_enabled: allowed user": (lambda: flag_enabled("listed", allowed), CALLS),
        "floor: everyone": (lambda: enabled("everyone", user), CALLS),
        "flag_enabled: everyone": (lambda: flag_enabled("everyone", user), CALLS),
        "resolve_flag: everyone": (lambda: resolve_flag("everyone", user), CALLS),
        "flag_enabled: off": (lambda: flag_enabled("disabled", user), CALLS),
        "flag_enabled: unknown": (lambda: flag_enabled("unknown", user), CALLS),
        "floor: look-up": (lambda: lookup("gateway"), CALLS),
        "get_value: short text": (lambda: get_value("gateway"), CALLS),
        "the article's code on the ORM": (lambda: article.flag_enabled("flag_7", user), ORM_CALLS),
    }


def round_of(function: Callable[[], object], calls: int) -> float:
    """Returns the nanoseconds per call."""
    times = range(calls)
    start = perf_counter_ns()
    for _ in times:
        function()
    return (perf_counter_ns() - start) / calls


def _print(best: dict[str, float]) -> None:
    # The loop and the lambda cost the same for every candidate, so subtract them.
    frame = best.pop("empty function")
    net = {name: nanoseconds - frame for name, nanoseconds in best.items()}
    print(f"{'':36}{'ns':>10}{'ratio':>8}  to")
    base = ""
    for name, nanoseconds in net.items():
        if name.startswith("floor"):
            base = name
            print(f"{name:36}{nanoseconds:10.0f}")
            continue
        reference = REFERENCES.get(name, base)
        print(f"{name:36}{nanoseconds:10.0f}{nanoseconds / net[reference]:8.2f}  {reference}")


if __name__ == "__main__":
    main()
