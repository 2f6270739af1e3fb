"""The verbs `import-waffle` and `compare-waffle`, and what they print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from django.apps import apps
from django.core.management.base import CommandError

from flagstaff._text import MAX_VALUE, counted
from flagstaff.actions import Done
from flagstaff.changes import combined_undo
from flagstaff.cli.errors import DIFFERS, FAILED, REFUSED
from flagstaff.cli.options import add_attribution, add_wait, count
from flagstaff.cli.output import Output
from flagstaff.cli.verb import Options, Topic, option, verb
from flagstaff.contrib.waffle import comparing, importing
from flagstaff.contrib.waffle.importing import Imported
from flagstaff.contrib.waffle.importing import import_waffle as import_rows
from flagstaff.contrib.waffle.rows import version_text
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
    Column("notes", lambda record: "; ".join(record["notes"]), below=True, is_text=True),
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


@verb(
    "import-waffle --dry-run",
    'import-waffle --reason "leave waffle" --wait',
    "import-waffle --overwrite checkout",
    topic=Topic.FILES,
    arguments=(
        option(
            "--overwrite",
            "write the values of waffle over the changes that were made here to this flag; may be "
            "given several times",
            "KEY",
            action="append",
            default=[],
        ),
        add_attribution,
        add_wait,
    ),
)
def import_waffle(options: Options, out: Output) -> Done:
    """Import the flags, switches and samples of django-waffle, in one transaction.

    Prints the command that undoes the import. Does not change waffle's tables. The source in the
    history is `waffle`. The other rows are written if some are refused. A second import writes what
    has changed in waffle, but for flags whose newest change does not come from an import.
    """
    _require_waffle()
    out.messages(filter(None, [version_text()]))
    imported = import_rows(overwrite=options["overwrite"])
    records = [_import_record(row) for row in imported]
    counts = _counts(records, "status", importing.STATUSES)
    if not out.is_json:
        out.records(_IMPORT_COLUMNS, records)
    out.message(_sum(counts))
    undo = combined_undo(row.changed for row in imported if row.changed is not None)
    document = {"rows": records, "counts": counts}
    problem = None
    if refused := counts[importing.REFUSED]:
        number = counted(refused, "row is", "rows are")
        text = f"{number} refused; the notes say why"
        problem = CommandError(text, returncode=REFUSED)
    written = any(record["action"] for record in records)
    return Done("", [], document, undo, written, problem=problem)


def _import_record(imported: Imported) -> Record:
    row, changed, action, summary = imported.converted.row, imported.changed, "", ""
    if changed is not None and changed.written:
        action = changed.action
        summary = describe_change(changed, limit=MAX_VALUE)
    return {
        "action": action,
        "status": imported.converted.status,
        "kind": row.kind,
        "name": row.name,
        "key": row.key,
        "summary": summary,
        "notes": list(imported.converted.notes),
    }


def _counts(records: Sequence[Record], member: str, values: Sequence[str]) -> dict[str, int]:
    numbers = Counter(record[member] for record in records)
    return {value: numbers[value] for value in values}


def _sum(counts: dict[str, int]) -> str:
    numbers = ", ".join(f"{number:,} {name}" for name, number in counts.items())
    return f"{counted(sum(counts.values()), 'row')}: {numbers}"


@verb(
    "compare-waffle",
    "compare-waffle --users 5000 --json",
    topic=Topic.FILES,
    arguments=(
        option(
            "--users",
            f"the number of users, spread over all of them; by default {_USERS:,}",
            "N",
            type=count(1),
            default=_USERS,
        ),
    ),
)
def compare_waffle(options: Options, out: Output) -> None:
    """Compare the results of django-waffle's rows with those of the flags here.

    Writes nothing. The people are an anonymous visitor, users who are spread over the whole table,
    a member of the staff, a superuser, a member of each group that a flag names, and visitors with
    the languages of a flag. Own code that overrides a method of waffle is run for each of them.
    """
    _require_waffle()
    out.messages(filter(None, [version_text()]))
    records, people = comparing.compare(options["users"])
    counts = _counts(records, "outcome", comparing.OUTCOMES)
    # Of equal rows only those with percentages, which are not compared.
    shown = [
        record for record in records if record["outcome"] != comparing.EQUAL or record["waffle"]
    ]
    shown.sort(key=lambda record: comparing.OUTCOMES.index(record["outcome"]))
    document = {"people": people, "counts": counts, "rows": records}
    out.records(_COMPARE_COLUMNS, [*map(_compare_record, shown)], document=document)
    out.message(f"{_sum(counts)}; compared for {counted(people, 'visitor')}")
    if differing := sum(counts[outcome] for outcome in comparing.DIFFERING):
        number = counted(differing, "row differs", "rows differ")
        raise CommandError(f"{number} from the flags here", returncode=DIFFERS)


def _compare_record(record: Record) -> Record:
    example = record["examples"][0]["person"] if record["examples"] else ""
    return {**record, "people": record["people"] or "", "example": example}


VERBS = (import_waffle, compare_waffle)
