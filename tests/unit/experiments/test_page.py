"""The drawings, the numbers and the results of the page of an experiment, without a database."""

import re
from typing import Any

import pytest
from django.utils.translation import override

from flagstaff.experiments.admin.report import Axis, Change
from flagstaff.experiments.report_data import GUARDRAIL, PRIMARY, EffectReport
from flagstaff.experiments.report_rows import (
    MetricRow,
    interval_text,
    level_text,
    number_text,
    p_sentence,
    p_text,
    percent_text,
    points_text,
    signed,
)
from tests.support.screen import Screen

NBSP, MINUS = "\N{NO-BREAK SPACE}", "\N{MINUS SIGN}"
WIDTH = 200.0
NOW = "2026-11-20T13:00:00Z"
Bounds = tuple[float | None, float | None]


ZERO, LIMIT, UNKNOWN = '[stroke-opacity="0.6"]', "[stroke-dasharray]", '[stroke-opacity="0.35"]'
INTERVAL = ".flagstaff-on"


def path(svg: str, mark: str) -> list[float]:
    """Returns the numbers of the path that a selector names."""
    paths = Screen(svg).attributes(f"path{mark}", "d")
    return [float(number) for number in re.findall(r"-?[\d.]+", " ".join(paths))]


def drawn(*changes: Change, css: str = "on") -> list[str]:
    axis = Axis(changes)
    return [str(axis.drawing(change, css, f"<{change.value}>")) for change in changes]


def test_interval_is_drawn_and_described_beside_zero_where_its_numbers_are() -> None:
    [svg] = drawn(Change(0.2, 0.1, 0.3))
    [zero, *_] = path(svg, ZERO)
    low, _middle, high = path(svg, INTERVAL)
    value = float(Screen(svg).part("circle.flagstaff-on")["cx"])
    assert zero < low < value < high
    assert high - zero == pytest.approx(3 * (low - zero), abs=0.3)
    assert 'aria-label="&lt;0.2&gt;"' in svg
    assert "style=" not in svg


def test_intervals_of_all_metrics_share_a_scale() -> None:
    svgs = drawn(Change(0, -0.1, 0.1), Change(-0.3, -0.4, -0.2), Change(0.3, 0.2, 0.4))
    assert len({path(svg, ZERO)[0] for svg in svgs}) == 1
    _, low, high = (path(svg, INTERVAL) for svg in svgs)
    assert low[2] < high[0]


def test_interval_that_is_unknown_or_much_wider_than_all_other_numbers_has_the_full_width() -> None:
    [svg] = drawn(Change(0.2, None, None))
    assert path(svg, INTERVAL) == []
    begin, _middle, end = path(svg, UNKNOWN)
    narrow, wide = drawn(Change(0.2, 0.1, 0.3), Change(0.1, -50, 50))
    low, _middle, high = path(narrow, INTERVAL)
    assert high - low > WIDTH / 2
    low, _middle, high = path(wide, INTERVAL)
    assert (begin, end) == (low, high) == (0, WIDTH)


def test_tolerated_harm_has_a_mark() -> None:
    [svg] = drawn(Change(0.2, 0.1, 0.3, limit=0.05))
    assert path(svg, ZERO)[0] < path(svg, LIMIT)[0] < path(svg, INTERVAL)[0]


@pytest.mark.parametrize(
    ("change", "labels"),
    [
        (Change(0.2, 0.06, 0.47), ["0", "+20", "+40"]),
        (Change(-0.03, -0.05, 0.01), [f"{MINUS}4", f"{MINUS}2", "0"]),
        (Change(0, None, None), [f"{MINUS}5", "0", "+5"]),
    ],
)
def test_scale_has_round_numbers(change: Change, labels: list[str]) -> None:
    svg = str(Axis([change]).labels())
    assert [label.removesuffix(" %") for label in Screen(svg).texts("text")] == labels


# The results. The words and the colour follow the interval that is drawn.


