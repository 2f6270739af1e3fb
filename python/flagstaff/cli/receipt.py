"""What changes of rows were: their texts and their document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.db import Error, transaction

from flagstaff._engine import forced_off, forced_on
from flagstaff._tables.attributes import doubts
from flagstaff._tables.database import db
from flagstaff._tables.rows import CONDITIONS, RULES, Kind, case_variants, is_stored, present_row
from flagstaff._tables.states import FlagState, ReleaseState, state_of
from flagstaff._tables.user_lookup import allowed_user_table, missing_groups
from flagstaff._text import MAX_VALUE, some
from flagstaff._text.rules import groups_of
from flagstaff._text.times import Record
from flagstaff.actions import Done
from flagstaff.actions.table import Look, Written
from flagstaff.changes.consequence import code_text, flag_text, impact_lines, written_lines
from flagstaff.changes.fields import Changed, combined_undo, command_line, count_allowed_users
from flagstaff.changes.row_states import Impact
from flagstaff.changes.rule_use import notes_of
from flagstaff.cli.output import Output
from flagstaff.conf import conf
from flagstaff.extensions import deciding_code
from flagstaff.history.describe import Names, describe_change, describe_value, field_label

_FORCED_OFF = f"In this process it is forced off by {forced_off.VARIABLE}."
_FORCED_ON = f"In this process it is forced on by {forced_on.VARIABLE}."
#: What only the document of a committed change has.
COMMITTED = ("version", "undo")


def report(
    rows: Sequence[Changed],
    out: Output,
    counted: Impact | None = None,
    *,
    undone: Record | None = None,
    is_counted: bool = False,
) -> Done:
    """Returns what changes of one transaction were, and which users have the flags now.

    `counted` is their impact. Of a dry run, it also says who gains and who loses; if `is_counted`,
    how many users had the flags before, and have them. `undone` are further members of the document
    of an undo of any rows.
    """
    is_single = undone is None and len(rows) == 1
    impact = counted if out.is_dry_run else None
    combined = None if is_single else combined_undo(rows)
    texts, names = list[str](), names_of_users(rows)
    for changed in rows:
        texts += _texts(changed, names)
        if combined is None and changed.undo and not out.is_dry_run:
            # Of several changes, one is of a secret value, which nothing undoes.
            texts.append(f"undo: {changed.undo.command}")
        if changed.kind is Kind.FLAG and undone is None:
            texts += _state(changed, impact, is_single=is_single)
    texts += impact_lines(impact) if impact is not None else ()
    if is_counted and impact is None and counted is not None:
        texts += written_lines(counted)
    texts += (text for changed in rows for text in _warnings(changed))
    ended_texts, waiting = ended(Look(changed=rows), is_done=not out.is_dry_run)
    texts += ended_texts
    documents = [_document(changed, impact) for changed in rows]
    document = documents[0] if is_single else {"changes": documents, **(undone or {})}
    document = {**document, "waiting": waiting}
    return Done("", texts, document, combined, any(changed.written for changed in rows))


def ended(
    look: Look, written: Written = (), *, is_done: bool = False
) -> tuple[list[str], list[Record]]:
    """Returns what waits and would not run after what a look shows, as texts and as records.

    If it is done, with what was `written`, they are those that will not run.
    """
    # A kill does not need it before.
    from flagstaff.waiting.outlook import foresee, would_end  # noqa: PLC0415
    from flagstaff.waiting.stored import action_line, records_of  # noqa: PLC0415

    try:
        with db.atomic():
            ends = foresee(would_end(look, written=written))
            rows = [row for row in ends if row.will_not_run or not is_done]
            records = records_of(rows)
    except Error:
        return [], []
    return [action_line(row, "" if is_done else "would not run") for row in rows], records


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
    summary = flag_text(flag, allowed)
    if forced_on.is_forced_on(flag.key):
        return f"{summary} {_FORCED_ON}"
    return f"{summary} {_FORCED_OFF}" if flag.key in forced_off.keys else summary


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
    if changed.left_out:
        yield f"{changed.key}: left out: {some(changed.left_out)}"


def _state(changed: Changed, impact: Impact | None, *, is_single: bool) -> Iterator[str]:
    """Yields which users have the flag now, or after what a dry run would do."""
    key = changed.key
    row, users = present_row(conf.flag_model, key), None
    if impact is not None and (after := impact.after.get((Kind.FLAG, key))):
        row, users = after.row, after.allowed_users
    if row is None:
        codes = deciding_code([key])
        code = f"; {code_text(codes[key])}" if codes else ""
        yield f"{key}: the flag no longer exists{code}"
        return
    is_counted = users is None and is_stored(row)
    allowed = count_allowed_users(row) if is_counted else len(users or ())
    text = flag_summary(row, allowed)
    yield text if is_single else f"{key}: {text}"
    is_enabled = (changed.new or {}).get("enabled") is True
    if is_enabled and state_of(FlagState.of(row), allowed) is ReleaseState.NO_USERS:
        yield f"give it to all users: {command_line('on', key, '--percent', '100')}"


def _warnings(changed: Changed) -> Iterator[str]:
    """Yields what a person may not have meant. Queries keys and groups."""
    new, old = changed.new or {}, changed.old or {}
    for name in new.keys() & {RULES, CONDITIONS}:
        if not changed.hides(name):
            yield from doubts(new[name], old.get(name))
    if changed.after and new.keys() & {RULES, CONDITIONS, "client_side"}:
        yield from notes_of(changed.after.row)
    if missing := missing_groups(groups_of(new.get(RULES, new.get(CONDITIONS))), db.alias):
        names = some(
            f"{name!r} (did you mean {similar!r}?)" if similar else repr(name)
            for name, similar in missing.items()
        )
        yield f"groups that do not exist: {names}; create them, or correct their names"
    is_new = changed.written and changed.action == "create"
    if is_new and (similar := case_variants(changed.kind.model, changed.key)):
        keys = some(map(repr, similar))
        yield f"keys are case-sensitive: {changed.key!r} differs from {keys} only in case"


def _document(changed: Changed, impact: Impact | None) -> Record:
    document = {
        "key": changed.key,
        "old": _masked(changed, changed.old),
        "new": _masked(changed, changed.new),
        "changed": changed.written,
        "version": changed.version,
        "undo": changed.undo and changed.undo.arguments,
        "skipped_users": changed.missing,
        "left_out": changed.left_out,
    }
    if changed.kind is Kind.VALUE:
        document["kept_by_rules"] = changed.kept_by_rules
    if impact is None:
        return document
    effect = impact.as_dict(changed.kind, changed.key)
    return {**document, **dict.fromkeys(COMMITTED), "impact": effect}


def _masked(changed: Changed, side: Mapping[str, Any] | None) -> Record | None:
    """Returns one side of a change, with null in the place of a secret value."""
    if side is None:
        return None
    return {name: None if changed.hides(name) else value for name, value in side.items()}
