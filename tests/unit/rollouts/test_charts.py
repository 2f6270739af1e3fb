"""The charts of rollout plans as SVG, without a database."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.utils.translation import override

from flagstaff.rollouts.admin.steps_svg import steps_chart
from flagstaff.rollouts.admin.texts import ratio_text, share_text
from flagstaff.rollouts.models import Plan, State
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
        svg = steps_chart(plan(), NOW)
    assert not re.findall(r'"\d+,\d+%?"', svg)


def test_share_is_never_rounded_to_all_users() -> None:
    shares = [share_text(failed, 3000) for failed in (2980, 2999, 3000)]
    assert shares == ["99 %", "99.967 %", "100 %"]


def test_numbers_are_as_exact_as_they_need_to_be() -> None:
    assert (ratio_text(1.24), ratio_text(18.6)) == ("1.2", "19")
    sides = ((41, 200), (599, 1000), (1, 2000), (1, 30_000), (0, 5))
    shares = [share_text(failed, users) for failed, users in sides]
    assert shares == ["20 %", "60 %", "0.05 %", "0.0033 %", "0 %"]
    # The estimate of users may be below the number that failed.
    assert share_text(5, 4.9) == "100 %"
