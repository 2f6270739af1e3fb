"""Values: value get, set, create, update, delete, list."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.core.management.base import CommandError, CommandParser

from flagstaff import changes
from flagstaff._tables.decoding import SECRET_FIELDS, is_secret
from flagstaff._tables.rows import all_rows, find_row, value_row
from flagstaff._words.cells import Column, Record, as_json
from flagstaff._words.json_text import UnreadableJson
from flagstaff._words.mask import MASK
from flagstaff._words.message import to_json
from flagstaff._words.truncated import MAX_VALUE, truncated
from flagstaff.cli.support.change_arguments import (
    add_attribution,
    add_key,
    add_value_change_arguments,
    add_yes,
    require_confirmation,
)
from flagstaff.cli.support.change_warnings import warn_of_case_variants, warn_of_new_type
from flagstaff.cli.support.errors import USAGE
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.report import report_change
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.value_fields import add_value_fields, value_fields
from flagstaff.cli.support.value_json import add_new_json, add_value_json, read_value_json
from flagstaff.cli.support.value_records import as_stored, value_record
from flagstaff.cli.support.verb import Options, Verb, verb_group
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError
from flagstaff.history.describe import describe_value

_LIST_COLUMNS = (
    Column("key"),
    # A pipe gets the whole value.
    Column("value", lambda record: truncated(record["value"], MAX_VALUE), truncate=True),
    Column("changed_at", header="CHANGED"),
    Column("description", truncate=True),
)


def _add_value_key(parser: CommandParser) -> None:
    add_key(parser, "value")


def _add_get(parser: CommandParser) -> None:
    _add_value_key(parser)
    parser.add_argument("--show-secret", action="store_true", help="print a secret value, too")


def _get(options: Options, out: Output) -> None:
    row = value_row(options["key"])
    record = value_record(row)
    if isinstance(record["value"], UnreadableJson):
        raise FlagstaffError(
            f"the value {options['key']!r} cannot be decoded: it {record['value'].problem}; "
            "set it to another value, or delete it"
        )
    is_masked = is_secret(row) and not options["show_secret"]
    if is_masked:
        out.message(f"the value {options['key']!r} is secret: pass --show-secret to print it")
    if out.is_json:
        out.document(_masked(record) if is_masked else record)
    elif is_masked:
        out.line(MASK)
    else:
        out.document(record["value"], indent=None)


def _add_set(parser: CommandParser) -> None:
    add_value_change_arguments(parser)
    add_value_json(parser)


def _set(options: Options, out: Output) -> None:
    key = options["key"]
    # An unknown key is an error before the standard input is read.
    secret = is_secret(value_row(key))
    value = read_value_json(options, verb="set", secret=secret)
    changed = changes.set_value(key, value, expect_version=options["expect_version"])
    stored = replace(changed, old=as_stored(changed.old), new=as_stored(changed.new))
    report_change(stored, out, options)
    if changed.written and not secret:
        warn_of_new_type(key, stored.old, stored.new, out)


def _add_create(parser: CommandParser) -> None:
    _add_value_key(parser)
    add_value_json(parser)
    add_attribution(parser)
    add_value_fields(parser)


def _create(options: Options, out: Output) -> None:
    fields = value_fields(options)
    value = read_value_json(options, verb="create", secret=bool(options["secret"]))
    changed = changes.create_value(options["key"], value, **fields)
    report_change(changed, out, options)
    if changed.written:
        warn_of_case_variants(conf.value_model, options["key"], out)


def _add_update(parser: CommandParser) -> None:
    add_value_change_arguments(parser)
    add_value_fields(parser)
    add_new_json(parser)


def _update(options: Options, out: Output) -> None:
    key, fields = options["key"], value_fields(options)
    if not fields and options["text"] is None:
        raise CommandError(
            "pass --description, --secret, --no-secret, --type, --choices or --value",
            returncode=USAGE,
        )
    # An unknown key is an error before the standard input is read.
    secret = is_secret(value_row(key)) or bool(fields.get("secret"))
    if options["text"] is not None:
        fields["value"] = read_value_json(options, verb="set", secret=secret)
    changed = changes.update_value(key, fields, expect_version=options["expect_version"])
    report_change(changed, out, options)


def _add_delete(parser: CommandParser) -> None:
    add_value_change_arguments(parser)
    add_yes(parser)


def _delete(options: Options, out: Output) -> None:
    key = options["key"]
    # Without a row, `changes.delete_value` knows whether it was deleted before.
    if find_row(conf.value_model, key) is not None:
        require_confirmation(f"Delete the value {key}?", options, out)
    changed = changes.delete_value(key, expect_version=options["expect_version"])
    report_change(changed, out, options)


def _list(_options: Options, out: Output) -> None:
    rows = all_rows(conf.value_model).order_by("key")
    records = [_list_record(row, is_json=out.is_json) for row in rows]
    if not records:
        out.message("no values")
    out.records(_LIST_COLUMNS, records)


def _masked(record: Record) -> Record:
    """Returns the record of a secret value without the value, which is one of its choices."""
    return {name: None if name in SECRET_FIELDS else field for name, field in record.items()}


def _list_record(row: Any, *, is_json: bool) -> Record:
    """Returns the record. Outside of --json the value is JSON text, so that "1" differs from 1."""
    record, secret = value_record(row), is_secret(row)
    value = record["value"]
    unreadable = isinstance(value, UnreadableJson)
    if is_json:
        problem = {"problem": to_json(value.problem)} if unreadable else {}
        masked = _masked(record) if secret else {**record, "value": None}
        return {**masked, **problem} if secret or unreadable else record
    text = describe_value(value, secret=secret) if secret or unreadable else as_json(value)
    return {**record, "value": text}


VALUE = verb_group(
    "value",
    "get, set, create, update, delete or list values",
    Verb(
        name="get",
        help="print a value as JSON; a secret value is masked",
        examples=("value get payment_gateway", "value get mail_password --show-secret"),
        add_arguments=_add_get,
        run=_get,
    ),
    Verb(
        name="set",
        help="set a value, given as JSON",
        examples=(
            "value set page_size 50",
            "value set payment_gateway '\"stripe\"'",
            "value set opening_hours - < hours.json",
        ),
        add_arguments=_add_set,
        run=_set,
    ),
    Verb(
        name="create",
        help="create a value, given as JSON",
        examples=(
            "value create page_size 20",
            "value create mail_password - --secret < password.json",
            'value create payment_gateway \'"stripe"\' --choices \'["stripe", "paypal"]\'',
        ),
        add_arguments=_add_create,
        run=_create,
    ),
    Verb(
        name="update",
        help="change the description, secrecy, type or choices of a value",
        examples=(
            "value update page_size --type integer",
            "value update page_size --type any",
            'value update payment_gateway --choices \'["stripe", "paypal"]\'',
        ),
        add_arguments=_add_update,
        run=_update,
    ),
    Verb(
        name="delete",
        help="delete a value, so that code gets its default",
        examples=("value delete payment_gateway --yes",),
        add_arguments=_add_delete,
        run=_delete,
    ),
    Verb(
        name="list",
        help="list the values; secret values are masked",
        examples=("value list",),
        run=_list,
    ),
    topic=Topic.VALUES,
)
