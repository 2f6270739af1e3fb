"""Writes the flags that the rows of waffle become, in one transaction."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from django.db import transaction

from flagstaff._attribution.context import from_source
from flagstaff.changes import Changed, Undo, combined_undo, create, update
from flagstaff.conf import conf
from flagstaff.contrib.waffle.converting import Converted, Status, convert
from flagstaff.contrib.waffle.rows import SourceRow, read_rows
from flagstaff.exceptions import FlagstaffError, InvalidChangeError
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import entries, entries_of_key, has_history
from flagstaff.models import Change

#: Where the history says that an import comes from. Nothing else writes with this source.
SOURCE = "waffle"


@dataclass(frozen=True)
class Imported:
    """A row of waffle, and what the import has written of it."""

    converted: Converted
    #: None if the row is refused. `written` is False if the flag was like this already.
    changed: Changed | None = None

    @property
    def action(self) -> str:
        """What was done to the flag: "create", "change", or "" for nothing."""
        if self.changed is None or not self.changed.written:
            return ""
        return "create" if self.changed.old is None else "change"


@dataclass(frozen=True)
class WaffleImport:
    """The result of an import: each row that waffle has."""

    rows: tuple[Imported, ...]

    @property
    def counts(self) -> Mapping[Status, int]:
        """The number of rows by status, of all statuses."""
        found = Counter(row.converted.status for row in self.rows)
        return {status: found[status] for status in Status}

    @property
    def undo(self) -> Undo | None:
        """The command that undoes the import; None without a change."""
        return combined_undo(row.changed for row in self.rows if row.changed is not None)


def import_waffle(
    *, overwrite: Collection[str] = (), rows: Iterable[SourceRow] | None = None
) -> WaffleImport:
    """Writes all rows that are not refused, in one transaction or in the surrounding one.

    A flag is refused if its newest change is not one of an import, unless its key is in
    `overwrite`: so a flag that was killed here stays off. `rows` are those to import, by default
    all. Raises FlagstaffError for a key in `overwrite` that no row has.
    """
    converted = _without_collisions(
        [convert(row) for row in (read_rows() if rows is None else rows)]
    )
    if unknown := sorted({*overwrite} - {one.key for one in converted}):
        raise FlagstaffError(f"no row of waffle has the key {unknown[0]!r}")
    with transaction.atomic(using=conf.database), from_source(SOURCE):
        return WaffleImport(tuple(_write(one, overwrite) for one in converted))


def newest_change(key: str) -> Change | None:
    """Returns the newest entry of the history about the flag that has, or last had, this key."""
    if not has_history():
        return None
    flag = Kind.FLAG.find(key)
    # Entries about allowed users have no key.
    found = entries_of_key(Kind.FLAG, key) if flag is None else entries(Kind.FLAG, flag.pk)
    return found.order_by("-id").first()


def _write(one: Converted, overwrite: Collection[str]) -> Imported:
    if one.status is Status.REFUSED:
        return Imported(one)
    fields = dict(one.fields)
    if one.row.kind == "flag":
        fields["allowed_users"] = list(one.row.users)
    # Locked before its history is read, so that no newer change is missed.
    present = Kind.FLAG.find(one.key, lock=True)
    newest = newest_change(one.key)
    is_own = newest.source == SOURCE if newest is not None else present is None
    savepoint = transaction.atomic(using=conf.database)
    try:
        with savepoint:
            changed = create(one.key, **fields) if present is None else update(one.key, fields)
            if changed.written and not is_own and one.key not in overwrite:
                raise _ChangedHereError(_conflict(one.key, changed, newest))
    except InvalidChangeError as error:
        return Imported(_refused(one, error.message))
    return Imported(one, changed)


class _ChangedHereError(InvalidChangeError):
    """The flag was changed here, so that its values must stay."""


def _conflict(key: str, changed: Changed, newest: Change | None) -> str:
    advice = f"pass --overwrite {key} to write the values of waffle"
    if newest is None:
        return f"the history does not say who has changed its flag; {advice}"
    action = "deleted" if changed.old is None else "changed"
    names = "" if changed.old is None else f"; waffle has another {', '.join(changed.new)}"
    actor = f" by {newest.actor}" if newest.actor else ""
    source = f" (source {newest.source})" if newest.source else ""
    return f"its flag was {action} here{actor}{source}{names}; {advice}"


def _refused(one: Converted, note: str) -> Converted:
    return replace(one, status=Status.REFUSED, notes=(note,))


def _without_collisions(rows: Sequence[Converted]) -> list[Converted]:
    """Returns the rows, of which those that have one key with another row are refused."""
    by_key: dict[str, list[Converted]] = defaultdict(list)
    for one in rows:
        by_key[one.key].append(one)
    return [_without_collision(one, by_key[one.key]) for one in rows]


def _without_collision(one: Converted, same_key: Sequence[Converted]) -> Converted:
    others = [other for other in same_key if other is not one]
    if not others or one.status is Status.REFUSED:
        return one
    names = ", ".join(f"the {other.row.kind} {other.row.name!r}" for other in others)
    row = one.row
    setting = f'"{row.kind}:{row.name}": "{one.key}.{row.kind}"'
    return _refused(
        one,
        f"its key {one.key} is also the key of {names}; add {setting}, or another key for the "
        'other row, to FLAGSTAFF["WAFFLE"]["KEYS"]',
    )
