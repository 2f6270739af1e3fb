"""Flags, values and segments as a file: export, import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from flagstaff import serialization
from flagstaff._attribution import current_actor
from flagstaff._tables.database import db
from flagstaff._text import MAX_VALUE, counted, some
from flagstaff._text.cells import Column
from flagstaff.actions import Done
from flagstaff.actions.arguments import text_of_file
from flagstaff.actions.commit import look_at_changes
from flagstaff.actions.look import Look
from flagstaff.actions.table import Expected
from flagstaff.changes.changed import Changed, command_line
from flagstaff.changes.consequence import written_lines
from flagstaff.cli.action_verbs import write
from flagstaff.cli.errors import DIFFERS, FAILED
from flagstaff.cli.options import add_attribution, add_wait, add_yes
from flagstaff.cli.output import Output
from flagstaff.cli.receipt import names_of_users
from flagstaff.cli.verb import Options, Topic, option, switch, verb
from flagstaff.history.describe import describe_change
from flagstaff.models import WaitingAction
from flagstaff.waiting.outlook import foresee
from flagstaff.waiting.stored import action_line

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
    "import flags.json --delete-missing --yes",
    "import - < flags.json",
    topic=Topic.FILES,
    arguments=(
        option("path", 'the file; "-" is the standard input', "FILE"),
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
    change. Names the actions that wait for its rows. If rows of the file have problems, the first
    one of each row is listed, with its key, and nothing is written. After `--dry-run`, the exit
    status is 6 if something would change.
    """
    document = serialization.read(text_of_file(options["path"]))
    apply = partial(serialization.apply, document, **{name: options[name] for name in _SWITCHES})
    # Of the plans and the import, the last one counts.
    plans: list[serialization.Imported] = []

    def write_plan(expected: Expected) -> list[Changed]:
        # Also without a question: a row that is created now would be deleted without a question.
        seen = plans[-1].plan if options["delete_missing"] else None
        plans.append(apply(**expected.get(_DOCUMENT, {_PLAN: seen})))
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
    if changes and not out.is_json:
        out.records(_COLUMNS, changes)
    if not (has_asked or out.is_dry_run):
        out.messages(written_lines(shown.impact))
    if imported.unchanged or not changes:
        number = f"{imported.unchanged:,} " if changes else ""
        out.message(f"{number}already up to date")
    _report_waiting(document, out, cancels=options["cancel_waiting"])
    problem = None
    if changes and out.is_dry_run:
        problem = CommandError(
            f"{counted(len(changes), 'change')} would be made", returncode=DIFFERS
        )
        all_switches = {**_SWITCHES, "cancel_waiting": _CANCEL_WAITING}
        switches = [switch for name, switch in all_switches.items() if options[name]]
        line = command_line("import", options["path"], *switches, "--expect-plan", imported.plan)
        out.message(f"to apply exactly this: {line}")
    result = {
        "plan": imported.plan,
        "changes": changes,
        "unchanged": imported.unchanged,
        "skipped_users": imported.skipped_users,
    }
    return Done("", [], result, imported.undo, bool(changes), problem=problem)


def _report_waiting(document: Mapping[str, Any], out: Output, *, cancels: bool) -> None:
    """Prints what waits for the rows of a file, also those that are like it, or cancels it."""
    places = {
        (kind.value, key)
        for kind, name in serialization.SECTIONS.items()
        for key in document.get(name, ())
    }
    actions = WaitingAction.objects.using(db.alias).filter(state__in=WaitingAction.OPEN)
    rows = [
        action
        for action in (actions if db.is_postgresql else ())
        if places & {(action.row_kind, key) for key in action.keys}
    ]
    if cancels and not out.is_dry_run:
        actions.filter(pk__in=[row.pk for row in rows]).cancel(current_actor(), "by an import")
    done = "would be cancelled" if out.is_dry_run else "cancelled"
    for row in rows if cancels else foresee(rows):
        out.message(action_line(row, done if cancels else ""))
