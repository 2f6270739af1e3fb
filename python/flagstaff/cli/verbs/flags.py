"""Flags: list, show, on, off, kill, rollout, create, update, delete."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import Model, Q

from flagstaff import changes
from flagstaff._engine.forced_off import NOTICE
from flagstaff._engine.recent_usage import recent_usage
from flagstaff._tables.bucket_units import BUCKET_BY, USER
from flagstaff._tables.model_fields import bucket_field
from flagstaff._tables.rows import find_row
from flagstaff._tables.states import State
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._text.lists import MAX_SHOWN, join_some
from flagstaff._text.times import full_time
from flagstaff.changes.allowed_users import allowed_users_of
from flagstaff.changes.changed import quoted_command
from flagstaff.cli.support.argument_types import percent
from flagstaff.cli.support.cells import Column, Record
from flagstaff.cli.support.change_arguments import (
    add_attribution,
    add_change_arguments,
    add_changes_arguments,
    add_key,
    add_yes,
    require_confirmation,
)
from flagstaff.cli.support.errors import USAGE
from flagstaff.cli.support.flag_order import EVALUATED, add_order, in_order, order_filter
from flagstaff.cli.support.flag_records import (
    STATE,
    flag_columns,
    flag_record,
    flag_records,
    flag_summary,
    record_unit,
)
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.ownership import (
    OWNER_COLUMN,
    add_ownership,
    add_ownership_filters,
    has_owner,
    ownership,
    ownership_filter,
)
from flagstaff.cli.support.report import report_flag_change, warn_of_case_variants
from flagstaff.cli.support.several_flags import change_flags, flag_rows, keys_of
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidChangeError
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import entries_of_key, has_history

__all__ = ["CREATE", "DELETE", "KILL", "LIST", "OFF", "ON", "ROLLOUT", "SHOW", "UPDATE"]

# The options that set a field.
_FIELDS = ("description", "kind", BUCKET_BY)
_UNIT = Column(BUCKET_BY, record_unit, header="BUCKETED BY")
_FIRST_COLUMNS = (
    Column("key"),
    STATE,
    Column(
        "rollout_percent",
        lambda record: f"{record['rollout_percent']} %",
        header="ROLLOUT",
        align_right=True,
    ),
)
_LAST_COLUMNS = (
    Column("allowed", align_right=True),
    Column("kind"),
    Column("changed_at", header="CHANGED"),
    Column("description", truncate=True),
)


def _add_filters(parser: CommandParser) -> None:
    parser.add_argument(
        "--state",
        action="append",
        choices=[state.value for state in State],
        help="only flags in this state; may be repeated",
    )
    parser.add_argument("--kind", help='only flags of this kind, such as "release" or "ops"')
    add_ownership_filters(parser)
    add_order(parser)


def _list(options: Options, out: Output) -> None:
    condition = _kind_filter(options["kind"]) & ownership_filter(options) & order_filter(options)
    records = list(flag_records(condition))
    if options["state"]:
        records = [record for record in records if record["state"] in options["state"]]
    found = len(records)
    records = in_order(records, options)
    if not records:
        out.message("no matching flags" if options["state"] or condition else "no flags")
    if forced := [record["key"] for record in records if record["forced_off"]]:
        out.message(f"{NOTICE}: {join_some(forced)}")
    # Not in a pipe, whose columns have fixed places.
    has_units = out.is_terminal and any(record_unit(record) != USER for record in records)
    units = [_UNIT] if has_units else []
    owners = [OWNER_COLUMN] if out.is_terminal and has_owner(records) else []
    last = (*_LAST_COLUMNS[:2], *owners, EVALUATED, *_LAST_COLUMNS[2:])
    out.records((*_FIRST_COLUMNS, *units, *last), records)
    if out.is_terminal and len(records) < found:
        out.message(f"{len(records):,} of {found:,} flags; a larger --limit shows more")


def _kind_filter(kind: str | None) -> Q:
    """Returns the condition. Raises CommandError if the model has no such kind."""
    if kind is None:
        return Q()
    kinds = _kinds(conf.flag_model)
    if kind not in kinds:
        known = f"choose from {', '.join(kinds)}" if kinds else "the flag model has no kinds"
        raise CommandError(f"there is no kind {kind!r}: {known}", returncode=USAGE)
    return Q(kind=kind)


def _kinds(model: type[Model]) -> list[str]:
    fields = [field for field in model._meta.concrete_fields if field.name == "kind"]
    return [str(value) for field in fields for value, _label in field.flatchoices]


def _add_show(parser: CommandParser) -> None:
    parser.add_argument("keys", metavar="KEY", nargs="+", help="the keys of the flags")


def _show(options: Options, out: Output) -> None:
    shown = [_shown_flag(flag, out) for flag in flag_rows(keys_of(options))]
    if out.is_json:
        records = [record for _columns, record in shown]
        out.document(records if len(shown) > 1 else records[0])
        return
    for number, (columns, record) in enumerate(shown):
        if number:
            out.line("")
        out.headline("summary", record["summary"])
        out.record(columns, record)


def _shown_flag(flag: Any, out: Output) -> tuple[list[Column], Record]:
    record = flag_record(flag)
    summary = flag_summary(record)
    # A terminal shows the first users, a program gets all of them.
    rows = allowed_users_of(flag).order_by("pk")[: MAX_SHOWN if out.is_terminal else None]
    users = [{"pk": user.pk, "name": allowed_user_table().name_of(user)} for user in rows]
    columns = [*flag_columns(record), Column("allowed_users", _user_names)]
    return columns, {"summary": summary, **record, "allowed_users": users}


def _user_names(record: Record) -> str:
    names = (user["name"] for user in record["allowed_users"])
    return join_some(names, total=record["allowed"])


def _on(options: Options, out: Output) -> None:
    change_flags(changes.enable, options, out)


def _add_kill(parser: CommandParser) -> None:
    _add_off(parser, waits=True)


def _add_off(parser: CommandParser, *, waits: bool = False) -> None:
    add_changes_arguments(parser, waits=waits)
    # Nothing may delay a kill.
    parser.set_defaults(needs_reason=False)


def _off(options: Options, out: Output) -> None:
    change_flags(changes.disable, options, out)


def _add_rollout(parser: CommandParser) -> None:
    add_changes_arguments(parser)
    parser.add_argument(
        "percent", metavar="PERCENT", type=percent, help="a whole number from 0 to 100"
    )


def _rollout(options: Options, out: Output) -> None:
    change_flags(partial(changes.set_rollout, percent=options["percent"]), options, out)


def _add_create(parser: CommandParser) -> None:
    add_key(parser)
    add_attribution(parser)
    _add_fields(parser)


def _add_update(parser: CommandParser) -> None:
    add_change_arguments(parser)
    _add_fields(parser)


def _add_fields(parser: CommandParser) -> None:
    parser.add_argument("--description", metavar="TEXT", help="what the flag is for")
    parser.add_argument("--kind", help='such as "release" or "ops"')
    parser.add_argument(
        "--bucket-by",
        metavar="UNIT",
        help='what the percentages count: "user", "visitor", or an attribute such as '
        '"organization"; '
        "a change reassigns every user at once",
    )
    add_ownership(parser)


def _fields(options: Options) -> dict[str, Any]:
    fields = {name: options[name] for name in _FIELDS if options[name] is not None}
    fields |= ownership(options)
    if BUCKET_BY in fields and bucket_field(conf.flag_model) is None:
        raise InvalidChangeError(
            "the flag model of this project has no column for bucketing units; add the field "
            "`bucket_by`, and run makemigrations and migrate"
        )
    return fields


def _create(options: Options, out: Output) -> None:
    key, fields = options["key"], _fields(options)
    existed = has_history() and entries_of_key(Kind.FLAG, key).exists()
    changed = changes.create(key, **fields)
    report_flag_change(changed, out, options)
    if changed.written and existed:
        out.message(f"a flag with this key existed before; see {quoted_command('history', key)}")
    if changed.written:
        warn_of_case_variants(conf.flag_model, key, out)


def _update(options: Options, out: Output) -> None:
    fields = _fields(options)
    if not fields:
        raise CommandError(
            "pass --description, --kind, --bucket-by, --owner, --tag or --review-on",
            returncode=USAGE,
        )
    version = options["expect_version"]
    changed = changes.update(options["key"], fields, expect_version=version)
    report_flag_change(changed, out, options)


def _add_delete(parser: CommandParser) -> None:
    add_changes_arguments(parser)
    add_yes(parser)


def _delete(options: Options, out: Output) -> None:
    keys = keys_of(options)
    # Without a row, `changes.delete` knows whether it was deleted before.
    facts = {key: text for key in keys if (text := _facts(key, options, out))}
    if len(keys) > 1 and not options["yes"]:
        for key, text in facts.items():
            out.message(f"{key}: {text}")
    if facts:
        text = " ".join(facts.values()) if len(keys) == 1 else ""
        require_confirmation(f"Delete {join_some(facts)}? {text}".rstrip(), options, out)
    change_flags(changes.delete, options, out, allow_deleted=True)


def _facts(key: str, options: Options, out: Output) -> str:
    """Returns what is to be known before a deletion; "" if there is no flag."""
    flag = find_row(conf.flag_model, key)
    if flag is None:
        return ""
    recent = _recent_usage(key)
    if options["yes"] and recent:
        out.message(f"{key}:{recent}")
    return f"{flag_summary(flag_record(flag))}{recent}"


def _recent_usage(key: str) -> str:
    """Returns a sentence about the evaluations of the last days, or "" if they are not known."""
    found = recent_usage([key])
    if found is None:
        return ""
    days = "1 day" if found.days == 1 else f"{found.days:,} days"
    evaluations = found.evaluations.get(key)
    if evaluations is None:
        return f" Not evaluated in the last {days}."
    count, last = evaluations.count, full_time(evaluations.last_evaluated_at)
    times = "time" if count == 1 else "times"
    text = f" Evaluated {count:,} {times} in the last {days}, last at {last}."
    return (
        f"{text} In this time, workers ran on: {join_some(found.hosts)}." if found.hosts else text
    )


LIST = Verb(
    name="list",
    help="list the flags with their state",
    examples=(
        "list",
        "list --state rollout --state no-users",
        "list --kind ops --json",
        "list --owner payments --tag checkout",
        "list --sort changed --limit 10",
        "list --search checkout --changed-since 1h",
    ),
    add_arguments=_add_filters,
    run=_list,
)
SHOW = Verb(
    name="show",
    help="show which users have a flag, and its fields",
    examples=("show new_checkout", "show new_checkout dark_mode", "show new_checkout --json"),
    add_arguments=_add_show,
    run=_show,
)
ON = Verb(
    name="on",
    help="enable flags (their rollout and allowed users apply)",
    examples=("on new_checkout", "on new_checkout dark_mode --dry-run"),
    add_arguments=add_changes_arguments,
    run=_on,
)
OFF = Verb(
    name="off",
    help="disable flags for all users",
    examples=(
        "off new_checkout",
        "off new_checkout dark_mode",
        "off new_checkout --wait",
        "off new_checkout --wait 30 --expect 12",
    ),
    add_arguments=_add_off,
    run=_off,
)
KILL = Verb(
    name="kill",
    help="disable flags for all users, and wait until the workers have applied it",
    examples=(
        'kill new_checkout --reason "orders fail"',
        "kill new_checkout dark_mode",
        "kill new_checkout --no-wait",
    ),
    add_arguments=_add_kill,
    run=_off,
    topic=Topic.INCIDENT,
)
ROLLOUT = Verb(
    name="rollout",
    help="set the percentage of users who have a flag",
    examples=("rollout new_checkout 5", "rollout new_checkout dark_mode 25% --dry-run"),
    add_arguments=_add_rollout,
    run=_rollout,
)
CREATE = Verb(
    name="create",
    help="create a flag: disabled, at 0 %, without allowed users",
    examples=(
        "create new_search",
        'create new_search --kind ops --description "Second engine"',
        "create new_search --bucket-by organization",
        "create new_search --owner search --tag mobile --tag q3 --review-on 2027-03-01",
    ),
    add_arguments=_add_create,
    run=_create,
)
UPDATE = Verb(
    name="update",
    help="change the description, kind, bucketing unit, owner, tags or review date of a flag",
    examples=(
        'update new_search --description "Second engine"',
        "update new_search --bucket-by organization",
        'update new_search --owner payments --review-on ""',
    ),
    add_arguments=_add_update,
    run=_update,
)
DELETE = Verb(
    name="delete",
    help="delete flags and their allowed users",
    examples=("delete new_checkout --yes", "delete new_checkout dark_mode --dry-run"),
    add_arguments=_add_delete,
    run=_delete,
)
