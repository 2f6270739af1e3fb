"""Checks the targeting rules of the flags in the table."""

from __future__ import annotations

from django.core.checks import CheckMessage, Warning  # noqa: A004
from django.db import Error, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._tables.model_fields import rules_field, segment_model
from flagstaff._tables.rows import uncached
from flagstaff._text.lists import join_some
from flagstaff.changes.segment_use import RULES, named_segments
from flagstaff.conf import conf

__all__ = ["check_segments_of_rules_exist"]

_MAX_SHOWN = 3


def check_segments_of_rules_exist(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """flagstaff.W033: rules name segments that do not exist."""
    missing = _missing(connection)
    if not missing:
        return []
    return [
        Warning(
            f"rules name segments that do not exist: {join_some(missing, _MAX_SHOWN)}",
            hint="such a condition is never true; create the segment with "
            '"manage.py flags segment create", or change the rules',
            obj=conf.flag_model,
            id="flagstaff.W033",
        )
    ]


def _missing(connection: BaseDatabaseWrapper) -> list[str]:
    """Returns the missing segments, each with its rule; none if a table cannot be read."""
    flag_model, alias = conf.flag_model, connection.alias
    if rules_field(flag_model) is None:
        return []
    flags = uncached(flag_model._base_manager.using(alias)).exclude(key=None).order_by("key")
    segments = uncached(segment_model()._base_manager.using(alias))
    try:
        with transaction.atomic(using=alias):
            rules = list(flags.values_list("key", RULES))
            existing = {*segments.values_list("key", flat=True)}
    except (Error, ValueError, RecursionError):  # W013 and W014, or JSON that Python cannot decode
        return []
    return [
        f"{segment!r} in {place} of {flag!r}"
        for flag, its_rules in rules
        for segment, place in dict.fromkeys(named_segments(its_rules))
        if segment not in existing
    ]
