"""What the verbs that change something tell of it."""

from __future__ import annotations

import shlex

from flagstaff.changes import Changed
from flagstaff.cli.cells import as_json
from flagstaff.cli.flags import flag_record, who_has_it
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options
from flagstaff.cli.values import SECRET
from flagstaff.cli.wait import wait
from flagstaff.rows import flag_row

__all__ = ["tell_change", "tell_change_of_flag"]


def tell_change_of_flag(
    changed: Changed, undo: list[object] | None, out: Output, options: Options
) -> None:
    """Tell what was changed, who has the flag now, and how far that has come if asked to wait."""
    _say(changed, undo, out)
    out.say(who_has_it(flag_record(flag_row(changed.key))))
    _end(changed, out, options)


def tell_change(
    changed: Changed,
    undo: list[object] | None,
    out: Output,
    options: Options,
    *,
    secret: bool = False,
) -> None:
    """Tell what was changed, and how far that has come if asked to wait."""
    _say(changed, undo, out, secret=secret)
    _end(changed, out, options, secret=secret)


def _say(changed: Changed, undo: list[object] | None, out: Output, *, secret: bool = False) -> None:
    """What was changed, and how to take it back."""
    old, new = (SECRET if secret else as_json(value) for value in (changed.old, changed.new))
    what = f"{changed.key}: {changed.field}"
    if not changed.written:
        out.say(f"{what} is {new} already, nothing to do")
    else:
        out.say(f"{what} {old} → {new}")
        if undo:
            out.say(f"undo: manage.py flags {shlex.join(map(str, undo))}")


def _end(changed: Changed, out: Output, options: Options, *, secret: bool = False) -> None:
    waited = wait(options, out.say)
    if out.is_json:
        confirmation = {"confirmation": waited.document} if waited else {}
        out.document({**_document(changed, secret=secret), **confirmation})
    if waited:
        waited.end()


def _document(changed: Changed, *, secret: bool) -> dict[str, object]:
    return {
        "key": changed.key,
        "field": changed.field,
        "old": None if secret else changed.old,
        "new": None if secret else changed.new,
        "changed": changed.written,
    }
