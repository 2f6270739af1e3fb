"""What a change was, and what it means now: its messages, and the document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

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
from flagstaff.actions import Done
from flagstaff.changes.allowed_users import count_allowed_users
from flagstaff.changes.changed import Changed, combined_undo, quoted_command
from flagstaff.changes.consequence import impact_lines
from flagstaff.changes.row_states import Impact
from flagstaff.cli.verb import Changes, Written
from flagstaff.conf import conf
from flagstaff.history.describe import Names, describe_change, describe_value, field_label
from flagstaff.history.kinds import Kind
from flagstaff.history.log import entries_of_key

# Seconds, because a dry run has to be quick.
_TIMEOUT = 2.0
_FORCED = f"In this process it is forced off by {forced_off.VARIABLE}."
# What a new bucketing unit does.
_REASSIGNED = (
    "the new unit reassigns every user; where a percentage decides, some users get another result"
)
# What only a committed change has.
_COMMITTED = dict.fromkeys(("version", "undo"))


def report(changes: Changes, *, is_dry_run: bool) -> Written:
    """Returns what changes were, and what they mean now: which users have the flags.

    Of a dry run, it also says who gains and who loses.
    """
    rows, undone = changes.rows, changes.undone
    is_single = undone is None and len(rows) == 1
    found = _impact(rows) if is_dry_run else None
    combined = None if is_single else combined_undo(rows)
    names = readable_names_of_users(rows)
    texts: list[str] = []
    for changed in rows:
        texts += _texts(changed, names)
        if combined is None and changed.undo and not is_dry_run:
            # Of several changes, one is of a secret value, which nothing undoes.
            texts.append(f"undo: {changed.undo.command}")
        if changed.kind is Kind.FLAG and undone is None:
            texts.append(_state(changed.key, found, is_single=is_single))
    texts += () if found is None else impact_lines(found)
    texts += (text for changed in rows for text in _warnings(changed))
    documents = [_document(changed, found) for changed in rows]
    several = {"changes": documents, "undo": None, **(undone or {})}
    written = any(changed.written for changed in rows)
    return Written(documents[0] if is_single else several, written, texts, combined)


def report_of_done(done: Done) -> Written:
    """Returns what an action did to a row without a history."""
    document, undo = {**done.record, "undo": None}, done.undo
    texts = [*done.notes, *done.messages]
    if undo and done.instead:
        # A person must not expect more of it.
        texts.append(f"{done.key}: {quoted_command(*undo.arguments)} {done.instead}")
        undo = None
    return Written(document, done.written, texts, undo)


def _impact(rows: Sequence[Changed]) -> Impact:
    # A kill does not need it.
    from flagstaff.changes.impact import impact_of_changes  # noqa: PLC0415

    return impact_of_changes(rows, timeout=_TIMEOUT)


def texts_of(changes: Sequence[Changed]) -> list[str]:
    """Returns the old and the new values."""
    names = readable_names_of_users(changes)
    return [text for changed in changes for text in _texts(changed, names)]


def readable_names_of_users(changes: Iterable[Changed]) -> Names:
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


def _texts(changed: Changed, names: Names) -> Iterator[str]:
    """Yields what was changed, as the history describes it, and which users were skipped."""
    text = _up_to_date(changed)
    if changed.written:
        text = describe_change(changed, names, limit=MAX_VALUE)
    yield f"{changed.key}: {text}"
    is_update = changed.written and changed.action == "change"
    if is_update and BUCKET_BY in (changed.new or {}):
        yield f"{changed.key}: {_REASSIGNED}"
    if changed.kept_by_rules:
        yield f"{changed.key}: {changed.kept_by_rules}"
    if changed.missing:
        yield f"skipped users that do not exist: {some(changed.missing)}"


def _up_to_date(changed: Changed) -> str:
    if changed.new is None:
        return "already deleted"
    if len(changed.new) != 1:
        return "already up to date"
    [(name, value)] = changed.new.items()
    text = describe_value(value, field=name, secret=changed.hides(name), limit=MAX_VALUE)
    return f"{field_label(name)} is already {text}"


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


def _warnings(changed: Changed) -> Iterator[str]:
    """Yields what a person may not have meant. Queries keys and groups."""
    kind, old, new = changed.kind, changed.old or {}, changed.new or {}
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
    if changed.written and changed.action == "create":
        entries = entries_of_key(kind, changed.key)
        # Without a history, there is no version.
        if changed.version and entries.filter(id__lt=changed.version).exists():
            history = quoted_command("history", changed.key)
            yield f"a {kind.value} with this key existed before; see {history}"
        if similar := case_variants(kind.model, changed.key):
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
    return {**document, **_COMMITTED, "impact": found.as_dict(changed.kind, changed.key)}


def _masked(changed: Changed, side: Mapping[str, Any] | None) -> Record | None:
    """Returns one side of a change, with null in the place of a secret value."""
    if side is None:
        return None
    return {name: None if changed.hides(name) else value for name, value in side.items()}
