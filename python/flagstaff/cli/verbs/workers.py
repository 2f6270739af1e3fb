"""Workers: status (of this process), workers."""

from __future__ import annotations

from django.core.management.base import CommandError, CommandParser
from django.db import connections

from flagstaff._connection.vendor import is_postgresql
from flagstaff._engine.lifecycle import ready
from flagstaff._engine.status import status
from flagstaff._tables.rows import all_rows
from flagstaff._words.cells import Column, Record
from flagstaff._words.text import some
from flagstaff._workers.register import Worker, read_workers
from flagstaff._workers.words import MODE_TEXTS, notes, summary, worker_label
from flagstaff.cli.support.errors import FAILED
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.conf import conf

_LATE = "the first load takes longer than --timeout; increase --timeout or check the database"


def _add_status(parser: CommandParser) -> None:
    parser.add_argument(
        "--timeout",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="the time limit for the first load, by default 5",
    )


def _status(options: Options, out: Output) -> None:
    loaded = ready(options["timeout"])
    record = _status_record()
    columns = [_STATUS_COLUMNS.get(name) or Column(name) for name in record]
    out.record(columns, record)
    if not loaded:
        reason = record["last_error"] or _LATE
        raise CommandError(f"the flags could not be loaded: {reason}", returncode=FAILED)


def _status_record() -> Record:
    record = status().as_dict()
    if record["mode"] != "direct":
        return record
    # Nothing is loaded in this mode, so the rows are counted. Raises if a table is missing.
    flags, values = all_rows(conf.flag_model).count(), all_rows(conf.value_model).count()
    return {**record, "flags": flags, "values": values}


def _mode(record: Record) -> str:
    return f"{record['mode']} ({MODE_TEXTS[record['mode']]})"


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.3f} s"


def _problems(record: Record) -> str:
    return "; ".join(record["problems"]) or "none"


def _forced_off(record: Record) -> str:
    return some(record["forced_off"]) or "none"


_STATUS_COLUMNS = {
    "mode": Column("mode", _mode),
    "age": Column("age", lambda record: _seconds(record["age"])),
    "members_age": Column("members_age", lambda record: _seconds(record["members_age"])),
    "problems": Column("problems", _problems),
    "forced_off": Column("forced_off", _forced_off),
}


def _workers(_options: Options, out: Output) -> None:
    connection = connections[conf.database]
    if not is_postgresql(connection):
        raise CommandError(
            "workers can be listed only on PostgreSQL; here every evaluation queries the database",
            returncode=FAILED,
        )
    found = read_workers(connection)
    out.message(summary(found))
    for note in notes(found):
        out.message(note)
    out.records(_WORKER_COLUMNS, [_record(worker) for worker in found.registered])


def _record(worker: Worker) -> Record:
    return {**worker.as_dict(), "behind": worker.is_behind, "state": worker_label(worker)}


def _state_style(record: Record) -> str | None:
    return "WARNING" if record["behind"] or not record["is_expected"] else None


_WORKER_COLUMNS = (
    Column("host"),
    Column("pid", align_right=True),
    Column("mode"),
    Column("token", align_right=True),
    Column("state", style=_state_style),
    Column("rule_format", header="RULE FORMAT", align_right=True),
    Column("session", align_right=True),
)

STATUS = Verb(
    name="status",
    help="load the flags as a worker does, and show the status",
    examples=("status", "status --timeout 30 --json"),
    add_arguments=_add_status,
    run=_status,
    topic=Topic.INCIDENT,
)
WORKERS = Verb(
    name="workers",
    help="list the workers, and show which are behind",
    examples=("workers", "workers --json"),
    run=_workers,
    topic=Topic.INCIDENT,
)
