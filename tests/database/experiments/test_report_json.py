"""The figures of the JSON of a report follow from its sums, and old reports are read."""

import json
from dataclasses import fields
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from flagstaff import experiments
from flagstaff.experiments.metrics import Mean, Ratio, Sql
from flagstaff.experiments.models import Experiment, Exposure
from flagstaff.experiments.statistics.effects import (
    Conversions,
    Estimate,
    PairSums,
    adjust,
    difference,
    lift,
    mean,
    proportion,
    ratio,
)
from flagstaff.experiments.statistics.sequential import Plan, always_valid, holm
from tests.support.experiments import DAY, EXPERIMENTS, KEY, METRICS
from tests.support.sql import forget_statistics
from tests.support.terminals import flags

HOUR = timedelta(hours=1)
ARMS = ("control", "treatment")
#: As it was stored by the first release.
STORED = Path(__file__).parent / "report_v1.json"


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


@pytest.fixture
def report(settings: Any) -> Any:
    """The report of an experiment with a look in each of 60 hours."""
    hours, per_hour = 60, 30
    own = {name: f"{__name__}.{name}" for name in ("revenue", "pages")}
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "METRICS": {**METRICS, **own}}
    experiments.create(KEY)
    experiments.edit(
        KEY, primary="orders", others=["revenue"], guardrails={"pages": 0.5}, planned_units=4000
    )
    experiment = experiments.start(KEY)
    forget_statistics(Exposure._meta.db_table)
    begin = datetime.now(timezone.utc) - hours * HOUR - 10 * DAY
    Experiment.objects.update(started_at=begin, runs_since=begin)
    Exposure.objects.bulk_create(
        Exposure(
            experiment=experiment,
            run=0,
            unit=f"{arm}{hour}-{number}{'+' if (hour + number) % (4 - place) == 0 else ''}",
            variant=arm,
            at=begin + hour * HOUR,
        )
        for place, arm in enumerate(ARMS)
        for hour in range(hours)
        for number in range(per_hour)
    )
    return experiments.report(KEY)


def test_newest_figures_follow_from_the_sums(report: Any) -> None:
    for metric in report["metrics"]:
        [result] = metric["treatments"]
        newest, alpha = result["newest"], result["interval_alpha"]
        control, treatment = _estimates(metric, newest)
        effect, relative = difference(control, treatment), lift(control, treatment)
        assert relative is not None
        for name, figure in (("difference", effect), ("lift", relative)):
            interval = always_valid(figure, Plan(4000), alpha)
            expected = {key: getattr(interval, key) for key in newest[name]}
            assert newest[name] == pytest.approx(expected, rel=1e-12)
        assert newest["p_value"] == always_valid(effect, Plan(4000)).p_value
        errors = (newest["control_standard_error"], newest["treatment_standard_error"])
        assert errors == (control.standard_error, treatment.standard_error)


def test_decisions_follow_from_the_p_values(report: Any) -> None:
    tested = [metric for metric in report["metrics"] if metric["role"] != "guardrail"]
    corrected = holm([metric["treatments"][0]["p_value"] for metric in tested])
    for metric, correction in zip(tested, corrected, strict=True):
        [result] = metric["treatments"]
        assert result["p_value"] <= result["newest"]["p_value"]
        assert result["corrected_p_value"] == correction.p_value
        assert result["interval_alpha"] == correction.interval_alpha
        assert result["is_significant"] == correction.is_rejected
    [verdict] = report["verdicts"]
    assert tested[0]["treatments"][0]["is_significant"]
    assert verdict["outcome"] == "better"


def test_report_that_the_first_release_has_stored_is_read(admin_client: Client) -> None:
    stored = json.loads(STORED.read_text())
    assert stored["version"] == 1
    experiment = experiments.create(KEY)
    Experiment.objects.update(frozen_report=stored, state="shipped", winner="treatment")
    lines = flags("experiment", "report", KEY).out
    assert "treatment: the treatment is better" in lines
    assert "This report was kept as it was on " in lines
    page = admin_client.get(f"{EXPERIMENTS}{experiment.pk}/change/").content.decode()
    for text in ("orders", "revenue", "pages", "3,600"):
        assert text in page
    # An outcome that this release does not know is no error.
    stored["verdicts"][0] |= {"outcome": "no_longer_used"}
    Experiment.objects.update(frozen_report=stored)
    assert "treatment: no_longer_used" in flags("experiment", "report", KEY).out
    assert admin_client.get(f"{EXPERIMENTS}{experiment.pk}/change/").status_code == 200


def test_report_of_now_has_the_members_of_the_stored_one(report: Any) -> None:
    # A member that is missing or renamed would be a second version.
    assert _members(json.loads(STORED.read_text())) <= _members(report)


def _members(value: Any, path: str = "") -> set[str]:
    if isinstance(value, dict):
        members = {f"{path}.{name}" for name in value if name not in ARMS}
        return members.union(
            *(_members(member, f"{path}.{name}") for name, member in value.items())
        )
    if isinstance(value, list):
        return set().union(*(_members(member, path) for member in value))
    return set()


def _estimates(metric: Any, newest: Any) -> tuple[Estimate, Estimate]:
    names = [field.name for field in fields(PairSums)]
    sums = [PairSums(**{name: newest["sums"][arm][name] for name in names}) for arm in ARMS]
    assert [arm.of_y.variance for arm in sums] == [newest["sums"][arm]["variance"] for arm in ARMS]
    if metric["kind"] == "mean":
        adjusted = adjust(sums)
        adjustment = (adjusted.theta, adjusted.variance_reduction)
        assert adjustment == (newest["theta"], newest["variance_reduction"])
        control, treatment = adjusted.arms
    elif metric["kind"] == "ratio":
        control, treatment = map(ratio, sums)
    else:
        control, treatment = (
            proportion(Conversions(arm.units, round(arm.of_y.mean * arm.units))) for arm in sums
        )
        assert control.value == pytest.approx(mean(sums[0].of_y).value, rel=1e-12)
    return control, treatment
