"""The figures of a plan on its page, in the terminal and in JSON, recomputed from the raw rows.

By the formulas of docs/discussions/plan-guards.md, in other code than that of the plans.
"""

import math
import re
from collections import Counter
from typing import Any

import pytest
from django.test import Client

from flagstaff import rollouts
from flagstaff.models import FeatureFlag
from flagstaff.rollouts.models import FailedUnit, SeenRegister, SignalCount
from tests.support.admin_pages import page
from tests.support.plans import KEY, fail, plan_of, plan_url, run_of, see
from tests.support.reports import register_worker
from tests.support.screen import Screen
from tests.support.terminals import document, ok

RATIOS = (1.25, 1.5, 2, 3, 5, 10, 20)
#: The threshold of `errors` in a plan with three steps below 100 %, in the first run.
THRESHOLD = 150
# Failed users, requests at risk and those of them that failed, outside and inside, by tenth.
HARMLESS = {0: ((60, 20), (9_000, 3_000), (66, 22)), 4: ((90, 31), (8_000, 2_900), (99, 34))}
MORE_REQUESTS = {0: ((300, 140), (9_000, 4_300), (310, 150)), 9: ((20, 9), (900, 410), (20, 9))}
HARM = {0: ((60, 20), (9_000, 3_000), (66, 22)), 8: ((20, 40), (2_000, 700), (22, 44))}


def users(ranks: Counter[int]) -> float:
    """How many users a sketch has seen, by maximum likelihood: the registers are independent.

    Register j has a rank of at most k with the probability exp(-n / 4096 / 2^k), as for a Poisson
    number of users. The logarithm of the likelihood has one maximum.
    """
    counts = ranks | Counter({0: 4096 - sum(ranks.values())})

    def likelihood(log: float) -> float:
        mean = math.exp(log) / 4096
        total = 0.0
        for rank, count in counts.items():
            below = math.exp(-mean * 2.0 ** (1 - rank)) if rank else 0.0
            total += count * math.log(math.exp(-mean * 2.0**-rank) - below)
        return total

    low, high = 0.0, 20.0
    while high - low > 1e-9:
        first, second = low + (high - low) / 3, high - (high - low) / 3
        low, high = (first, high) if likelihood(first) < likelihood(second) else (low, second)
    return math.exp(low)


def q(theta: float, ratio: float) -> float:
    return theta * ratio / (theta * ratio + 1 - theta)


def e_value(x: float, y: float, theta: float) -> float:
    logs = [
        x * math.log(q(theta, r) / theta) + y * math.log(q(theta, r) / (theta * r)) for r in RATIOS
    ]
    return sum(map(math.exp, logs)) / len(logs)


def bound(x: float, y: float, theta: float) -> float:
    """The smallest ratio whose e-value against smaller ones reaches 20."""
    low, high = 0.01, 1000.0
    for _ in range(60):
        middle, terms = math.sqrt(low * high), []
        for r in RATIOS:
            null, smaller = q(theta, middle), q(theta, middle / r)
            terms.append(x * math.log(smaller / null) + y * math.log((1 - smaller) / (1 - null)))
        is_reached = sum(map(math.exp, terms)) / len(terms) >= 20
        low, high = (low, middle) if is_reached else (middle, high)
    return high


def of_rows(kind: str, run: int, tenth: int) -> tuple[int, int]:
    rows = SignalCount.objects.filter(run=run, kind=kind, tenth__gte=tenth)
    counts = [sum(row.count for row in rows if row.inside is inside) for inside in (False, True)]
    return counts[0], counts[1]


def failed_since(run: int, tenth: int) -> tuple[int, int]:
    rows = FailedUnit.objects.filter(run=run, tenth__gte=tenth)
    return rows.filter(inside=False).count(), rows.filter(inside=True).count()


