"""Creates, updates and deletes flags."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from flagstaff import changes
from flagstaff._engine.recent_usage import recent_usage
from flagstaff._tables.bucket_units import BUCKET_BY
from flagstaff._tables.model_fields import bucket_field
from flagstaff._tables.rows import find_row
from flagstaff._text.lists import join_some
from flagstaff._text.times import full_time
from flagstaff.changes.changed import quoted_command
from flagstaff.cli.support.change_arguments import (
    add_attribution,
    add_change_arguments,
    add_changes_arguments,
    add_key,
    add_yes,
    require_confirmation,
)
from flagstaff.cli.support.errors import USAGE
from flagstaff.cli.support.flag_records import (
    flag_record,
    flag_summary,
)
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.ownership import (
    add_ownership,
    ownership,
)
from flagstaff.cli.support.report import report_flag_change, warn_of_case_variants
from flagstaff.cli.support.several_flags import change_flags, keys_of
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidChangeError
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import entries_of_key, has_history

__all__ = ["CREATE", "DELETE", "UPDATE"]

# The options that set a field.
_FIELDS = ("description", "kind", BUCKET_BY)


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
    """Returns what a person should know before a deletion; "" if there is no flag."""
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
