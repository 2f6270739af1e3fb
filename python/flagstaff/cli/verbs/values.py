"""Values and segments: show and list, beside their actions."""

from __future__ import annotations

from functools import partial
from operator import attrgetter
from typing import Any

from flagstaff._declared import declared_value
from flagstaff._tables.rows import RULES, Kind, all_rows, declared_rows, is_stored, segment_model
from flagstaff._tables.states import DEFAULT
from flagstaff._text import MASK, MAX_VALUE, some, truncated
from flagstaff._text.times import Column, Record, as_json, with_fields
from flagstaff.changes.rule_use import keys_that_name
from flagstaff.cli.action_verbs import action_verbs
from flagstaff.cli.options import add_key
from flagstaff.cli.output import Output
from flagstaff.cli.verb import Options, Topic, switch, verb, verb_group
from flagstaff.conf import conf
from flagstaff.history.describe import describe_value
from flagstaff.validators import SECRET_FIELDS, is_secret


def _number(name: str) -> Column:
    """A column with the number of rules or conditions."""

    def text(record: Record) -> str:
        keys = record[name]
        if isinstance(keys, list):
            return str(len(keys))
        # SQL can write any JSON.
        return MASK if keys == MASK else "unreadable"

    return Column(name, text, align_right=True)


def _value_text(record: Record) -> str:
    text = truncated(record["value"], MAX_VALUE)
    return text if record["stored"] else f"{text} ({DEFAULT})"


_LAST = (Column("changed_at", header="CHANGED"), Column("description", truncate=True))
_VALUES = (
    Column("key"),
    # A pipe gets the whole value.
    Column("value", _value_text, truncate=True),
    _number(RULES),
    *_LAST,
)
_SEGMENTS = (Column("key"), _number("conditions"), *_LAST)


def _record(row: Any, out: Output, *, shows_secret: bool = False) -> Record:
    """Returns all fields of a value. Outside of --json it is JSON text, so that "1" differs from 1.

    Of a secret value, the fields that hold it or its choices are masked.
    """
    declared = declared_value(row.key)
    of_code = {
        "stored": is_stored(row),
        "declared": None if declared is None else declared.place.path,
    }
    record = with_fields(row, {"key": row.key, "value": row.value} | of_code)
    if is_secret(row) and not shows_secret:
        empty = None if out.is_json else MASK
        hidden = (name for name in SECRET_FIELDS if out.is_json or record.get(name))
        return {**record, **{name: empty for name in hidden if name in record}, "value": empty}
    return record if out.is_json else {**record, "value": as_json(row.value)}


@verb(
    "value show page_size",
    "value show mail_password --show-secret",
    arguments=(
        partial(add_key, noun="value"),
        switch("--show-secret", "print a secret value, too"),
    ),
)
def show(options: Options, out: Output) -> None:
    """Show the value, its other fields, and its rules in words; a secret value is masked.

    A pipe and `--json` show the rules as JSON. What a user gets by the rules, `explain` says. For
    scripts: `flags value show payment_gateway --json | jq .value`.
    """
    record = _record(Kind.VALUE.row(options["key"]), out, shows_secret=options["show_secret"])
    columns = {name: Column(name) for name in record} | {RULES: Column(RULES, _rules_text)}
    out.record(list(columns.values()), record)


def _rules_text(record: Record) -> str:
    rules = record[RULES]
    return MASK if rules == MASK else describe_value(rules, field=RULES)


@verb("value list", "value list --json")
def list_(_options: Options, out: Output) -> None:
    """List the values; secret values are masked.

    A terminal shows the beginning of a long value.
    """
    rows = [*all_rows(conf.value_model), *declared_rows(conf.value_model)]
    rows.sort(key=attrgetter("key"))
    out.records(_VALUES, [_record(row, out) for row in rows], empty="no values")


@verb("segment list", "segment list --json", name="list")
def list_segments(_options: Options, out: Output) -> None:
    """List the segments."""
    rows = all_rows(segment_model()).order_by("key")
    records = [with_fields(row, {"key": row.key}) for row in rows]
    out.records(_SEGMENTS, records, empty="no segments")


@verb(
    "segment show enterprise",
    "segment show enterprise --json",
    name="show",
    arguments=(partial(add_key, noun="segment"),),
)
def show_segment(options: Options, out: Output) -> None:
    """Show the conditions of a segment, and what uses it."""
    row: Any = Kind.SEGMENT.row(options["key"])
    record, used_by = with_fields(row, {"key": row.key}), keys_that_name(Kind.SEGMENT, row.key)
    columns = [*map(Column, record), *(Column(name, partial(_keys, name)) for name in used_by)]
    out.record(columns, {**record, **used_by})


def _keys(name: str, record: Record) -> str:
    return some(record[name])


value = verb_group(
    "value",
    "read and change values",
    show,
    list_,
    *action_verbs(Kind.VALUE),
    topic=Topic.VALUES,
)
segment = verb_group(
    "segment",
    "read and change segments",
    list_segments,
    show_segment,
    *action_verbs(Kind.SEGMENT),
    topic=Topic.VALUES,
)
