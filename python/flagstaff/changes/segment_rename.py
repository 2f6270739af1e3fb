"""Renames a segment, in its row and in all rules that name it: no result of an evaluation changes.

The locks are those of a change of rules, in the same order: the flags by key, the values by key,
then the segment. Experiments come last, also where their own rules are edited.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from django.db import transaction

from flagstaff._extensions import OptionalApp, OtherRules, optional_apps
from flagstaff._tables.model_fields import segment_model
from flagstaff._tables.optional_fields import RULES
from flagstaff._tables.rows import Row, all_rows, case_variants
from flagstaff._words.lists import some
from flagstaff._words.message import Message
from flagstaff._words.rule_parts import named_segments, with_segment_names
from flagstaff.changes.changed import Changed
from flagstaff.changes.fields import validate, write_as_is
from flagstaff.changes.locking import lock_rows, require_version
from flagstaff.changes.messages import EXISTS, NAMED_ALREADY, RULES_AFTER_RENAME
from flagstaff.changes.preview import rolled_back
from flagstaff.changes.row_changes import finished
from flagstaff.changes.segment_use import rows_by_segment, rows_using, rules_that_name
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidChangeError
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import version_of
from flagstaff.validators import rule_problem, value_rule_problem

_KEY = "key"

_Check: TypeAlias = Callable[[object], "Message | None"]
_PROBLEM_OF: Mapping[Kind, _Check] = {Kind.FLAG: rule_problem, Kind.VALUE: value_rule_problem}
# In the order in which they are locked.
_WITH_RULES = tuple(_PROBLEM_OF)


@dataclass(frozen=True)
class SegmentRename:
    """What the renaming of a segment does."""

    #: The change of the segment itself.
    changed: Changed
    #: The keys of the flags whose rules name it.
    flags: tuple[str, ...] = ()
    #: The keys of the values whose rules name it.
    values: tuple[str, ...] = ()
    #: The keys of the experiments whose rules name it.
    experiments: tuple[str, ...] = ()
    #: Other keys that differ from the new one only in upper and lower case.
    case_variants: tuple[str, ...] = ()


class UnlockedRowsError(Exception):
    """Flags or values name a segment, and must be locked before it: begin again with them."""

    def __init__(self, rows: Collection[tuple[Kind, str]]) -> None:
        super().__init__("rows are not locked")
        self.rows = frozenset(rows)


@dataclass(frozen=True)
class RenamedRules:
    """What names a renamed segment."""

    #: The rules of flags and values before and after, by the kind and key of each.
    rows: Mapping[tuple[Kind, str], tuple[object, object]]
    others: tuple[OtherRules, ...]


def rename_segment(key: str, new_key: str, *, expect_version: int | None = None) -> Changed:
    """Gives a segment another key, and writes it into all rules: of flags, values and experiments.

    One transaction: no user gains or loses anything, and no worker sees rules that name a missing
    segment. Raises UnknownSegmentError, ConflictError, or InvalidChangeError if the new key is
    taken or not valid.

        from flagstaff import changes

        changes.rename_segment("enterprise", "large_customers")
    """
    return renamed_segment(key, new_key, expect_version=expect_version).changed


def preview_rename_segment(key: str, new_key: str) -> SegmentRename:
    """Returns what `rename_segment` would do. Rolls back what it writes. Raises the same errors."""
    with rolled_back():
        return renamed_segment(key, new_key)


def renamed_segment(key: str, new_key: str, *, expect_version: int | None = None) -> SegmentRename:
    """Renames a segment, and returns what uses it, too."""
    rows = {
        (kind, str(pk)) for kind in _WITH_RULES for _key, pk in rows_by_segment(kind).get(key, ())
    }
    while True:
        try:
            with transaction.atomic(using=conf.database):
                lock_rows(rows)
                return _rename(key, new_key, expect_version, rows)
        except UnlockedRowsError as unlocked:  # noqa: PERF203 (conflicts are rare)
            # The rollback has unlocked all rows. Each round follows another change of rules.
            rows |= unlocked.rows


def rows_to_rename(
    keys: Mapping[str, str], locked: Collection[tuple[Kind, str]]
) -> list[tuple[tuple[Kind, str], Any]]:
    """Returns the flags and values whose rules name one of these segments.

    Each has its kind and primary key.

    `keys` are the new keys by the old ones. The segments must be locked, so that no other rules can
    begin to name them. To be called before anything is written, which others would wait for until
    the end of a surrounding transaction. Raises UnlockedRowsError if other rows than the locked
    ones name them, and InvalidChangeError if rules name a new key already, without a segment.
    """
    found = [((kind, str(row.pk)), row) for kind in _WITH_RULES for row in rows_using(kind, *keys)]
    if unlocked := {one for one, _row in found} - {*locked}:
        raise UnlockedRowsError(unlocked)
    present = all_rows(segment_model()).filter(key__in=keys.values()).values_list("key", flat=True)
    for key, users in rules_that_name(*{*keys.values()}.difference(present)).items():
        raise InvalidChangeError(NAMED_ALREADY(key=repr(key), flags=some(users)))
    return found


def rename_in_rules(keys: Mapping[str, str], rows: Iterable[tuple[Kind, Any]]) -> RenamedRules:
    """Writes new keys of segments into the rules of these flags and values, and of experiments.

    `keys` are the new keys by the old ones.
    """
    found = {}
    for kind, row in rows:
        before, after = row.rules, with_segment_names(row.rules, keys)
        user = repr(row.key) if kind is Kind.FLAG else f"{row._meta.verbose_name} {row.key!r}"
        _require_valid(user, before, after, _PROBLEM_OF[kind])
        write_as_is(row, {RULES: after}, savepoint=False)
        found[kind, row.key] = before, after
    others = [(app, [*_renamed_others(app, keys)]) for app in optional_apps()]
    for app, renamed in others:
        app.rename_segments(renamed, keys)
    return RenamedRules(found, tuple(one for _app, renamed in others for one in renamed))


def _rename(
    key: str, new_key: str, expect_version: int | None, locked: Collection[tuple[Kind, str]]
) -> SegmentRename:
    row = _locked(key, new_key)
    version = version_of(Kind.SEGMENT, row.pk)
    planned = Changed(key, "", {_KEY: key}, {_KEY: new_key}, written=False, version=version)
    if new_key == key:
        return SegmentRename(replace(planned, old={}, new={}))
    require_version(Kind.SEGMENT, key, row.pk, expect_version)
    validate(row, _KEY, new_key)
    _require_free(new_key)
    rows = [(kind, one) for (kind, _pk), one in rows_to_rename({key: new_key}, locked)]
    variants = case_variants(segment_model(), new_key)
    try:
        write_as_is(row, {_KEY: new_key})
    except InvalidChangeError:
        # A concurrent transaction may have taken the key.
        _require_free(new_key)
        raise
    rules = rename_in_rules({key: new_key}, rows)
    return SegmentRename(
        finished(Kind.SEGMENT, planned, version_of(Kind.SEGMENT, row.pk)),
        tuple(key for kind, key in rules.rows if kind is Kind.FLAG),
        tuple(key for kind, key in rules.rows if kind is Kind.VALUE),
        tuple(one.key for one in rules.others),
        tuple(one for one in variants if one != key),
    )


def _locked(key: str, new_key: str) -> Row:
    """Returns the segment, locked. One that has the new key is locked, too, in the order of keys.

    Otherwise two renames that exchange keys would deadlock.
    """
    rows = all_rows(segment_model()).select_for_update().order_by("key")
    locked: dict[str, Row] = {row.key: row for row in rows.filter(key__in={key, new_key})}
    if key not in locked:
        Kind.SEGMENT.row(key)  # Raises if there is no such row.
        # A concurrent transaction has given the key to another segment.
        raise UnlockedRowsError(())
    return locked[key]


def _require_free(key: str) -> None:
    if Kind.SEGMENT.find(key) is not None:
        raise InvalidChangeError(EXISTS[Kind.SEGMENT](key=repr(key)))


def _renamed_others(app: OptionalApp, keys: Mapping[str, str]) -> Iterator[OtherRules]:
    for one in app.other_rules(ended=True):
        if not keys.keys().isdisjoint(dict(named_segments(one.rules))):
            after = with_segment_names(one.rules, keys)
            _require_valid(f"{one.model._meta.verbose_name} {one.key!r}", one.rules, after)
            yield replace(one, rules=after)


def _require_valid(
    user: str, before: object, after: object, problem_of: _Check = rule_problem
) -> None:
    """Raises InvalidChangeError if longer keys make rules too long for workers."""
    problem = problem_of(after)
    if problem is not None and problem_of(before) is None:
        raise InvalidChangeError(RULES_AFTER_RENAME(user=user, problem=problem))
