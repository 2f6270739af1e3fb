"""The report of an experiment as JSON, which programs read and shipped experiments keep."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from datetime import date, datetime
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

from django.core.serializers.json import DjangoJSONEncoder
from django.utils import timezone

from flagstaff._engine import forced_off
from flagstaff.experiments.models import Experiment
from flagstaff.experiments.report_data import Report, Role
from flagstaff.experiments.reporting import make_report
from flagstaff.experiments.rows import find
from flagstaff.experiments.statistics import Outcome, Statement


def report(key: str) -> dict[str, Any]:
    """Returns the report of an experiment as a dict of JSON values, its times as ISO 8601.

    It has the last full hour as its end, so that all who ask within an hour see the same. That of a
    shipped experiment was frozen. A bound that is not known is None. A metric that fails has an
    error and no results; if it is the primary one or a guardrail, no treatment is better. Makes a
    query for each metric, which may read many rows, and a few others. Raises
    UnknownExperimentError, and ConfigurationError if EXCLUDED_UNITS fail.
    """
    return report_as_json(report_of(find(key)))


def report_of(experiment: Experiment) -> Report:
    """Returns the report of a row: the frozen one, or one that is made now. Queries as `report`."""
    if experiment.frozen_report is None:
        return make_report(experiment, timezone.now())
    return replace(
        report_from_json(experiment.frozen_report),
        state=experiment.state,
        winner=experiment.winner or None,
        forced_off=experiment.key in forced_off.keys,
        ended_at=experiment.ended_at,
    )


def report_as_json(made: Report) -> dict[str, Any]:
    """Returns a report as JSON values."""
    return cast("dict[str, Any]", _as_json(made))


def report_from_json(stored: Mapping[str, Any]) -> Report:
    """Returns the report that `report_as_json` has made."""
    return cast("Report", _read(Report, stored))


def time_as_json(at: date) -> str:
    """Returns a time or a date as ISO 8601, a time in milliseconds.

    The time that is read from the text has the same text.
    """
    if isinstance(at, datetime):
        # Django writes ".000" for less than a millisecond, and nothing for none.
        at = at.replace(microsecond=at.microsecond // 1000 * 1000)
    return cast("str", DjangoJSONEncoder().default(at))


def _as_json(value: Any) -> Any:
    if is_dataclass(value):
        return {one.name: _as_json(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, date):
        return time_as_json(value)
    if isinstance(value, Mapping):
        return {str(name): _as_json(one) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_as_json(one) for one in value]
    return value


_types = cache(get_type_hints)
_SCALARS: Mapping[Any, Callable[[Any], Any]] = {
    # Python 3.10 does not know "Z".
    datetime: lambda text: datetime.fromisoformat(text.replace("Z", "+00:00")),
    date: date.fromisoformat,
    Role: Role,
    Outcome: Outcome,
    Statement: Statement,
}


def _read(kind: Any, stored: Any) -> Any:
    """Returns a value of this type."""
    if is_dataclass(kind):
        types = _types(cast("Hashable", kind))
        return cast("type[Any]", kind)(
            **{name: _read(types[name], one) for name, one in stored.items()}
        )
    if get_origin(kind) in {Union, UnionType}:
        [known] = (one for one in get_args(kind) if one is not NoneType)
        return None if stored is None else _read(known, stored)
    if get_origin(kind) is Sequence:
        return [_read(get_args(kind)[0], one) for one in stored]
    # Texts, numbers, and mappings of them are as JSON has them.
    return _SCALARS.get(kind, lambda one: one)(stored)
