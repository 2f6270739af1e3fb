"""Values: value get, show, set, create, update, delete, list."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from flagstaff import changes
from flagstaff._engine.direct import read_own_writes
from flagstaff._engine.explain import explain_value
from flagstaff._stored_value_schema import RULES, SECRET_FIELDS, is_secret
from flagstaff._stored_value_schema import VALUE as VALUE_FIELD
from flagstaff._tables.rows import all_rows, find_row, value_row
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._words.cells import Column, Record, as_json
from flagstaff._words.text import MASK, MAX_VALUE, truncated
from flagstaff.cli.support.change_arguments import (
    add_attribution,
    add_key,
    add_value_change_arguments,
    add_yes,
    require_confirmation,
)
from flagstaff.cli.support.change_warnings import (
    warn_of_case_variants,
    warn_of_missing_groups,
    warn_of_new_type,
)
from flagstaff.cli.support.consequence import row_of, write_confirmed
from flagstaff.cli.support.context_argument import add_context, parse_context
from flagstaff.cli.support.errors import FAILED, USAGE
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.report import report_change
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.user_arguments import evaluated_user
from flagstaff.cli.support.value_fields import add_value_fields, value_fields
from flagstaff.cli.support.value_json import add_new_json, add_value_json, read_value_json
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


def _add_set(parser: CommandParser) -> None:
    add_value_change_arguments(parser)
    add_value_json(parser)
    add_yes(parser)
    parser.add_argument(
        "--everyone",
        action="store_true",
        help="also remove the rules, so that all users get the value",
    )


def _set(options: Options, out: Output) -> None:
    key = options["key"]
    # An unknown key is an error before the standard input is read.
    secret = is_secret(value_row(key))
    value = read_value_json(options, verb="set", secret=secret)
    everyone, version = options["everyone"], options["expect_version"]
    [changed] = write_confirmed(
        lambda: [row_of(Kind.VALUE, key)],
        lambda: [changes.set_value(key, value, everyone=everyone, expect_version=version)],
        options,
        out,
    )
    old, new = changed.old, changed.new
    if not changed.field:
        old, new = old.get(VALUE_FIELD), new.get(VALUE_FIELD)
    report_change(changed, out, options)
    if changed.kept_by_rules:
        out.message("to give all users the new value, pass --everyone")
    if changed.written and not secret:
        warn_of_new_type(key, old, new, out)


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
    warn_of_missing_groups(fields.get(RULES), out)


def _add_update(parser: CommandParser) -> None:
    add_value_change_arguments(parser)
    add_value_fields(parser)
    add_new_json(parser)
    add_yes(parser)


def _update(options: Options, out: Output) -> None:
    key, fields = options["key"], value_fields(options)
    if not fields and options["text"] is None:
        raise CommandError(
            "pass --description, --secret, --no-secret, --client-side, --no-client-side, --type, "
            "--choices, --rules, --bucket-by or --value",
            returncode=USAGE,
        )
    # An unknown key is an error before the standard input is read.
    secret = is_secret(value_row(key)) or bool(fields.get("secret"))
    if options["text"] is not None:
        fields["value"] = read_value_json(options, verb="set", secret=secret)
    version = options["expect_version"]
    [changed] = write_confirmed(
        lambda: [row_of(Kind.VALUE, key)],
        lambda: [changes.update_value(key, fields, expect_version=version)],
        options,
        out,
    )
    report_change(changed, out, options)
    warn_of_missing_groups(fields.get(RULES), out)


def _add_delete(parser: CommandParser) -> None:
    add_value_change_arguments(parser)
    add_yes(parser)


def _delete(options: Options, out: Output) -> None:
    key = options["key"]
    # Without a row, `changes.delete_value` knows whether it was deleted before.
    if (row := find_row(conf.value_model, key)) is not None:
        lost = " It is secret, so no undo can bring it back." if is_secret(row) else ""
        require_confirmation(f"Delete the value {key}?{lost}", options, out)
    changed = changes.delete_value(key, expect_version=options["expect_version"])
    report_change(changed, out, options)


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


VALUE = verb_group(
    "value",
    "get, show, set, create, update, delete or list values",
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
        name="set",
        help="set a value, given as JSON; --everyone also removes its rules",
        examples=(
            "value set page_size 50",
            "value set max_items 10 --everyone",
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
            "value create max_items 10 --rules rules.json",
        ),
        add_arguments=_add_create,
        run=_create,
    ),
    Verb(
        name="update",
        help="change the description, secrecy, type, choices or rules of a value",
        examples=(
            "value update page_size --type integer",
            "value update page_size --type any",
            'value update payment_gateway --choices \'["stripe", "paypal"]\'',
            "value update max_items --rules rules.json --bucket-by organization",
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
