"""The JSON of a report is small, and all its figures can be computed again from it alone."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from flagstaff import experiments
from flagstaff.experiments.metrics import Mean, Ratio, Sql
from flagstaff.experiments.models import Exposure, Phase
from flagstaff.experiments.statistics import (
    Comparison,
    Conversions,
    Estimate,
    Evidence,
    Gates,
    Guardrail,
    PairSums,
    Plan,
    Primary,
    Shares,
    adjust,
    always_valid,
    chi_square,
    combine,
    difference,
    holm,
    judge,
    lift,
    lower_bound,
    mean,
    proportion,
    ratio,
    sequential_p_value,
)
from tests.support.experiment_pages import METRICS
from tests.support.terminals import flags

pytestmark = pytest.mark.django_db

KEY = "checkout_button"
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
FOUR_WEEKS = 28 * 24
ARMS = ("control", "treatment")
#: The looks have nine digits.
SHORT = 1e-6


def _rows(value: str, having: str = "true") -> Sql:
    """Rows an hour after the exposure and a day before it, with skewed values."""
    table = Exposure._meta.db_table
    return Sql(
        f"SELECT unit, {value} AS value, at + gap AS time FROM {table}, "
        f"(VALUES (interval '1 hour'), (interval '-1 day')) AS gaps (gap) WHERE {having}"
    )


revenue = Mean(
    lambda: _rows("exp(abs(hashtext(unit || gap)) %% 999 / 500.0)::float8", "unit LIKE '%%+'"),
    window=DAY,
    covariate=7 * DAY,
)
pages = Ratio(
    lambda: _rows("(abs(hashtext(unit)) %% 3)::float8"),
    lambda: _rows("(abs(hashtext(unit)) %% 5 + 2)::float8"),
    window=DAY,
    higher_is_better=False,
)


def expose(settings: Any, hours: int, per_hour: int) -> None:
    """Makes an experiment of two phases, with a look in each of these hours."""
    own = {name: f"{__name__}.{name}" for name in ("revenue", "pages")}
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "METRICS": {**METRICS, **own}}
    experiments.create(KEY)
    experiments.set_metrics(
        KEY, primary="orders", others=["revenue"], guardrails={"pages": 0.5}, planned_units=4000
    )
    experiment = experiments.start(KEY)
    experiments.set_weights(KEY, traffic_percent=50)
    begin = datetime.now(timezone.utc) - hours * HOUR - 10 * DAY
    middle = begin + hours // 2 * HOUR
    Phase.objects.filter(number=1).update(started_at=begin, ended_at=middle)
    Phase.objects.filter(number=2).update(started_at=middle)
    Exposure.objects.bulk_create(
        Exposure(
            experiment=experiment,
            shuffle=0,
            unit=f"{arm}{hour}-{number}{'+' if (hour + number) % (4 - place) == 0 else ''}",
            variant=arm,
            phase=1 if hour < hours // 2 else 2,
            at=begin + hour * HOUR,
        )
        for place, arm in enumerate(ARMS)
        for hour in range(hours)
        for number in range(per_hour)
    )


@pytest.fixture
def report(settings: Any) -> dict[str, Any]:
    expose(settings, 60, 30)
    return experiments.report(KEY)


def test_report_of_four_weeks_has_a_hundred_looks_and_takes_50_kilobytes(settings: Any) -> None:
    expose(settings, FOUR_WEEKS, 2)
    text = flags("experiment", "report", KEY, "--json").out
    columns = [one["treatments"][0]["looks"] for one in json.loads(text)["metrics"]]
    assert [one["count"] for one in columns] == [FOUR_WEEKS] * 3
    assert all(48 <= len(one["units"]) <= 2 * 48 for one in columns[:2])
    assert 48 <= len(columns[2]["units"]) <= 3 * 48
    # An experiment with three treatments and six metrics has six times as many.
    assert len(text) < 50_000


def test_newest_figures_follow_from_the_sums(report: dict[str, Any]) -> None:
    for metric in report["metrics"]:
        [result] = metric["treatments"]
        newest, alpha = result["newest"], result["interval_alpha"]
        strata = {str(one["phase"]): _estimates(metric, one) for one in newest["phases"]}
        assert len(strata) == 2
        control, treatment = combine(strata)
        effect, relative = difference(control, treatment), lift(control, treatment)
        assert relative is not None
        for name, one in (("difference", effect), ("lift", relative)):
            expected = _as_dict(always_valid(one, Plan(4000), alpha))
            assert newest[name] == pytest.approx(expected, rel=1e-12)
        assert newest["p_value"] == always_valid(effect, Plan(4000)).p_value
        errors = (newest["control_standard_error"], newest["treatment_standard_error"])
        assert errors == (control.standard_error, treatment.standard_error)


def test_looks_decisions_and_verdict_follow_from_the_columns(report: dict[str, Any]) -> None:
    tested = [one for one in report["metrics"] if one["role"] != "guardrail"]
    bounds: list[float] = []
    for metric in report["metrics"]:
        [result] = metric["treatments"]
        looks = [_look(result["looks"], place) for place in range(len(result["looks"]["units"]))]
        p_values = [always_valid(one, Plan(4000)).p_value for one in looks]
        # Of the guardrail in the end, for which lower is better.
        bounds = [lower_bound(one, Plan(4000)) for one in looks]
        stored = [1.0 if one is None else one for one in result["looks"]["p_value"]]
        assert stored == pytest.approx(p_values, rel=SHORT)
        assert result["p_value"] == pytest.approx(min(p_values), rel=SHORT)
        last = datetime.fromisoformat(result["looks"]["first"]) + _last(result["looks"]) * HOUR
        assert datetime.fromisoformat(result["newest"]["at"]) == last
    [guardrail] = report["metrics"][-1]["treatments"]
    assert guardrail["harm_bound"] == pytest.approx(max(bounds), rel=SHORT, abs=1e-8)
    corrected = holm([one["treatments"][0]["p_value"] for one in tested])
    for one, found in zip(tested, corrected, strict=True):
        [result] = one["treatments"]
        assert result["corrected_p_value"] == found.p_value
        assert result["interval_alpha"] == found.interval_alpha
        assert result["is_significant"] == found.is_rejected
    [verdict] = report["verdicts"]
    [first] = tested[0]["treatments"]
    assert first["is_significant"]
    effect = Comparison(first["decided_difference"], 0.0, -math.inf, math.inf, first["p_value"])
    evidence = Evidence(
        Primary("orders", effect, corrected=corrected[0]),
        Gates(7 if not verdict["missing_days"] else 0, 7, 100, 100),
        report["exposures"]["mismatch_p_value"],
        [Guardrail("pages", guardrail["harm_bound"], guardrail["tolerated_harm"])],
    )
    assert judge(evidence).outcome.value == verdict["outcome"] == "better"


def test_counts_of_units_follow_from_the_hours(report: dict[str, Any]) -> None:
    counts, hours = report["exposures"], report["exposures"]["hours"]
    shares = {one["number"]: one["analysed_shares"] for one in report["phases"]}
    seen = {number: dict.fromkeys(ARMS, 0) for number in shares}
    looks = []
    for place, phase in enumerate(hours["phase"]):
        for arm in ARMS:
            seen[phase][arm] += hours["units"][arm][place]
        tested = [
            Shares([units[arm] for arm in ARMS], [shares[number][arm] for arm in ARMS])
            for number, units in seen.items()
            if any(units.values())
        ]
        looks.append(sequential_p_value(tested))
    assert counts["units"] == {arm: sum(hours["units"][arm]) for arm in ARMS}
    assert counts["mismatch_p_value"] == min(looks)
    assert counts["chi_square_p_value"] == chi_square(tested)


def _estimates(metric: dict[str, Any], phase: dict[str, Any]) -> tuple[Estimate, Estimate]:
    names = [one.name for one in fields(PairSums)]
    sums = [PairSums(**{name: phase[arm][name] for name in names}) for arm in ARMS]
    assert [one.of_y.variance for one in sums] == [phase[arm]["variance"] for arm in ARMS]
    if metric["kind"] == "mean":
        adjusted = adjust(sums)
        found = (adjusted.theta, adjusted.variance_reduction)
        assert found == (phase["theta"], phase["variance_reduction"])
        control, treatment = adjusted.arms
    elif metric["kind"] == "ratio":
        control, treatment = map(ratio, sums)
    else:
        # Each unit with a value other than 0 has converted.
        control, treatment = (proportion(Conversions(one.units, one.contributors)) for one in sums)
        assert control.value == pytest.approx(mean(sums[0].of_y).value, rel=1e-12)
    return control, treatment


def _look(columns: dict[str, Any], place: int) -> Any:
    is_enough = columns["p_value"][place] is not None
    arms = (
        Estimate(units, columns[arm][place], columns[f"{arm}_standard_error"][place], 9, is_enough)
        for arm, units in zip(ARMS, (columns["units"][place], 0), strict=True)
    )
    return difference(*arms)


def _last(columns: dict[str, Any]) -> int:
    return int(columns["hours"][-1])


def _as_dict(found: Comparison) -> dict[str, float]:
    names = ("value", "standard_error", "low", "high")
    return {name: getattr(found, name) for name in names}
