"""The cost of an evaluation, as a ratio to the floor of the same run.

    python -m benches.evaluation      (beside a DATABASE_URL; `make bench` runs all)

The rounds of all candidates alternate, and count the CPU's time: the ORM alone waits. The
nanoseconds are those of the best round: on a shared machine the minimum is the cost of the code,
and the rest is other load. A ratio is the median of the ratios of all rounds, each to the reference
in the same round; half of the rounds are within the range beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from statistics import quantiles
from time import perf_counter_ns, thread_time_ns
from typing import Any

from benches._floor import floor
from benches._project import EXPERIMENT, RULES, add_members, outside, set_up

ROUNDS = 60
CALLS = 20_000
# The article's code on the ORM takes thousands of times longer, so it runs less often.
ORM_CALLS = 60
EMPTY, ORM = "empty function", "the article's code on the ORM"
#: What an evaluation is compared with; the others with the floor at 50 %.
REFERENCES = {
    "resolve_flag: 50 %": "flag_enabled: 50 %",
    "resolve_flag: everyone": "flag_enabled: everyone",
    "flag_enabled: 50 %, one listener": "flag_enabled: 50 %",
    "flag_enabled: allowed user": "floor: allowed user",
    "flag_enabled: everyone": "floor: everyone",
    "flag_enabled: off": "floor: everyone",
    "flag_enabled: unknown": "floor: everyone",
    "get_value: short text": "floor: look-up",
    "get_value: short text, with a user": "floor: look-up",
    "Flag.enabled: 50 %": "flag_enabled: 50 %",
    "Value.get: short text": "get_value: short text",
    "get_variant": "flag_enabled: 50 %",
    "get_variant: request.user": "flag_enabled: 50 %, request.user",
    ORM: "flag_enabled: 50 %",
}


def main() -> None:
    """Measures and prints."""
    set_up()
    add_members()
    from flagstaff.models import FeatureFlag
    from tests.conformance.oracle import Article

    article = Article(FeatureFlag)
    user = outside("listed")
    candidates = {EMPTY: lambda: None, **_floors(), **evaluations()}
    candidates[ORM] = lambda: article.flag_enabled("flag_7", user)
    rounds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(ROUNDS):
        for name, function in candidates.items():
            remove = _listen() if name.endswith("one listener") else lambda: None
            calls = ORM_CALLS if name == ORM else CALLS
            clock = perf_counter_ns if name == ORM else thread_time_ns
            rounds[name].append(round_of(function, calls, clock))
            remove()
    _print(rounds)


def _listen() -> Callable[[], None]:
    from flagstaff import listeners

    return listeners.add(lambda evaluation: None)


def evaluations() -> dict[str, Callable[[], object]]:
    """Returns evaluations by name, which have loaded what they need."""
    from django.contrib.auth import get_user_model
    from django.utils.functional import SimpleLazyObject

    from flagstaff import Flag, Value, flag_enabled, get_value, ready, resolve_flag
    from flagstaff.experiments import get_variant

    user: Any = get_user_model().objects.first()
    lazy = SimpleLazyObject(lambda: user)
    assert lazy.pk == user.pk  # noqa: S101 (evaluates it, as a request's first use does)
    assert ready(60)  # noqa: S101
    declared_flag, declared_value = Flag("flag_7"), Value("gateway", "stripe")
    allowed, country, users = outside("listed"), {"country": "AT"}, count(1)
    assert get_variant(EXPERIMENT, user) is not None  # noqa: S101
    for key in (*RULES, "rule_flag"):
        assert flag_enabled(key, user, context=country)  # noqa: S101
    return {
        "flag_enabled: 50 %": lambda: flag_enabled("flag_7", user),
        "resolve_flag: 50 %": lambda: resolve_flag("flag_7", user),
        "flag_enabled: 50 %, one listener": lambda: flag_enabled("flag_7", user),
        "flag_enabled: 50 %, request.user": lambda: flag_enabled("flag_7", lazy),
        "flag_enabled: 50 %, bare key": lambda: flag_enabled("flag_7", 1),
        "flag_enabled: rule on the context": lambda: flag_enabled(
            "rule_context", user, context=country
        ),
        "flag_enabled: rule on a column": lambda: flag_enabled("rule_column", user),
        "flag_enabled: rule on is_staff": lambda: flag_enabled("rule_staff", user),
        "flag_enabled: rule on a group": lambda: flag_enabled("rule_group", user),
        "flag_enabled: rule on a bucket": lambda: flag_enabled("rule_bucket", user),
        "flag_enabled: rule on a flag at 50 %": lambda: flag_enabled("rule_flag", user),
        "get_value: rule on the context": lambda: get_value(
            "value_context", None, user=user, context=country
        ),
        "get_value: rule on is_staff": lambda: get_value("value_staff", None, user=user),
        "flag_enabled: 50 % by country": lambda: flag_enabled("by_country", user, context=country),
        "get_variant": lambda: get_variant(EXPERIMENT, user),
        "get_variant: request.user": lambda: get_variant(EXPERIMENT, lazy),
        "get_variant: unknown": lambda: get_variant("unknown", user),
        "get_variant: a new user each time": lambda: get_variant(EXPERIMENT, next(users)),
        "flag_enabled: allowed user": lambda: flag_enabled("listed", allowed),
        "flag_enabled: everyone": lambda: flag_enabled("everyone", user),
        "resolve_flag: everyone": lambda: resolve_flag("everyone", user),
        "flag_enabled: off": lambda: flag_enabled("disabled", user),
        "flag_enabled: unknown": lambda: flag_enabled("unknown", user),
        "get_value: short text": lambda: get_value("gateway"),
        "Flag.enabled: 50 %": lambda: declared_flag.enabled(user),
        "Value.get: short text": declared_value.get,
        "get_value: short text, with a user": lambda: get_value("gateway", user=user),
    }


def _floors() -> dict[str, Callable[[], object]]:
    """Returns the least that evaluations could cost, by name."""
    from django.contrib.auth import get_user_model

    user, allowed, base = get_user_model().objects.first(), outside("listed"), floor()
    flags = [(f"flag_{number}", True, 50) for number in range(197)]
    flags += [("everyone", True, 100), ("listed", True, 50)]
    base.fill(flags, {"gateway": "stripe"}, {"listed": [allowed.pk]})
    enabled, lookup = base.enabled, base.lookup
    return {
        "floor: 50 %": lambda: enabled("flag_7", user),
        "floor: allowed user": lambda: enabled("listed", allowed),
        "floor: everyone": lambda: enabled("everyone", user),
        "floor: look-up": lambda: lookup("gateway"),
    }


def round_of(
    function: Callable[[], object], calls: int, clock: Callable[[], int] = perf_counter_ns
) -> float:
    """Returns the nanoseconds per call."""
    times = range(calls)
    start = clock()
    for _ in times:
        function()
    return (clock() - start) / calls


def _print(rounds: dict[str, list[float]]) -> None:
    # The loop and the lambda cost the same for every candidate, so subtract them.
    frames = rounds.pop(EMPTY)
    print(f"{'':36}{'ns':>10}{'ratio':>8}  {'half of the rounds':20}to")
    for name, of_rounds in rounds.items():
        reference = name if name.startswith("floor") else REFERENCES.get(name, "floor: 50 %")
        pairs = zip(of_rounds, rounds[reference], frames, strict=True)
        ratios = [(own - frame) / (other - frame) for own, other, frame in pairs]
        low, median, high = quantiles(ratios, n=4)
        spread = f"{low:.2f} to {high:.2f}"
        best = min(of_rounds) - min(frames)
        print(f"{name:36}{best:10.0f}{median:8.2f}  {spread:20}{reference}")


if __name__ == "__main__":
    main()
