"""How many units have met each variant, and what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from itertools import groupby
from operator import itemgetter

from django.db import DataError, ProgrammingError

from flagstaff._tables.database import db, error_text
from flagstaff._tables.model_fields import VISITOR
from flagstaff._tables.names import fill, optional_names, sql
from flagstaff._text import say
from flagstaff._workers.register import lost_workers
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError
from flagstaff.experiments.models import Experiment, LostExposures
from flagstaff.experiments.report_data import ExposureReport
from flagstaff.experiments.sources import excluded_units
from flagstaff.experiments.statistics.mismatch import Shares, sequential_p_value
from flagstaff.experiments.variants import shares_of


def count(experiment: Experiment) -> ExposureReport:
    """Returns the exposures of an experiment. Makes a few queries. Raises ConfigurationError."""
    shares = shares_of(experiment.variants)
    zero = dict.fromkeys(shares, 0)
    units, returned, present = Counter(zero), Counter(zero), Counter(zero)
    met_two, smallest = 0, 1.0
    by_hour = groupby(_rows(experiment), key=itemgetter(0))
    for _hour, rows in by_hour:
        for _at, variant, is_over, number, came_back in rows:
            if variant is None:
                met_two += number
            elif is_over:
                units[variant] += number
                returned[variant] += came_back
            else:
                present[variant] += number
        smallest = min(smallest, _mismatch(units, shares))
    lost = db.rows(LostExposures).filter(experiment_id=experiment.pk).first()
    return {
        "units": {**units},
        "present_hour": {**present},
        "met_two_variants": met_two,
        "lost": lost.count if lost else 0,
        "left_out": lost.left_out if lost else 0,
        "returned": {**returned} if experiment.bucket_by == VISITOR else None,
        "workers_without_last_report": len(lost_workers("exposures", since=experiment.started_at)),
        "mismatch_p_value": smallest,
    }


def _mismatch(seen: Mapping[str, int], shares: Mapping[str, float]) -> float:
    """Returns the p value of a look. With one variant there is nothing to compare."""
    planned = {variant: share for variant, share in shares.items() if share}
    if len(planned) < 2:  # noqa: PLR2004
        return 1.0
    units = [seen[variant] for variant in planned]
    return sequential_p_value(Shares(units, [*planned.values()]))


def _rows(experiment: Experiment) -> list[tuple[datetime, str | None, bool, int, int]]:
    """Returns the units by hour and variant, in the order of time."""
    excluded, params = excluded_units(experiment.bucket_by, experiment.overrides)
    query = fill(
        sql("exposures_v1", "flagstaff.experiments"),
        {**optional_names(db.connection), "and_not_excluded": excluded},
    )
    with db.connection.cursor() as cursor:
        try:
            cursor.execute(query, [experiment.pk, experiment.run, *params])
        except (DataError, ProgrammingError) as error:
            if not conf.excluded_units:
                raise
            message = say("a query of EXCLUDED_UNITS fails: {error}", error=error_text(error))
            raise ConfigurationError(message) from error
        rows: list[tuple[datetime, str | None, bool, int, int]] = cursor.fetchall()
        return rows
