"""The verb `import-from`, and what it prints."""

from __future__ import annotations

from collections.abc import Iterable

from django.apps import apps
from django.core.management.base import CommandError, CommandParser

from flagstaff._tables.optional_fields import flag_model
from flagstaff._words.cells import Column, Record
from flagstaff._words.counted import counted
from flagstaff._words.truncated import MAX_VALUE
from flagstaff.cli.support.errors import FAILED, REFUSED
from flagstaff.cli.support.import_plan import (
    ACTION,
    add_import_options,
    end_dry_run,
    option_switches,
    plan_document,
    print_skipped_users,
)
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.report import report_undo
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.cli.support.wait import finish
from flagstaff.compat.converting import Converted, Status
from flagstaff.compat.import_notes import import_notes
from flagstaff.compat.importing import (
    Choices,
    Gone,
    WafflePlan,
    import_waffle,
    plan_import,
)

_LIBRARIES = ("waffle",)
_SWITCHES = {
    "client_side": "--client-side",
    "skip_refused": "--skip-refused",
    "overwrite": "--overwrite",
    "skip_unknown_users": "--skip-unknown",
}
_STYLES = {
    Status.EXACT: "SUCCESS",
    Status.DIFFERS: "WARNING",
    Status.PARTLY: "WARNING",
    Status.REFUSED: "ERROR",
}
# As verbs: "25 differ" beside "180 exact".
_COUNTED = {Status.DIFFERS: "differ"}


_COLUMNS = (
    ACTION,
    Column("status", style=lambda record: _STYLES.get(Status(record["status"]))),
    Column("kind"),
    Column("name"),
    Column("summary", header="CHANGE", below=True),
    Column("notes", below=True),
)


def _add_import_from(parser: CommandParser) -> None:
    parser.description = (
        f"{parser.description} The import and the later evaluations share these settings of "
        'FLAGSTAFF["WAFFLE"]: KEYS (other keys for names), PERCENT_OF ("visitors" or "users"), '
        "and FIELDS (attributes in place of columns of your own flag model)."
    )
    parser.add_argument(
        "library", choices=_LIBRARIES, metavar="LIBRARY", help="the library: waffle"
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="the names of the flags, switches and samples to import; by default all",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="a name to import; needed for a name that begins with a hyphen: --only=-x",
    )
    parser.add_argument(
        "--client-side",
        action="store_true",
        help="allow browsers to see all imported flags, as the URLs of waffle do",
    )
    parser.add_argument(
        "--skip-refused", action="store_true", help="import the other rows if some are refused"
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="write the values of waffle over changes in flagstaff, and over flags that do not "
        "come from waffle",
    )
    add_import_options(parser)


def _import_from(options: Options, out: Output) -> None:
    if not apps.is_installed("waffle"):
        raise CommandError(
            '"waffle" is not in INSTALLED_APPS, so the import cannot read its rows; add it, and '
            "remove it after the import",
            returncode=FAILED,
        )
    choices = _choices(options)
    if options["only_diff"]:
        _dry_run(plan_import(choices), choices, options, out)
        return
    imported = import_waffle(choices, expect_plan=options["expect_plan"])
    notes = _print(imported.plan, out)
    document = _document(imported.plan, notes) if out.is_json else {}
    if not imported.is_done:
        if out.is_json:
            out.document({**document, "undo": None})
        raise _refusal(imported.plan)
    report_undo(imported.undo, out)
    undo = None if imported.undo is None else imported.undo.arguments
    written = bool(imported.plan.plan.steps)
    finish({**document, "undo": undo}, out, options, written=written)


def _choices(options: Options) -> Choices:
    if options["client_side"]:
        flag_model().require("client_side")
    return Choices(
        names=frozenset([*options["names"], *options["only"]]) or None,
        client_side=True if options["client_side"] else None,
        skip_refused=options["skip_refused"],
        overwrite=options["overwrite"],
        skip_unknown_users=options["skip_unknown_users"],
    )


def _dry_run(plan: WafflePlan, choices: Choices, options: Options, out: Output) -> None:
    notes = _print(plan, out)
    if out.is_json:
        out.document({**_document(plan, notes), "dry_run": True})
    if plan.counts[Status.REFUSED] and not choices.skip_refused:
        raise _refusal(plan)
    names = [f"--only={name}" for name in sorted(choices.names or ())]
    arguments = ["import-from", options["library"], *names, *option_switches(options, _SWITCHES)]
    end_dry_run(plan.plan, arguments, out)


def _refusal(plan: WafflePlan) -> CommandError:
    rows = counted(plan.counts[Status.REFUSED], "row is", "rows are")
    text = f"nothing was written: {rows} refused; pass --skip-refused to import the others"
    return CommandError(text, returncode=REFUSED)


def _print(plan: WafflePlan, out: Output) -> list[str]:
    """Prints the rows, the notes about the project, and the sum. Returns these notes."""
    if not out.is_json:
        shown = [row for row in plan.rows if row.status is not Status.UNCHANGED or row.notes]
        if shown:
            records = [_record(row, plan, limit=MAX_VALUE) for row in shown]
            texts = [{**record, "notes": "; ".join(record["notes"])} for record in records]
            out.records(_COLUMNS, texts)
    print_skipped_users(plan.plan.skipped_users, out)
    notes = import_notes(plan.rows)
    for line in (*map(_gone_line, plan.gone), *notes, _sum(plan)):
        out.message(line)
    return notes


def _gone_line(gone: Gone) -> str:
    return (
        f"deleted in waffle: the {gone.kind} {gone.name!r}; delete its flag with "
        f'"manage.py flags delete {gone.key}"'
    )


def _sum(plan: WafflePlan) -> str:
    counts = (
        f"{number:,} {_COUNTED.get(status, status.value)}" for status, number in plan.counts.items()
    )
    return f"{counted(len(plan.rows), 'row')}: {', '.join(counts)}"


def _record(row: Converted, plan: WafflePlan, limit: int | None = None) -> Record:
    step = plan.steps.get(row.key) if row.item is not None else None
    change = {} if step is None else step.as_dict(plan.plan.usernames, limit=limit)
    return {
        "action": change.get("action", ""),
        "status": row.status.value,
        "kind": row.row.kind,
        "name": row.row.name,
        "key": row.key,
        "summary": change.get("summary", ""),
        "notes": list(row.notes),
    }


def _document(plan: WafflePlan, notes: Iterable[str]) -> Record:
    """Returns the plan for --json."""
    return {
        **plan_document(plan.plan),
        "rows": [_record(row, plan) for row in plan.rows],
        "counts": {status.value: number for status, number in plan.counts.items()},
        "deleted_in_waffle": [vars(gone) for gone in plan.gone],
        "notes": list(notes),
    }


IMPORT_FROM = Verb(
    name="import-from",
    help="import the flags, switches and samples of django-waffle, in one transaction",
    examples=(
        "import-from waffle --dry-run",
        'import-from waffle --reason "move to flagstaff" --wait',
        "import-from waffle checkout search --skip-refused",
    ),
    add_arguments=_add_import_from,
    run=_import_from,
    topic=Topic.FILES,
)
