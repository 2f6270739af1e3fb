"""The report of the page. A metric that fails must not hide the rest of the page."""

from __future__ import annotations

from copy import copy
from typing import Any

from django.db import DatabaseError, transaction

from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError
from flagstaff.experiments.models import Experiment
from flagstaff.experiments.report_json import report_of

__all__ = ["read_report"]


def read_report(experiment: Experiment) -> tuple[dict[str, Any] | None, str]:
    """Returns the report, and why a metric fails; the text is empty if none does.

    Then the report has no metrics, and its verdicts mean nothing. It is None if even the exposures
    cannot be read.
    """
    report, error = _try(experiment)
    if report is not None:
        return report, ""
    without, why_none = _try(_with_primary(experiment, ""))
    return without, why_none or _why(experiment) or error


def _with_primary(experiment: Experiment, metric: str) -> Experiment:
    """Returns the experiment with this metric alone, not saved."""
    changed = copy(experiment)
    changed.primary_metric, changed.other_metrics, changed.guardrails = metric, [], {}
    return changed


def _why(experiment: Experiment) -> str:
    """Returns the first metric that fails alone, and its error."""
    names = [experiment.primary_metric, *experiment.other_metrics, *experiment.guardrails]
    for name in filter(None, names):
        error = _try(_with_primary(experiment, name))[1]
        if error:
            return f"{name}: {error}"
    return ""


def _try(experiment: Experiment) -> tuple[dict[str, Any] | None, str]:
    try:
        with transaction.atomic(using=conf.database):
            return report_of(experiment), ""
    except (ConfigurationError, DatabaseError) as error:
        # The other lines of a database error quote the query.
        return None, str(error).partition("\n")[0]
