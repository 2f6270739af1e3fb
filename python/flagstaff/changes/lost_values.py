"""Earlier values that cannot be written again: secret ones, and those that Python cannot decode."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection

from django.db.models import BooleanField, Case, Func, IntegerField, Q, Value, When
from django.db.models.fields.json import KeyTransform
from django.db.models.lookups import LessThanOrEqual

from flagstaff._tables.model_fields import column_of
from flagstaff._tables.rows import Row
from flagstaff._words.json_text import UnreadableJson
from flagstaff.changes.past import Item, RowVersion, masked_changes, old_row, present_states
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Change
from flagstaff.history.reading import was_ever_secret
from flagstaff.history.transactions import Part

_VALUE = "value"
# Numbers of more than 4,300 digits, or members below 498 levels. Python decides exactly.
_UNREADABLE = "$ ? (exists (@.** ? (@ >= 1e4300 || @ <= -1e4300)) || exists (@.**{498}))"
_EXISTS, _STORED_SIZE = "pg_catalog.jsonb_path_exists", "pg_catalog.pg_column_size"
_MAX_SEARCHED = 65_536


def versions_without_value(row: Row, versions: Collection[int]) -> set[int]:
    """Returns those versions of a value that cannot be restored.

    Only a digest is left of a secret value, and Python cannot decode every value that SQL writes.
    """
    if not versions:
        return set()
    item = Item(Kind.VALUE, row.key, str(row.pk), row)
    return _versions_with_a_digest(item, versions) | _unreadable_at(item, versions)


def parts_without_value(parts: Collection[Part]) -> set[Part]:
    """Returns the parts that cannot be undone, because only a digest of the value is left."""
    values = [part for part in parts if part.kind is Kind.VALUE and not part.creates]
    if not values:
        return set()
    secret = Q(old__secret=True) | Q(new__secret=True)
    ids = {pk for part in values for pk in (part.first, part.last)}
    entries = {entry.pk: entry for entry in Change.objects.filter(secret, id__in=ids)}
    masked = masked_changes(part.pk for part in values)
    column = column_of(Kind.VALUE.model, _VALUE)
    lost = set()
    for part in values:
        first, last = entries.get(part.first), entries.get(part.last)
        if first is None or not old_row(first).is_digest:
            continue
        after = None if last is None or last.new is None else last.new.get(column)
        is_masked = any(part.first <= entry <= part.last for entry in masked[part.pk])
        if is_masked or after != (first.old or {}).get(column):
            lost.add(part)
    return lost


def _versions_with_a_digest(item: Item, versions: Collection[int]) -> set[int]:
    if not was_ever_secret(Kind.VALUE, item.pk):
        return set()
    column = column_of(Kind.VALUE.model, _VALUE)
    row = present_states([item])[item.id].row
    present = None if row is None else row.as_digest().columns[column]
    before = max(masked_changes([item.pk])[item.pk], default=0)
    return {
        version
        for version, old in _following(item, versions).items()
        if old.is_digest and old.columns[column] != present
    } | {version for version in versions if version < before}


def _following(item: Item, versions: Collection[int]) -> dict[int, RowVersion]:
    """The row at each version that is not the present one: the old side of the next entry."""
    newer = Change.objects.of_row(item.kind, item.pk).filter(
        id__gt=min(versions), old__isnull=False
    )
    rows = {entry.pk: old_row(entry) for entry in newer.iterator(chunk_size=100)}
    return {version: rows[entry] for version, entry in _next(versions, rows).items()}


def _next(versions: Collection[int], ids: Collection[int]) -> dict[int, int]:
    """The first of the ids after each version, if there is one."""
    oldest_first = sorted(ids)
    places = {version: bisect_right(oldest_first, version) for version in versions}
    return {
        version: oldest_first[place]
        for version, place in places.items()
        if place < len(oldest_first)
    }


def _unreadable_at(item: Item, versions: Collection[int]) -> set[int]:
    """The versions that Python cannot decode, unless that is the present value.

    Values of more than 64 KiB are not looked at.
    """
    column = column_of(item.kind.model, _VALUE)
    newer = Change.objects.of_row(item.kind, item.pk).filter(
        id__gt=min(versions), old__isnull=False
    )
    candidates = newer.annotate(may_be_unreadable=_may_be_unreadable(KeyTransform(column, "old")))
    present = getattr(item.row, _VALUE, None)
    unreadable = {
        entry.pk
        for entry in candidates.filter(may_be_unreadable=True)
        if isinstance(value := old_row(entry).columns.get(column), UnreadableJson)
        and value != present
    }
    if not unreadable:
        return set()
    following = _next(versions, newer.values_list("pk", flat=True))
    return {version for version, entry in following.items() if entry in unreadable}


def _may_be_unreadable(value: KeyTransform) -> Case:
    """Finds huge numbers and deep nesting in the database: other values need not be read."""
    path = Func(Value(_UNREADABLE), template="(%(expressions)s)::jsonpath")
    exists = Func(value, path, function=_EXISTS, output_field=BooleanField())
    size = Func(value, function=_STORED_SIZE, output_field=IntegerField())
    return Case(When(LessThanOrEqual(size, _MAX_SEARCHED), then=exists), default=Value(value=False))
