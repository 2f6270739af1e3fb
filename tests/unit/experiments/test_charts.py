"""The charts and the numbers of experiments, without a database."""

from __future__ import annotations

import re
from datetime import date, datetime, timezone

import pytest
from django.utils.translation import override

from flagstaff.experiments.admin.axis import Axis, Change
from flagstaff.experiments.admin.charts import days_chart, looks_chart
from flagstaff.experiments.admin.texts import (
    interval_text,
    level_text,
    number_text,
    p_sentence,
    p_text,
    percent_text,
    points_text,
    signed,
)
from flagstaff.experiments.report_data import DayUnits, EffectReport

NBSP, MINUS = "\N{NO-BREAK SPACE}", "\N{MINUS SIGN}"


def elements(svg: str, element: str, css: str) -> list[dict[str, float]]:
    """Returns the coordinates of all elements of a class."""
    tags = re.findall(rf'<{element} class="flagstaff-{css}"([^>]*)>', svg)
    return [
        {name: float(number) for name, number in re.findall(r' (\w+)="(-?[\d.]+)%?"', tag)}
        for tag in tags
    ]


def drawn(*changes: Change, css: str = "fine") -> list[str]:
    axis = Axis(changes)
    return [str(axis.drawing(change, css, f"<{change.value}>")) for change in changes]


def look(
    value: float, low: float | None, high: float | None, hour: int = 1
) -> tuple[datetime, EffectReport]:
    at = datetime(2026, 11, 20, hour, tzinfo=timezone.utc)
    return at, EffectReport(value, 1.0, low, high)


def looks(*found: tuple[datetime, EffectReport]) -> str:
    return str(looks_chart("chart", "green", found, number_text))


def test_interval_is_drawn_and_described_beside_zero_where_its_numbers_are() -> None:
    [svg] = drawn(Change(0.2, 0.1, 0.3))
    [zero] = elements(svg, "line", "zero")
    [line] = elements(svg, "line", "range flagstaff-fine")
    [point] = elements(svg, "circle", "ratio flagstaff-fine")
    assert zero["x1"] == zero["x2"] < line["x1"] < point["cx"] < line["x2"]
    unit = line["x1"] - zero["x1"]
    assert line["x2"] - zero["x1"] == pytest.approx(3 * unit, abs=0.1)
    assert 'aria-label="&lt;0.2&gt;"' in svg
    assert "style=" not in svg


def test_intervals_of_all_metrics_share_a_scale() -> None:
    svgs = drawn(Change(0, -0.1, 0.1), Change(-0.3, -0.4, -0.2), Change(0.3, 0.2, 0.4))
    assert len({elements(svg, "line", "zero")[0]["x1"] for svg in svgs}) == 1
    _, [low], [high] = (elements(svg, "line", "range flagstaff-fine") for svg in svgs)
    assert low["x2"] < high["x1"]


def test_interval_without_bounds_is_a_faint_line_of_the_full_width() -> None:
    [svg] = drawn(Change(0.2, None, None))
    assert elements(svg, "line", "range flagstaff-fine") == []
    [line] = elements(svg, "line", "axis")
    assert (line["x1"], line["x2"]) == (0, 100)


def test_tolerated_harm_has_a_mark() -> None:
    [svg] = drawn(Change(0.2, 0.1, 0.3, limit=0.05))
    [zero], [limit] = elements(svg, "line", "zero"), elements(svg, "line", "limit")
    [line] = elements(svg, "line", "range flagstaff-fine")
    assert zero["x1"] < limit["x1"] < line["x1"]


def test_interval_much_wider_than_all_other_numbers_is_cut_off_at_the_edge() -> None:
    narrow, wide = drawn(Change(0.2, 0.1, 0.3), Change(0.1, -50, 50))
    [line] = elements(narrow, "line", "range flagstaff-fine")
    assert line["x2"] - line["x1"] > 50
    [line] = elements(wide, "line", "range flagstaff-fine")
    assert (line["x1"], line["x2"]) == (0, 100)


@pytest.mark.parametrize(
    ("change", "labels"),
    [
        (Change(0.2, 0.06, 0.47), ["0", "+20", "+40"]),
        (Change(-0.03, -0.05, 0.01), [f"{MINUS}4", f"{MINUS}2", "0"]),
        (Change(0, None, None), [f"{MINUS}4", f"{MINUS}2", "0", "+2", "+4"]),
    ],
)
def test_scale_has_round_numbers(change: Change, labels: list[str]) -> None:
    svg = str(Axis([change]).labels())
    shown = [label.removesuffix(f"{NBSP}%") for label in re.findall(r">([^<>]+)</text>", svg)]
    assert shown == labels


