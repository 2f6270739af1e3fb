"""Workers, and what they need of the database: status (of this process), workers, triggers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from django.core.management.base import CommandError
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor

from flagstaff._engine.lifecycle import ready
from flagstaff._tables.database import db
from flagstaff._tables.rows import all_rows
from flagstaff._text.times import Column, Record
from flagstaff._workers.register import read_workers
from flagstaff._workers.status import MODE_TEXTS, notes, summary, worker_label
from flagstaff._workers.status import status as engine_status
from flagstaff.changes.fields import quoted_command
from flagstaff.cli.errors import FAILED
from flagstaff.cli.output import Output
from flagstaff.cli.verb import Options, Topic, verb
from flagstaff.conf import conf
from flagstaff.operations import PostgresOperation
from flagstaff.waiting.outlook import numbers_to_look_at

# Seconds for the first load.
_TIMEOUT = 5.0
_LATE = f"the first load takes longer than {_TIMEOUT:g} s; check the database"


def _age(name: str) -> Column:
    """A column with seconds, or None."""

    def text(record: Record) -> str:
        return "" if record[name] is None else f"{record[name]:.3f} s"

    return Column(name, text)


def _waiting_text(record: Record) -> str:
    """Returns which actions that wait a person has to look at."""
    lines = [f"{number} {state}" for number, state in record["waiting"].items()]
    return "; ".join([*lines, f"{quoted_command('waiting', 'list')} says why"]) if lines else "none"


_STATUS = {
    column.name: column
    for column in (
        Column("mode", lambda record: f"{record['mode']} ({MODE_TEXTS[record['mode']]})"),
        _age("age"),
        _age("members_age"),
        Column("problems", lambda record: "; ".join(record["problems"]) or "none", is_text=True),
        Column(
            "forced_off", lambda record: ", ".join(record["forced_off"]) or "none", is_text=True
        ),
        Column("forced_on", lambda record: ", ".join(record["forced_on"]) or "none", is_text=True),
        Column("waiting", _waiting_text, is_text=True),
    )
}


@verb("status", "status --json", topic=Topic.INCIDENT)
def status(_options: Options, out: Output) -> None:
    """Load the flags as a worker does, and show the status.

    Starts the engine in this process. The exit status is 1 if the load failed, so this is a check
    in a deployment. It shows nothing about other workers. Names the actions that wait and will not
    run, or are overdue.
    """
    loaded = ready(_TIMEOUT)
    record = {**engine_status().as_dict(), "waiting": numbers_to_look_at()}
    if record["mode"] == "direct":
        # Nothing is loaded in this mode, so the rows are counted. Raises if a table is missing.
        flags, values = (all_rows(model).count() for model in (conf.flag_model, conf.value_model))
        record = {**record, "flags": flags, "values": values}
    out.record([_STATUS.get(name) or Column(name) for name in record], record)
    if not loaded:
        reason = record["last_error"] or _LATE
        raise CommandError(f"the flags could not be loaded: {reason}", returncode=FAILED)


def _state_style(record: Record) -> str | None:
    return "WARNING" if record["behind"] or not record["is_expected"] else None


_WORKERS = (
    Column("host"),
    Column("pid", align_right=True),
    Column("mode"),
    Column("token", align_right=True),
    Column("state", style=_state_style),
    Column("rule_format", header="RULE FORMAT", align_right=True),
    Column("session", align_right=True),
    Column("region"),
)


@verb("workers", "workers --json", topic=Topic.INCIDENT)
def workers(_options: Options, out: Output) -> None:
    """List the workers, and show which are behind.

    Each worker reports the newest change token that it has applied, and the format of rules that it
    can read. After each change, a worker that only polls is behind until its next poll. The state
    is "unknown" if it cannot be determined, for example because triggers are missing, and "lost" if
    the worker was killed or cannot reach the database. To be sure that a change has arrived, use
    `--wait`.
    """
    _require_postgresql(
        "workers can be listed only on PostgreSQL; here every evaluation queries the database"
    )
    register = read_workers()
    for text in (summary(register), *notes(register)):
        out.message(text)
    records = [
        {**worker.as_dict(), "behind": worker.is_behind, "state": worker_label(worker)}
        for worker in register.registered
    ]
    out.records(_WORKERS, records)


@verb("install-triggers", "install-triggers --json", topic=Topic.UPKEEP)
def install_triggers(_options: Options, out: Output) -> None:
    """Install the tables, functions and triggers of the applied migrations again.

    In one transaction, also those that your own apps have installed with `flagstaff.operations`.
    So it repairs what the system check reports as missing, disabled or changed. Run it as the owner
    of the tables. It deletes nothing.
    """
    _require_postgresql("install-triggers needs PostgreSQL")
    executor = MigrationExecutor(db.connection)
    state = executor.loader.project_state()
    names = []
    with executor.connection.schema_editor() as editor:
        for migration, operations in _applied(executor):
            for operation in operations:
                # The project has deleted the model since.
                with suppress(LookupError):
                    operation.database_forwards(migration.app_label, editor, state, state)
            names.append(f"{migration.app_label}.{migration.name}")
    if out.is_json:
        out.document({"migrations": names})
    elif names:
        out.line(f"installed again: {', '.join(names)}")
    else:
        out.line('nothing is installed yet; run "manage.py migrate"')


def _require_postgresql(problem: str) -> None:
    """Raises CommandError if the flags are not in PostgreSQL."""
    if not db.is_postgresql:
        raise CommandError(problem, returncode=FAILED)


def _applied(executor: MigrationExecutor) -> Iterator[tuple[Migration, list[PostgresOperation]]]:
    """Yields the applied migrations that install something, in order, with these operations."""
    loader = executor.loader
    for migration, _ in executor.migration_plan(loader.graph.leaf_nodes(), clean_start=True):
        operations = [
            operation
            for operation in migration.operations
            if isinstance(operation, PostgresOperation)
        ]
        if operations and (migration.app_label, migration.name) in loader.applied_migrations:
            yield migration, operations
