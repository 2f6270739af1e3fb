"""Creates, updates and deletes flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from django.core.management.base import CommandError, CommandParser

from flagstaff import changes
from flagstaff._engine.usage import NOT_USED, RecentUsage, recent_usage
from flagstaff._tables.bucket_units import BUCKET_BY
from flagstaff._tables.rows import find_row
from flagstaff._words.text import counted, some
from flagstaff._words.times import full_time
from flagstaff.changes.changed import quoted_command
from flagstaff.cli.support.change_arguments import (
    add_attribution,
    add_change_arguments,
    add_changes_arguments,
    add_key,
    add_yes,
    require_confirmation,
)
from flagstaff.cli.support.change_warnings import warn_of_case_variants
from flagstaff.cli.support.consequence import row_of, write_confirmed
from flagstaff.cli.support.errors import USAGE
from flagstaff.cli.support.flag_records import flag_record, flag_summary
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.ownership import add_ownership, ownership
from flagstaff.cli.support.report import report_flag_change
from flagstaff.cli.support.several_flags import change_flags, keys_of
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.conf import conf
from flagstaff.history.kinds import Kind
from flagstaff.history.log import entries_of_key, has_history

# The options that set a field.
_FIELDS = ("description", "kind", BUCKET_BY)


def _add_create(parser: CommandParser) -> None:
    add_key(parser)
    add_attribution(parser)
    _add_fields(parser)


def _add_update(parser: CommandParser) -> None:
    add_change_arguments(parser)
    _add_fields(parser)
    add_yes(parser)


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
    key, version = options["key"], options["expect_version"]
    [changed] = write_confirmed(
        lambda: [row_of(Kind.FLAG, key)],
        lambda: [changes.update(key, fields, expect_version=version)],
        options,
        out,
    )
    report_flag_change(changed, out, options)


def _add_delete(parser: CommandParser) -> None:
    add_changes_arguments(parser)
    add_yes(parser)


def _delete(options: Options, out: Output) -> None:
    keys = keys_of(options)
    if facts := _facts(keys):
        _confirm_deletion(facts, options, out, is_single=len(keys) == 1)
    change_flags(changes.delete, options, out, allow_deleted=True)


class _Facts(NamedTuple):
    """What a person should know before a flag is deleted."""

    users: str
    #: The evaluations of the last days; empty if they are not known.
    usage: str

    @property
    def text(self) -> str:
        return f"{self.users} {self.usage}".rstrip()


def _facts(keys: Sequence[str]) -> dict[str, _Facts]:
    """Returns the facts about those flags that exist. Queries each flag, and the usage once.

    Of a key without a flag, `changes.delete` knows whether it was deleted before.
    """
    flags = {key: flag for key in keys if (flag := find_row(conf.flag_model, key)) is not None}
    usage = recent_usage(flags) if flags else None
    return {
        key: _Facts(flag_summary(flag_record(flag)), _usage_text(key, usage))
        for key, flag in flags.items()
    }


def _confirm_deletion(
    facts: Mapping[str, _Facts], options: Options, out: Output, *, is_single: bool
) -> None:
    """Prints the facts and asks. With --yes, prints only the usage, which may be unexpected."""
    if options["yes"]:
        for key, deleted in facts.items():
            if deleted.usage:
                out.message(f"{key}: {deleted.usage}")
        return
    if not is_single:
        for key, deleted in facts.items():
            out.message(f"{key}: {deleted.text}")
    text = " ".join(deleted.text for deleted in facts.values()) if is_single else ""
    require_confirmation(f"Delete {some(facts)}? {text}".rstrip(), options, out)


def _usage_text(key: str, usage: RecentUsage | None) -> str:
    """Returns sentences about the evaluations of the last days, or "" if they are not known."""
    if usage is None:
        return ""
    days = counted(usage.days, "day")
    found, texts = usage.keys.get(key, NOT_USED), []
    if found.last_evaluated_at:
        times, last = counted(found.count, "time"), full_time(found.last_evaluated_at)
        today = usage.today.get(key, NOT_USED).count
        of_day = f", {today:,} in the last day" if today else ""
        texts.append(f"Evaluated {times} in the last {days}{of_day}, last at {last}.")
    if found.served_to_browsers_at:
        texts.append(f"Last served to browsers at {full_time(found.served_to_browsers_at)}.")
    if found.served_in_bulk_at and not texts:
        at = full_time(found.served_in_bulk_at)
        texts.append(f"Last served in bulk at {at}, which does not say whether the code uses it.")
    return " ".join(texts) or f"Not evaluated in the last {days}."


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
