"""Flags, values and segments as a file: export, import."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path, PurePath

from django.core.management.base import CommandError, CommandParser

from flagstaff import serialization
from flagstaff._words.cells import Column, Record
from flagstaff._words.text import MAX_VALUE, counted, some
from flagstaff.actions.arguments import standard_input
from flagstaff.changes.changed import as_written, command_line
from flagstaff.changes.consequence import consequence_of
from flagstaff.changes.impact import impact_of_changes
from flagstaff.cli.support.change_arguments import add_attribution, add_yes, may_ask
from flagstaff.cli.support.consequence import GO_ON, ask
from flagstaff.cli.support.errors import DIFFERS, FAILED, USAGE
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.report import readable_names_of_users, report_undo
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.cli.support.wait import add_wait, finish
from flagstaff.history.describe import describe_change
from flagstaff.serialization import Imported

_MAX_KEYS_SHOWN = 20
_YAML = (".yaml", ".yml")
# Arguments of `apply`, and the options of `import` that set them.
_SWITCHES = {
    "delete_missing": "--delete-missing",
    "skip_unknown_users": "--skip-unknown",
    "ignore_versions": "--ignore-versions",
}
_SIGNS = {"create": "+", "change": "~", "delete": "-"}
_STYLES = {"create": "SUCCESS", "change": "WARNING", "delete": "ERROR"}
_COLUMNS = (
    Column(
        "action",
        lambda record: _SIGNS[record["action"]],
        header="",
        style=lambda record: _STYLES[record["action"]],
    ),
    Column("kind", header=""),
    Column("key"),
    Column("summary", header="CHANGE"),
)


def _add_export(parser: CommandParser) -> None:
    parser.add_argument(
        "keys",
        nargs="*",
        metavar="KEY",
        help="the keys of flags, values and segments; by default all",
    )
    parser.add_argument("--file", metavar="PATH", help="the file; by default the standard output")
    parser.add_argument(
        "--versions",
        action="store_true",
        help="add the versions, so that an import refuses to overwrite newer changes",
    )


def _export(options: Options, out: Output) -> None:
    path = options["file"]
    _refuse_yaml(path)
    document = serialization.export(options["keys"] or None, versions=options["versions"])
    if path in (None, "-"):
        text = serialization.as_text(document, ascii_only=not out.is_unicode)
        out.line(text.removesuffix("\n"))
        return
    _write(path, serialization.as_text(document))
    counts = {name: len(document.get(name, ())) for name in ("flags", "values", "segments")}
    shown = [
        counted(count, name.removesuffix("s"))
        for name, count in counts.items()
        if count or name != "segments"
    ]
    out.message(f"{path}: {', '.join(shown[:-1])} and {shown[-1]}")


def _refuse_yaml(path: str | None) -> None:
    """Raises CommandError for a name that promises YAML."""
    if path is not None and PurePath(path).suffix.lower() in _YAML:
        message = f"{path} is a YAML file by its name; use JSON, and a name such as flags.json"
        raise CommandError(message, returncode=USAGE)


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise CommandError(str(error), returncode=FAILED) from error


def _add_import(parser: CommandParser) -> None:
    parser.add_argument("path", metavar="FILE", help='the file; "-" is the standard input')
    parser.add_argument(
        "--delete-missing",
        action="store_true",
        help="delete flags that are not in the section `flags` of the file; likewise for values "
        "and segments",
    )
    parser.add_argument(
        "--ignore-versions",
        action="store_true",
        help="overwrite changes that are newer than the versions in the file",
    )
    parser.add_argument(
        "--dry-run",
        dest="only_plan",
        action="store_true",
        help="show what would change and write nothing; the exit status is 6 if something would",
    )
    parser.add_argument(
        "--expect-plan",
        metavar="PLAN",
        help="the id that --dry-run printed; refuse if the changes are others now",
    )
    parser.add_argument(
        "--skip-unknown",
        dest="skip_unknown_users",
        action="store_true",
        help="skip users that do not exist",
    )
    # Its own --dry-run has an exit status of its own.
    add_attribution(parser, dry_run=False)
    add_wait(parser)
    add_yes(parser)


def _import(options: Options, out: Output) -> None:
    _refuse_yaml(options["path"])
    document = serialization.read(_read(options["path"]))
    apply = partial(serialization.apply, document, **{name: options[name] for name in _SWITCHES})
    expected = options["expect_plan"]
    if options["only_plan"]:
        planned = apply(expect_plan=expected, dry_run=True)
        _print(planned, out)
        _end_dry_run(planned, options, out)
        return
    asks = may_ask(options, out)
    if asks or (options["delete_missing"] and not options["yes"]):
        planned = apply(dry_run=True)
        found = impact_of_changes((kind, one) for (kind, _), one in planned.changed.items())
        deleted = [key for (_, key), change in planned.changed.items() if change.new is None]
        if deleted or (asks and consequence_of(found)):
            text = f"Delete {some(deleted, _MAX_KEYS_SHOWN)}?" if deleted else GO_ON
            ask(found, options, out, text)
        # Also without a question: a row that is created now would be deleted without a question.
        # --expect-plan wins over the plan that was confirmed on the terminal.
        expected = expected or planned.plan
    imported = apply(expect_plan=expected)
    _print(imported, out)
    report_undo(imported.undo, out)
    undo = None if imported.undo is None else imported.undo.arguments
    finish({**_document(imported), "undo": undo}, out, options, written=bool(imported.changed))


def _read(path: str) -> str:
    # More than allowed, also after a byte order mark: `serialization.read` refuses such a file.
    limit = serialization.LARGEST + 4
    try:
        if path == "-":
            stdin = standard_input()
            data = getattr(stdin, "buffer", stdin).read(limit)
        else:
            with Path(path).open("rb") as file:
                data = file.read(limit)
        # The end of such a file may be half of a character.
        errors = "replace" if len(data) == limit else "strict"
        return data if isinstance(data, str) else data.decode("utf-8-sig", errors)
    except OSError as error:
        raise CommandError(str(error), returncode=FAILED) from error
    except UnicodeDecodeError as error:
        problem = f"{path} is not UTF-8 text: byte {error.start + 1:,} is not valid"
        raise CommandError(problem, returncode=USAGE) from error


def _print(imported: Imported, out: Output) -> None:
    """Prints the changes, except with --json."""
    if imported.skipped_users:
        out.message(f"skipped users that do not exist: {some(imported.skipped_users)}")
    if not imported.changed:
        out.message("already up to date")
        return
    if not out.is_json:
        out.records(_COLUMNS, _records(imported, limit=MAX_VALUE))
    if imported.unchanged:
        out.message(f"{imported.unchanged:,} already up to date")


def _document(imported: Imported) -> Record:
    return {
        "plan": imported.plan,
        "changes": _records(imported, limit=None),
        "unchanged": imported.unchanged,
        "skipped_users": imported.skipped_users,
    }


def _records(imported: Imported, *, limit: int | None) -> list[Record]:
    """Returns what is printed of each change, without secret values."""
    written = {place: as_written(change) for place, change in imported.changed.items()}
    names = readable_names_of_users(written.values())
    return [
        {
            "kind": kind.value,
            "key": key,
            "action": event.action,
            "differences": [asdict(one) for one in event.differences],
            "added": list(event.added.pks),
            "removed": list(event.removed.pks),
            "summary": describe_change(event, names, limit=limit),
        }
        for (kind, key), event in written.items()
    ]


def _end_dry_run(planned: Imported, options: Options, out: Output) -> None:
    """Prints the command that makes these changes. Raises CommandError if there are any."""
    if out.is_json:
        out.document({**_document(planned), "dry_run": True})
    if not planned.changed:
        return
    if not out.is_json:
        switches = [switch for name, switch in _SWITCHES.items() if options[name]]
        arguments = ["import", options["path"], *switches, "--expect-plan", planned.plan]
        out.message(f"to apply exactly this: {command_line(*arguments)}")
    number = counted(len(planned.changed), "change")
    raise CommandError(f"{number} would be made", returncode=DIFFERS)


EXPORT = Verb(
    name="export",
    help="write flags, values and segments to a file, for version control or another database",
    examples=(
        "export --file flags.json",
        "export new_checkout page_size",
        "export --versions --file flags.json",
    ),
    add_arguments=_add_export,
    run=_export,
    topic=Topic.FILES,
)
IMPORT = Verb(
    name="import",
    help="apply the flags, values and segments of a file, in one transaction",
    examples=(
        "import flags.json --dry-run",
        'import flags.json --reason "release 42" --as-name deploy --wait',
        "import flags.json --delete-missing --yes",
        "import - < flags.json",
    ),
    add_arguments=_add_import,
    run=_import,
    topic=Topic.FILES,
)
