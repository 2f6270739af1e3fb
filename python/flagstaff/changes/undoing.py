"""Undo: one change is taken back, whatever added after it elsewhere in the row."""

from __future__ import annotations

from itertools import takewhile
from typing import Any, NamedTuple

from django.db import transaction

from flagstaff._tables.model_fields import auto_now_columns
from flagstaff._tables.rows import all_rows
from flagstaff._tables.users import allowed_user_table
from flagstaff.changes import allowed_users
from flagstaff.changes.changed import Changed
from flagstaff.changes.locking import check_version, conflict
from flagstaff.changes.past import Kept, Target, as_comparable, as_kept, find, state_at
from flagstaff.changes.restoring import bring_back, kept_fields, masked
from flagstaff.changes.rows import Moves, remove, rewrite
from flagstaff.conf import conf
from flagstaff.exceptions import ConflictError, InvalidChangeError
from flagstaff.history.folding import State
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import entries, of_transaction, version_of

__all__ = ["Span", "conflict_amid", "is_like", "nothing", "undo", "undo_span", "undo_value"]

_HAND = "transaction_id", "actor", "source", "reason", "session_user", "role", "application_name"


def undo(key: str, change: int | None = None, *, expect_version: int | None = None) -> Changed:
    """Take back what a change did to a flag and its allow-list; by default the newest change.

    What else was changed since stays. Raises ConflictError where one of the same fields was changed
    since, UnknownFlagError, NoHistoryError, and InvalidChangeError where there is no such change.
    """
    return _undo(Kind.FLAG, key, change, expect_version)


def undo_value(
    key: str, change: int | None = None, *, expect_version: int | None = None
) -> Changed:
    """The same for a value. Of a secret one the history keeps a digest alone."""
    return _undo(Kind.VALUE, key, change, expect_version)


def _undo(kind: Kind, key: str, change: int | None, expect_version: int | None) -> Changed:
    with transaction.atomic(using=conf.database):
        target = find(kind, key)
        span = _span(target, change)
        if error := conflict_amid(target, span):
            raise error
        before, after = state_at(target, span.first - 1), state_at(target, span.last)
        return undo_span(target, span, before, after, expect_version)


def undo_span(
    target: Target, span: Span, before: State, after: State, expect_version: int | None = None
) -> Changed:
    """Take back what some entries did to a locked row, which was so before and so after them."""
    if before.row is None and after.row is None:
        return nothing(target)
    if before.row is None:
        return _undo_creation(target, span, expect_version)
    if after.row is None:
        return _undo_deletion(target, before, expect_version)
    return _undo_change(target, span, before, after, expect_version)


def conflict_amid(target: Target, span: Span) -> ConflictError | None:
    """What another transaction did between these entries would be taken back with them.

    Only an allow-list that was written without the lock of its flag has such.
    """
    amid = entries(target.kind, target.pk).filter(id__range=span).order_by()
    if amid.values("transaction_id").distinct().count() < 2:  # noqa: PLR2004 (it alone)
        return None
    return ConflictError(
        f"{target.key} was changed by others while that was done; restore a version of it instead",
        key=target.key,
        expected=span.last,
    )


def is_like(target: Target, state: State) -> bool:
    """Whether a locked row and its allow-list are like this, whatever its clocks say."""
    if target.row is None or state.row is None:
        return target.row is None and state.row is None
    present, then = as_comparable(target, as_kept(target), state.row)
    columns = {*present.columns, *then.columns} - {*auto_now_columns(target.kind.model)}
    if not all(_same(present, then, name) for name in columns):
        return False
    return target.kind is Kind.VALUE or allowed_users.allowed_pks(target.row) == state.users


class Span(NamedTuple):
    """The entries of one change, by their ids."""

    first: int
    last: int


def _span(target: Target, change: int | None) -> Span:
    """The change that an entry belongs to: those beside it that the same hand has made."""
    found = entries(target.kind, target.pk)
    entry = (found if change is None else found.filter(id=change)).order_by("-id").first()
    if entry is None:
        what = "no change" if change is None else f"no change {change}"
        raise InvalidChangeError(f"there is {what} in the history of {target.key}")
    hands = found.filter(of_transaction(entry)).values("id", *_HAND)

    def same(other: dict[str, Any]) -> bool:
        return all(other[name] == getattr(entry, name) for name in _HAND)

    older = takewhile(same, hands.filter(id__lte=entry.pk).order_by("-id"))
    newer = takewhile(same, hands.filter(id__gte=entry.pk).order_by("id"))
    return Span(list(older)[-1]["id"], list(newer)[-1]["id"])


def _undo_creation(target: Target, span: Span, expect_version: int | None) -> Changed:
    if target.row is None:
        return nothing(target)
    newest = version_of(target.kind, target.pk)
    if newest != span.last:
        raise conflict(target.kind, target.key, target.pk, span.last, newest)
    check_version(target.kind, target.key, target.pk, expect_version)
    return remove(target.kind, target.row)


def _undo_deletion(target: Target, before: State, expect_version: int | None) -> Changed:
    if target.row is not None:
        return nothing(target)
    try:
        return bring_back(target, before, expect_version)
    except InvalidChangeError:
        # Whoever sent the same at the same moment was faster.
        if not all_rows(target.kind.model).filter(pk=target.pk).exists():
            raise
        return nothing(target)


def _undo_change(
    target: Target, span: Span, before: State, after: State, expect_version: int | None
) -> Changed:
    if target.row is None:
        raise InvalidChangeError(f"{target.key} was deleted since; restore it first")
    columns = _columns_to_set(target, span, before.row, after.row)
    fields = kept_fields(target, before.row, columns)
    moves = _moves(target, before, after)
    return masked(target, rewrite(target.kind, target.row, fields, moves, expect_version))


def _columns_to_set(target: Target, span: Span, before: Kept, after: Kept) -> set[str]:
    """What the change has set, and is still so. Raises ConflictError where it is something else."""
    before, after, present = as_comparable(target, before, after, as_kept(target))
    moved = {name for name in before.columns if not _same(before, after, name)}
    left = {
        name
        for name in moved - {*auto_now_columns(target.kind.model)}
        if not _same(present, before, name)
    }
    if not all(_same(present, after, name) for name in left):
        newest = version_of(target.kind, target.pk)
        raise conflict(target.kind, target.key, target.pk, span.last, newest)
    return left


def _same(one: Kept, other: Kept, name: str) -> bool:
    """Whether a column has the same JSON in both; in Python True equals 1."""
    return repr(one.columns.get(name)) == repr(other.columns.get(name))


def _moves(target: Target, before: State, after: State) -> Moves:
    """Who added goes, and who removed comes, as far as that is not so already."""
    if target.kind is Kind.VALUE:
        return Moves()
    present = allowed_users.allowed_pks(target.row)
    come = before.users - after.users - present
    here = allowed_user_table().existing(come)
    go = (after.users - before.users) & present
    return Moves(
        tuple(sorted(here, key=str)),
        tuple(sorted(go, key=str)),
        tuple(sorted(come - here, key=str)),
    )


def nothing(target: Target) -> Changed:
    """What is told where it is so already."""
    version = version_of(target.kind, target.pk)
    return Changed(target.key, "", {}, {}, written=False, version=version)
