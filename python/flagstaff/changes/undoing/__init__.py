"""Undoes events of flags, values and segments: one, several, or all of a transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from flagstaff.changes.changed import Changed
from flagstaff.changes.locking import require_version
from flagstaff.changes.undoing.conflicts import changed_meanwhile, others_changed_meanwhile
from flagstaff.changes.undoing.plan import UndoneEvents, UndoPlan
from flagstaff.changes.undoing.selection import select_of_key, select_transaction, select_versions
from flagstaff.changes.undoing.writing import Check, preview_undo, undo_selected
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import require_triggers


def undo(
    key: str,
    change: int | None = None,
    *,
    expect_version: int | None = None,
) -> Changed:
    """Undoes one event of a flag and its allowed users: that of the entry `change`, or the newest.

    Newer changes of other fields stay. Raises UnknownFlagError, NoHistoryError, ConflictError if
    the same fields were changed since, and InvalidChangeError if this flag has no such change.
    """
    return _undo(Kind.FLAG, key, change, expect_version)


def undo_value(
    key: str,
    change: int | None = None,
    *,
    expect_version: int | None = None,
) -> Changed:
    """Undoes one event of a value, as `undo` does of a flag.

    Raises InvalidChangeError if the value is secret, because the history has only a digest of it.
    """
    return _undo(Kind.VALUE, key, change, expect_version)


def undo_segment(
    key: str,
    change: int | None = None,
    *,
    expect_version: int | None = None,
) -> Changed:
    """Undoes one event of a segment, as `undo` does of a flag.

    Raises UnknownSegmentError for its key, and InvalidChangeError if the undo would delete a
    segment that a rule names.
    """
    return _undo(Kind.SEGMENT, key, change, expect_version)


def undo_transaction(change: int) -> list[Changed]:
    """Undoes everything that a transaction did to flags, values and segments.

    `change` is any entry of it. Deleted rows are created again with every field and their allowed
    users; created rows are deleted. One transaction. Raises ConflictError, which lists every row
    that was changed since, NoHistoryError, and InvalidChangeError if there is no such change or if
    it needs a secret value.
    """
    return _changes(undo_selected(select_transaction(change), whole=True))


def undo_events(versions: Iterable[int], *, skip_conflicts: bool = False) -> list[UndoneEvents]:
    """Undoes these events of flags, values and segments.

    One transaction. If one event cannot be undone, nothing is written, and the error is raised; for
    several ones, ConflictError lists them. With `skip_conflicts`, the others are undone. Raises
    NoHistoryError, and InvalidChangeError if there is no such version.
    """
    return undo_selected(select_versions(versions), skip_conflicts=skip_conflicts)


def preview_undo_events(versions: Iterable[int]) -> list[UndoneEvents]:
    """Returns what `undo_events` would do with `skip_conflicts`. Rolls back what it writes."""
    plan = preview_undo(select_versions(versions))
    if plan.refusal is not None:
        raise plan.refusal
    return plan.events


def _changes(done: Iterable[UndoneEvents]) -> list[Changed]:
    return [one.changed for one in done if one.changed is not None]


def _undo(kind: Kind, key: str, change: int | None, expect_version: int | None) -> Changed:
    check = expecting_version(expect_version)
    [changed] = _changes(undo_selected(select_of_key(kind, key, change), check=check))
    return changed


def expecting_version(expected: int | None) -> Check:
    """Returns a check that raises ConflictError if a row to write has another version."""

    def check(plan: UndoPlan) -> None:
        for row in plan.rows:
            if row.written:
                require_version(row.item.kind, row.item.key, row.item.pk, expected)

    return check


def as_shown(versions: Sequence[int], undone: Collection[int]) -> Check:
    """Returns a check that raises ConflictError if an undo is not the one that was shown.

    `versions` are those of the rows, and `undone` those of the events that it undoes.
    """

    def check(plan: UndoPlan) -> None:
        first = plan.rows[0]
        # Where entries were deleted meanwhile, there are fewer rows.
        if len(plan.rows) != len(versions):
            raise others_changed_meanwhile(first.item, first.version)
        for row, version in zip(plan.rows, versions, strict=True):
            # Without triggers the version stays the same whatever is changed.
            require_triggers(row.item.kind)
            if row.version != version:
                raise changed_meanwhile(row.item, version, row.version)
        if plan.undone != frozenset(undone):
            raise others_changed_meanwhile(first.item, first.version)

    return check
