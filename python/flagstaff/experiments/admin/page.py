"""The page of an experiment: its report, and its buttons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from flagstaff._words.message import localized, to_json
from flagstaff.admin.rule_editor.sentences import rules_html
from flagstaff.experiments.admin.actions import ActionsMixin
from flagstaff.experiments.admin.buttons import buttons_of
from flagstaff.experiments.admin.charts import MAX_DAYS, days_chart
from flagstaff.experiments.admin.figures import metric_figures, primary_sentences
from flagstaff.experiments.admin.headline import (
    headlines,
    mismatch_notice,
    notes,
    state_sentence,
)
from flagstaff.experiments.admin.reading import read_report
from flagstaff.experiments.admin.tables import (
    day_rows,
    event_rows,
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
    state_label,
    time_text,
)
from flagstaff.experiments.models import Experiment, State
from flagstaff.experiments.statistics import detectable_proportion, least_units_of_proportion

_SERVER_ERROR = 500

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Experiment]
else:
    _ModelAdmin = object


class ReportPageMixin(ActionsMixin, _ModelAdmin):
    """Put it before ModelAdmin, and after EnvironmentMixin."""

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The report. A POST of a button changes the experiment."""
        experiment = self.get_object(request, object_id or "")
        if experiment is None:
            return cast(
                "HttpResponse",
                self._get_obj_does_not_exist_redirect(request, self.opts, object_id),  # type: ignore[attr-defined]
            )
        if request.method == "POST":
            if not self.has_change_permission(request, experiment):
                raise PermissionDenied
            return self.run_action(request, experiment)
        if not self.has_view_permission(request, experiment):
            raise PermissionDenied
        if request.GET.get("format") == "json":
            return _json(experiment)
        return self._page(request, experiment)

    def _page(self, request: HttpRequest, experiment: Experiment) -> HttpResponse:
        report, error = read_report(experiment)
        may_change = self.has_change_permission(request, experiment)
        may_delete = self.has_delete_permission(request, experiment)
        is_running = experiment.state == State.RUNNING
        context = {
            **self.admin_site.each_context(request),
            "title": _("Experiment %(key)s") % {"key": experiment.key},
            "opts": self.opts,
            "original": experiment.key,
            "experiment": experiment,
            "media": self.media,
            "has_view_permission": True,
            "state_label": state_label(experiment.state),
            "error": localized(error),
            "report": report,
            "buttons": buttons_of(experiment) if may_change else (),
            "delete_url": self._page_url("delete", experiment.pk)
            if may_delete and not is_running
            else None,
            "forced": forced_rows(experiment),
            "forced_count": count_text(len(experiment.overrides)),
            "events": event_rows(experiment),
            **(_report_context(experiment, report) if report else {}),
        }
        if report and report["settings"]["rules"]:
            context["rules"] = rules_html(report["settings"]["rules"], self.admin_site, request)
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "flagstaff/experiments/experiment.html", context)


def _report_context(experiment: Experiment, report: Mapping[str, Any]) -> dict[str, object]:
    is_draft = experiment.state == State.DRAFT
    variants = [one["key"] for one in report["settings"]["variants"]]
    days = report["exposures"]["days"]
    metrics = metric_figures(report)
    return {
        "is_draft": is_draft,
        "state_sentence": state_sentence(report),
        "headlines": [] if is_draft else headlines(report, primary_sentences(metrics)),
        "mismatch": mismatch_notice(report),
        "notes": notes(report),
        "metrics": metrics,
        "control": variants[0],
        "units": unit_rows(report),
        "mismatch_text": mismatch_text(report),
        "has_present_hour": any(report["exposures"]["present_hour"].values()),
        "has_returned": bool(report["exposures"]["returned"]),
        "variants": variants,
        "days_chart": days_chart(days[-MAX_DAYS:], variants),
        "days": day_rows(report),
        "max_days": MAX_DAYS if len(days) > MAX_DAYS else None,
        "settings": setting_rows(report),
        "phases": phase_rows(report),
        "frozen_at": time_text(report["frozen_at"]) if report["frozen_at"] else "",
        "sizes": _size_rows(experiment) if is_draft else [],
        "planned": count_text(experiment.planned_units),
    }


def _json(experiment: Experiment) -> HttpResponse:
    """Returns the same dict as the page shows, and as the command prints."""
    report, error = read_report(experiment)
    if report is None:
        return JsonResponse({"error": to_json(error)}, status=_SERVER_ERROR)
    return JsonResponse(report)


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
