"""What follows a change: its messages, the undo, the receipt of the workers, and the document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.core.management.base import CommandError
from django.db import Error, transaction

from flagstaff._engine import forced_off
from flagstaff._stored_value_schema import VALUE
from flagstaff._tables.bucket_units import BUCKET_BY
from flagstaff._tables.flag_states import FlagState, state_summary
from flagstaff._tables.group_lookup import missing_groups
from flagstaff._tables.model_fields import RULES
from flagstaff._tables.rows import case_variants
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._words.cells import Record
from flagstaff._words.rule_parts import groups_of
from flagstaff._words.text import MAX_VALUE, some
from flagstaff._words.value_schema import type_of
from flagstaff._workers.wait import forbid_transaction, wait_for_workers
from flagstaff._workers.words import propagation_messages
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
from flagstaff.cli.errors import UNCONFIRMED, UNVERIFIABLE, USAGE
from flagstaff.cli.options import DEFAULT_WAIT
from flagstaff.cli.output import Output
from flagstaff.cli.verb import Options
from flagstaff.conf import conf
from flagstaff.exceptions import PropagationError
from flagstaff.history.describe import Names, describe_change, describe_value, field_label
from flagstaff.history.kinds import Kind
from flagstaff.history.log import entries_of_key

#: What was changed: the kind of each row, and the change.
Changes = Sequence[tuple[Kind, Changed]]

# The verbs whose arguments are users.
_USERS = {"allow", "disallow"}
# Seconds, because a dry run has to be quick.
_TIMEOUT = 2.0
_FORCED = f"In this process it is forced off by {forced_off.VARIABLE}."
# What a new bucketing unit does.
_REASSIGNED = (
    "the new unit reassigns every user; where a percentage decides, some users get another result"
)
# What only a committed change has.
_COMMITTED = dict.fromkeys(("version", "undo"))


def report(
    changes: Changes, out: Output, options: Options, *, undone: Record | None = None
) -> None:
    """Prints the changes of one transaction, and what they mean now.

    Reads flags: which users have them now. Of a dry run, it also says who gains and who loses.
    `undone` are the further members of the document of an undo of any rows.
    """
    is_single = undone is None and len(changes) == 1
    found = impact_of_changes(changes, timeout=_TIMEOUT) if out.is_dry_run else None
    undo = None if is_single else combined_undo(changed for _kind, changed in changes)
    names = readable_names_of_users(as_written(changed) for _kind, changed in changes)
    for kind, changed in changes:
        out.messages(_texts(changed, names))
        if undo is None:
            # Without a history, each change is undone by itself.
            report_undo(changed.undo and _with_names(changed.undo, names), out)
        if kind is Kind.FLAG and undone is None:
            out.message(_state(changed.key, found, is_single=is_single))
    out.messages(() if found is None else impact_lines(found))
    out.messages(text for kind, changed in changes for text in _warnings(kind, changed))
    report_undo(undo, out)
    documents = [_document(kind, changed, found) for kind, changed in changes]
    document = {"changes": documents, "undo": undo and undo.arguments, **(undone or {})}
    written = any(changed.written for _kind, changed in changes)
    finish(documents[0] if is_single else document, out, options, written=written)


def report_done(done: Done, out: Output, options: Options) -> None:
    """Prints what an action did to a row without a history, and the command that takes it back."""
    out.messages([*done.notes, *done.messages])
    undo = done.undo
    if undo and done.instead:
        # A person must not expect more of it.
        out.message(f"{done.key}: {quoted_command(*undo.arguments)} {done.instead}")
        undo = None
    report_undo(undo, out)
    document = {**done.record, "undo": undo and undo.arguments}
    finish(document, out, options, written=done.written)


def report_undo(undo: Undo | None, out: Output) -> None:
    """Prints the command that undoes a change, if there is one."""
    # There is nothing to undo after a dry run.
    if undo and not out.is_dry_run:
        out.message(f"undo: {undo.command}")


def print_changes(changes: Changes, out: Output) -> None:
    """Prints the old and the new values."""
    names = readable_names_of_users(as_written(changed) for _kind, changed in changes)
    for _kind, changed in changes:
        out.messages(_texts(changed, names))


# What was changed.


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
    verb, key, *users = undo.arguments
    return Undo((verb, key, *(names.get(one, one) for one in users))) if verb in _USERS else undo


def _texts(changed: Changed, names: Names) -> Iterator[str]:
    """Yields what was changed, as the history describes it, and which users were skipped."""
    text, written = _up_to_date(changed), as_written(changed)
    if changed.written:
        text = describe_change(written, names, limit=MAX_VALUE)
    yield f"{changed.key}: {text}"
    is_update = changed.written and written.action == "change"
    if is_update and any(one.field == BUCKET_BY for one in written.differences):
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


def flag_summary(flag: Any, allowed: int) -> str:
    """Returns the sentence that says which users have a flag."""
    summary = state_summary(FlagState.of(flag), allowed)
    return f"{summary} {_FORCED}" if flag.key in forced_off.keys else summary


def _state(key: str, found: Impact | None, *, is_single: bool) -> str:
    """Returns which users have the flag now, or after what a dry run would do."""
    row, users = Kind.FLAG.find(key), None
    if found is not None and (after := found.after.get((Kind.FLAG, key))):
        row, users = after.row, after.allowed_users
    if row is None:
        return f"{key}: the flag no longer exists"
    text = flag_summary(row, count_allowed_users(row) if users is None else len(users))
    return text if is_single else f"{key}: {text}"


def _warnings(kind: Kind, changed: Changed) -> Iterator[str]:
    """Yields what a person may not have meant. Queries keys and groups."""
    old, new = (
        {changed.field: side} if changed.field else side or {}
        for side in (changed.old, changed.new)
    )
    if missing := missing_groups(groups_of(new.get(RULES, new.get("conditions"))), conf.database):
        names = some(
            f"{name!r} (did you mean {similar!r}?)" if similar else repr(name)
            for name, similar in missing.items()
        )
        yield f"groups that do not exist: {names}; create them, or correct their names"
    if changed.kept_by_rules:
        command = f"manage.py flags value set-for-everyone {changed.key} JSON"
        yield f"to give all users the new value: {command}"
    if kind is Kind.VALUE and not changed.secret and None not in (old.get(VALUE), new.get(VALUE)):
        before, after = type_of(old[VALUE]), type_of(new[VALUE])
        if before != after:
            yield (
                f"warning: the type of {changed.key} has changed from {before} to {after}; "
                "code that reads it may fail"
            )
    if changed.written and changed.old is None and changed.new is not None:
        entries = entries_of_key(kind, changed.key)
        # Without a history, there is no version.
        if changed.version and entries.filter(id__lt=changed.version).exists():
            history = quoted_command("history", changed.key)
            yield f"a {kind.value} with this key existed before; see {history}"
        if similar := case_variants(kind.model, changed.key):
            keys = some(map(repr, similar))
            yield f"keys are case-sensitive: {changed.key!r} differs from {keys} only in case"


def _document(kind: Kind, changed: Changed, found: Impact | None) -> Record:
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
    if found is None:
        return document
    return {**document, **_COMMITTED, "impact": found.as_dict(kind, changed.key)}


def _masked(changed: Changed, side: object) -> object:
    """Returns one side of a change, with null in the place of a secret value."""
    if changed.hides(changed.field):
        return None
    if not changed.secret or not isinstance(side, dict):
        return side
    return {name: None if changed.hides(name) else value for name, value in side.items()}


# The end of a verb that writes.


def check_wait(options: Options) -> None:
    """Raises PropagationError if a wait is wanted inside a transaction. Call it before the change.

    Workers do not see a change before it is committed.
    """
    if options.get("no_wait") and options["expect"] is not None:
        raise CommandError("--no-wait cannot be combined with --expect", returncode=USAGE)
    if _is_wanted(options) and not options.get("dry_run"):
        forbid_transaction()


def finish(document: Mapping[str, object], out: Output, options: Options, *, written: bool) -> None:
    """Ends a verb that changes something: waits if wanted, and prints the document for --json.

    `written` is False if there was nothing to change. Blocks up to the seconds of --wait. Raises
    CommandError if not every worker has confirmed the change, or the present state.
    """
    problem = None
    if out.is_dry_run:
        gone = {name: None for name in _COMMITTED if name in document}
        document = {**document, **gone, "dry_run": True}
    elif _waits(options, out):
        propagation, problem = _wait(options, out, written=written)
        document = {**document, "propagation": propagation}
    if out.is_json:
        out.document(document)
    if problem:
        raise problem


def _is_wanted(options: Options) -> bool:
    return options.get("wait") is not None or options.get("expect") is not None


def _waits(options: Options, out: Output) -> bool:
    """Whether to wait: with the options, and by default where a commit can be waited for."""
    if _is_wanted(options) or options.get("no_wait", True):
        return _is_wanted(options)
    try:
        forbid_transaction()
    except PropagationError:
        out.message("not waiting for the workers: they see the change after the commit")
        return False
    return True


def _wait(
    options: Options, out: Output, *, written: bool
) -> tuple[dict[str, object], CommandError | None]:
    """Returns what became of a change, and the error if it is not confirmed."""
    state, it = "nothing had to be changed", "the present state"
    if written:
        state, it = "the change is committed", "it"
    timeout = None if options["wait"] == DEFAULT_WAIT else options["wait"]
    try:
        found = wait_for_workers(timeout, expect=options["expect"])
    except PropagationError as error:
        document: dict[str, object] = {"complete": False, "error": str(error)}
        text, status = f"the wait failed: {error}", UNVERIFIABLE
    else:
        out.messages(propagation_messages(found))
        document = found.as_dict()
        if found.complete:
            return document, None
        if found.pending or found.missing:
            workers = "not every worker" if found.applied else "no worker"
            advice = '"manage.py flags workers" shows which are behind'
            text, status = f"{workers} has confirmed {it}; {advice}", UNCONFIRMED
        else:
            why = "some do not report" if found.unreported else "none is registered"
            text, status = f"it is not known which workers have {it}: {why}", UNVERIFIABLE
    return document, CommandError(f"{state}, but {text}", returncode=status)
