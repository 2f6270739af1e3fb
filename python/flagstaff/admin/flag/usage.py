"""What is known of the usage of flags: on their pages, and before one is created or deleted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from datetime import timezone as zones

from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from flagstaff._text import say
from flagstaff._text.times import aware, local_days, local_time
from flagstaff._workers.usage import (
    HourlyUsage,
    hourly_usage,
    usage_period,
)
from flagstaff.admin.parts import Section
from flagstaff.admin.rights import can_read
from flagstaff.admin.words import joined, time_cell
from flagstaff.conf import conf

# The results of evaluations of one flag, and the hours of the chart.
_RESULTS = {"true", "false"}
_HOURS = 7 * 24
# The flags of which a page says when they were evaluated.
_MAX_KEYS = 20
# The units of the box: a column with the space beside it, and the room for columns and for labels.
_STEP, _COLUMN, _HEIGHT, _LABELS = 3, 2, 44, 16


def evaluations(request: HttpRequest, key: str, *, of_value: bool = False) -> Section:
    """Returns how often a flag or a value was evaluated, by hour.

    A query or two, and that of `can_read`.
    """
    title = say("Evaluations").local
    if not conf.usage_interval or not can_read(request, "usage_table"):
        return Section(title, "")
    now = aware(timezone.now()).astimezone(zones.utc)
    hours = hourly_usage([key], now - timedelta(days=max(conf.stale_days, _HOURS // 24)))
    if of_value:
        # The numbers of rules, of which 0 is the value itself.
        hours = tuple(
            replace(usage, result="false" if usage.result == "0" else "true")
            for usage in hours
            if usage.result.isdigit()
        )
    sentences = joined(" ", _sentences(hours, now, of_value=of_value))
    sentences = format_html("<p>{}</p>", sentences)
    first = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=_HOURS - 1)
    counts = [[0, 0] for _hour in range(_HOURS)]
    for usage in hours:
        # The clock of a worker may be ahead.
        hour = min((aware(usage.hour) - first) // timedelta(hours=1), _HOURS - 1)
        if hour >= 0 and usage.result in _RESULTS:
            counts[hour][0] += usage.count if usage.result == "true" else 0
            counts[hour][1] += usage.count
    if not any(whole for _part, whole in counts):
        return Section(title, sentences)
    starts = (local_time(first + timedelta(hours=hour)) for hour in range(_HOURS))
    days = {hour: date_format(at, "D") for hour, at in enumerate(starts) if at.hour == 0}
    text = say("True results, and all, by hour in the last {days}")
    if of_value:
        text = say("Results of rules, and all, by hour in the last {days}")
    said = say(text, days=local_days(7)).local
    chart = bars([(part, whole) for part, whole in counts], days, said)
    return Section(title, format_html("{}{}", sentences, chart))


def _sentences(
    hours: Sequence[HourlyUsage], now: datetime, *, of_value: bool
) -> Iterator[SafeString | str]:
    """Says that the flag was not evaluated only where an evaluation would have been counted.

    An evaluation has the time of its report; what has no count is recorded once an hour.
    """
    counted = [usage for usage in hours if usage.result in _RESULTS]
    recent = [usage for usage in counted if aware(usage.last_at) >= now - timedelta(days=1)]
    count = sum(usage.count for usage in recent)
    last, bulk, browsers, needed = (
        max((usage.last_at for usage in hours if usage.result in results), default=None)
        for results in (_RESULTS, {"bulk"}, {"browsers"}, {"needed"})
    )
    if count:
        true = sum(usage.count for usage in recent if usage.result == "true")
        text = say(
            "{count} evaluation in 24 hours, {percent} % true, last reported {time}.",
            "{count} evaluations in 24 hours, {percent} % true, last reported {time}.",
        )
        if of_value:
            text = say(
                "{count} evaluation in 24 hours, {percent} % by a rule, last reported {time}.",
                "{count} evaluations in 24 hours, {percent} % by a rule, last reported {time}.",
            )
        percent = percent_true(true, count)
        yield say(text, count=count, percent=percent, time=time_cell(last)).html
    elif last is not None:
        yield say(
            "No evaluation in the last 24 hours, last reported {time}.", time=time_cell(last)
        ).html
    elif of_value:
        yield say("Evaluations are counted only for values with rules.").local
    elif not (bulk or browsers or needed):
        begin, days = usage_period().since, conf.stale_days
        is_young = begin is None or begin > now - timedelta(days=days)
        yield (
            say("No evaluation since counting began.").local
            if is_young
            else say("No evaluation in the last {days}.", days=local_days(days)).local
        )
    if needed:
        yield say("Read by a condition, last recorded {time}.", time=time_cell(needed)).html
    if browsers:
        yield say("Served to browsers, last recorded {time}.", time=time_cell(browsers)).html
    if bulk:
        yield say("Served in bulk, last recorded {time}.", time=time_cell(bulk)).html
        if not (last or browsers or needed):
            yield say(
                "It is not known whether the code uses the flag: an evaluation of one key would be "
                "counted."
            ).local


def percent_true(true: int, count: int) -> int:
    """Returns a percentage that is 0 or 100 only if it is exactly that."""
    percent = round(100 * true / count)
    return min(max(percent, int(true > 0)), 100 - int(true < count))


def bars(counts: Sequence[tuple[int, int]], labels: Mapping[int, str], text: str) -> SafeString:
    """Returns a column for each whole, and in front of it one for its part.

    `counts` are pairs of a part and its whole, and `labels` the texts below some of them. `text`
    says the same as the drawing.
    """
    most = max((whole for _part, whole in counts), default=0) or 1
    paths = {
        "false": _columns(whole / most for _part, whole in counts),
        "true": _columns(part / most for part, _whole in counts),
    }
    return format_html(
        '<svg class="flagstaff-bars" viewBox="0 0 {} {}" width="100%" '
        'fill="currentColor" role="img" aria-label="{}">{}{}</svg>',
        len(counts) * _STEP,
        _HEIGHT + _LABELS,
        text,
        format_html_join("", '<path class="flagstaff-{}" d="{}"></path>', paths.items()),
        format_html_join(
            "",
            '<text x="{}" y="{}">{}</text>',
            ((place * _STEP, _HEIGHT + _LABELS - 3, label) for place, label in labels.items()),
        ),
    )


def _columns(shares: Iterable[float]) -> str:
    """Returns the outline of columns. A share that is not 0 can be seen."""
    tops = (_HEIGHT - max(round(share * _HEIGHT), int(share > 0)) for share in shares)
    return "".join(
        f"M{number * _STEP} {_HEIGHT}V{top}h{_COLUMN}V{_HEIGHT}z"
        for number, top in enumerate(tops)
        if top < _HEIGHT
    )


# Before a deletion, and before a creation.
