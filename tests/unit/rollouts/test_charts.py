"""The charts of rollout plans as SVG, without a database."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.utils.translation import override

from flagstaff.rollouts.admin.figures import guard_chart
from flagstaff.rollouts.admin.steps_svg import steps_chart
from flagstaff.rollouts.admin.texts import evidence_text, ratio_text, share_text
from flagstaff.rollouts.models import Plan, State
from flagstaff.rollouts.results import GuardCounts, GuardResult, StepEvidence
from flagstaff.rollouts.steps import Step, steps_as_json

NOW = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
STEPS = (Step(5, 3600), Step(25, 86_400), Step(100, 0))


def plan(**fields: Any) -> Plan:
    values = {"key": "new_checkout", "steps": steps_as_json(STEPS), "state": State.RUNNING}
    return Plan(**{**values, "step": 1, **fields})


def classes(svg: str, element: str) -> list[str]:
    return re.findall(rf'<{element} class="flagstaff-([^"]+)"', svg)


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>(.*?)</text>", svg)


def numbers(svg: str, element: str, css: str, *names: str) -> list[float]:
    [tag] = re.findall(rf'<{element} class="flagstaff-{css}"[^>]*>', svg)
    return [float(re.findall(rf' {name}="([\d.]+)%?"', tag)[0]) for name in names]


def result(**fields: Any) -> GuardResult:
    values: dict[str, Any] = {
        "number": 0,
        "name": "errors",
        "failed": GuardCounts(10, 40),
        "ratio": 4.0,
        "e_value": 3.0,
        "threshold": 100.0,
        "upper": 6.0,
        "limit": 2.0,
        "tripped": False,
        "passed": False,
        "tolerated": 1.0,
    }
    return GuardResult(**{**values, **fields})


EVIDENCE = StepEvidence(100, 1600, 0.02, {}, (1600, 100))


def test_columns_show_past_present_and_later_steps() -> None:
    assert classes(steps_chart(plan(), NOW), "rect") == ["passed", "present", "later"]
    assert classes(steps_chart(plan(step=None), NOW), "rect") == ["later"] * 3
    assert classes(steps_chart(plan(state=State.DONE, step=2), NOW), "rect") == ["passed"] * 3
    rolled_back = plan(state=State.ROLLED_BACK)
    assert classes(steps_chart(rolled_back, NOW), "rect") == ["passed", "gone", "later"]


def test_marker_moves_through_the_column_with_the_dwell_time() -> None:
    def place(**left: float) -> float:
        svg = steps_chart(plan(due_at=NOW + timedelta(**left)), NOW)
        return numbers(svg, "line", "now", "x1")[0]

    assert 100 / 3 < place(days=1) < place(hours=12) < place(hours=0) < 200 / 3
    # Past its time, the marker stays at the end of the column.
    assert place(hours=-5) == place(hours=0)
    assert place(hours=12) == pytest.approx(50)
    # A plan that does not run has none.
    for state, step in ((State.PENDING, None), (State.DONE, 2), (State.ROLLED_BACK, 2)):
        svg = steps_chart(plan(state=state, step=step), NOW)
        assert classes(svg, "line") == ["axis"], state


def test_chart_of_steps_has_a_title_and_describes_itself() -> None:
    svg = steps_chart(plan(), NOW)
    assert 'role="img"' in svg
    assert re.findall(r"<title[^>]*>(.*?)</title>", svg) == ["Steps of the rollout of new_checkout"]
    assert "5 % for 1 h, 25 % for 1 d, 100 %" in svg
    assert "<b>" not in steps_chart(plan(key="<b>"), NOW)


def test_many_steps_have_few_labels() -> None:
    steps = [Step(percent, 3600) for percent in range(5, 101, 5)]
    svg = steps_chart(plan(steps=steps_as_json(steps), step=7), NOW)
    assert len(classes(svg, "rect")) == 20
    assert len(texts(svg)) <= 14
    assert "100 %" in texts(svg)
    assert "now: 40 %" in texts(svg)


def test_numbers_of_a_chart_have_points_in_every_language() -> None:
    with override("de"):
        svg = steps_chart(plan(), NOW) + guard_chart("Fehler", result(), EVIDENCE)
    assert not re.findall(r'"\d+,\d+%?"', svg)


def test_bars_are_as_long_as_the_shares() -> None:
    svg = guard_chart("Errors", result(), EVIDENCE)
    [inside], [outside] = (numbers(svg, "rect", css, "width") for css in ("inside", "outside"))
    # 10 of 100 users, and 40 of 1,600.
    assert inside / outside == pytest.approx(4, rel=0.01)
    assert texts(svg)[:3] == [
        "with the flag: 10 %, 10 of 100 users",
        "without the flag: 2.5 %, 40 of 1,600 users",
        "ratio: 4.0, at most 6.0",
    ]


def test_colour_says_what_the_upper_bound_means() -> None:
    def colour(**fields: Any) -> list[str]:
        return classes(guard_chart("Errors", result(**fields), EVIDENCE), "circle")

    assert colour(ratio=1.0, upper=1.8) == ["ratio flagstaff-fine"]
    assert colour(ratio=1.0, upper=2.5) == ["ratio flagstaff-open"]
    assert colour(tripped=True) == ["ratio flagstaff-bad"]


def test_limit_and_ratio_are_on_one_axis() -> None:
    svg = guard_chart("Errors", result(ratio=1.0, upper=3.0), EVIDENCE)
    [limit] = numbers(svg, "line", "limit", "x1")
    start, end = numbers(svg, "line", "range flagstaff-open", "x1", "x2")
    assert start * 2 == pytest.approx(limit)
    assert end == pytest.approx(limit * 1.5)


def test_unlimited_bound_reaches_the_edge() -> None:
    svg = guard_chart("Errors", result(upper=math.inf), EVIDENCE)
    assert numbers(svg, "line", "range flagstaff-open", "x2") == [100]
    assert "no upper bound yet" in svg
    svg = guard_chart("Errors", result(ratio=math.inf, upper=math.inf), EVIDENCE)
    assert "ratio: unlimited, no upper bound yet" in svg
    assert "nan" not in svg
    assert '"inf' not in svg
    none = result(failed=GuardCounts(), ratio=None, upper=math.inf)
    svg = guard_chart("Errors", none, StepEvidence(0, 0, 0, {}, (0, 0)))
    assert classes(svg, "circle") == []
    assert "ratio: no failures to compare" in texts(svg)


def test_bar_of_the_evidence_is_full_at_the_trip() -> None:
    def width(css: str, **fields: Any) -> float:
        svg = guard_chart("Errors", result(**fields), EVIDENCE)
        return numbers(svg, "rect", css, "width")[0]

    assert width("evidence-bar", e_value=10.0) == pytest.approx(50, abs=0.1)
    assert width("evidence-bar", e_value=0.2) == 0
    assert width("open", e_value=31.6) == pytest.approx(75, abs=0.1)
    assert width("bad", e_value=math.inf, tripped=True) == 100
    svg = guard_chart("Errors", result(e_value=16.7), EVIDENCE)
    assert "evidence of harm: 17, trips at 100" in texts(svg)


def test_share_is_never_rounded_to_all_users() -> None:
    shares = [share_text(failed, 3000) for failed in (2980, 2999, 3000)]
    assert shares == ["99 %", "99.967 %", "100 %"]


def test_numbers_are_as_exact_as_they_need_to_be() -> None:
    assert (ratio_text(1.24), ratio_text(18.6)) == ("1.2", "19")
    assert (evidence_text(3.14), evidence_text(5e40)) == ("3.1", "over 1,000,000")
    sides = ((41, 200), (599, 1000), (1, 2000), (1, 30_000), (0, 5))
    shares = [share_text(failed, users) for failed, users in sides]
    assert shares == ["20 %", "60 %", "0.05 %", "0.0033 %", "0 %"]
    # The estimate of users may be below the number that failed.
    assert share_text(5, 4.9) == "100 %"
