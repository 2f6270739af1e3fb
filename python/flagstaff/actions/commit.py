"""Looks at what an action or an undo would do, and commits what was seen."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, Final, cast

from django.db import Error

from flagstaff._tables.database import db
from flagstaff._tables.rows import Kind, case_variants
from flagstaff._text import local_list, quoted, say, some
from flagstaff._text.rules import sentence
from flagstaff.actions.table import Line, Look, Run, Written, after_deletion, reaches_nothing
from flagstaff.changes.consequence import (
    Consequence,
    consequence_of,
    needs_question,
    text_for_many,
    text_to_type,
)
from flagstaff.changes.fields import Changed
from flagstaff.changes.impact import count_users, reached, rounded, sides_of
from flagstaff.changes.locking import block_of_change, compare_alone, footprint_of, require_same
from flagstaff.changes.row_states import Impact
from flagstaff.changes.undo import Undone, undo
from flagstaff.history.describe import HasPermissions, may_see_users
from flagstaff.history.log import Change

#: Seconds for a count of users before a person or a script goes on.
COUNT_TIMEOUT: Final = 1.0
#: A write must not wait for longer behind another one. Before the first query of the transaction;
#: what has been committed meanwhile must be seen.
BEGIN: Final = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '5s'"


def look_at(
    run: Run, *, viewer: HasPermissions | None = None, timeout: float = COUNT_TIMEOUT
) -> Look:
    """Returns what an action would do. Counts users for at most `timeout` seconds.

    A `viewer` who may not view users gets rounded numbers. Neither locks nor writes. Raises
    FlagstaffError if the action is not possible.
    """
    action = run.action
    if action.look is not None:
        [key] = run.keys
        look = action.look(key, viewer=viewer, **run.arguments)
        reaches = look.reaches
        rules = [row.rules for row in look.rows if not isinstance(row, type)]
        return replace(
            look,
            app_row=run.app_row,
            write=run.write,
            # An approval shows the look at another action.
            reached_by=reaches_nothing if reaches is None else lambda _written: reaches(),
            rules=rules,
            # One that counts users has read it before.
            footprint=look.footprint or footprint_of(Impact([], []), rules),
        )
    # Before the preview: then newer changes are a conflict.
    versions = run.versions()
    look = look_at_changes(run.preview(), run.write, viewer=viewer, timeout=timeout)
    look = replace(look, expected=versions, rows=run.rows or [cast("Kind", action.kind).model])
    look = _asked(run, look)
    return look if action.about is None else action.about(run, look)


def _asked(run: Run, look: Look) -> Look:
    """Returns a look with what is asked before this action of rows with a history."""
    action, keys = run.action, [*run.keys]
    if action.deletes:
        deleted = [Line(row.key, "", after_deletion(row)) for row in run.rows]
        asks, question = bool(run.rows), f"Delete {some(keys)}?"
        return replace(
            look,
            lines=deleted,
            asks=asks,
            asks_always=asks,
            question=question,
            typed=text_for_many(keys),
        )
    notes = [sentence(change.kept_by_rules) for change in look.changed if change.kept_by_rules]
    if action.creates and (similar := case_variants(cast("Kind", action.kind).model, keys[0])):
        notes.append(
            say(
                "Keys are case-sensitive: “{key}” differs only in case from {keys}.",
                key=keys[0],
                keys=local_list(map(quoted, similar)),
            ).local
        )
    asks = action.is_asked_about(run.arguments) and (
        any(change.kept_by_rules for change in look.changed)
        or needs_question(look.impact, action.asks_from)
    )
    return replace(look, notes=notes, asks=asks, typed=look.typed if asks else "")


def look_at_changes(
    changed: Sequence[Changed],
    write: Callable[[Mapping[Any, Any]], Written],
    *,
    viewer: HasPermissions | None = None,
    timeout: float = COUNT_TIMEOUT,
) -> Look:
    """Returns what changes that were previewed would do."""
    effects = reached(*sides_of(changed))
    # Before the count: what changes meanwhile is a difference then.
    footprint = footprint_of(effects)
    impact = count_users(effects, timeout=timeout, viewer=viewer)
    return Look(
        write,
        changed=changed,
        impact=impact,
        consequence=consequence_of(impact),
        asks=needs_question(impact, Consequence.FEWER),
        typed=text_to_type(impact),
        reached_by=_reached_by_changes,
        footprint=footprint,
    )


def look_after(written: Written, *, viewer: HasPermissions | None = None) -> Look | None:
    """Returns what was done without a look, to rows with a history that others depend on.

    At 0 %, a flag with rules gives users what asks for it to be off. Counts users for at most
    `COUNT_TIMEOUT` seconds. Neither locks nor writes; without a look if the database fails.
    """
    changed = [done for done in written if isinstance(done, Changed)]
    with suppress(Error), db.atomic():
        effects = reached(*sides_of(changed))
        if effects.uses:
            impact = count_users(effects, viewer=viewer, timeout=COUNT_TIMEOUT)
            return Look(changed=changed, impact=impact)
    return None


def look_at_undo(
    entries: Sequence[Change],
    rows: Sequence[Undone],
    *,
    without: Collection[str] = (),
    skip_conflicts: bool = False,
    viewer: HasPermissions | None = None,
) -> Look:
    """Returns what an undo would do, of which `rows` are the preview with the same options.

    Counts users. Neither locks nor writes.
    """

    def write(expected: Mapping[Any, Any]) -> list[Changed]:
        done = undo(entries, skip_conflicts=skip_conflicts, without=without, expect=expected)
        return [row.changed for row in done if row.changed is not None]

    changed = [row.changed for row in rows if row.changed is not None]
    look = look_at_changes(changed, write, viewer=viewer)
    return replace(look, expected={row.id: row.version for row in rows})


def _reached_by_changes(written: Written) -> Impact:
    return reached(*sides_of(cast("Sequence[Changed]", written)))


def seen_by(look: Look, viewer: HasPermissions) -> Look:
    """Returns a look as a person sees it, who may not be one who may view users."""
    return look if may_see_users(viewer) else rough(look)


def rough(look: Look) -> Look:
    """Returns a look without exact numbers, as those see it who may not view users.

    Of rows with a history, so is the consequence: it would say whether one user matches.
    """
    impact = rounded(look.impact)
    consequence = consequence_of(impact) if look.changed else look.consequence
    at_once = None if look.at_once is None else rounded(look.at_once)
    return replace(look, impact=impact, consequence=consequence, at_once=at_once)


def commit(
    look: Look,
    *,
    finish: Callable[[Written], object] | None = None,
    require_rights: Callable[[Impact], object] | None = None,
) -> Written:
    """Writes what a look has shown, all or nothing, and returns what was written.

    As the last thing before the commit, what the look stands on is read again, and
    `require_rights` is asked about all that the change reaches. `finish` writes what belongs to it
    before. Waits at most five seconds for each lock.

    Raises ConflictError if what decides has changed meanwhile, BusyError after a wait, and what the
    action raises.
    """
    with _transaction():
        written = look.write(look.expected)
        if finish is not None:
            finish(written)
        compare_alone()
        present = look.reached_by(written)
        if require_rights is not None:
            require_rights(present)
        require_same(look.footprint, footprint_of(present, look.rules), present)
    return written


@contextmanager
def _transaction() -> Iterator[None]:
    is_outermost = db.is_postgresql and not db.connection.in_atomic_block
    with block_of_change():
        if is_outermost:
            with db.connection.cursor() as cursor:
                cursor.execute(BEGIN)
        yield
