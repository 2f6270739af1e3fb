from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from flagstaff._engine.lifecycle import ready
from flagstaff._engine.status import status
from flagstaff._tables.rows import all_rows
from flagstaff.cli.cells import Column
from flagstaff.cli.errors import FAILED
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options
from flagstaff.conf import conf

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "load the flags as a worker does, and say how that went"
EXAMPLES = (
    "status",
    "status --timeout 30 --json",
)

_MODES = {
    "starting": "the first load is under way",
    "live": "notified of each change, and polls besides",
    "poll": "polls for changes",
    "reload": "loads everything at each poll, for the triggers are missing",
    "down": "cannot reach the flags",
    "direct": "each question asks the database",
}


def add_arguments(parser: CommandParser) -> None:
    """Give the parser the time limit."""
    parser.add_argument(
        "--timeout",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="how long to wait for the first load, by default 5",
    )


def run(options: Options, out: Output) -> None:
    """Print what this process knows of itself once it has loaded, or could not."""
    loaded = ready(options["timeout"])
    record = _record()
    columns = [_MODE if name == _MODE.name else Column(name, _SHOWN.get(name)) for name in record]
    out.record(columns, record)
    if not loaded:
        why = record["last_error"] or "the first load takes longer than --timeout"
        raise CommandError(f"the flags could not be loaded: {why}", returncode=FAILED)


def _record() -> dict[str, Any]:
    record = status().as_dict()
    if record["mode"] != "direct":
        return record
    # Nothing is loaded, so that the tables are counted instead. Raises where they are not there.
    flags, values = all_rows(conf.flag_model).count(), all_rows(conf.value_model).count()
    return {**record, "flags": flags, "values": values}


def _seconds(record: Any) -> str:
    return "" if record["age"] is None else f"{record['age']:.3f} s"


def _problems(record: Any) -> str:
    return "; ".join(record["problems"]) or "none"


_MODE = Column("mode", lambda record: f"{record['mode']} ({_MODES[record['mode']]})")
_SHOWN = {"age": _seconds, "problems": _problems}
