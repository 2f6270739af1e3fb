"""Workers: status (of this process), workers."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.management.base import CommandError, CommandParser
from django.db import connections

from flagstaff._engine.lifecycle import ready
from flagstaff._engine.status import status
from flagstaff._tables.names import own_names
from flagstaff._tables.rows import all_rows
from flagstaff._text.lists import join_some
from flagstaff._workers.sessions import ConnectedWorkers, Worker, list_workers
from flagstaff.cli.support.cells import Column, Record
from flagstaff.cli.support.errors import FAILED
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.conf import conf

__all__ = ["STATUS", "WORKERS"]

_MODES = {
    "starting": "the first load has not finished",
    "live": "notified of each change, and polls as well",
    "poll": "polls for changes",
    "reload": "cannot see which table has changed: loads all flags and values at each poll, "
    "and allowed users once a minute",
    "down": "cannot load the flags",
    "direct": "evaluations query the database",
}
_LATE = "the first load takes longer than --timeout; increase --timeout or check the database"
_STATES = {True: "behind", False: "up to date", None: "unknown"}


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
    columns = (_STATUS_COLUMNS.get(name) or Column(name) for name in record)
    out.record(list(columns), record)
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
    return f"{record['mode']} ({_MODES[record['mode']]})"


def _age(record: Record) -> str:
    return "" if record["age"] is None else f"{record['age']:.3f} s"


def _problems(record: Record) -> str:
    return "; ".join(record["problems"]) or "none"


def _forced_off(record: Record) -> str:
    return join_some(record["forced_off"]) or "none"


_STATUS_COLUMNS = {
    "mode": Column("mode", _mode),
    "age": Column("age", _age),
    "problems": Column("problems", _problems),
    "forced_off": Column("forced_off", _forced_off),
}


def _workers(_options: Options, out: Output) -> None:
    connection = connections[conf.database]
    if connection.vendor != "postgresql":
        raise CommandError(
            "workers can be listed only on PostgreSQL; here every evaluation queries the database",
            returncode=FAILED,
        )
    found = list_workers(connection)
    # Read after the workers, so that an up-to-date worker may look behind, but not vice versa.
    records = sorted(
        _worker_records(found, _newest_token()), key=lambda record: record["behind"] is not True
    )
    if not records:
        out.message("no worker is connected")
    if found.unnamed:
        out.message(_unnamed_sessions(found.unnamed))
    if found.of_other_projects:
        out.message(_workers_of_others(found.of_other_projects))
    out.records(_WORKER_COLUMNS, records)


def _worker_records(found: ConnectedWorkers, newest: int | None) -> Iterator[Record]:
    for worker in found.workers:
        yield {**worker.as_dict(), "behind": _is_behind(worker, newest)}


def _is_behind(worker: Worker, newest: int | None) -> bool | None:
    """Returns None if it is unknown: there are no tokens, or the session's name is unreadable."""
    if newest is None or worker.pid is None or worker.mode == "reload":
        return None
    return worker.token < newest


def _newest_token() -> int | None:
    connection = connections[conf.database]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_catalog.max(id) FROM {own_names(connection)['token_table']}")  # noqa: S608 (quoted)
        row = cursor.fetchone()
    return row[0] if row else None


def _unnamed_sessions(count: int) -> str:
    sessions = "1 session has" if count == 1 else f"{count} sessions have"
    return f"{sessions} no worker name: a worker that starts, or a connection of PgBouncer"


def _workers_of_others(count: int) -> str:
    if count == 1:
        workers, uses = "1 worker of another project is", "it uses"
    else:
        workers, uses = f"{count} workers of other projects are", "they use"
    return f"{workers} not listed: {uses} flagstaff_token in another schema"


def _state(record: Record) -> str:
    return _STATES[record["behind"]]


def _state_style(record: Record) -> str | None:
    return "WARNING" if record["behind"] else None


_WORKER_COLUMNS = (
    Column("host"),
    Column("pid", align_right=True),
    Column("mode"),
    Column("token", align_right=True),
    Column("behind", _state, header="STATE", style=_state_style),
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
    help="list the connected workers, and show which are behind",
    examples=("workers", "workers --json"),
    run=_workers,
    topic=Topic.INCIDENT,
)
