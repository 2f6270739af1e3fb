"""Values: value get, show, list, and the actions."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from flagstaff._engine.direct import read_own_writes
from flagstaff._engine.explain import explain_value
from flagstaff._stored_value_schema import SECRET_FIELDS, is_secret
from flagstaff._tables.model_fields import RULES
from flagstaff._tables.rows import all_rows, value_row
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._words.cells import Column, Record, as_json
from flagstaff._words.text import MASK, MAX_VALUE, truncated
from flagstaff.cli.support.action_verbs import action_verbs
from flagstaff.cli.support.change_arguments import add_key
from flagstaff.cli.support.context_argument import add_context, parse_context
from flagstaff.cli.support.errors import FAILED
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.user_arguments import evaluated_user
from flagstaff.cli.support.value_records import value_record
from flagstaff.cli.support.verb import Options, Verb, verb_group
from flagstaff.conf import conf
from flagstaff.history.describe import describe_value
from flagstaff.history.kinds import Kind

_LIST_COLUMNS = (
    Column("key"),
    # A pipe gets the whole value.
    Column("value", lambda record: truncated(record["value"], MAX_VALUE), truncate=True),
    Column("rules", lambda record: _count(record["rules"]), align_right=True),
    Column("changed_at", header="CHANGED"),
    Column("description", truncate=True),
)


def _add_value_key(parser: CommandParser) -> None:
    add_key(parser, "value")


def _add_get(parser: CommandParser) -> None:
    _add_value_key(parser)
    _add_show_secret(parser)
    users = parser.add_mutually_exclusive_group()
    users.add_argument("--user", help="evaluate the rules for a user: a primary key or username")
    users.add_argument(
        "--anonymous", action="store_true", help="evaluate the rules for an anonymous user"
    )
    add_context(parser)


def _add_show_secret(parser: CommandParser) -> None:
    parser.add_argument("--show-secret", action="store_true", help="print a secret value, too")


def _get(options: Options, out: Output) -> None:
    row = value_row(options["key"])
    if options["user"] is not None or options["anonymous"] or options["context"]:
        record = _evaluated(options)
    else:
        record = value_record(row)
    is_masked = is_secret(row) and not options["show_secret"]
    if is_masked:
        out.message(f"the value {options['key']!r} is secret: pass --show-secret to print it")
    if out.is_json:
        out.document(_masked(record) if is_masked else record)
    elif is_masked:
        out.line(MASK)
    else:
        out.document(record["value"], indent=None)


def _evaluated(options: Options) -> Record:
    """Returns what a user gets now, and why. Evaluates from the database."""
    key, given = options["key"], options["user"]
    user = None if given is None else allowed_user_table().find(given)
    with read_own_writes():
        found = explain_value(key, evaluated_user(user), context=parse_context(options))
    if found.error_code is not None:
        raise CommandError(
            f"the value {key!r} cannot be evaluated: {found.error_code}", returncode=FAILED
        )
    names = ("reason", "rule", "bucket", "bucket_by")
    why = {name: getattr(found, name) for name in names}
    return {"key": key, "value": found.value, **why}


def _add_show(parser: CommandParser) -> None:
    _add_value_key(parser)
    _add_show_secret(parser)


def _show(options: Options, out: Output) -> None:
    row = value_row(options["key"])
    is_masked = is_secret(row) and not options["show_secret"]
    record = _list_record(row, is_json=out.is_json, is_masked=is_masked)
    columns = {name: Column(name) for name in record}
    columns[RULES] = Column(RULES, _rules_text)
    out.record(list(columns.values()), record)


def _rules_text(record: Record) -> str:
    rules = record[RULES]
    return MASK if rules == MASK else describe_value(rules, field=RULES)


def _list(_options: Options, out: Output) -> None:
    rows = all_rows(conf.value_model).order_by("key")
    records = [_list_record(row, is_json=out.is_json, is_masked=is_secret(row)) for row in rows]
    if not records:
        out.message("no values")
    out.records(_LIST_COLUMNS, records)


def _count(rules: object) -> str:
    if isinstance(rules, list):
        return str(len(rules))
    # SQL can write any JSON.
    return MASK if rules == MASK else "unreadable"


def _masked(record: Record) -> Record:
    """Returns the record of a secret value without the value, which is one of its choices."""
    return {name: None if name in SECRET_FIELDS else field for name, field in record.items()}


def _list_record(row: Any, *, is_json: bool, is_masked: bool) -> Record:
    """Returns the record. Outside of --json the value is JSON text, so that "1" differs from 1."""
    record, secret = value_record(row), is_masked
    value = record["value"]
    if is_json:
        return _masked(record) if secret else record
    text = MASK if secret else as_json(value)
    hidden = (name for name in SECRET_FIELDS if secret and record.get(name))
    return {**record, **dict.fromkeys(hidden, MASK), "value": text}


_READING = (
    Verb(
        name="get",
        help="print a value as JSON, or what a user gets; a secret value is masked",
        examples=(
            "value get payment_gateway",
            "value get mail_password --show-secret",
            "value get max_items --user alice --context plan=enterprise",
        ),
        add_arguments=_add_get,
        run=_get,
    ),
    Verb(
        name="show",
        help="show the fields of a value, and its rules in words",
        examples=("value show max_items", "value show mail_password --show-secret"),
        add_arguments=_add_show,
        run=_show,
    ),
    Verb(
        name="list",
        help="list the values; secret values are masked",
        examples=("value list",),
        run=_list,
    ),
)


def group() -> Verb:
    """Returns the verb `value` with those that read, and those of the actions."""
    return verb_group(
        "value", "read and change values", *_READING, *action_verbs(Kind.VALUE), topic=Topic.VALUES
    )
