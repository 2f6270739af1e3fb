"""Flags, values and segments as a file: export, import, and a comparison."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial, reduce
from operator import or_
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.db import connections

from flagstaff import serialization
from flagstaff._attribution import current_actor
from flagstaff._tables.database import db
from flagstaff._tables.rows import Kind
from flagstaff._text import MAX_VALUE, counted, most_similar, some
from flagstaff._text.times import Column, Record
from flagstaff.actions import Done
from flagstaff.actions.arguments import text_of_file
from flagstaff.actions.commit import look_at_changes
from flagstaff.actions.table import Expected, Look
from flagstaff.changes.consequence import written_lines
from flagstaff.changes.fields import Changed, command_line
from flagstaff.cli.action_verbs import write
from flagstaff.cli.errors import DIFFERS, FAILED, USAGE
from flagstaff.cli.options import add_attribution, add_wait, add_yes
from flagstaff.cli.output import Output
from flagstaff.cli.receipt import names_of_users
from flagstaff.cli.verb import Options, Topic, option, switch, verb
from flagstaff.conf import reading_from
from flagstaff.history.describe import describe_change, field_label
from flagstaff.models import WaitingAction
from flagstaff.waiting.outlook import foresee
from flagstaff.waiting.stored import action_line, records_of

_MAX_KEYS_SHOWN = 20
# What the write of an import is refused by: all rows of the document at once.
_DOCUMENT, _PLAN = "document", "expect_plan"
_CANCEL_WAITING = "--cancel-waiting"
# Arguments of `apply`, and the options of `import` that set them.
_SWITCHES = {
    "delete_missing": "--delete-missing",
    "skip_unknown_users": "--skip-unknown",
    "ignore_versions": "--ignore-versions",
}
# The sign and the style of each action.
_SIGNS = {"create": ("+", "SUCCESS"), "change": ("~", "WARNING"), "delete": ("-", "ERROR")}
_COLUMNS = (
    Column(
        "action",
        lambda record: _SIGNS[record["action"]][0],
        header="",
        style=lambda record: _SIGNS[record["action"]][1],
    ),
    Column("kind", header=""),
    Column("key"),
    Column("summary", header="CHANGE"),
)


_DIFFERENCE_COLUMNS = (
    Column("kind", header=""),
    Column("key"),
    Column("field", lambda record: field_label(record["field"])),
    Column("difference"),
)


def _add_keys(parser: Any) -> None:
    """Adds the groups of fields, and KEY after FILE."""
    parser.has_keys_anywhere = True
    parser.add_argument(
        "keys",
        metavar="KEY",
        nargs="*",
        help="only flags, values and segments with these keys; by default all of the file",
    )
    parser.add_argument(
        "--only",
        metavar="GROUPS",
        type=lambda text: text.split(","),
        help=f"only these groups of fields, with commas between them: "
        f"{', '.join(serialization.GROUPS)}",
    )


@verb(
    "export --file flags.json",
    "export new_checkout page_size",
    "export --versions --file flags.json",
    topic=Topic.FILES,
    arguments=(
        option("keys", "the keys of flags, values and segments; by default all", "KEY", nargs="*"),
        option("--file", "the file; by default the standard output", "PATH"),
        switch(
            "--versions", "add the versions, so that an import refuses to overwrite newer changes"
        ),
    ),
)
def export(options: Options, out: Output) -> None:
    """Write flags, values and segments to a file, for version control or another database.

    A secret value is written as `••••••`.
    """
    path = options["file"]
    document = serialization.export(options["keys"] or None, versions=options["versions"])
    text = serialization.as_text(document)
    if path in (None, "-"):
        out.line(text.removesuffix("\n"))
        return
    try:
        Path(path).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise CommandError(str(error), returncode=FAILED) from error
    counts = (
        counted(len(document.get(f"{noun}s", ())), noun) for noun in ("flag", "value", "segment")
    )
    out.message(f"{path}: {', '.join(counts)}")


@verb(
    "import flags.json --dry-run",
    'import flags.json --reason "release 42" --as-name deploy --wait',
    "import staging.json --only targeting new_checkout search_v2",
    "import flags.json --delete-missing --yes",
    "import - < flags.json",
    topic=Topic.FILES,
    arguments=(
        option("path", 'the file; "-" is the standard input', "FILE"),
        _add_keys,
        switch(
            "--delete-missing",
            "delete flags that are not in the section `flags` of the file; likewise for "
            "values and segments",
        ),
        switch(
            "--ignore-versions", "overwrite changes that are newer than the versions in the file"
        ),
        option(
            "--expect-plan",
            "the id that --dry-run printed; refuse if the changes are others now",
            "PLAN",
        ),
        switch(
            "--skip-unknown",
            "skip users that do not exist, and list them",
            dest="skip_unknown_users",
        ),
        switch(_CANCEL_WAITING, "cancel the actions that wait for rows of the file"),
        add_attribution,
        add_wait,
        add_yes,
    ),
)
def import_(options: Options, out: Output) -> Done:
    """Apply the flags, values and segments of a file, in one transaction.

    Prints the command that undoes the import. Flags and fields that are not in the file do not
    change. `--only` imports some groups of fields: definition (texts, tags, types and your own
    fields), targeting (rules, units, conditions), state (enabled, rollout, allowed users, the
    value). Without state, a flag that is only in the file is created disabled, at 0 %, without
    users. Names the actions that wait for its rows. If rows of the file have problems, the first
    one of each row is listed, with its key, and nothing is written. After `--dry-run`, the exit
    status is 6 if something would change.
    """
    document = serialization.read(text_of_file(options["path"]))
    only, keys = options["only"], options["keys"]
    switches = {name: options[name] for name in _SWITCHES}
    apply = partial(serialization.apply, document, only=only, keys=keys or None, **switches)
    # Of the plans and the import, the last one counts.
    plans: list[serialization.Imported] = []
    cancelled: list[int] = []

    def write_plan(expected: Expected) -> list[Changed]:
        # Also without a question: a row that is created now would be deleted without a question.
        seen = plans[-1].plan if options["delete_missing"] else None
        plans.append(apply(**expected.get(_DOCUMENT, {_PLAN: seen})))
        if options["cancel_waiting"]:
            # Behind its rows, as the job that runs an action locks them.
            cancelled[:] = _waiting_for(document, keys).cancel(current_actor(), "by an import")
        return [*plans[-1].changed.values()]

    def look() -> Look:
        planned = apply(expect_plan=options["expect_plan"], dry_run=True)
        plans.append(planned)
        plan_look = look_at_changes([*planned.changed.values()], write_plan)
        plan_look = replace(plan_look, expected={_DOCUMENT: {_PLAN: planned.plan}})
        deleted = [key for (_, key), change in planned.changed.items() if change.new is None]
        if not deleted or out.is_confirmed:
            return plan_look
        question = f"Delete {some(deleted, _MAX_KEYS_SHOWN)}?"
        return replace(plan_look, asks_always=True, question=question)

    # --expect-plan wins over the plan that was confirmed on the terminal.
    expected_plan = options["expect_plan"]
    expected = {} if expected_plan is None else {_DOCUMENT: {_PLAN: expected_plan}}
    _changed, shown, has_asked = write(look, out, expected)
    imported = plans[-1]
    names, limit = names_of_users(imported.changed.values()), None if out.is_json else MAX_VALUE
    changes = [
        {
            "kind": kind.value,
            "key": key,
            "action": changed.action,
            "differences": [asdict(difference) for difference in changed.differences],
            "added": list(changed.added.pks),
            "removed": list(changed.removed.pks),
            "summary": describe_change(changed, names, limit=limit),
        }
        for (kind, key), changed in imported.changed.items()
    ]
    if imported.skipped_users:
        out.message(f"skipped users that do not exist: {some(imported.skipped_users)}")
    out.messages(_selection_notes(imported, only or serialization.GROUPS))
    if changes and not out.is_json:
        out.records(_COLUMNS, changes)
    if not (has_asked or out.is_dry_run):
        out.messages(written_lines(shown.impact))
    if imported.unchanged or not changes:
        number = f"{imported.unchanged:,} " if changes else ""
        out.message(f"{number}already up to date")
    would_cancel = options["cancel_waiting"] and out.is_dry_run
    waiting = _report_waiting(
        _waiting_for(document, keys), cancelled, out, "would be cancelled" if would_cancel else ""
    )
    problem = None
    if changes and out.is_dry_run:
        problem = CommandError(
            f"{counted(len(changes), 'change')} would be made", returncode=DIFFERS
        )
        all_switches = {**_SWITCHES, "cancel_waiting": _CANCEL_WAITING}
        words = [switch for name, switch in all_switches.items() if options[name]]
        words += ["--only", ",".join(only)] if only else []
        line = command_line(
            "import", options["path"], *keys, *words, "--expect-plan", imported.plan
        )
        out.message(f"to apply exactly this: {line}")
    result = {
        "plan": imported.plan,
        "changes": changes,
        "unchanged": imported.unchanged,
        "skipped_users": imported.skipped_users,
        "waiting": waiting,
        "left_out": [{"kind": kind.value, "key": key} for kind, key in imported.left_out],
    }
    return Done("", [], result, imported.undo, bool(changes), problem=problem)


def _selection_notes(imported: serialization.Imported, only: Collection[str]) -> Iterator[str]:
    """Yields what an import of some fields or keys does besides, and what it leaves out."""
    new = [
        key
        for (kind, key), changed in imported.changed.items()
        if kind is Kind.FLAG and changed.old is None and not (changed.new or {}).get("enabled")
    ]
    if new and "state" not in only:
        yield f"created disabled, at 0 %, without allowed users: {some(new)}"
    if imported.added:
        yield f"imported because rules name them: {_named(imported.added)}"
    if imported.kept:
        kept = _named(imported.kept)
        yield f"not as in the file, but not changed: {kept}; pass their keys to import them"
    if imported.left_out:
        left_out = _named(imported.left_out)
        yield f"only in the file, and left out, because --only lacks what they need: {left_out}"


def _named(places: Sequence[tuple[Kind, str]]) -> str:
    return some(f"{kind.value} {key}" for kind, key in places)


def _waiting_for(document: Mapping[str, Any], keys: Collection[str]) -> Any:
    """Returns what waits for the rows of a file, or for these keys, also if they are like it."""
    rows = WaitingAction.objects.using(db.alias).filter(state__in=WaitingAction.OPEN)
    of_kinds = (
        rows.of_rows(kind.value, [key for key in document.get(name, ()) if key in keys or not keys])
        for kind, name in serialization.SECTIONS.items()
    )
    return reduce(or_, of_kinds)


def _report_waiting(
    present: Any, cancelled: Sequence[int], out: Output, state: str
) -> list[Record]:
    """Prints what was cancelled, or else what waits for the rows of a file, and returns it."""
    rows = WaitingAction.objects.using(db.alias).filter(pk__in=cancelled)
    waiting = [*rows] if cancelled else foresee(present)
    out.messages(action_line(row, state) for row in waiting)
    return records_of(waiting)


@verb(
    "diff flags.json",
    "diff staging.json --only targeting new_checkout search_v2",
    "diff - --json < flags.json",
    topic=Topic.FILES,
    arguments=(
        option("path", 'the file; "-" is the standard input', "FILE", nargs="?"),
        _add_keys,
        option("--database", "compare with this database of DATABASES in place of a file", "ALIAS"),
    ),
)
def diff(options: Options, out: Output) -> None:
    """Compare a file, or another database, with the flags, values and segments of this one.

    Prints a line for each field that differs: the file is "there", this database is "here". A
    secret value only differs, or is not compared if the file has its mask. Users that do not exist
    here, and secrets that are not compared, are named, and are no differences. The exit status is
    6 if there are differences.
    """
    document, keys = _other_side(options)
    compared = serialization.diff(document, only=options["only"], keys=keys or None)
    names, limit = names_of_users(compared.changed.values()), None if out.is_json else MAX_VALUE
    records = [
        {"kind": kind.value, "key": key, "field": line.field, "difference": line.text}
        for kind, key, line in compared.lines(names, limit=limit)
    ]
    result = {
        "differences": records,
        "unknown_users": compared.unknown_users,
        "not_compared": compared.not_compared,
    }
    out.records(_DIFFERENCE_COLUMNS, records, document=result, empty="no differences")
    out.messages(compared.notes())
    if records:
        raise CommandError(counted(len(records), "difference"), returncode=DIFFERS)


def _other_side(options: Options) -> tuple[dict[str, Any], list[str]]:
    """Returns the document to compare with, and the keys."""
    path, keys, alias = options["path"], options["keys"], options["database"]
    if alias is None:
        if path is None:
            raise CommandError("pass FILE, or --database ALIAS", returncode=USAGE)
        return serialization.read(text_of_file(path)), keys
    if alias not in connections:
        similar = most_similar(alias, connections)
        guess = f"did you mean {similar!r}?" if similar else f"there are {some(connections)}"
        raise CommandError(f"there is no database {alias!r}; {guess}", returncode=USAGE)
    with reading_from(alias):
        document = serialization.export(secrets=True)
    # What would be FILE is the first key.
    return document, keys if path is None else [path, *keys]
