from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import connections

from flagstaff._tables.names import own_names
from flagstaff._workers.sessions import ConnectedWorkers, Worker, list_workers
from flagstaff.cli.cells import Column, Record
from flagstaff.cli.errors import FAILED
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options
from flagstaff.conf import conf

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "list the workers that are connected, and say which are behind"
EXAMPLES = (
    "workers",
    "workers --json",
)


def add_arguments(_parser: CommandParser) -> None:
    """Give the parser nothing more."""


def run(options: Options, out: Output) -> None:
    """Print the workers, those that are behind first."""
    connection = connections[conf.database]
    if connection.vendor != "postgresql":
        raise CommandError(
            "there are no workers to list: each question asks the database", returncode=FAILED
        )
    found = list_workers(connection)
    # Afterwards, so that a worker that is up to date is behind at most for a moment.
    records = sorted(_records(found, _newest()), key=lambda record: record["behind"] is not True)
    if not records:
        out.say("no worker is connected")
    if found.unnamed:
        out.say(_about_sessions_without_a_name(found.unnamed))
    out.records(_COLUMNS, records)


def _records(found: ConnectedWorkers, newest: int | None) -> Iterator[dict[str, Any]]:
    for worker in found.workers:
        yield {**worker.as_dict(), "behind": _is_behind(worker, newest)}


def _is_behind(worker: Worker, newest: int | None) -> bool | None:
    """None where that cannot be told: nobody leaves tokens, or its name cannot be read."""
    if newest is None or worker.pid is None or worker.mode == "reload":
        return None
    return worker.token < newest


def _newest() -> int | None:
    connection = connections[conf.database]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT max(id) FROM {own_names(connection)['token_table']}")  # noqa: S608 (quoted)
        row = cursor.fetchone()
    return row[0] if row else None


def _about_sessions_without_a_name(count: int) -> str:
    sessions = "session has" if count == 1 else "sessions have"
    return (
        f"{count} {sessions} no name: a pooler's, which any number of workers may share, "
        "or of workers that have just connected"
    )


def _behind(record: Record) -> str:
    return {True: "behind", False: "up to date", None: "unknown"}[record["behind"]]


def _role(record: Record) -> str | None:
    return "WARNING" if record["behind"] else None


_COLUMNS = (
    Column("host"),
    Column("pid", right=True),
    Column("mode"),
    Column("token", right=True),
    Column("behind", header="STATE", shown=_behind, role=_role),
    Column("session", right=True),
)
