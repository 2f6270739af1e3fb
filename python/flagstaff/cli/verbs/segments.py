"""Segments, and the rules that name them.

The verbs `segment list`, `show`, `create`, `update` and `delete`, and `set-rules`.
"""

from __future__ import annotations

from functools import partial

from django.core.management.base import CommandError, CommandParser

from flagstaff import changes
from flagstaff._tables.model_fields import segment_model
from flagstaff._tables.rows import all_rows, find_row, flag_row, segment_row
from flagstaff._words.cells import Column, Record, with_fields
from flagstaff._words.text import some
from flagstaff.changes.segment_use import keys_that_name
from flagstaff.cli.support.change_arguments import (
    add_attribution,
    add_change_arguments,
    add_key,
    add_yes,
    require_confirmation,
)
from flagstaff.cli.support.change_warnings import warn_of_case_variants, warn_of_missing_groups
from flagstaff.cli.support.consequence import row_of, write_confirmed
from flagstaff.cli.support.errors import USAGE
from flagstaff.cli.support.json_argument import add_json_file, read_json_file
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.report import report_flag_change, report_segment_change
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


def _add_create(parser: CommandParser) -> None:
    _add_segment_key(parser)
    add_json_file(parser, "file", "the conditions")
    add_attribution(parser)
    parser.add_argument("--description", metavar="TEXT", help="which users the segment has")
    add_yes(parser)


def _create(options: Options, out: Output) -> None:
    key, description = options["key"], options["description"]
    fields = {} if description is None else {"description": description}
    conditions = read_json_file(options["file"])
    [changed] = write_confirmed(
        lambda: [row_of(Kind.SEGMENT, key)],
        lambda: [changes.create_segment(key, conditions, **fields)],
        options,
        out,
    )
    report_segment_change(changed, out, options)
    if changed.written:
        warn_of_case_variants(segment_model(), key, out)
    warn_of_missing_groups(conditions, out)


def _add_update(parser: CommandParser) -> None:
    add_change_arguments(parser, "segment")
    parser.add_argument(
        "--conditions",
        metavar="FILE",
        help='a file with the new conditions as a JSON list; "-" is the standard input',
    )
    parser.add_argument("--description", metavar="TEXT", help="which users the segment has")
    add_yes(parser)


def _update(options: Options, out: Output) -> None:
    key, file = options["key"], options["conditions"]
    # An unknown key is an error before the standard input is read.
    segment_row(key)
    fields: dict[str, object] = {}
    if file is not None:
        fields["conditions"] = read_json_file(file)
    if options["description"] is not None:
        fields["description"] = options["description"]
    if not fields:
        raise CommandError("pass --conditions or --description", returncode=USAGE)
    version = options["expect_version"]
    [changed] = write_confirmed(
        lambda: [row_of(Kind.SEGMENT, key)],
        lambda: [changes.update_segment(key, fields, expect_version=version)],
        options,
        out,
    )
    report_segment_change(changed, out, options)
    warn_of_missing_groups(fields.get("conditions"), out)


def _add_delete(parser: CommandParser) -> None:
    add_change_arguments(parser, "segment")
    add_yes(parser)


def _delete(options: Options, out: Output) -> None:
    key = options["key"]
    # Without a row, `changes.delete_segment` knows whether it was deleted before.
    if find_row(segment_model(), key) is not None:
        require_confirmation(f"Delete the segment {key}?", options, out)
    changed = changes.delete_segment(key, expect_version=options["expect_version"])
    report_segment_change(changed, out, options)


def _add_set_rules(parser: CommandParser) -> None:
    add_change_arguments(parser)
    add_json_file(parser, "file", "the rules")
    add_yes(parser)


def _set_rules(options: Options, out: Output) -> None:
    key = options["key"]
    # An unknown key is an error before the standard input is read.
    flag_row(key)
    rules = read_json_file(options["file"])
    version = options["expect_version"]
    [changed] = write_confirmed(
        lambda: [row_of(Kind.FLAG, key)],
        lambda: [changes.update(key, {"rules": rules}, expect_version=version)],
        options,
        out,
    )
    report_flag_change(changed, out, options)
    warn_of_missing_groups(rules, out)


SEGMENT = verb_group(
    "segment",
    "list, show, create, update or delete segments",
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
    Verb(
        name="create",
        help="create a segment from a file with its conditions",
        examples=("segment create enterprise enterprise.json", "segment create enterprise -"),
        add_arguments=_add_create,
        run=_create,
    ),
    Verb(
        name="update",
        help="change the conditions or the description of a segment",
        examples=(
            "segment update enterprise --conditions enterprise.json",
            'segment update enterprise --description "Customers with 100 seats"',
        ),
        add_arguments=_add_update,
        run=_update,
    ),
    Verb(
        name="delete",
        help="delete a segment that no rule uses",
        examples=("segment delete enterprise --yes",),
        add_arguments=_add_delete,
        run=_delete,
    ),
    topic=Topic.VALUES,
)
SET_RULES = Verb(
    name="set-rules",
    help="replace the targeting rules of a flag by those of a file",
    examples=("set-rules new_checkout rules.json", "set-rules new_checkout - < rules.json"),
    add_arguments=_add_set_rules,
    run=_set_rules,
)
