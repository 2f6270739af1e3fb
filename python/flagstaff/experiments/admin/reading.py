"""The report of the page. A metric that fails must not hide the rest of the page."""

from __future__ import annotations

from copy import copy
from typing import Any

from django.db import DatabaseError, transaction

from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError
from flagstaff.experiments.known_texts import EXPERIMENT_TEXTS
from flagstaff.experiments.measuring import measure
from flagstaff.experiments.metrics import find_metric
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
    without = copy(experiment)
    without.primary_metric, without.other_metrics, without.guardrails = "", [], {}
    found, why_none = _try(without)
    return found, why_none or _why(experiment) or error


def _why(experiment: Experiment) -> str:
    """Returns the first metric that cannot be measured, and its error."""
    names = [experiment.primary_metric, *experiment.other_metrics, *experiment.guardrails]
    found = ((name, _error_of(experiment, name)) for name in names if name)
    return next((f"{name}: {error}" for name, error in found if error), "")


def _error_of(experiment: Experiment, name: str) -> str:
    try:
        with transaction.atomic(using=conf.database):
            measure(experiment, find_metric(name))
    except (ConfigurationError, DatabaseError) as error:
        return _first_line(error)
    return ""


def _try(experiment: Experiment) -> tuple[dict[str, Any] | None, str]:
    try:
        with transaction.atomic(using=conf.database):
            return report_of(experiment), ""
    except (ConfigurationError, DatabaseError) as error:
        return None, _first_line(error)


def _first_line(error: Exception) -> str:
    # The other lines of a database error quote the query.
    return EXPERIMENT_TEXTS.translate(str(error).partition("\n")[0])
