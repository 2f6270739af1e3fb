from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from flagstaff._tables.decoding import is_secret
from flagstaff._tables.rows import all_rows
from flagstaff.cli.cells import Column, as_json
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options
from flagstaff.cli.values import SECRET, value_record
from flagstaff.conf import conf

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "list the values; what is secret is not shown"
EXAMPLES = ("value list",)

_COLUMNS = (
    Column("key"),
    Column("value", cut=True),
    Column("changed_at", header="CHANGED"),
    Column("description", cut=True),
)


def add_arguments(parser: CommandParser) -> None:
    """There is nothing to choose."""


def run(options: Options, out: Output) -> None:
    """Print the values."""
    records = [_record(row, out) for row in all_rows(conf.value_model).order_by("key")]
    if not records:
        out.say("there is no value")
    out.records(_COLUMNS, records)


def _record(row: Any, out: Output) -> dict[str, Any]:
    """The entry; in a list its value is text, so that "1" can be told from 1."""
    record, secret = value_record(row), is_secret(row)
    if out.is_json:
        return {**record, "value": None} if secret else record
    return {**record, "value": SECRET if secret else as_json(record["value"])}
