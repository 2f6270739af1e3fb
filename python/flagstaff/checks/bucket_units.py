"""Checks the bucketing units of the flags in the table."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import CheckMessage, Info, Warning  # noqa: A004
from django.db import Error, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._tables.bucket_units import BUCKET_BY, USER, VISITOR
from flagstaff._tables.model_fields import bucket_field
from flagstaff._tables.rows import uncached
from flagstaff._text.lists import join_some
from flagstaff.checks.spelling import nearest
from flagstaff.conf import conf
from flagstaff.validators import unit_problem

__all__ = ["check_bucket_units"]

_MAX_SHOWN = 3


def check_bucket_units(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """flagstaff.W037 and I038: what is wrong with the bucketing units that are stored."""
    units = _units(connection)
    problems = {key: unit_problem(unit) for key, unit in units.items()}
    usable = {key: unit for key, unit in units.items() if problems[key] is None}
    return [*_unusable(problems), *_nearly_known(usable)]


def _unusable(problems: dict[str, str | None]) -> Iterator[CheckMessage]:
    """flagstaff.W037: flags have bucketing units that are not usable."""
    found = [f"{key!r} ({problem})" for key, problem in problems.items() if problem]
    if found:
        shown = join_some(found, _MAX_SHOWN, separator="; ")
        yield Warning(
            f"flags have unusable bucketing units: {shown}",
            hint="these flags are off for percentages from 1 to 99; set another unit in the admin "
            'or with "manage.py flags update KEY --bucket-by UNIT"',
            obj=conf.flag_model,
            id="flagstaff.W037",
        )


def _nearly_known(units: dict[str, str]) -> Iterator[CheckMessage]:
    """flagstaff.I038: a bucketing unit is spelled nearly like one that exists.

    Any name may be right, because the context of a call may have it.
    """
    known = [USER, VISITOR, *conf.attributes.columns]
    found = [
        f"{unit!r} of {key!r} (did you mean {similar!r}?)"
        for key, unit in units.items()
        if unit not in known and (similar := nearest(unit, known))
    ]
    if found:
        shown = join_some(found, _MAX_SHOWN)
        yield Info(
            f"flags are bucketed by attributes that may be misspelled: {shown}",
            hint="correct the spelling; if the context or your function has the attribute, "
            "silence this with SILENCED_SYSTEM_CHECKS",
            obj=conf.flag_model,
            id="flagstaff.I038",
        )


def _units(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """Returns the units other than the user by flag; none if the table cannot be read."""
    if bucket_field(conf.flag_model) is None:
        return {}
    rows = uncached(conf.flag_model._base_manager.using(connection.alias)).order_by("key")
    others = rows.exclude(key=None).exclude(**{BUCKET_BY: None}).exclude(**{BUCKET_BY: USER})
    try:
        with transaction.atomic(using=connection.alias):
            return dict(others.values_list("key", BUCKET_BY))
    except Error:  # W013 and W014
        return {}
