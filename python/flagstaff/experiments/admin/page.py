"""What the page of an experiment shows: its report."""

from __future__ import annotations

from collections.abc import Mapping

from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _

from flagstaff._words.text import localized
from flagstaff.admin.rules.sentences import rules_html
from flagstaff.experiments.admin.buttons import next_button
from flagstaff.experiments.admin.charts import MAX_DAYS, days_chart
from flagstaff.experiments.admin.estimate import estimate
from flagstaff.experiments.admin.figures import metric_figures, metric_rows, primary_sentences
from flagstaff.experiments.admin.headline import (
    headlines,
    mismatch_notice,
    notes,
    state_sentence,
)
from flagstaff.experiments.admin.reading import read_report
from flagstaff.experiments.admin.tables import (
    day_rows,
    forced_rows,
    mismatch_text,
    phase_rows,
    setting_rows,
    unit_rows,
)
from flagstaff.experiments.admin.texts import (
    count_text,
    percent_text,
    signed,
    state_labels,
    time_text,
)
from flagstaff.experiments.models import Experiment, State
from flagstaff.experiments.report_data import Report
from flagstaff.experiments.report_json import report_as_json
from flagstaff.experiments.statistics import detectable_proportion, least_units_of_proportion
from flagstaff.experiments.words import wider_intervals_text

_SERVER_ERROR = 500
_TWO = 2


def page_context(
    site: AdminSite, request: HttpRequest, experiment: Experiment
) -> Mapping[str, object]:
    """Returns what the page of an experiment shows besides its buttons and events."""
    report, error = read_report(experiment)
    context = {
        "page_class": "flagstaff-experiment",
        "experiment": experiment,
        "state_label": state_labels(experiment),
        "error": localized(error),
        "report": report,
        "forced": forced_rows(experiment),
        "forced_count": count_text(len(experiment.overrides)),
        **(_report_context(experiment, report) if report else {}),
    }
    if report and report.settings.rules:
        context["rules"] = rules_html(report.settings.rules, site, request)
    return context


def _report_context(experiment: Experiment, report: Report) -> dict[str, object]:
    is_draft = experiment.state == State.DRAFT
    variants = report.variants
    days = report.exposures.days
    metrics = metric_figures(report)
    axis, rows = metric_rows(metrics)
    return {
        "is_draft": is_draft,
        "state_sentence": state_sentence(report),
        "next_button": next_button(report),
        "headlines": [] if is_draft else headlines(report, primary_sentences(metrics)),
        "mismatch": mismatch_notice(report),
        "notes": notes(report),
        "metrics": metrics,
        "axis": axis,
        "rows": rows,
        "treatment": variants[1] if len(variants) == _TWO else "",
        "wider_intervals": wider_intervals_text(report),
        "control": variants[0],
        "units": unit_rows(report),
        "mismatch_text": mismatch_text(report),
        "has_present_hour": any(report.exposures.present_hour.values()),
        "has_returned": bool(report.exposures.returned),
        "variants": variants,
        "days_chart": days_chart(days[-MAX_DAYS:], variants),
        "days": day_rows(report),
        "max_days": MAX_DAYS if len(days) > MAX_DAYS else None,
        "settings": setting_rows(report),
        "phases": phase_rows(report),
        "frozen_at": time_text(report.frozen_at) if report.frozen_at else "",
        "estimate": estimate(experiment) if is_draft else [],
        "sizes": _size_rows(experiment) if is_draft else [],
        "planned": count_text(experiment.planned_units),
    }


def json_page(experiment: Experiment) -> HttpResponse:
    """Returns the same dict as the page shows, and as the command prints."""
    report, error = read_report(experiment)
    if report is None:
        return JsonResponse({"error": str(error)}, status=_SERVER_ERROR)
    return JsonResponse(report_as_json(report))


# What the planned units of a draft can detect, as rows of a table.

_SHARES = (0.01, 0.05, 0.1, 0.25, 0.5)


def _size_rows(experiment: Experiment) -> list[tuple[str, str, str]]:
    """Returns for some shares the smallest share above that is detected, and its lift.

    With a probability of 80 %, by two variants of the same size. Makes no query.
    """
    units = max(experiment.planned_units // max(len(experiment.variants), 1), 1)
    return [_row(share, _detectable(share, units)) for share in _SHARES]


def _detectable(share: float, units: int) -> float | None:
    """Returns the smallest share above that is detected; None if it would have no interval."""
    if units < least_units_of_proportion(share):
        return None
    return detectable_proportion(share, units)


def _row(share: float, found: float | None) -> tuple[str, str, str]:
    if found is None:
        return percent_text(share), _("none"), ""
    return percent_text(share), percent_text(found), signed(found / share - 1, percent_text)