def recomputed(run: int, last: int, outside: int, inside: int) -> list[dict[str, float]]:
    """The comparisons by users and by requests, from the rows and the estimated users."""
    theta = inside / (inside + outside)
    error = 1.04 / math.sqrt(4096) * math.sqrt(2) * (1 - theta)
    y, x = failed_since(run, 0)
    each = max(sum(of_rows("f", run, 0)) / (x + y), 1)
    comparisons = []
    for by in ("users", "requests"):
        evidence = []
        for tenth in range(last + 1):
            failed = failed_since(run, tenth) if by == "users" else of_rows("f", run, tenth)
            at_risk = of_rows("a", run, tenth)
            share = theta if by == "users" else at_risk[1] / sum(at_risk)
            parts = 1 if by == "users" else each
            high = share * (1 + 2 * error) if by == "users" else share
            evidence.append(e_value(failed[1] / parts, failed[0] / parts, high))
            if not tenth:
                low = share * (1 - 2 * error) if by == "users" else share
                upper = bound(failed[1] / parts, failed[0] / parts, low)
                ratio = failed[1] * (1 - share) / (failed[0] * share)
                whole = share
        weights = [0.5, *[0.4 / 9] * last]
        total = sum(w * e for w, e in zip(weights, evidence, strict=True)) + 1 - sum(weights)
        comparisons.append({"share": whole, "ratio": ratio, "e_value": total, "upper": upper})
    odds = [comparison["share"] / (1 - comparison["share"]) for comparison in comparisons]
    more = odds[1] / odds[0]
    comparisons[0]["explained"] = max(min(more, 2 / more), 1)
    comparisons[1]["explained"] = 1
    return comparisons


def times(ratio: float) -> str:
    """A ratio below 10 with two significant digits, as pages write it."""
    return str(float(f"{ratio:.2g}"))


@pytest.mark.parametrize(
    ("counts", "trips", "passes"),
    [(HARMLESS, False, True), (MORE_REQUESTS, False, True), (HARM, True, False)],
    ids=["harmless", "more requests", "harm"],
)
def test_figures_are_those_of_the_rows(
    counts: dict[int, Any], operator: Client, flag: FeatureFlag, *, trips: bool, passes: bool
) -> None:
    register_worker("measurements")
    rollouts.start(KEY, ["25:1h", "40:1h", "50:1h", "100"], required_users=1_000)
    run = run_of()
    for inside, number in ((False, 3_000), (True, 1_100)):
        see(run, inside=inside, users=number)
        for tenth, (failed, at_risk, failed_at_risk) in counts.items():
            fail(run, inside=inside, users=failed[inside], tenth=tenth)
            for kind, sides in (("a", at_risk), ("f", failed_at_risk)):
                SignalCount.objects.create(
                    run_id=run, inside=inside, kind=kind, tenth=tenth, count=sides[inside]
                )
    evidence = document("plan", "show", KEY)["evidence"]
    [errors] = evidence["guards"]
    sides = evidence["users_outside"], evidence["users_inside"]
    for is_inside, number in zip((False, True), sides, strict=True):
        ranks = SeenRegister.objects.filter(run=run, inside=is_inside).values_list(
            "rank", flat=True
        )
        # The plan has another estimator, whose evidence would not be the same.
        assert users(Counter(ranks)) == pytest.approx(number, rel=0.01)
    expected = recomputed(run, max(counts), *sides)
    for comparison, figures in zip(errors["comparisons"], expected, strict=True):
        for name, figure in figures.items():
            # The users are rounded.
            assert comparison[name] == pytest.approx(figure, rel=0.02), name
    y, x = failed_since(run, 0)
    assert (errors["failed"]["inside"], errors["failed"]["outside"]) == (x, y)
    assert errors["at_risk"] == [*of_rows("a", run, 0)]
    assert errors["threshold"] == pytest.approx(THRESHOLD)
    assert errors["tripped"] is trips
    assert (min(comparison["e_value"] for comparison in expected) >= THRESHOLD) is trips
    assert evidence["trip"] == ("errors" if trips else None)
    assert evidence["passed"] is passes
    # The page and the terminal have the same numbers, rounded.
    cells = Screen(page(operator, plan_url(plan_of()))).section("Guards").all("tbody td")
    texts = [" ".join(cell.text.split()) for cell in cells]
    assert f"{x} of {evidence['users_inside']:,} users" in texts[0].replace("\xa0", " ")
    by_users, by_requests = (times(comparison["ratio"]) for comparison in expected)
    assert texts[2].startswith(f"{by_users} · {by_requests} by requests")
    upper = max(comparison["upper"] for comparison in expected)
    assert re.search(rf"at most {times(upper)}\b", texts[2])
    assert evidence["why"] in " ".join(ok(f"plan show {KEY}").out.split())
