"""The picture of a release: the course of the rollout with its changes, above the evaluations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._words.text import local_number
from flagstaff.admin.flag.page.release_data import Count, ReleaseHistory, Step
from flagstaff.admin.flag.page.release_period import Period
from flagstaff.admin.svg import anchor, circle, image, joined, line, path, plot, text

_ALL = 100
_WIDTH = 1_000
# The room for a label above the first plot, between both, and below the last one.
_LABEL, _BETWEEN, _AXIS = 22, 34, 18
_LABEL_GAP = 7
_ROLLOUT_HEIGHT, _COUNTS_HEIGHT = 80, 56
# Columns that are not narrower have a space between them, as a share of a column.
_MAX_WITH_GAP, _GAP = 40, 0.2
# The radius of a mark, and of the area in which it can be clicked.
_RADIUS, _AREA = 4, 12
# Near an edge a label stays inside, and a label of a mark stands on the side with more room.
_EDGE, _SIDE, _BESIDE = 5, 60, 1.5

Commands = Iterator[tuple[str | float, ...]]


@dataclass(frozen=True)
class Mark:
    """A mark on the line of the rollout, for one change or for several close to each other."""

    #: From 0 to 1.
    place: float
    percent: int
    #: Whether the rollout was changed, and not only another field.
    is_step: bool
    #: What was changed, by whom and why: a line for each change.
    text: str
    #: The page with the newest of them.
    url: str


def release_chart(  # noqa: PLR0913 (what it shows, and in which words)
    period: Period,
    history: ReleaseHistory | None,
    counts: Sequence[Count],
    marks: Sequence[Mark],
    *,
    value: str,
    label: str,
) -> SafeString:
    """Returns the chart, without a history or without counts of the other only.

    `value` is the label of the line, and `label` the sentence for screen readers.
    """
    parts: list[SafeString] = []
    height = _LABEL
    if history is not None:
        parts += _rollout(period, history, value)
        height += _ROLLOUT_HEIGHT
    if counts:
        height += _BETWEEN if history is not None else 0
        parts += _counts(period, counts, height)
        height += _COUNTS_HEIGHT
    for place, name in period.labels():
        x = place * _ALL
        parts.insert(0, line("grid", (x, _LABEL), (x, height)))
        parts.append(text("quiet", x, height + _AXIS, name, anchor(x, _EDGE)))
    height += _AXIS + _LABEL_GAP
    links = _links(height, marks) if marks else ""
    chart = image(height, label, parts)
    return format_html('<div class="flagstaff-release">{}{}</div>', chart, links)


def _rollout(period: Period, history: ReleaseHistory, value: str) -> Iterator[SafeString]:
    for percent in (_ALL, _ALL / 2, 0):
        y = _top(percent)
        yield line("grid", (0, y), (_ALL, y))
        yield text("quiet", -1, y + 4, f"{percent:.0f} %", "end")
    known, unknown = (line_of(history.steps, period, is_known=one) for one in (True, False))
    lines = [path("course-unknown", unknown), path("course", known)]
    yield plot(_LABEL, (_WIDTH, _ROLLOUT_HEIGHT), lines)
    last = history.steps[-1]
    x, y = period.place(last.at) * _ALL, _top(last.percent or 0) - _LABEL_GAP
    x, side = (x - _BESIDE, "end") if x > _SIDE else (x + _BESIDE, "start")
    yield text("now", x, y, value, side)


def line_of(steps: Sequence[Step], period: Period, *, is_known: bool) -> Commands:
    """Yields the line of the steps of which all changes are known, or of the others.

    A step without a rollout is a gap.
    """
    is_drawn = False
    ends = [*(step.at for step in steps[1:]), period.present]
    for previous, step, end in zip([steps[0], *steps], steps, ends, strict=False):
        was_drawn, is_drawn = is_drawn, step.percent is not None and step.is_known == is_known
        if not is_drawn:
            continue
        y = _y(step.percent or 0)
        if not was_drawn:
            first = y if previous.percent is None else _y(previous.percent)
            yield "M", period.place(step.at) * _WIDTH, first
        yield "V", y
        yield "H", period.place(end) * _WIDTH


def _counts(period: Period, counts: Sequence[Count], top: int) -> Iterator[SafeString]:
    most = max(*(count.total for count in counts), 1)
    yield text("quiet", 0, top - _LABEL_GAP, _most_text(period, most))
    yield line("grid", (0, top), (_ALL, top))
    columns = {
        "false": [count.total / most for count in counts],
        "true": [count.true_count / most for count in counts],
    }
    paths = [path(css, columns_of(heights, period.edges)) for css, heights in columns.items()]
    yield plot(top, (_WIDTH, _COUNTS_HEIGHT), paths)
    yield line("axis", (0, top + _COUNTS_HEIGHT), (_ALL, top + _COUNTS_HEIGHT))


def columns_of(heights: Sequence[float], edges: Sequence[float]) -> Commands:
    """Yields the outline of columns, whose heights and edges are shares of the plot.

    Many columns have no space between them. The outline is one, so no line is seen between them.
    """
    gap = _GAP if len(heights) <= _MAX_WITH_GAP else 0
    yield "M", 0, _COUNTS_HEIGHT
    for height, left, right in zip(heights, edges, edges[1:], strict=False):
        if height:
            space = (right - left) * gap / 2
            yield "H", (left + space) * _WIDTH
            yield "V", (1 - height) * _COUNTS_HEIGHT
            yield "H", (right - space) * _WIDTH
            yield "V", _COUNTS_HEIGHT


def _most_text(period: Period, most: int) -> str:
    if period.is_in_days:
        text = ngettext("%(count)s evaluation a day", "%(count)s evaluations a day", most)
    else:
        text = ngettext("%(count)s evaluation an hour", "%(count)s evaluations an hour", most)
    return text % {"count": local_number(most)}


def _links(height: int, marks: Sequence[Mark]) -> SafeString:
    """Returns the marks, above the picture: an image cannot have links."""
    return format_html(
        '<svg class="flagstaff-chart" role="group" aria-label="{}" width="100%" height="{}">'
        "{}</svg>",
        *(_("Changes"), height, joined(map(_link, marks))),
    )


def _link(mark: Mark) -> SafeString:
    x, y = mark.place * _ALL, _top(mark.percent)
    points = circle("area", x, y, _AREA), circle("step" if mark.is_step else "other", x, y, _RADIUS)
    # A browser shows the title to a mouse only.
    return format_html(
        '<a class="flagstaff-mark" href="{0}" aria-label="{1}"><title>{1}</title>{2}'
        '<foreignObject y="{3}" width="100%" height="100%" aria-hidden="true"><p>{1}</p>'
        "</foreignObject></a>",
        *(mark.url, mark.text, joined(points), _LABEL + _ROLLOUT_HEIGHT + _AREA),
    )


def _top(percent: float) -> float:
    return _LABEL + _y(percent)


def _y(percent: float) -> float:
    return _ROLLOUT_HEIGHT * (1 - percent / _ALL)
