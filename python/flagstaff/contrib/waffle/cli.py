"""The verbs `import-waffle` and `compare-waffle`, and what they print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from django.apps import apps
from django.core.management.base import CommandError, CommandParser

from flagstaff._words.text import MAX_VALUE, counted
from flagstaff.changes import combined_undo
from flagstaff.changes.changed import as_written
from flagstaff.cli.support.argument_types import count
from flagstaff.cli.support.change_arguments import add_attribution
from flagstaff.cli.support.errors import DIFFERS, FAILED, REFUSED
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.report import report_undo
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.cli.support.wait import add_wait, finish
from flagstaff.contrib.waffle import comparing, converting
from flagstaff.contrib.waffle.importing import Imported, import_waffle
from flagstaff.extensions import Column, Record
from flagstaff.history.describe import describe_change

_USERS = 1_000
_STYLES = {"exact": "SUCCESS", "differs": "WARNING", "lost": "WARNING", "refused": "ERROR"}
_IMPORT_COLUMNS = (
    Column("action"),
    Column("status", style=lambda record: _STYLES[record["status"]]),
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
    records = [_import_record(one) for one in imported]
    counts = _counts(records, "status", converting.STATUSES)
    if not out.is_json:
        out.records(_IMPORT_COLUMNS, records)
    out.message(_sum(counts))
    undo = combined_undo(one.changed for one in imported if one.changed is not None)
    report_undo(undo, out)
    document = {"rows": records, "counts": counts, "undo": undo and undo.arguments}
    finish(document, out, options, written=any(record["action"] for record in records))
    if refused := counts[converting.REFUSED]:
        number = counted(refused, "row is", "rows are")
        raise CommandError(f"{number} refused; the notes say why", returncode=REFUSED)


def _import_record(one: Imported) -> Record:
    row, changed, action, summary = one.converted.row, one.changed, "", ""
    if changed is not None and changed.written:
        action = "create" if changed.old is None else "change"
        summary = describe_change(as_written(changed), limit=MAX_VALUE)
    return {
        "action": action,
        "status": one.converted.status,
        "kind": row.kind,
        "name": row.name,
        "key": row.key,
        "summary": summary,
        "notes": list(one.converted.notes),
    }


def _counts(records: Sequence[Record], member: str, values: Sequence[str]) -> dict[str, int]:
    found = Counter(record[member] for record in records)
    return {value: found[value] for value in values}


def _sum(counts: dict[str, int]) -> str:
    numbers = ", ".join(f"{number:,} {name}" for name, number in counts.items())
    return f"{counted(sum(counts.values()), 'row')}: {numbers}"


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
    records, people = comparing.compare(options["users"])
    counts = _counts(records, "outcome", comparing.OUTCOMES)
    if out.is_json:
        out.document({"people": people, "counts": counts, "rows": records})
    else:
        # Of equal rows only those with percentages, which are not compared.
        shown = [one for one in records if one["outcome"] != comparing.EQUAL or one["waffle"]]
        shown.sort(key=lambda record: comparing.OUTCOMES.index(record["outcome"]))
        out.records(_COMPARE_COLUMNS, [_compare_record(one) for one in shown])
    out.message(f"{_sum(counts)}; compared for {counted(people, 'visitor')}")
    if differing := sum(counts[outcome] for outcome in comparing.DIFFERING):
        number = counted(differing, "row differs", "rows differ")
        raise CommandError(f"{number} from the flags here", returncode=DIFFERS)


def _compare_record(one: Record) -> Record:
    example = one["examples"][0]["person"] if one["examples"] else ""
    return {**one, "people": one["people"] or "", "example": example}


VERBS = (
    Verb(
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
    ),
    Verb(
        name="compare-waffle",
        help="compare the results of django-waffle's rows with those of the flags here",
        examples=("compare-waffle", "compare-waffle --users 5000 --json"),
        add_arguments=_add_compare,
        run=_compare,
        topic=Topic.FILES,
    ),
)
