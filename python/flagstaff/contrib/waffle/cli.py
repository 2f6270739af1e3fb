"""The verbs `import-waffle` and `compare-waffle`, and what they print."""

from __future__ import annotations

from collections import Counter

from django.apps import apps
from django.core.management.base import CommandError, CommandParser

from flagstaff._words.cells import Column, Record
from flagstaff._words.text import MAX_VALUE, counted
from flagstaff.changes.written import as_written
from flagstaff.cli.support.argument_types import count
from flagstaff.cli.support.change_arguments import add_attribution
from flagstaff.cli.support.errors import DIFFERS, FAILED, REFUSED
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.report import report_undo
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.cli.support.wait import add_wait, finish
from flagstaff.contrib.waffle.comparing import Compared, Difference, Outcome, compare
from flagstaff.contrib.waffle.converting import Status
from flagstaff.contrib.waffle.importing import Imported, import_waffle
from flagstaff.history.describe import describe_change

_USERS = 1_000
_STATUS_STYLES = {"exact": "SUCCESS", "differs": "WARNING", "lost": "WARNING", "refused": "ERROR"}
_IMPORT_COLUMNS = (
    Column("action"),
    Column("status", style=lambda record: _STATUS_STYLES[record["status"]]),
    Column("kind"),
    Column("name"),
    Column("summary", header="CHANGE", below=True),
    Column("notes", lambda record: "; ".join(record["notes"]), below=True),
)
_COMPARE_COLUMNS = (
    Column("outcome"),
    Column("kind"),
    Column("name"),
    Column("waffle"),
    Column("flagstaff"),
    Column("people", align_right=True),
    Column("example", below=True),
)
_RESULTS = {True: "on", False: "off", None: "by percentage"}


def _require_waffle() -> None:
    if not apps.is_installed("waffle"):
        raise CommandError(
            '"waffle" is not in INSTALLED_APPS, so its rows cannot be read; add it',
            returncode=FAILED,
        )


def _add_import(parser: CommandParser) -> None:
    parser.add_argument(
        "--overwrite",
        action="append",
        default=[],
        metavar="KEY",
        help="write the values of waffle over the changes that were made here to this flag; may be "
        "given several times",
    )
    add_attribution(parser)
    add_wait(parser)


def _import(options: Options, out: Output) -> None:
    _require_waffle()
    imported = import_waffle(overwrite=options["overwrite"])
    records = [_import_record(row) for row in imported.rows]
    if not out.is_json:
        out.records(_IMPORT_COLUMNS, records)
    counts = {status.value: number for status, number in imported.counts.items()}
    out.message(_sum(len(records), counts))
    undo = imported.undo
    report_undo(undo, out)
    document = {"rows": records, "counts": counts, "undo": undo and undo.arguments}
    finish(document, out, options, written=any(row.action for row in imported.rows))
    if refused := imported.counts[Status.REFUSED]:
        number = counted(refused, "row is", "rows are")
        raise CommandError(f"{number} refused; the notes say why", returncode=REFUSED)


def _import_record(row: Imported) -> Record:
    one = row.converted
    summary = (
        describe_change(as_written(row.changed), limit=MAX_VALUE)
        if row.action and row.changed
        else ""
    )
    return {
        "action": row.action,
        "status": one.status.value,
        "kind": one.row.kind,
        "name": one.row.name,
        "key": one.key,
        "summary": summary,
        "notes": list(one.notes),
    }


def _sum(rows: int, counts: dict[str, int]) -> str:
    numbers = ", ".join(f"{number:,} {name}" for name, number in counts.items())
    return f"{counted(rows, 'row')}: {numbers}"


def _add_compare(parser: CommandParser) -> None:
    parser.add_argument(
        "--users",
        type=count(1),
        default=_USERS,
        metavar="N",
        help=f"the number of users, spread over all of them; by default {_USERS:,}",
    )


def _compare(options: Options, out: Output) -> None:
    _require_waffle()
    found, people = compare(options["users"])
    counts = Counter(one.outcome for one in found)
    numbers = {outcome.value: counts[outcome] for outcome in Outcome}
    if out.is_json:
        rows = [_document(one) for one in found]
        out.document({"people": people, "counts": numbers, "rows": rows})
    else:
        shown = sorted((one for one in found if _is_shown(one)), key=_place)
        out.records(_COMPARE_COLUMNS, [_compare_record(one) for one in shown])
    out.message(f"{_sum(len(found), numbers)}; compared for {counted(people, 'visitor')}")
    if differing := sum(counts[outcome] for outcome in _DIFFERING):
        number = counted(differing, "row differs", "rows differ")
        raise CommandError(f"{number} from the flags here", returncode=DIFFERS)


#: The outcomes after which a swap, or the way back, changes results.
_DIFFERING = (Outcome.DIFFERS, Outcome.NO_FLAG, Outcome.OFF_HERE)


def _is_shown(one: Compared) -> bool:
    return one.outcome is not Outcome.EQUAL or one.rollout_percent is not None


def _place(one: Compared) -> int:
    return [*Outcome].index(one.outcome)


def _compare_record(one: Compared) -> Record:
    """Returns a line: both results, or both percentages, and for whom they differ."""
    example = one.examples[0] if one.examples else None
    waffle, flagstaff = "", ""
    if example is not None:
        waffle, flagstaff = _RESULTS[example.waffle], _RESULTS[example.flagstaff]
    elif one.rollout_percent is not None:
        waffle, flagstaff = f"{one.row.percent} %", f"{one.rollout_percent} %"
    elif one.outcome is Outcome.OFF_HERE:
        waffle, flagstaff = "on for some", "off"
    return {
        "outcome": one.outcome.value,
        "kind": one.row.kind,
        "name": one.row.name,
        "waffle": waffle,
        "flagstaff": flagstaff,
        "people": one.count or "",
        "example": "" if example is None else example.person,
    }


def _document(one: Compared) -> Record:
    percent = None if one.rollout_percent is None else one.row.percent
    return {
        "outcome": one.outcome.value,
        "kind": one.row.kind,
        "name": one.row.name,
        "key": one.key,
        "people": one.count,
        "examples": [_as_json(example) for example in one.examples],
        "percentages": percent and {"waffle": percent, "flagstaff": one.rollout_percent},
    }


def _as_json(one: Difference) -> Record:
    return {
        "person": one.person,
        "waffle": _RESULTS[one.waffle],
        "flagstaff": _RESULTS[one.flagstaff],
    }


IMPORT_WAFFLE = Verb(
    name="import-waffle",
    help="import the flags, switches and samples of django-waffle, in one transaction",
    examples=(
        "import-waffle --dry-run",
        'import-waffle --reason "leave waffle" --wait',
        "import-waffle --overwrite checkout",
    ),
    add_arguments=_add_import,
    run=_import,
    topic=Topic.FILES,
)
COMPARE_WAFFLE = Verb(
    name="compare-waffle",
    help="compare the results of django-waffle's rows with those of the flags here",
    examples=("compare-waffle", "compare-waffle --users 5000 --json"),
    add_arguments=_add_compare,
    run=_compare,
    topic=Topic.FILES,
)
VERBS = (IMPORT_WAFFLE, COMPARE_WAFFLE)
