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

_NO_METRICS: dict[str, Any] = {"primary_metric": "", "other_metrics": [], "guardrails": {}}


def read_report(experiment: Experiment) -> tuple[dict[str, Any] | None, str]:
    """Returns the report, and why a metric fails; the text is empty if none does.

    Then the report has no metrics, and its verdicts mean nothing. It is None if even the exposures
    cannot be read.
    """
    report, error = _try(experiment)
    if report is not None:
        return report, ""
    without = copy(experiment)
    for name, value in _NO_METRICS.items():
        setattr(without, name, value)
    return _try(without)[0], error


def _try(experiment: Experiment) -> tuple[dict[str, Any] | None, str]:
    try:
        with transaction.atomic(using=conf.database):
            return report_of(experiment), ""
    except (ConfigurationError, DatabaseError) as error:
        return None, str(error)
