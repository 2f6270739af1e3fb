"""Metrics: what experiments measure, from the rows that the project has anyway.

A project names its metrics in FLAGSTAFF["METRICS"], such as {"orders": "shop.metrics.orders"}, and
defines them with the classes of this module:

    orders = Conversion(
        lambda: Order.objects.values(unit=F("customer_id"), time=F("created_at")),
        window=timedelta(days=7),
    )
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias

from django.db.models import QuerySet
from django.utils.module_loading import import_string

from flagstaff._text import joined, say
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError

__all__ = [
    "Conversion",
    "Mean",
    "Metric",
    "Ratio",
    "Source",
    "Sql",
    "find_metric",
    "metric_names",
]


@dataclass(frozen=True)
class Sql:
    """A query with the columns `unit`, `value` and `time`, for what a QuerySet cannot say."""

    text: str
    params: tuple[Any, ...] = ()


#: Returns a QuerySet with `unit` and `time`, and with `value` unless only the existence of a row
#: counts; or the same as `Sql`. Called for each report; nothing is fetched through it.
Source: TypeAlias = Callable[[], "QuerySet[Any, Any] | Sql"]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What all metrics have. `source` gives one row per event."""

    #: For how long events count, from the exposure of a unit.
    window: timedelta
    #: What `unit` means in the rows: "user", "visitor", or an attribute.
    unit: str = "user"
    higher_is_better: bool = True
    description: str = ""

    def __post_init__(self) -> None:
        if self.window <= timedelta(0):
            raise ConfigurationError("the window of a metric must be longer than 0")

    @property
    def is_proportion(self) -> bool:
        """Whether each unit has the value 0 or 1."""
        return False

    @property
    def begins(self) -> timedelta:
        """When the window begins, after the exposure."""
        return timedelta(0)

    @property
    def ends(self) -> timedelta:
        """When the window ends, after the exposure."""
        return self.begins + self.window

    @property
    def looks_back(self) -> timedelta:
        """How long before the exposure values are read, to reduce the variance."""
        return timedelta(0)


@dataclass(frozen=True)
class Conversion(Metric):
    """The share of units with at least one row in the window.

    With `after` the window begins later than the exposure: `after=timedelta(days=7)` and a window
    of one day is the share of units that come back on the eighth day.
    """

    source: Source
    after: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.after < timedelta(0):
            raise ConfigurationError(
                "the window of a Conversion must not begin before the exposure"
            )

    @property
    def is_proportion(self) -> bool:
        """Each unit has converted or not."""
        return True

    @property
    def begins(self) -> timedelta:
        """When the window begins, after the exposure."""
        return self.after


@dataclass(frozen=True)
class Mean(Metric):
    """The mean over units of the sum of `value` in the window. 0 for a unit without rows.

    With `covariate` the same sum over this time before the exposure reduces the variance (CUPED).
    """

    source: Source
    covariate: timedelta | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.looks_back < timedelta(0):
            raise ConfigurationError(
                "the covariate of a Mean is how long before the exposure; it must not be negative"
            )

    @property
    def looks_back(self) -> timedelta:
        """The time of the covariate."""
        return self.covariate or timedelta(0)


@dataclass(frozen=True)
class Ratio(Metric):
    """The sum of `numerator` over all units, divided by that of `denominator`."""

    numerator: Source
    denominator: Source


def metric_names() -> list[str]:
    """Returns the names of all metrics, in the order of the setting."""
    return list(conf.metrics)


def find_metric(name: str) -> Metric:
    """Returns a metric by its name. Raises ConfigurationError if there is none."""
    path = conf.metrics.get(name)
    if path is None:
        names = joined(metric_names()) or say("none")
        raise ConfigurationError(
            'FLAGSTAFF["METRICS"] has no metric {metric}; it has {metrics}',
            metric=repr(name),
            metrics=names,
        )
    setting = f'FLAGSTAFF["METRICS"]["{name}"]'
    metric = imported(setting, path)
    if not isinstance(metric, Metric):
        raise ConfigurationError(
            '{setting} is "{path}", which is no metric; write a Conversion, Mean or '
            "Ratio of flagstaff.experiments.metrics",
            setting=setting,
            path=path,
        )
    return metric


def imported(setting: str, path: str) -> object:
    """Returns what the path of a setting names. Raises ConfigurationError."""
    try:
        value: object = import_string(path)
    except Exception as error:
        raise ConfigurationError(
            '{setting} is "{path}", which cannot be imported: {error}',
            setting=setting,
            path=path,
            error=str(error),
        ) from error
    return value
