"""Flags with rules, and segments, stored with the exact text of their numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection

from flagstaff.models import FeatureFlag, Segment
from tests.conformance.rules_oracle import Flag, exact_json

__all__ = ["clear", "store"]

_FLAG = "INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent, rules) VALUES"
_SEGMENT = "INSERT INTO flagstaff_segment (key, conditions) VALUES"


def store(flags: Iterable[Flag]) -> None:
    """Writes the flags, their segments and allowed users, without the models' validation.

    The models would write numbers as Python formats them.
    """
    flags = list(flags)
    segments: dict[str, str] = {}
    for flag in flags:
        for key, conditions in flag.segments.items():
            text = exact_json(conditions)
            assert segments.setdefault(key, text) == text, "one segment has several conditions"
    rows = [
        (flag.key, flag.enabled, flag.rollout_percent, exact_json(flag.rules)) for flag in flags
    ]
    _insert(_FLAG, "(%s, %s, %s, %s::jsonb)", rows)
    _insert(_SEGMENT, "(%s, %s::jsonb)", list(segments.items()))
    _allow({flag.key: flag.allowed for flag in flags if flag.allowed})


def clear() -> None:
    """Deletes all flags, segments and users."""
    for model in (FeatureFlag, Segment, get_user_model()):
        model._default_manager.all().delete()


def _insert(statement: str, template: str, rows: list[tuple[Any, ...]]) -> None:
    if not rows:
        return
    with connection.cursor() as cursor:
        templates = ", ".join([template] * len(rows))
        cursor.execute(f"{statement} {templates}", [value for row in rows for value in row])


def _allow(allowed: dict[str, frozenset[str]]) -> None:
    users: Any = get_user_model()
    pks = sorted({pk for some in allowed.values() for pk in some})
    users.objects.bulk_create(
        [users(pk=pk, username=f"user {pk}") for pk in pks], ignore_conflicts=True
    )
    flag_pks = dict(FeatureFlag.objects.values_list("key", "pk"))
    through: Any = FeatureFlag.allowed_users.through
    entries = [
        through(featureflag_id=flag_pks[key], user_id=pk)
        for key, some in allowed.items()
        for pk in some
    ]
    through.objects.bulk_create(entries)
