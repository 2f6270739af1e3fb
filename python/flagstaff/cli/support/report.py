"""Prints a change: its messages, the command that undoes it, and the document for `--json`."""

from __future__ import annotations

from collections.abc import Sequence

from flagstaff._tables.rows import find_row
from flagstaff.changes import Changed, Undo, combined_undo
from flagstaff.cli.support.cells import Record
from flagstaff.cli.support.change_messages import VALUE, change_messages
from flagstaff.cli.support.flag_records import flag_record, flag_summary
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.verb import Options
from flagstaff.cli.support.wait import finish
from flagstaff.conf import conf

__all__ = ["report_changes", "report_flag_change", "report_undo", "report_value_change"]


def report_flag_change(changed: Changed, out: Output, options: Options) -> None:
    """Prints a change of a flag, and which users have the flag now. Reads the flag."""
    _print_change(changed, out)
    flag = find_row(conf.flag_model, changed.key)
    no_flag = f"{changed.key}: the flag no longer exists"
    out.message(no_flag if flag is None else flag_summary(flag_record(flag)))
    finish(_document(changed), out, options, written=changed.written)


def report_value_change(changed: Changed, out: Output, options: Options) -> None:
    """Prints a change of a value."""
    _print_change(changed, out)
    finish(_document(changed), out, options, written=changed.written)


def report_changes(changes: Sequence[Changed], out: Output, options: Options) -> None:
    """Prints the changes of one transaction, and the command that undoes all of them."""
    for changed in changes:
        for text in change_messages(changed):
            out.message(text)
    undo = combined_undo(changes)
    report_undo(undo, out)
    arguments = None if undo is None else undo.arguments
    documents = [_document(changed) for changed in changes]
    written = any(changed.written for changed in changes)
    finish({"changes": documents, "undo": arguments}, out, options, written=written)


def report_undo(undo: Undo | None, out: Output) -> None:
    """Prints the command that undoes a change, if there is one."""
    if undo:
        out.message(f"undo: {undo.command}")


def _print_change(changed: Changed, out: Output) -> None:
    for text in change_messages(changed):
        out.message(text)
    report_undo(changed.undo, out)


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
    if not changed.secret:
        return side
    if changed.field == VALUE:
        return None
    return {**side, VALUE: None} if isinstance(side, dict) and VALUE in side else side
