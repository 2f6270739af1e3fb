"""Prints a change: its messages, the command that undoes it, and the document for `--json`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from django.db import Error, transaction

from flagstaff._tables.rows import find_row
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._words.cells import Record
from flagstaff.changes.changed import Changed, Undo, WrittenChange, as_written, combined_undo
from flagstaff.changes.consequence import row_text, summary_text, use_texts
from flagstaff.changes.impact import Impact, impact_of_changes, states_of
from flagstaff.changes.segment_use import SegmentUse
from flagstaff.cli.support.change_messages import change_messages
from flagstaff.cli.support.flag_records import flag_record, flag_summary
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.verb import Options
from flagstaff.cli.support.wait import finish
from flagstaff.conf import conf
from flagstaff.history.describe import Names
from flagstaff.history.kinds import Kind

# The verb whose arguments are users.
_ALLOW = "allow"
# Seconds, because a dry run has to be quick.
_TIMEOUT = 2.0
# The flags, values and experiments that a message lists.
_MAX_USES = 50


def report_flag_change(changed: Changed, out: Output, options: Options) -> None:
    """Prints a change of a flag, and which users have the flag now. Reads the flag."""
    _print_change(changed, out)
    document = _print_flag(changed, out)
    finish(document, out, options, written=changed.written)


def report_flag_changes(changes: Sequence[Changed], out: Output, options: Options) -> None:
    """Prints the changes of several flags in one transaction, as `report_flag_change` does."""
    names, documents = readable_names_of_users(map(as_written, changes)), []
    undo = combined_undo(changes)
    for changed in changes:
        _print_messages(changed, names, out)
        if undo is None:
            # Without a history, each change is undone by itself.
            report_undo(changed.undo, out)
        documents.append(_print_flag(changed, out, prefix=f"{changed.key}: "))
    report_undo(undo, out)
    _finish_all(documents, undo, out, options)


def _print_flag(changed: Changed, out: Output, prefix: str = "") -> Record:
    """Prints which users have the flag now. Returns the document of the change."""
    flag, allowed = find_row(conf.flag_model, changed.key), None
    if out.is_dry_run and changed.written:
        _, after = states_of(Kind.FLAG, changed, flag)
        flag, allowed = after.row, after.allowed_users
    no_flag = f"{changed.key}: the flag no longer exists"
    summary = None if flag is None else flag_summary(flag_record(flag, allowed))
    out.message(no_flag if summary is None else f"{prefix}{summary}")
    return {**_document(changed), **_print_impact(Kind.FLAG, changed, out)}


def report_change(changed: Changed, out: Output, options: Options) -> None:
    """Prints a change of a value; of a dry run also how many users would get another one."""
    _print_change(changed, out)
    impact = _print_impact(Kind.VALUE, changed, out)
    document = {**_document(changed), "kept_by_rules": changed.kept_by_rules, **impact}
    finish(document, out, options, written=changed.written)


def report_segment_change(
    changed: Changed, out: Output, options: Options, *, more: Record | None = None
) -> None:
    """Prints a change of a segment; of a dry run also what uses it, with the users.

    `more` are further members of the document.
    """
    _print_change(changed, out)
    impact = _print_impact(Kind.SEGMENT, changed, out)
    document = {**_document(changed), **impact, **(more or {})}
    finish(document, out, options, written=changed.written)


def report_changes(
    changes: Sequence[Changed], out: Output, options: Options, *, more: Record | None = None
) -> None:
    """Prints the changes of one transaction, and the command that undoes all of them.

    `more` are further members of the document.
    """
    print_changes(changes, out)
    undo = combined_undo(changes)
    report_undo(undo, out)
    _finish_all([_document(changed) for changed in changes], undo, out, options, more)


def print_changes(changes: Sequence[Changed], out: Output) -> None:
    """Prints the old and the new values."""
    names = readable_names_of_users(map(as_written, changes))
    for changed in changes:
        _print_messages(changed, names, out)


def _finish_all(
    documents: Sequence[Record],
    undo: Undo | None,
    out: Output,
    options: Options,
    more: Record | None = None,
) -> None:
    arguments = None if undo is None else undo.arguments
    written = any(document["changed"] for document in documents)
    finish({"changes": documents, "undo": arguments, **(more or {})}, out, options, written=written)


def report_undo(undo: Undo | None, out: Output) -> None:
    """Prints the command that undoes a change, if there is one."""
    # There is nothing to undo after a dry run.
    if undo and not out.is_dry_run:
        out.message(f"undo: {undo.command}")


def _print_impact(kind: Kind, changed: Changed, out: Output) -> Record:
    """Prints what a dry run means for users. Returns the members of the document."""
    if not out.is_dry_run:
        return {}
    found = impact_of_changes([(kind, changed)], timeout=_TIMEOUT)
    for line in impact_lines(found):
        out.message(line)
    own = found.get((kind, changed.key))
    document = None if own is None else own.as_dict()
    if found.uses:
        uses = [_use(found, use) for use in found.uses]
        document = {"different_users": found.changed, "uses": uses}
    return {"impact": document}


def _use(found: Impact, use: SegmentUse) -> Record:
    effect = found.get((use.kind, use.key))
    return {
        "kind": use.kind.value if use.kind else str(use.model._meta.verbose_name),
        "key": use.key,
        "active": use.is_active,
        "impact": None if effect is None else effect.as_dict(),
    }


def impact_lines(found: Impact) -> Iterator[str]:
    """Yields a line for each of the first rows that use a changed segment, then the sentences."""
    for use in found.uses[:_MAX_USES]:
        before, after = use_texts(found, use)
        users = after if before in {"", after} else f"{before} → {after}"
        yield f"{use.label}: {users}"
    if (more := len(found.uses) - _MAX_USES) > 0:
        yield f"and {more:,} more"
    for key in found.rows:
        if key in found:
            yield f"{key[1]}: {row_text(found, key)}"
    if found.uses:
        segments = (key for kind, key in found.rows if kind is Kind.SEGMENT)
        yield f"{', '.join(segments)}: {summary_text(found)}"


def _print_change(changed: Changed, out: Output) -> None:
    names = readable_names_of_users([as_written(changed)])
    _print_messages(changed, names, out)
    report_undo(changed.undo and _with_names(changed.undo, names), out)


def _print_messages(changed: Changed, names: Names, out: Output) -> None:
    for text in change_messages(changed, names):
        out.message(text)


def readable_names_of_users(changes: Iterable[WrittenChange]) -> Names:
    """Returns the added and removed users as arguments name them; none if users are not readable.

    Queries the users.
    """
    pks = {pk for written in changes for pk in (*written.added.pks, *written.removed.pks)}
    if not pks:
        return {}
    table = allowed_user_table()
    try:
        with transaction.atomic(using=table.database):
            return {str(pk): name for pk, name in table.argument_names(pks).items()}
    except Error:
        return {}


def _with_names(undo: Undo, names: Names) -> Undo:
    """Returns the command with usernames, if it takes users."""
    verb, *_ = undo.arguments
    if verb != _ALLOW:
        return undo
    _, key, *users = undo.arguments
    return Undo((verb, key, *(names.get(user, user) for user in users)))


def _document(changed: Changed) -> Record:
    return {
        "key": changed.key,
        "field": changed.field or None,
        "old": _masked(changed, changed.old),
        "new": _masked(changed, changed.new),
        "changed": changed.written,
        "version": changed.version,
        "undo": None if changed.undo is None else changed.undo.arguments,
        "skipped_users": changed.missing,
    }


def _masked(changed: Changed, side: object) -> object:
    """Returns one side of a change, with null in the place of a secret value."""
    if changed.hides(changed.field):
        return None
    if not changed.secret or not isinstance(side, dict):
        return side
    return {name: None if changed.hides(name) else value for name, value in side.items()}
