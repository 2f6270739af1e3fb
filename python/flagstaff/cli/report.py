"""Prints a change: its messages, the command that undoes it, and the document for `--json`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.db import Error, transaction

from flagstaff._engine import forced_off
from flagstaff._stored_value_schema import RULES, VALUE
from flagstaff._tables.bucket_units import BUCKET_BY
from flagstaff._tables.flag_states import FlagState, state_summary
from flagstaff._tables.group_lookup import missing_groups
from flagstaff._tables.rows import case_variants
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._words.cells import Record
from flagstaff._words.rule_parts import groups_of
from flagstaff._words.similar import with_similar
from flagstaff._words.text import MAX_VALUE, some
from flagstaff._words.value_schema import type_of
from flagstaff.actions import Done
from flagstaff.changes.allowed_users import ALLOWED, count_allowed_users
from flagstaff.changes.changed import (
    Changed,
    Undo,
    WrittenChange,
    as_written,
    combined_undo,
    quoted_command,
)
from flagstaff.changes.consequence import impact_lines
from flagstaff.changes.impact import Impact, impact_of_changes
from flagstaff.cli.output import Output
from flagstaff.cli.verb import Options
from flagstaff.cli.wait import finish
from flagstaff.conf import conf
from flagstaff.history.describe import Names, describe_change, describe_value, field_label
from flagstaff.history.kinds import Kind
from flagstaff.history.log import entries_of_key

# The verbs whose arguments are users.
_USERS = {"allow", "disallow"}
# Seconds, because a dry run has to be quick.
_TIMEOUT = 2.0
_GONE = "the flag no longer exists"
_FORCED = f"In this process it is forced off by {forced_off.VARIABLE}."
# What a new bucketing unit does.
_REASSIGNED = (
    "the new unit reassigns every user; where a percentage decides, some users get another result"
)


def report(kind: Kind, changes: Sequence[Changed], out: Output, options: Options) -> None:
    """Prints the changes of rows of one kind in one transaction, and what they mean now.

    Reads flags: which users have them now. Of a dry run, it also says who gains and who loses.
    """
    found = None
    if out.is_dry_run:
        found = impact_of_changes(((kind, one) for one in changes), timeout=_TIMEOUT)
    names, is_single = readable_names_of_users(map(as_written, changes)), len(changes) == 1
    undo = None if is_single else combined_undo(changes)
    for changed in changes:
        _print_messages(changed, names, out)
        if undo is None:
            # Without a history, each change is undone by itself.
            report_undo(changed.undo and _with_names(changed.undo, names), out)
        if kind is Kind.FLAG:
            state = _state(changed.key, found)
            out.message(state if state and is_single else f"{changed.key}: {state or _GONE}")
    for line in () if found is None else impact_lines(found):
        out.message(line)
    for text in (text for changed in changes for text in _warnings(kind, changed)):
        out.message(text)
    documents = [_document(kind, changed, found) for changed in changes]
    if is_single:
        finish(documents[0], out, options, written=changes[0].written)
    else:
        report_undo(undo, out)
        _finish_all(documents, undo, out, options)


def report_done(done: Done, out: Output, options: Options) -> None:
    """Prints what an action did to a row without a history, and the command that takes it back."""
    for text in done.messages:
        out.message(text)
    report_undo(done.undo, out)
    arguments = None if done.undo is None else done.undo.arguments
    finish({**done.record, "undo": arguments}, out, options, written=done.written)


def flag_summary(flag: Any, allowed: int) -> str:
    """Returns the sentence that says which users have a flag."""
    summary = state_summary(FlagState.of(flag), allowed)
    is_forced = flag.key in forced_off.keys
    return f"{summary} {_FORCED}" if is_forced else summary


def _state(key: str, found: Impact | None) -> str:
    """Returns which users have the flag now, or after what a dry run would do; "" without it."""
    row, users = Kind.FLAG.find(key), None
    if found is not None:
        after = found.after.get((Kind.FLAG, key))
        row, users = (None, None) if after is None else (after.row, after.allowed_users)
    if row is None:
        return ""
    return flag_summary(row, count_allowed_users(row) if users is None else len(users))


def _warnings(kind: Kind, changed: Changed) -> Iterator[str]:
    """Yields what a person may not have meant. Queries keys and groups."""
    old, new = (
        {changed.field: side} if changed.field else side or {}
        for side in (changed.old, changed.new)
    )
    if missing := missing_groups(groups_of(new.get(RULES, new.get("conditions"))), conf.database):
        names = some(with_similar(*one) for one in missing.items())
        yield f"groups that do not exist: {names}; create them, or correct their names"
    if changed.kept_by_rules:
        yield (
            "to give all users the new value: manage.py flags value set-for-everyone "
            f"{changed.key} JSON"
        )
    if not changed.written:
        return
    if kind is Kind.VALUE and not changed.secret and None not in (old.get(VALUE), new.get(VALUE)):
        before, after = type_of(old[VALUE]), type_of(new[VALUE])
        if before != after:
            yield (
                f"warning: the type of {changed.key} has changed from {before} to {after}; "
                "code that reads it may fail"
            )
    if changed.old is None and changed.new is not None:
        entries = entries_of_key(kind, changed.key)
        # Without a history, there is no version.
        if changed.version and entries.filter(id__lt=changed.version).exists():
            history = quoted_command("history", changed.key)
            yield f"a {kind.value} with this key existed before; see {history}"
        if similar := case_variants(kind.model, changed.key):
            keys = some(map(repr, similar))
            yield f"keys are case-sensitive: {changed.key!r} differs from {keys} only in case"


def report_changes(
    changes: Sequence[Changed], out: Output, options: Options, *, more: Record | None = None
) -> None:
    """Prints the changes of one transaction, and the command that undoes all of them.

    `more` are further members of the document.
    """
    print_changes(changes, out)
    undo = combined_undo(changes)
    report_undo(undo, out)
    _finish_all([_document(None, changed, None) for changed in changes], undo, out, options, more)


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
    written = any(document["changed"] for document in documents)
    document = {"changes": documents, "undo": undo and undo.arguments, **(more or {})}
    finish(document, out, options, written=written)


def report_undo(undo: Undo | None, out: Output) -> None:
    """Prints the command that undoes a change, if there is one."""
    # There is nothing to undo after a dry run.
    if undo and not out.is_dry_run:
        out.message(f"undo: {undo.command}")


def _print_messages(changed: Changed, names: Names, out: Output) -> None:
    for text in _messages(changed, names):
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
    if verb not in _USERS:
        return undo
    _, key, *users = undo.arguments
    return Undo((verb, key, *(names.get(user, user) for user in users)))


def _document(kind: Kind | None, changed: Changed, found: Impact | None) -> Record:
    document = {
        "key": changed.key,
        "field": changed.field or None,
        "old": _masked(changed, changed.old),
        "new": _masked(changed, changed.new),
        "changed": changed.written,
        "version": changed.version,
        "undo": changed.undo and changed.undo.arguments,
        "skipped_users": changed.missing,
    }
    if kind is Kind.VALUE:
        document["kept_by_rules"] = changed.kept_by_rules
    return document if found is None else {**document, "impact": found.as_dict(kind, changed.key)}


def _masked(changed: Changed, side: object) -> object:
    """Returns one side of a change, with null in the place of a secret value."""
    if changed.hides(changed.field):
        return None
    if not changed.secret or not isinstance(side, dict):
        return side
    return {name: None if changed.hides(name) else value for name, value in side.items()}


def _messages(changed: Changed, names: Names) -> Iterator[str]:
    """Yields what was changed, as the history describes it, and which users were skipped."""
    if not changed.written:
        yield f"{changed.key}: {_up_to_date(changed)}"
    else:
        written = as_written(changed)
        yield f"{changed.key}: {describe_change(written, names, limit=MAX_VALUE)}"
        if written.action == "change" and any(
            difference.field == BUCKET_BY for difference in written.differences
        ):
            yield f"{changed.key}: {_REASSIGNED}"
    if changed.kept_by_rules:
        yield f"{changed.key}: {changed.kept_by_rules}"
    if changed.missing:
        yield f"skipped users that do not exist: {some(changed.missing)}"


def _up_to_date(changed: Changed) -> str:
    name = changed.field
    if not name:
        return "already deleted" if changed.new is None else "already up to date"
    if name == ALLOWED:
        return "the allowed users are already up to date"
    hidden = changed.hides(name)
    value = describe_value(changed.new, field=name, secret=hidden, limit=MAX_VALUE)
    return f"{field_label(name)} is already {value}"
