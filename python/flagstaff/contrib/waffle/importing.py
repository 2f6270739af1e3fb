"""Writes the flags that the rows of waffle become, in one transaction."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db import connections, transaction

from flagstaff._attribution.context import from_source
from flagstaff._connection.vendor import is_postgresql
from flagstaff._tables.rows import all_rows
from flagstaff.changes import Changed, Undo, combined_undo, create, update
from flagstaff.changes.allowed_users import ALLOWED, allowed_pks_of
from flagstaff.changes.fields import differing
from flagstaff.conf import conf
from flagstaff.contrib.waffle.converting import Converted, Status, convert
from flagstaff.contrib.waffle.rows import read_rows
from flagstaff.exceptions import FlagstaffError, InvalidChangeError
from flagstaff.history.kinds import Kind
from flagstaff.history.log import has_history
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


def import_waffle(*, overwrite: Collection[str] = ()) -> WaffleImport:
    """Writes all rows that are not refused, in one transaction or in the surrounding one.

    A flag is refused if its newest change is not one of an import, unless its key is in
    `overwrite`: so a flag that was killed here stays off. Raises FlagstaffError for a key in
    `overwrite` that no row has.
    """
    with transaction.atomic(using=conf.database), from_source(SOURCE):
        _wait_for_other_imports()
        rows = _without_collisions([convert(row) for row in read_rows()])
        if unknown := sorted({*overwrite} - {one.key for one in rows}):
            raise FlagstaffError("no row of waffle has the key {key}", key=repr(unknown[0]))
        by_key = {one.key: one for one in rows if one.status is not Status.REFUSED}
        done = _write_all(by_key, overwrite)
    return WaffleImport(tuple(done.get(one.key, Imported(one)) for one in rows))


def _wait_for_other_imports() -> None:
    """Blocks until no other import is running, which may write newer rows than were read here."""
    connection = connections[conf.database]
    if is_postgresql(connection):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext(%s))", [__name__]
            )


def _write_all(rows: Mapping[str, Converted], overwrite: Collection[str]) -> dict[str, Imported]:
    """Writes rows by key. Makes few queries for those that need no write."""
    # Locked before their history is read, so that no newer change is missed.
    present = all_rows(conf.flag_model).filter(key__in=rows).order_by("pk").select_for_update()
    flags = {flag.key: flag for flag in present}
    deleted = _newest_changes(rows.keys() - flags.keys())
    users = allowed_pks_of(flags.values())
    done: dict[str, Imported] = {}
    for key, one in rows.items():
        flag, newest = flags.get(key), deleted.get(key)
        if flag is not None:
            done[key] = _update(one, flag, users[flag.pk], is_overwritten=key in overwrite)
        elif newest is None or newest.source == SOURCE or key in overwrite:
            done[key] = _create(one)
        else:
            done[key] = Imported(_refused(one, _conflict(key, "deleted", newest)))
    return done


def _update(one: Converted, flag: Any, users: Collection[Any], *, is_overwritten: bool) -> Imported:
    """Writes a row to its locked flag, which has these allowed users."""
    fields = _fields(one)
    names = [*differing(flag, one.fields)]
    names += [ALLOWED] if {*users} != {*fields.get(ALLOWED, users)} else []
    if not names:
        return Imported(one, Changed(one.key, "", {}, {}, written=False))
    newest = (
        Change.objects.of_row(Kind.FLAG, flag.pk).order_by("-id").first() if has_history() else None
    )
    if not is_overwritten and (newest is None or newest.source != SOURCE):
        return Imported(_refused(one, _conflict(one.key, "changed", newest, names)))
    try:
        return Imported(one, update(one.key, fields))
    except InvalidChangeError as error:
        return Imported(_refused(one, error.message))


def _create(one: Converted) -> Imported:
    try:
        return Imported(one, create(one.key, **_fields(one)))
    except InvalidChangeError as error:
        return Imported(_refused(one, error.message))


def _fields(one: Converted) -> dict[str, Any]:
    """Returns the fields of a flag. Those of waffle's switches and samples have no users."""
    return {**one.fields} | ({ALLOWED: [*one.row.users]} if one.row.kind == "flag" else {})


def _newest_changes(keys: Collection[str]) -> dict[str, Change]:
    """Returns the newest entries of the history about flags that had these keys."""
    if not has_history():
        return {}
    of_keys = Change.objects.filter(relation=Kind.FLAG.row_relation, key__in=keys)
    return {entry.key: entry for entry in of_keys.order_by("id")}


def _conflict(key: str, action: str, newest: Change | None, names: Collection[str] = ()) -> str:
    advice = f"pass --overwrite {key} to write the values of waffle"
    if newest is None:
        return f"the history does not say who has changed its flag; {advice}"
    others = f"; waffle has another {', '.join(names)}" if names else ""
    actor = f" by {newest.actor}" if newest.actor else ""
    source = f" (source {newest.source})" if newest.source else ""
    return f"its flag was {action} here{actor}{source}{others}; {advice}"


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
