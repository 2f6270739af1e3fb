"""Flags, values and segments as a file: export, import."""

from __future__ import annotations

from pathlib import Path, PurePath

from django.core.management.base import CommandError, CommandParser

from flagstaff import serialization
from flagstaff._words.text import counted, some
from flagstaff.cli.support.change_arguments import add_yes, require_confirmation
from flagstaff.cli.support.errors import FAILED, USAGE
from flagstaff.cli.support.import_plan import (
    add_import_options,
    end_dry_run,
    option_switches,
    plan_document,
    print_plan,
)
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.report import report_undo
from flagstaff.cli.support.standard_input import standard_input
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.cli.support.wait import finish
from flagstaff.serialization import Plan
from flagstaff.serialization.json_format import LARGEST

_MAX_KEYS_SHOWN = 20
_YAML = (".yaml", ".yml")
# Arguments of `diff` and `apply`, and the options of `import` that set them.
_PLAN_OPTIONS = {
    "delete_missing": "--delete-missing",
    "skip_unknown_users": "--skip-unknown",
    "ignore_versions": "--ignore-versions",
}


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
    add_import_options(parser)
    add_yes(parser)


def _import(options: Options, out: Output) -> None:
    path = options["path"]
    _refuse_yaml(path)
    document = serialization.read(_read(path))
    choices = {name: bool(options[name]) for name in _PLAN_OPTIONS}
    if options["only_diff"]:
        _dry_run(serialization.diff(document, **choices), options, out)
        return
    expected = options["expect_plan"]
    if options["delete_missing"] and not options["yes"]:
        # --expect-plan wins over the plan that was confirmed on the terminal.
        confirmed = _confirmed_plan(serialization.diff(document, **choices), options, out)
        expected = expected or confirmed
    imported = serialization.apply(document, expect_plan=expected, **choices)
    print_plan(imported.plan, out)
    report_undo(imported.undo, out)
    undo = None if imported.undo is None else imported.undo.arguments
    result = {**plan_document(imported.plan), "undo": undo}
    finish(result, out, options, written=bool(imported.plan.steps))


def _read(path: str) -> str:
    # One byte more than allowed, so that `serialization.read` refuses the file.
    limit = LARGEST + 1
    try:
        if path == "-":
            stdin = standard_input()
            data = getattr(stdin, "buffer", stdin).read(limit)
        else:
            with Path(path).open("rb") as file:
                data = file.read(limit)
        return data if isinstance(data, str) else data.decode("utf-8-sig")
    except OSError as error:
        raise CommandError(str(error), returncode=FAILED) from error
    except UnicodeDecodeError as error:
        problem = f"{path} is not UTF-8 text: byte {error.start + 1:,} is not valid"
        raise CommandError(problem, returncode=USAGE) from error


def _confirmed_plan(plan: Plan, options: Options, out: Output) -> str | None:
    """Asks before deletions. Returns the plan that was confirmed, or None without deletions."""
    deleted = [step.key for step in plan.steps if step.action == "delete"]
    if not deleted:
        return None
    require_confirmation(f"Delete {some(deleted, _MAX_KEYS_SHOWN)}?", options, out)
    return plan.fingerprint


def _dry_run(plan: Plan, options: Options, out: Output) -> None:
    print_plan(plan, out)
    if out.is_json:
        out.document({**plan_document(plan), "dry_run": True})
    switches = option_switches(options, _PLAN_OPTIONS)
    end_dry_run(plan, ["import", options["path"], *switches], out)


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
