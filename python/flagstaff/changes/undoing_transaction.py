"""Undo of a whole transaction: all that it did to flags and values, or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import transaction

from flagstaff._tables.rows import all_rows
from flagstaff._tables.users import batches
from flagstaff.changes.changed import Changed
from flagstaff.changes.locking import conflict, raise_all
from flagstaff.changes.past import Target, present_state, state_from
from flagstaff.changes.undoing import Span, conflict_amid, is_like, nothing, undo_span
from flagstaff.conf import conf
from flagstaff.exceptions import ConflictError, InvalidChangeError
from flagstaff.history.folding import State
from flagstaff.history.kinds import Kind
from flagstaff.history.transactions import Part, parts_of
from flagstaff.history.versions import require_history, version_of

__all__ = ["undo_transaction"]


@dataclass(frozen=True)
class _Locked:
    """A part of the transaction, and what was before it."""

    part: Part
    target: Target
    before: State
    present: State
    #: The version that it has by now.
    newest: int | None

    @property
    def is_newest(self) -> bool:
        return self.newest == self.part.last

    @property
    def order(self) -> int:
        """What was created goes first, and what was deleted comes last, for it may need a key."""
        if self.before.row is None:
            return 0
        return 2 if self.target.row is None else 1

    @property
    def key_before(self) -> Any:
        """The key that it had; None where there was none of it."""
        key: Any = self.part.kind.model._meta.get_field("key")
        return None if self.before.row is None else self.before.row.columns[key.column]

    @property
    def gives_its_key_up(self) -> bool:
        """Whether somebody else can have the present key once this is taken back."""
        return self.target.row is not None and self.key_before != self.target.key


def undo_transaction(change: int) -> list[Changed]:
    """Take back all that a transaction did, which `change` is one of the changes of.

    Flags and values that were deleted come back with every field and the allow-list; those that
    were created go. In one transaction: raises ConflictError, which names every one of them that
    was changed since, NoHistoryError, and InvalidChangeError where there is no such change, or
    where a secret would have to come back.
    """
    require_history()
    with transaction.atomic(using=conf.database):
        parts = parts_of(change)
        if not parts:
            raise InvalidChangeError(f"there is no change {change} in the history")
        _lock_all(parts)
        locked = [_locked(part) for part in parts]
        raise_all(error for one in locked if (error := _conflict(one, locked)))
        done = {one.part: _undo(one) for one in _in_order(locked)}
    return [done[part] for part in parts]


def _lock_all(parts: list[Part]) -> None:
    """In the order in which an import locks them, so that no two wait for each other in a ring."""
    for kind in Kind:
        # The database's order, which need not be that of the parts.
        rows = all_rows(kind.model).select_for_update().order_by("key")
        for some in batches(part.pk for part in parts if part.kind is kind):
            list(rows.filter(pk__in=some).values_list("pk"))


def _locked(part: Part) -> _Locked:
    rows = all_rows(part.kind.model).select_for_update()
    row: Any = rows.filter(pk=part.pk).first()
    key = part.key if row is None else row.key
    target = Target(part.kind, key, part.pk, row)
    present = present_state(target)
    before = state_from(present, target, part.first - 1)
    return _Locked(part, target, before, present, version_of(part.kind, part.pk))


def _conflict(one: _Locked, all_of_it: list[_Locked]) -> ConflictError | None:
    """Whatever was done to it since, unless it is again what it was before."""
    part, target = one.part, one.target
    if not one.is_newest:
        if is_like(target, one.before):
            return None
        return conflict(part.kind, target.key, part.pk, part.last, one.newest)
    if target.row is None and _is_taken(one, all_of_it):
        key = one.key_before
        told = f"{key} was deleted then, and there is another one of this key by now"
        return ConflictError(told, key=key, expected=part.last, actual=one.newest)
    return conflict_amid(target, Span(part.first, part.last))


def _is_taken(deleted: _Locked, all_of_it: list[_Locked]) -> bool:
    """Whether another row has the key, which does not give it up with all the rest."""
    kind = deleted.part.kind
    going = [one.part.pk for one in all_of_it if one.part.kind is kind and one.gives_its_key_up]
    return all_rows(kind.model).filter(key=deleted.key_before).exclude(pk__in=going).exists()


def _in_order(locked: list[_Locked]) -> list[_Locked]:
    """Where a key was passed on, whoever has it is taken back before whoever had it."""
    has = {(one.part.kind, one.target.key): one for one in locked if one.gives_its_key_up}
    ordered: dict[Part, _Locked] = {}
    for each in sorted(locked, key=lambda one: one.order):
        waiting: dict[Part, _Locked] = {}
        one: _Locked | None = each
        while one is not None and one.part not in ordered and one.part not in waiting:
            waiting[one.part] = one
            one = has.get((one.part.kind, one.key_before))
        ordered |= reversed(waiting.items())
    return list(ordered.values())


def _undo(one: _Locked) -> Changed:
    if not one.is_newest:
        return nothing(one.target)
    # Nothing came after it, and so what was right after it is there.
    return undo_span(one.target, Span(one.part.first, one.part.last), one.before, one.present)