def row(role: str, low: float | None, high: float | None, **more: Any) -> MetricRow:
    """A row of a report that has only the members that it reads."""
    value = 0.0 if low is None or high is None else (low + high) / 2
    newest = {"difference": {"value": value, "standard_error": 0.1, "low": low, "high": high}}
    result: Any = {
        "is_significant": more.get("decided") is not None,
        "decided_at": NOW,
        "decided_difference": more.get("decided"),
        "interval_alpha": 0.025,
        "newest": newest,
        "tolerated_harm": 0.05 if role == GUARDRAIL else None,
        "harm_bound": more.get("bound"),
        "is_harmed": (more.get("bound") or 0) > 0.05,
        "is_stopping": (more.get("bound") or 0) > 0.055,
    }
    is_better = more.get("higher_is_better", True)
    metric: Any = {"role": role, "is_proportion": False, "higher_is_better": is_better}
    return MetricRow(metric, result)


@pytest.mark.parametrize(
    ("low", "high", "decided", "higher_is_better", "words", "colour"),
    [
        (0.01, 0.19, 0.1, True, "better, significant", "fine"),
        (0.01, 0.19, 0.1, False, "worse, significant", "bad"),
        (-0.19, -0.01, -0.1, True, "worse, significant", "bad"),
        (-0.1, 0.3, 0.1, True, "better, significant: at the look of", "open"),
        (-0.1, 0.3, None, True, "not significant: ", "open"),
    ],
)
def test_colour_of_a_metric_is_that_of_its_interval(  # noqa: PLR0913, PLR0917 (a table)
    low: float, high: float, decided: float | None, higher_is_better: bool, words: str, colour: str
) -> None:
    shown = row(PRIMARY, low, high, decided=decided, higher_is_better=higher_is_better)
    css, text, note = shown.verdict
    assert f"{text}: {note}".startswith(words)
    assert css == colour


HARM = "not certain: harm up to {} is possible"
MORE = "not certain: more harm than tolerated is possible"
EARLIER = "worse by more than is tolerated: at an earlier look"
WORSE = "worse by more than is tolerated: not certain enough to stop"


@pytest.mark.parametrize(
    ("interval", "bound", "drawn", "words", "colour"),
    [
        ((0.02, 0.2), 0.06, (0.06, 0.2), "worse by more than is tolerated: ", "bad"),
        ((0.02, 0.2), 0.051, (0.051, 0.2), WORSE, "bad"),
        ((0.02, 0.2), 0.04, (0.04, 0.2), HARM, "open"),
        ((0.02, 0.2), 0.3, (0.02, 0.2), EARLIER, "open"),
        ((0.02, 0.2), None, (0.02, 0.2), HARM, "open"),
        ((None, None), None, (None, None), MORE, "open"),
        ((-0.02, 0.02), -0.01, (-0.01, 0.02), "within what is tolerated: ", "fine"),
    ],
)
@pytest.mark.parametrize("higher_is_better", [False, True])
def test_interval_of_a_guardrail_begins_at_the_bound_that_decides(  # noqa: PLR0913, PLR0917 (a table)
    interval: Bounds,
    bound: float | None,
    drawn: Bounds,
    words: str,
    colour: str,
    higher_is_better: bool,
) -> None:
    def turned(ends: Bounds) -> Bounds:
        low, high = ends
        return (-high, -low) if higher_is_better and low is not None and high is not None else ends

    shown = row(GUARDRAIL, *turned(interval), bound=bound, higher_is_better=higher_is_better)
    assert shown.difference is not None
    assert (shown.difference["low"], shown.difference["high"]) == turned(drawn)
    worst = f"{MINUS}0.2" if higher_is_better else "+0.2"
    css, text, note = shown.verdict
    assert (css, f"{text}: {note}") == (colour, words.format(worst))


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
    texts = [signed(number, points_text) for number in (0.06, -0.06, 0.0, -1e-15)]
    assert texts == ["+6.00", f"{MINUS}6.00", "0", "0"]


def test_interval_names_the_bounds_that_are_known() -> None:
    bounds = [(-1, 2), (None, 2), (1, None), (None, None)]
    reports = [EffectReport(value=0.0, standard_error=1.0, low=low, high=hi) for low, hi in bounds]
    assert [interval_text(report, number_text) for report in reports] == [
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
