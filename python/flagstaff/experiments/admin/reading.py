"""The report of the page. Without one, the rest of the page must be usable."""

from __future__ import annotations

from django.db import DatabaseError, transaction

from flagstaff._tables.sqlstate import error_text
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError
from flagstaff.experiments.models import Experiment
from flagstaff.experiments.report_data import Report
from flagstaff.experiments.report_json import report_of


def read_report(experiment: Experiment) -> tuple[Report | None, str]:
    """Returns the report, and the message why it cannot be stored; empty if it can.

    The report is None if even the exposures cannot be read.
    """
    try:
        with transaction.atomic(using=conf.database):
            report = report_of(experiment)
    except ConfigurationError as error:
        return None, error.message
    except DatabaseError as error:
        return None, error_text(error)
    return report, report.metric_error()
