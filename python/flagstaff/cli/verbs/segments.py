"""Segments: segment list, show, and the actions."""

from __future__ import annotations

from functools import partial

from django.core.management.base import CommandParser

from flagstaff._tables.model_fields import segment_model
from flagstaff._tables.rows import all_rows, segment_row
from flagstaff._words.cells import Column, Record, with_fields
from flagstaff._words.text import some
from flagstaff.changes.segment_use import keys_that_name
from flagstaff.cli.support.action_verbs import action_verbs
from flagstaff.cli.support.change_arguments import add_key
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb, verb_group
from flagstaff.history.kinds import Kind

_LIST_COLUMNS = (
    Column("key"),
    Column("conditions", lambda record: _count(record["conditions"]), align_right=True),
    Column("changed_at", header="CHANGED"),
    Column("description", truncate=True),
)


def _add_segment_key(parser: CommandParser) -> None:
    add_key(parser, "segment")


def _list(_options: Options, out: Output) -> None:
    rows = all_rows(segment_model()).order_by("key")
    records = [with_fields(row, {"key": row.key}) for row in rows]
    if not records:
        out.message("no segments")
    out.records(_LIST_COLUMNS, records)


def _count(conditions: object) -> str:
    # SQL can write any JSON.
    return str(len(conditions)) if isinstance(conditions, list) else "unreadable"


def _show(options: Options, out: Output) -> None:
    row = segment_row(options["key"])
    record: Record = with_fields(row, {"key": row.key})  # type: ignore[arg-type]
    used_by: Record = {**keys_that_name(row.key)}
    columns = [
        *(Column(name) for name in record),
        *(Column(name, partial(_keys, name)) for name in used_by),
    ]
    out.record(columns, {**record, **used_by})


def _keys(name: str, record: Record) -> str:
    return some(record[name])


_READING = (
    Verb(
        name="list",
        help="list the segments",
        examples=("segment list",),
        run=_list,
    ),
    Verb(
        name="show",
        help="show the conditions of a segment, and what uses it",
        examples=("segment show enterprise", "segment show enterprise --json"),
        add_arguments=_add_segment_key,
        run=_show,
    ),
)


def group() -> Verb:
    """Returns the verb `segment` with those that read, and those of the actions."""
    return verb_group(
        "segment",
        "read and change segments",
        *_READING,
        *action_verbs(Kind.SEGMENT),
        topic=Topic.VALUES,
    )
