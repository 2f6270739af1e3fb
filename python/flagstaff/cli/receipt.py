"""What a verb has written: its texts and its document, and the receipt of the workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.core.management.base import CommandError
from django.db import Error, transaction

from flagstaff._engine import forced_off
from flagstaff._tables.flag_states import FlagState, state_summary
from flagstaff._tables.group_lookup import missing_groups
from flagstaff._tables.model_fields import RULES
from flagstaff._tables.rows import case_variants
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._words.cells import Record
from flagstaff._words.rule_parts import groups_of
from flagstaff._words.text import MAX_VALUE, some
from flagstaff._workers.wait import forbid_transaction, wait_for_workers
from flagstaff._workers.words import propagation_messages
from flagstaff.actions import Done
from flagstaff.changes.allowed_users import count_allowed_users
from flagstaff.changes.changed import Changed, combined_undo, quoted_command
from flagstaff.changes.consequence import impact_lines
from flagstaff.changes.row_states import Impact
from flagstaff.cli.errors import UNCONFIRMED, UNVERIFIABLE, USAGE
from flagstaff.cli.options import DEFAULT_WAIT
from flagstaff.cli.output import Output
from flagstaff.cli.verb import Options
from flagstaff.conf import conf
from flagstaff.exceptions import PropagationError
from flagstaff.history.describe import Names, describe_change, describe_value, field_label
from flagstaff.history.kinds import Kind

# Seconds for the count of users, because a dry run has to be quick.
_TIMEOUT = 2.0
_FORCED = f"In this process it is forced off by {forced_off.VARIABLE}."
# What only a committed change has.
_COMMITTED = ("version", "undo")


# The report of changed rows.


def report(rows: Sequence[Changed], out: Output, *, undone: Record | None = None) -> Done:
    """Returns what changes of one transaction were, and which users have the flags now.

    Of a dry run, it also says who gains and who loses. `undone` are further members of the document
    of an undo of any rows.
    """
    is_single, found = undone is None and len(rows) == 1, None
    if out.is_dry_run:
        # A kill does not need it.
        from flagstaff.changes.impact import impact_of_changes  # noqa: PLC0415

        found = impact_of_changes(rows, timeout=_TIMEOUT)
    combined = None if is_single else combined_undo(rows)
    texts, names = list[str](), names_of_users(rows)
    for changed in rows:
        texts += _texts(changed, names)
        if combined is None and changed.undo and not out.is_dry_run:
            # Of several changes, one is of a secret value, which nothing undoes.
            texts.append(f"undo: {changed.undo.command}")
        if changed.kind is Kind.FLAG and undone is None:
            texts.append(_state(changed.key, found, is_single=is_single))
    texts += () if found is None else impact_lines(found)
    texts += (text for changed in rows for text in _warnings(changed))
    documents = [_document(changed, found) for changed in rows]
    document = documents[0] if is_single else {"changes": documents, **(undone or {})}
    return Done("", texts, document, combined, any(changed.written for changed in rows))


def texts_of(changes: Sequence[Changed]) -> list[str]:
    """Returns the old and the new values."""
    names = names_of_users(changes)
    return [text for changed in changes for text in _texts(changed, names)]


def names_of_users(changes: Iterable[Changed]) -> Names:
    """Returns the added and removed users as arguments name them; none if users are not readable.

    Queries the users.
    """
    pks = {pk for changed in changes for pk in (*changed.added.pks, *changed.removed.pks)}
    if not pks:
        return {}
    table = allowed_user_table()
    try:
        with transaction.atomic(using=table.database):
            return {str(pk): name for pk, name in table.argument_names(pks).items()}
    except Error:
        return {}


def flag_summary(flag: Any, allowed: int) -> str:
    """Returns the sentence that says which users have a flag."""
    summary = state_summary(FlagState.of(flag), allowed)
    return f"{summary} {_FORCED}" if flag.key in forced_off.keys else summary


def _texts(changed: Changed, names: Names) -> Iterator[str]:
    """Yields what was changed, as the history describes it, and which users were skipped."""
    if changed.written:
        text: str = describe_change(changed, names, limit=MAX_VALUE)
    elif changed.new is None:
        text = "already deleted"
    elif len(changed.new) != 1:
        text = "already up to date"
    else:
        [(name, value)] = changed.new.items()
        value = describe_value(value, field=name, secret=changed.hides(name), limit=MAX_VALUE)
        text = f"{field_label(name)} is already {value}"
    yield f"{changed.key}: {text}"
    if changed.kept_by_rules:
        yield f"{changed.key}: {changed.kept_by_rules}"
    if changed.missing:
        yield f"skipped users that do not exist: {some(changed.missing)}"


def _state(key: str, found: Impact | None, *, is_single: bool) -> str:
    """Returns which users have the flag now, or after what a dry run would do."""
    row, users = Kind.FLAG.find(key), None
    if found is not None and (after := found.after.get((Kind.FLAG, key))):
        row, users = after.row, after.allowed_users
    if row is None:
        return f"{key}: the flag no longer exists"
    text = flag_summary(row, count_allowed_users(row) if users is None else len(users))
    return text if is_single else f"{key}: {text}"


def _warnings(changed: Changed) -> Iterator[str]:
    """Yields what a person may not have meant. Queries keys and groups."""
    new = changed.new or {}
    if missing := missing_groups(groups_of(new.get(RULES, new.get("conditions"))), conf.database):
        names = some(
            f"{name!r} (did you mean {similar!r}?)" if similar else repr(name)
            for name, similar in missing.items()
        )
        yield f"groups that do not exist: {names}; create them, or correct their names"
    is_new = changed.written and changed.action == "create"
    if is_new and (similar := case_variants(changed.kind.model, changed.key)):
        keys = some(map(repr, similar))
        yield f"keys are case-sensitive: {changed.key!r} differs from {keys} only in case"


def _document(changed: Changed, found: Impact | None) -> Record:
    document = {
        "key": changed.key,
        "old": _masked(changed, changed.old),
        "new": _masked(changed, changed.new),
        "changed": changed.written,
        "version": changed.version,
        "undo": changed.undo and changed.undo.arguments,
        "skipped_users": changed.missing,
    }
    if changed.kind is Kind.VALUE:
        document["kept_by_rules"] = changed.kept_by_rules
    if found is None:
        return document
    impact = found.as_dict(changed.kind, changed.key)
    return {**document, **dict.fromkeys(_COMMITTED), "impact": impact}


def _masked(changed: Changed, side: Mapping[str, Any] | None) -> Record | None:
    """Returns one side of a change, with null in the place of a secret value."""
    if side is None:
        return None
    return {name: None if changed.hides(name) else value for name, value in side.items()}


# The end of a verb that writes.


def finish(done: Done, options: Options, out: Output) -> None:
    """Prints what a verb has written, and the command that undoes it; waits if wanted.

    Blocks up to the seconds of --wait. Raises CommandError if not every worker has confirmed the
    change, or the present state.
    """
    out.messages([*done.notes, *done.messages])
    document, problem, undo = {"undo": None, **done.record}, done.problem, done.undo
    if out.is_dry_run:
        # There is nothing to undo.
        document |= {name: None for name in _COMMITTED if name in document}
        document["dry_run"] = True
    else:
        if undo and done.instead:
            # A person must not expect more of it.
            out.message(f"{done.key}: {quoted_command(*undo.arguments)} {done.instead}")
        elif undo:
            document["undo"] = undo.arguments
            out.message(f"undo: {undo.command}")
        if _waits(options, out):
            document["propagation"], unconfirmed = _wait(options, out, written=done.written)
            problem = unconfirmed or problem
    if out.is_json:
        out.document(document)
    if problem:
        raise problem


def check_wait(options: Options) -> None:
    """Raises PropagationError if a wait is wanted inside a transaction. Call it before the change.

    Workers do not see a change before it is committed.
    """
    if options.get("no_wait") and options["expect"] is not None:
        raise CommandError("--no-wait cannot be combined with --expect", returncode=USAGE)
    if _is_wanted(options) and not options.get("dry_run"):
        forbid_transaction()


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
