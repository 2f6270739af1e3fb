"""Writes the flags that the rows of waffle become, in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

from django.db import transaction

from flagstaff import changes
from flagstaff._attribution.context import from_source
from flagstaff._tables.database import db
from flagstaff._tables.rows import all_rows
from flagstaff.changes import Changed
from flagstaff.changes.allowed_users import allowed_pks_of
from flagstaff.changes.fields import differing
from flagstaff.conf import conf
from flagstaff.contrib.waffle.converting import REFUSED, Converted, convert
from flagstaff.contrib.waffle.rows import Row, read_rows
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


def import_waffle(*, overwrite: Collection[str] = ()) -> list[Imported]:
    """Writes all rows that are not refused, in one transaction or in the surrounding one.

    A flag is refused if its newest change is not one of an import, unless its key is in
    `overwrite`: so a flag that was killed here stays off. Raises FlagstaffError for a key in
    `overwrite` that no row has.
    """
    with db.atomic():
        _wait_for_other_imports()
        rows = [*read_rows()]
        if unknown := sorted({*overwrite} - {row.key for row in rows}):
            raise FlagstaffError("no row of waffle has the key {key}", key=repr(unknown[0]))
        return import_rows(rows, overwrite=overwrite)


def import_rows(rows: Iterable[Row], *, overwrite: Collection[str] = ()) -> list[Imported]:
    """Writes rows, as `import_waffle` does."""
    with db.atomic(), from_source(SOURCE):
        conversions = [convert(row) for row in rows]
        keys = Counter(converted.row.key for converted in conversions)
        # Locked before their history is read, so that no newer change is missed.
        locked = all_rows(conf.flag_model).filter(key__in=keys).order_by("pk").select_for_update()
        flags = {flag.key: flag for flag in locked}
        users = allowed_pks_of(flags.values())
        done = []
        for converted in conversions:
            key = converted.row.key
            note = _collision(converted) if keys[key] > 1 else ""
            if note or converted.status == REFUSED:
                done.append(_refused(converted, note))
            elif key in flags and _is_equal(flags[key], users[flags[key].pk], converted):
                done.append(Imported(converted, Changed(Kind.FLAG, key, {}, {}, written=False)))
            else:
                pk = flags[key].pk if key in flags else None
                done.append(_write(converted, pk, is_overwritten=key in overwrite))
        return done


def _wait_for_other_imports() -> None:
    """Blocks until no other import is running, which may write newer rows than were read here."""
    if db.is_postgresql:
        with db.connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext(%s))", [__name__]
            )


def _is_equal(flag: Any, users: Collection[Any], converted: Converted) -> bool:
    """Whether a flag is as its row. Queries nothing, unlike an update."""
    is_same_list = converted.allowed_users is None or {*users} == {*converted.allowed_users}
    return is_same_list and not differing(flag, converted.fields)


def _write(converted: Converted, pk: Any, *, is_overwritten: bool) -> Imported:
    """Writes a row to its flag, or undoes that if the newest change was not one of an import."""
    key, fields = converted.row.key, {**converted.fields}
    if converted.allowed_users is not None:
        fields["allowed_users"] = [*converted.allowed_users]
    newest = _newest_change(key, pk)
    try:
        with db.atomic():
            changed = (
                changes.flags.create(key, **{"enabled": True, **fields})
                if pk is None
                else changes.flags.update(key, fields)
            )
            is_new = pk is None and newest is None
            is_own = newest is not None and newest.source == SOURCE
            if changed.written and not (is_new or is_own or is_overwritten):
                transaction.set_rollback(True, using=db.alias)
                return _refused(converted, _conflict(key, newest, changed))
    except InvalidChangeError as error:
        return _refused(converted, str(error.message))
    return Imported(converted, changed)


def _newest_change(key: str, pk: Any) -> Change | None:
    """Returns the newest entry about a flag, or about a deleted one that had its key."""
    if not has_history():
        return None
    of_key = Change.objects.filter(relation=Kind.FLAG.row_relation, key=key)
    return (of_key if pk is None else Change.objects.of_row(Kind.FLAG, pk)).newest().first()


def _conflict(key: str, newest: Change | None, changed: Changed) -> str:
    advice = f"pass --overwrite {key} to write the values of waffle"
    if newest is None:
        return f"the history does not say who has changed its flag; {advice}"
    actor = f" by {newest.actor}" if newest.actor else ""
    source = f" (source {newest.source})" if newest.source else ""
    if changed.action == "create":
        return f"its flag was deleted here{actor}{source}; {advice}"
    names = ", ".join(changed.new or ())
    return f"its flag was changed here{actor}{source}; waffle has another {names}; {advice}"


def _collision(converted: Converted) -> str:
    key, row = converted.row.key, converted.row
    return (
        f"another row has its key {key}, too; add "
        f'"{row.kind}:{row.name}": "{key}.{row.kind}" to FLAGSTAFF["WAFFLE"]["KEYS"]'
    )


def _refused(converted: Converted, note: str) -> Imported:
    notes = (note,) if note else converted.notes
    return Imported(replace(converted, status=REFUSED, notes=notes))