def test_nothing_to_compare_has_no_chart() -> None:
    assert looks(look(1, 0, 2)) == ""
    assert days_chart([], ["control"]) == ""


def test_looks_are_drawn_from_bound_to_bound() -> None:
    svg = looks(look(1, -2, 4), look(2, 1, 3, hour=2))
    early, late = elements(svg, "line", "look")
    [zero] = elements(svg, "line", "zero")
    assert early["x1"] < late["x1"]
    # Larger numbers are higher, and y grows downwards.
    assert early["y2"] < late["y2"] < late["y1"] < zero["y1"] < early["y1"]
    # A look without an interval has no bar.
    svg = looks(look(1, None, None), look(2, 1, 3, hour=2))
    assert len(elements(svg, "line", "look")) == len(elements(svg, "line", "path")) == 1


def test_wide_early_interval_is_cut_off_at_the_edge() -> None:
    svg = looks(look(1, -1000, 1000), look(2, 1, 3, hour=2))
    wide, narrow = elements(svg, "line", "look")
    assert wide["y2"] < narrow["y2"] < narrow["y1"] < wide["y1"]
    assert narrow["y1"] - narrow["y2"] > (wide["y1"] - wide["y2"]) / 5


def test_looks_stand_where_their_time_is() -> None:
    svg = looks(*(look(1, 0, 2, hour) for hour in (1, 2, 5)))
    first, second, third = (one["x1"] for one in elements(svg, "line", "look"))
    assert third - second == pytest.approx(3 * (second - first), abs=0.1)
    assert 0 < first < third < 100


def test_day_has_a_part_for_each_variant() -> None:
    days = [
        DayUnits(date(2026, 11, 19), {"control": 50, "green": 50}),
        DayUnits(date(2026, 11, 20), {"control": 25, "green": 0}),
    ]
    svg = str(days_chart(days, ["control", "green"]))
    full, half = elements(svg, "rect", "variant-0")
    [other] = elements(svg, "rect", "variant-1")
    assert full["height"] == 2 * half["height"] == other["height"]
    assert other["y"] + other["height"] == full["y"]
    assert "100 units a day" in svg


def test_numbers_have_as_many_digits_as_they_need() -> None:
    shares = (0, 0.00012, 0.0953, 0.16, 1.5, 12.345, 1e-12)
    texts = ["0", "0.0120", "9.53", "16.0", "150.0", "1,234.5", "0"]
    assert [points_text(share) for share in shares] == texts
    assert [percent_text(share) for share in shares] == [f"{text}{NBSP}%" for text in texts]
    numbers = (0, 3e-16, 0.00123456, 0.5, 12.3456, 1234.5, 1234567.8)
    texts = ["0", "0", "0.001235", "0.5", "12.35", "1,234", "1,234,568"]
    assert [number_text(number) for number in numbers] == texts
    levels = [level_text(alpha) for alpha in (0.05, 0.025, 0.05 / 3)]
    assert levels == [f"95{NBSP}%", f"97.5{NBSP}%", f"98.33{NBSP}%"]


def test_difference_has_a_sign_unless_it_is_zero() -> None:
    found = [signed(number, points_text) for number in (0.06, -0.06, 0.0, -1e-15)]
    assert found == ["+6.00", f"{MINUS}6.00", "0", "0"]


def test_interval_names_the_bounds_that_are_known() -> None:
    bounds = [(-1, 2), (None, 2), (1, None), (None, None)]
    found = [EffectReport(0.0, 1.0, low, high) for low, high in bounds]
    assert [interval_text(one, number_text) for one in found] == [
        f"{MINUS}1 to +2",
        "at most +2",
        "at least +1",
        "too few units for an interval",
    ]


def test_small_p_value_is_not_written_out() -> None:
    texts = [p_text(p_value) for p_value in (None, 1e-9, 0.03125, 1)]
    assert texts == ["\N{EN DASH}", "< 0.0001", "0.0312", "1.0000"]
    assert [p_sentence(p_value) for p_value in (1e-9, 0.5)] == ["p < 0.0001", "p = 0.5000"]


def test_numbers_have_the_format_of_the_language() -> None:
    with override("de"):
        assert percent_text(12.345) == f"1.234,5{NBSP}%"
        assert number_text(0.5) == "0,5"
        assert p_text(1e-9) == "< 0,0001"
        # SVG has its own format.
        assert re.findall(r'="\d+,\d', drawn(Change(0.25, 0.15, 0.31))[0]) == []
