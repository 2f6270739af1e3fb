"""How long a draft takes, and which effect it finds, in sentences that say where this is from."""

from __future__ import annotations

import math
from datetime import timedelta

from django.utils.translation import gettext as _

from flagstaff._words.text import local_number, quoted
from flagstaff._words.times import local_days
from flagstaff.exceptions import ConfigurationError
from flagstaff.experiments.admin.texts import count_text, effect_text, number_text, percent_text
from flagstaff.experiments.metrics import Metric, find_metric
from flagstaff.experiments.models import Experiment, Method
from flagstaff.experiments.planning import LOGIN_DAYS, Baseline, Traffic, baseline_of, traffic_of
from flagstaff.experiments.statistics import days_needed
from flagstaff.experiments.statistics.planner import LOOKING_COSTS

_DAY = timedelta(days=1)
_ALL = 100
# What a share may be now if no experiment has measured it.
_ASSUMED = (Baseline(0.1), Baseline(0.5))


def estimate(draft: Experiment) -> list[str]:
    """Returns the sentences about an experiment that has not started, also an unsaved one.

    Makes at most four queries.
    """
    try:
        metric = find_metric(draft.primary_metric) if draft.primary_metric else None
    except ConfigurationError:
        metric = None
    traffic = traffic_of(draft.bucket_by)
    found = [_time(draft, metric, traffic)]
    if draft.rules and _days(draft, draft.planned_units, traffic) is not None:
        text = _("This counts all units. The rules admit only some of them, so it takes longer.")
        found.append(text)
    if metric is None:
        return [*found, _("Which effect it finds depends on the primary metric. Choose one.")]
    baseline = baseline_of(draft.primary_metric)
    assumed = _ASSUMED if metric.is_proportion else ()
    baselines = (baseline,) if baseline else assumed
    if not baselines:
        text = _(
            "Which effect it finds is not known: no experiment has measured %(metric)s yet. "
            "“manage.py flags sample-size” computes it from the mean and the standard deviation."
        )
        return [*found, text % {"metric": quoted(draft.primary_metric)}]
    if not baseline:
        text = _("No experiment has measured %(metric)s yet, so its value now is assumed.")
        found.append(text % {"metric": quoted(draft.primary_metric)})
    found += [_effect(draft, one, traffic) for one in baselines]
    if draft.method == Method.SEQUENTIAL:
        text = _(
            "These are the units of one look at the end. Results that are valid at every look need "
            "up to %(factor)s times as many on average."
        )
        found.append(text % {"factor": number_text(LOOKING_COSTS)})
    return found


def _time(draft: Experiment, metric: Metric | None, traffic: Traffic | None) -> str:
    """Returns how long the planned units take, and from which figure this follows."""
    days = _days(draft, draft.planned_units, traffic)
    if traffic is None or days is None:
        text = _(
            "How long %(units)s planned units take is not known: nothing has counted units by "
            "%(unit)s yet. Divide them by the new units per day."
        )
        values = {"units": local_number(draft.planned_units), "unit": quoted(draft.bucket_by)}
        return text % values
    window = math.ceil(metric.ends / _DAY) if metric else 0
    per_day = traffic.per_day * draft.traffic_percent / _ALL
    if traffic.experiment:
        source = _("%(key)s had about %(count)s new units a day") % {
            "key": quoted(traffic.experiment),
            "count": count_text(max(per_day, 1)),
        }
    else:
        source = _("%(count)s users logged in in the last %(days)s days") % {
            "count": count_text(traffic.per_day * LOGIN_DAYS),
            "days": LOGIN_DAYS,
        }
    text = (
        _("%(units)s planned units take at least %(days)s, with the window of the metric: %(why)s.")
        if window
        else _("%(units)s planned units take at least %(days)s: %(why)s.")
    )
    least = max(days + window, draft.min_days)
    return text % {
        "units": local_number(draft.planned_units),
        "days": local_days(least),
        "why": source,
    }


def _effect(draft: Experiment, baseline: Baseline, traffic: Traffic | None) -> str:
    """Returns what the smallest effect needs; without one, what the planned units find."""
    is_share = baseline.deviation is None
    write = percent_text if is_share else number_text
    value = write(baseline.value)
    before = (
        _("%(value)s as in %(key)s") % {"value": value, "key": quoted(baseline.experiment)}
        if baseline.experiment
        else value
    )
    variants = max(len(draft.variants), 1)
    if draft.smallest_effect is None:
        effect = baseline.detectable(draft.planned_units // variants)
        if effect is None:
            text = _("With %(before)s now, the planned units are too few for a result.")
            return text % {"before": before}
        text = _(
            "With %(before)s now, the planned units find a change to %(after)s or more in four of "
            "five cases."
        )
        return text % {"before": before, "after": write(baseline.value + effect)}
    effect, needed = draft.smallest_effect, baseline.needed(draft.smallest_effect)
    values = {"before": before, "effect": effect_text(effect, is_share=is_share)}
    if needed is None:
        return _("With %(before)s now, a change by %(effect)s is not possible.") % values
    units = needed * variants
    days = _days(draft, units, traffic)
    values |= {"units": local_number(units), "days": "" if days is None else local_days(days)}
    text = _("With %(before)s now, a change by %(effect)s needs %(units)s units.")
    if units > draft.planned_units and days is not None:
        text = _(
            "With %(before)s now, a change by %(effect)s needs %(units)s units, more than are "
            "planned: at least %(days)s."
        )
    elif units > draft.planned_units:
        text = _(
            "With %(before)s now, a change by %(effect)s needs %(units)s units, more than are "
            "planned."
        )
    return text % values


def _days(draft: Experiment, units: int, traffic: Traffic | None) -> int | None:
    per_day = 0.0 if traffic is None else traffic.per_day * draft.traffic_percent / _ALL
    return days_needed(units, per_day) if per_day > 0 else None
