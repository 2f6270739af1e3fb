"""The tables of the page: units, days, settings, phases and events."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.text import capfirst
from django.utils.translation import gettext as _

from flagstaff._words.text import local_number
from flagstaff._words.times import local_days
from flagstaff.experiments.admin.charts import COLOURS, MAX_DAYS
from flagstaff.experiments.admin.texts import (
    NONE,
    count_text,
    effect_text,
    p_sentence,
    percent_text,
    time_text,
)
from flagstaff.experiments.allocation import shares
from flagstaff.experiments.models import Experiment, Method
from flagstaff.experiments.report_data import ExposureReport, Report, Role

_MAX_FORCED = 50


def shares_text(experiment: Experiment) -> str:
    """Returns the variants with their shares of all units. Makes no query."""
    found = shares([(owner, number) for owner, number in experiment.allocation])
    return ", ".join(
        f"{one['key']} {percent_text(found.get(one['key'], 0.0))}" for one in experiment.variants
    )


def unit_rows(report: Report) -> list[dict[str, object]]:
    """Returns a row for each variant: its planned and seen share, and its units."""
    counts = report.exposures
    return [
        {
            "variant": variant,
            "colour": number % COLOURS,
            "planned": percent_text(counts.planned_shares[variant]),
            "seen": _seen_text(counts.seen_shares[variant]),
            "units": count_text(counts.units[variant]),
            "expected": count_text(counts.expected[variant]),
            "present": count_text(counts.present_hour[variant]),
            "not_returned": _share_not_returned(counts, variant),
        }
        for number, variant in enumerate(report.variants)
    ]


def _seen_text(share: float | None) -> str:
    return NONE if share is None else percent_text(share)


def _share_not_returned(counts: ExposureReport, variant: str) -> str:
    """Returns the share of visitors whose browser has not come back; empty for other units."""
    units = counts.units[variant]
    if not counts.returned or not units:
        return ""
    return percent_text(1 - counts.returned[variant] / units)


def mismatch_text(report: Report) -> str:
    """Returns whether the shares are as expected, with both p values."""
    counts = report.exposures
    if not any(counts.units.values()):
        return _("No unit had met a variant at the last full hour.")
    values = {
        "sequential": p_sentence(counts.mismatch_p_value),
        "once": p_sentence(counts.chi_square_p_value),
    }
    if report.has_mismatch:
        text = _(
            "The shares are wrong: %(sequential)s, at every look; one chi-square test: %(once)s."
        )
    else:
        text = _(
            "The shares are as expected: %(sequential)s, at every look; one chi-square test: "
            "%(once)s."
        )
    return text % values


def day_rows(report: Report) -> list[tuple[str, list[str]]]:
    """Returns the newest days, the newest one first: the day, and the units of each variant."""
    variants = report.variants
    days = report.exposures.days[-MAX_DAYS:]
    return [
        (str(day.day), [count_text(day.units.get(variant, 0)) for variant in variants])
        for day in reversed(days)
    ]


def setting_rows(report: Report) -> list[tuple[str, str]]:
    """Returns the settings, each with its name. The rules are shown apart."""
    found = report.settings
    smallest = found.smallest_effect
    is_share = any(one.is_proportion for one in report.metrics if one.role is Role.PRIMARY)
    variants = ", ".join(f"{one.key} {percent_text(one.share)}" for one in found.variants)
    return [
        (_("Variants"), variants),
        *_metric_rows(report),
        (_("Traffic"), _("%(percent)s %% of all units") % {"percent": found.traffic_percent}),
        (_("Bucketing unit"), found.bucket_by),
        (_("Analysis method"), str(Method(found.method).label)),
        (_("Planned units"), local_number(found.planned_units)),
        (
            _("Before a verdict"),
            _("%(days)s and %(units)s units of each variant")
            % {
                "days": local_days(found.min_days),
                "units": local_number(found.min_units),
            },
        ),
        (
            _("Smallest effect that matters"),
            _("any") if smallest is None else effect_text(smallest, is_share=is_share),
        ),
        (_("Significance level"), percent_text(found.alpha)),
        (capfirst(_("shuffle")), str(found.shuffle)),
    ]


def _metric_rows(report: Report) -> list[tuple[str, str]]:
    """Returns what is measured, by role."""
    names: dict[Role, list[str]] = {Role.PRIMARY: [], Role.OTHER: [], Role.GUARDRAIL: []}
    for metric in report.metrics:
        text = metric.metric
        if metric.treatments and (harm := metric.treatments[0].tolerated_harm) is not None:
            tolerated = effect_text(harm, is_share=metric.is_proportion)
            text = _("%(metric)s (tolerated: %(harm)s)") % {"metric": text, "harm": tolerated}
        names[metric.role].append(text)
    labels = {
        Role.PRIMARY: _("Primary metric"),
        Role.OTHER: _("Other metrics"),
        Role.GUARDRAIL: _("Guardrails"),
    }
    return [(labels[role], ", ".join(found) or _("none")) for role, found in names.items()]


def phase_rows(report: Report) -> list[dict[str, str]]:
    """Returns the phases since the last shuffle."""
    variants = report.variants
    return [
        {
            "number": str(phase.number),
            "shares": ", ".join(
                f"{key} {percent_text(phase.shares.get(key, 0.0))}" for key in variants
            ),
            "from": time_text(phase.started_at),
            "until": time_text(phase.ended_at),
        }
        for phase in report.phases
    ]


def forced_rows(experiment: Experiment) -> list[tuple[str, str]]:
    """Returns the first forced units with their variants."""
    forced: Mapping[str, str] = experiment.overrides
    return list(forced.items())[:_MAX_FORCED]
