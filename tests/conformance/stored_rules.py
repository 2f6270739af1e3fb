"""Flags and values with rules, and segments, stored with the exact text of their numbers."""

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group

from flagstaff.models import FeatureFlag, KeyValueStore, Segment
from tests.conformance.rules_oracle import Flag, Value, exact_json
from tests.support.sql import rows

User: Any = get_user_model()

_FLAG = "INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent, rules, bucket_by) VALUES"
_VALUE = "INSERT INTO flagstaff_keyvaluestore (key, value, rules, bucket_by) VALUES"
_SEGMENT = "INSERT INTO flagstaff_segment (key, conditions) VALUES"


def store(flags: Iterable[Flag]) -> None:
    """Writes the flags, those that they need, their segments and allowed users.

    Without the models' validation, which would write numbers as Python formats them.
    """
    rows_to_store = list(flags)
    needed = [flag for needing in rows_to_store for flag in needing.flags.values()]
    flags = {flag.key: flag for flag in [*needed, *rows_to_store]}.values()
    stored = [
        (flag.key, flag.enabled, flag.rollout_percent, exact_json(flag.rules), flag.bucket_by)
        for flag in flags
    ]
    _insert(_FLAG, "(%s, %s, %s, %s::jsonb, %s)", stored)
    _store_segments(flags)
    _allow({flag.key: flag.allowed for flag in flags if flag.allowed})


def store_values(values: Iterable[Value]) -> None:
    """Writes the values, their segments and the flags that they need, as `store` does flags."""
    values = list(values)
    store({flag.key: flag for value in values for flag in value.flags.values()}.values())
    stored = [
        (value.key, exact_json(value.value), exact_json(value.rules), value.bucket_by)
        for value in values
    ]
    _insert(_VALUE, "(%s, %s::jsonb, %s::jsonb, %s)", stored)
    _store_segments(values)


def _store_segments(rows_with_rules: Iterable[Flag | Value]) -> None:
    segments: dict[str, str] = {}
    for row in rows_with_rules:
        for key, conditions in row.segments.items():
            text = exact_json(conditions)
            assert segments.setdefault(key, text) == text, "one segment has several conditions"
    stored = {*Segment.objects.values_list("key", flat=True)}
    missing = [(key, text) for key, text in segments.items() if key not in stored]
    _insert(_SEGMENT, "(%s, %s::jsonb)", missing)


def store_groups(members: Mapping[str, Iterable[int]]) -> None:
    """Writes groups with these members, of whom those that do not exist are created."""
    through = User.groups.through
    for name, pks in members.items():
        _create_users(sorted(pks))
        group = Group.objects.create(name=name)
        through.objects.bulk_create([through(user_id=pk, group_id=group.pk) for pk in pks])


def clear() -> None:
    """Deletes all flags, values, segments, users and groups."""
    # Flags and segments may need each other in a circle, which SQL has written.
    FeatureFlag.objects.update(rules=[])
    for model in (KeyValueStore, Segment, FeatureFlag, User, Group):
        model._default_manager.all().delete()


def _insert(statement: str, template: str, values: list[tuple[Any, ...]]) -> None:
    if values:
        templates = ", ".join([template] * len(values))
        rows(f"{statement} {templates}", *chain(*values))


def _allow(allowed: dict[str, frozenset[str]]) -> None:
    _create_users(sorted({pk for some in allowed.values() for pk in some}))
    flag_pks = dict(FeatureFlag.objects.values_list("key", "pk"))
    through: Any = FeatureFlag.allowed_users.through
    entries = [
        through(featureflag_id=flag_pks[key], user_id=pk)
        for key, some in allowed.items()
        for pk in some
    ]
    through.objects.bulk_create(entries)


def _create_users(pks: Iterable[int | str]) -> None:
    User.objects.bulk_create(
        [User(pk=pk, username=f"user {pk}") for pk in pks], ignore_conflicts=True
    )
