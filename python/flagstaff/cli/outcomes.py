"""What the verbs that change something tell of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from flagstaff._tables.rows import flag_row
from flagstaff.changes import Changed, combined_undo
from flagstaff.cli.cells import as_json
from flagstaff.cli.flags import flag_record, who_has_it
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options
from flagstaff.cli.values import SECRET
from flagstaff.cli.wait import end
from flagstaff.exceptions import UnknownFlagError

__all__ = ["tell_change", "tell_change_of_flag", "tell_changes"]

_ALLOWED, _VALUE = "allowed_users", "value"
_MOST_NAMED = 10


def tell_change_of_flag(changed: Changed, out: Output, options: Options) -> None:
    """Tell what was changed, who has the flag now, and how far that has come if asked to wait."""
    _say(changed, out)
    try:
        out.say(who_has_it(flag_record(flag_row(changed.key))))
    except UnknownFlagError:
        out.say("Nobody has it: there is no such flag any more.")
    end(_document(changed), out, options)


def tell_change(changed: Changed, out: Output, options: Options) -> None:
    """Tell what was changed, how to take it back, and how far it has come if asked to wait."""
    _say(changed, out)
    end(_document(changed), out, options)


def tell_changes(many: Sequence[Changed], out: Output, options: Options) -> None:
    """The same for what was changed together, with the one line that takes all of it back."""
    for changed in many:
        for line in _lines(changed):
            out.say(line)
        _say_missing(changed, out)
    undo = combined_undo(many)
    if undo:
        out.say(f"undo: {undo.command}")
    documents = [_document(changed) for changed in many]
    arguments = None if undo is None else undo.arguments
    end({"changes": documents, "undo": arguments}, out, options)


def _say(changed: Changed, out: Output) -> None:
    for line in _lines(changed):
        out.say(line)
    _say_missing(changed, out)
    if changed.undo:
        out.say(f"undo: {changed.undo.command}")


def _say_missing(changed: Changed, out: Output) -> None:
    if changed.missing:
        out.say(f"left out, for they are no users: {_few(changed.missing)}")


def _lines(changed: Changed) -> Iterator[str]:
    secret = changed.secret
    if not changed.written:
        yield f"{changed.key}{_already(changed)}, nothing to do"
    elif changed.field:
        yield f"{changed.key}: {_one(changed.field, changed.old, changed.new, secret=secret)}"
    elif changed.new is None:
        yield f"{changed.key}: deleted"
    else:
        if changed.old is None:
            yield f"{changed.key}: created"
        old = changed.old or {}
        for name, new in changed.new.items():
            # Of a new row, only what is not empty is worth a line.
            if changed.old is not None or (new and name != "key"):
                told = _one(name, old.get(name), new, secret=secret)
                yield f"{changed.key}: {told}"


def _already(changed: Changed) -> str:
    if not changed.field:
        return " is so already" if changed.new is not None else " is deleted already"
    if changed.field == _ALLOWED:
        return ": the allow-list is so already"
    return (
        f": {changed.field} is {_text(changed.field, changed.new, secret=changed.secret)} already"
    )


def _one(name: str, old: Any, new: Any, *, secret: bool) -> str:
    if name == _ALLOWED:
        moves = (f"+{_few(new)}" if new else "", f"-{_few(old)}" if old else "")
        return f"allowed_users {' '.join(filter(None, moves))}"
    return f"{name} {_text(name, old, secret=secret)} → {_text(name, new, secret=secret)}"


def _text(name: str, value: Any, *, secret: bool) -> str:
    return SECRET if secret and name == _VALUE else as_json(value)


def _few(pks: Any) -> str:
    named = ", ".join(str(pk) for pk in pks[:_MOST_NAMED])
    more = len(pks) - _MOST_NAMED
    return f"{named} and {more:,} more" if more > 0 else named


def _document(changed: Changed) -> dict[str, Any]:
    hide = _hidden if changed.secret else _shown
    return {
        "key": changed.key,
        "field": changed.field or None,
        "old": hide(changed.field, changed.old),
        "new": hide(changed.field, changed.new),
        "changed": changed.written,
        "version": changed.version,
        "undo": None if changed.undo is None else changed.undo.arguments,
        "missing": changed.missing,
    }


def _shown(_field: str, side: Any) -> Any:
    return side


def _hidden(field: str, side: Any) -> Any:
    """One side of a change without the secret."""
    if field == _VALUE:
        return None
    return {**side, _VALUE: None} if isinstance(side, dict) and _VALUE in side else side
