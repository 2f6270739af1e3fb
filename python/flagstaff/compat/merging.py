"""Decides what an import writes of a row, and what is a conflict. Queries nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flagstaff._taken_keys import OWNERS
from flagstaff._words.truncated import MAX_VALUE
from flagstaff.changes.fields import canonical_json
from flagstaff.compat.converting import Converted, Status
from flagstaff.compat.rows import SourceRow
from flagstaff.compat.settings import WAFFLE_KINDS
from flagstaff.history.describe import describe_value, field_label
from flagstaff.serialization.document import Item, UserRef

#: A row of waffle: its kind and its name.
RowName = tuple[str, str]

_OVERWRITE = "pass --overwrite to write the values of waffle"


@dataclass(frozen=True)
class State:
    """A flag: its fields as an export has them, and its allowed users as text."""

    fields: Mapping[str, object]
    #: None if they are not known, as those of a switch.
    users: frozenset[str] | None = None


@dataclass(frozen=True)
class Undone:
    """What an undo took back of the changes that came from waffle."""

    fields: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()


@dataclass
class _Merge:
    """What is written, and what is not."""

    fields: dict[str, object] = field(default_factory=dict)
    conflicts: list[str] = field(default_factory=list)
    #: The fields that were changed in flagstaff only.
    kept: list[str] = field(default_factory=list)


def row_name(row: SourceRow) -> RowName:
    """Returns what identifies a row of waffle."""
    return row.kind, row.name


def refused(converted: Converted, *notes: str) -> Converted:
    """Returns the row as one that is not written."""
    return replace(converted, status=Status.REFUSED, notes=notes, item=None)


def state_of(converted: Converted) -> State:
    """Returns the flag that a row becomes."""
    item = converted.item
    if item is None:
        return State({})
    users = None if item.users is None else frozenset(str(ref.pk) for ref in item.users)
    return State(item.fields, users)


def without_undone(written: State, present: State, undone: Undone) -> State:
    """Returns what was written, without what an undo took back: that is to be written again."""
    fields = dict(written.fields)
    fields.update({name: present.fields[name] for name in undone.fields if name in present.fields})
    users = written.users
    if users is not None and present.users is not None:
        users = (users - undone.users) | (present.users & undone.users)
    return State(fields, users)


def merge(
    converted: Converted, written: State | None, present: State | None, *, overwrite: bool = False
) -> Converted:
    """Returns a row with what has to be written of it, or refused with its conflicts.

    `written` is what was last written; None if nothing was, or if an undo deleted the flag.
    `present` is the flag as it is now; None if there is none.
    """
    item = converted.item
    if item is None:
        return converted
    if present is None:
        if written is None or overwrite:
            return converted
        text = "its flag was deleted in flagstaff; delete it in waffle, too, or pass --overwrite "
        return refused(converted, f"{text}to create it again")
    theirs = state_of(converted)
    merged = _merged(theirs, written, present, overwrite=overwrite)
    users = _users(theirs.users, written, present.users)
    if written is None and users is not None and not overwrite:
        merged.conflicts.append("its allowed users are different in flagstaff")
    if merged.conflicts:
        head = "" if written is not None else "there is a different flag with this key: "
        text = f"{head}{'; '.join(merged.conflicts)}; {_OVERWRITE}"
        return refused(converted, text)
    refs = None if users is None else tuple(_refs(item, users))
    names = ", ".join(map(field_label, merged.kept))
    kept = (f"changed in flagstaff only, and kept: {names}",) if names else ()
    is_new = written is None or not _is_written(theirs, written)
    is_unchanged = not (is_new or merged.fields or refs is not None)
    return replace(
        converted,
        status=Status.UNCHANGED if is_unchanged else converted.status,
        notes=kept if is_unchanged else (*converted.notes, *kept),
        item=replace(item, fields=merged.fields, users=refs),
    )


def merged_state(theirs: State, written: State | None) -> State:
    """Returns what is written after an import. Fields that it does not have stay."""
    return State({**(written.fields if written else {}), **theirs.fields}, theirs.users)


def same(one: object, other: object) -> bool:
    """Whether both are the same JSON."""
    return canonical_json(one) == canonical_json(other)


def _merged(theirs: State, written: State | None, present: State, *, overwrite: bool) -> _Merge:
    merged = _Merge()
    for name, new in theirs.fields.items():
        now = present.fields.get(name)
        if same(new, now):
            continue
        old = now if written is None else written.fields.get(name, now)
        if written is not None and same(new, old):
            merged.kept.append(name)
        elif overwrite or (written is not None and same(now, old)):
            merged.fields[name] = new
        else:
            merged.conflicts.append(_conflict(name, new, now, is_known=written is not None))
    return merged


def _conflict(name: str, new: object, now: object, *, is_known: bool) -> str:
    ours, theirs = (describe_value(value, field=name, limit=MAX_VALUE) for value in (now, new))
    if is_known:
        return f"{field_label(name)} was changed in flagstaff to {ours}, and in waffle to {theirs}"
    return f"{field_label(name)} is {ours} in flagstaff, and {theirs} in waffle"


def _users(
    theirs: frozenset[str] | None, written: State | None, present: frozenset[str] | None
) -> frozenset[str] | None:
    """Returns all allowed users after the import, or None if they do not change.

    Users never conflict: what was changed on both sides is the same change.
    """
    if theirs is None or present is None:
        return None
    old = present if written is None or written.users is None else written.users
    users = merged_users(theirs, old, present)
    return None if users == present else users


def merged_users(
    new: frozenset[str], old: frozenset[str], present: frozenset[str]
) -> frozenset[str]:
    """Returns the present users with what was added and removed between the old and the new."""
    return (present | (new - old)) - (old - new)


def _refs(item: Item, users: Iterable[str]) -> Iterator[UserRef]:
    known = {str(ref.pk): ref for ref in item.users or ()}
    return (known.get(pk) or UserRef(pk=pk) for pk in sorted(users))


def _is_written(theirs: State, written: State) -> bool:
    return theirs.users in (None, written.users) and all(
        name in written.fields and same(value, written.fields[name])
        for name, value in theirs.fields.items()
    )


# Rows that would have one key.


def refuse_collisions(
    rows: Sequence[Converted], owners: Mapping[RowName, str], taken: Mapping[str, str]
) -> list[Converted]:
    """Returns the rows, of which those that have one key with another row are refused.

    `owners` are the keys that were written for rows: such a row keeps its key, and the others are
    refused. `taken` are keys of values and experiments, and what has them.
    """
    by_key: dict[str, list[Converted]] = defaultdict(list)
    for one in rows:
        by_key[one.key].append(one)
    return [
        _without_collision(one, by_key[one.key], owners, taken, used={*by_key, *taken})
        for one in rows
    ]


def _without_collision(
    one: Converted,
    same_key: Sequence[Converted],
    owners: Mapping[RowName, str],
    taken: Mapping[str, str],
    used: Collection[str],
) -> Converted:
    if one.item is None:
        return one
    owning = [other for other in same_key if owners.get(row_name(other.row)) == other.key]
    if one.key in taken and one not in owning:
        setting = _setting(one.row, one.key, used)
        owner = OWNERS[taken[one.key]]
        return refused(one, f"its key {one.key} is also the key of {owner}; {setting}")
    others = [other for other in same_key if other is not one]
    if not others or owning == [one]:
        return one
    keeper = min(same_key, key=lambda other: _precedence(other, owning))
    renamed = one if one is not keeper else min(others, key=lambda other: _precedence(other, ()))
    names = ", ".join(f"the {other.row.kind} {other.row.name!r}" for other in others)
    setting = _setting(renamed.row, one.key, used)
    return refused(one, f"its key {one.key} is also the key of {names}; {setting}")


def _precedence(one: Converted, owning: Collection[Converted]) -> tuple[bool, bool, int, str]:
    row = one.row
    return one not in owning, row.name != one.key, WAFFLE_KINDS.index(row.kind), row.name


def _setting(row: SourceRow, key: str, used: Collection[str]) -> str:
    """Returns the advice to give a row another key."""
    candidates = [f"{key}.{row.kind}", *(f"{key}.{row.kind}{number}" for number in range(2, 100))]
    free = next((one for one in candidates if one not in used), candidates[-1])
    return f'add "{row.kind}:{row.name}": "{free}" to FLAGSTAFF["WAFFLE"]["KEYS"]'
