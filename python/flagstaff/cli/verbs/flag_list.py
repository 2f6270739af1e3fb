"""Shows flags: list, show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from django.core.management.base import CommandError, CommandParser
from django.db.models import Q

from flagstaff._engine.forced_off import NOTICE
from flagstaff._tables.bucket_units import BUCKET_BY, USER
from flagstaff._tables.flag_states import FlagState, ReleaseState
from flagstaff._tables.model_fields import AnyField
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._words.cells import Column, Record
from flagstaff._words.text import MAX_SHOWN, some
from flagstaff.changes.allowed_users import allowed_users_of
from flagstaff.changes.consequence import users_text
from flagstaff.changes.impact import impact_of_enabling
from flagstaff.cli.support.action_verbs import existing_rows
from flagstaff.cli.support.errors import USAGE
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
    add_ownership_filters,
    has_owner,
    ownership_filter,
)
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.conf import conf
from flagstaff.history.kinds import Kind

_UNIT = Column(BUCKET_BY, record_unit, header="BUCKETING UNIT")
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
_MIDDLE_COLUMNS = (Column("allowed", align_right=True), Column("kind"))
_LAST_COLUMNS = (
    Column("changed_at", header="CHANGED"),
    Column("description", truncate=True),
)


def _add_filters(parser: CommandParser) -> None:
    parser.add_argument(
        "--state",
        action="append",
        choices=[state.value for state in ReleaseState],
        help="only flags in this state; may be repeated",
    )
    parser.add_argument("--kind", help='only flags of this kind, such as "release" or "ops"')
    add_ownership_filters(parser)
    parser.add_argument(
        "--search", metavar="TEXT", help="only flags with TEXT in the key or the description"
    )


def _list(options: Options, out: Output) -> None:
    condition = _kind_filter(options["kind"]) & ownership_filter(options)
    condition &= _search_filter(options["search"])
    records = list(flag_records(condition))
    if options["state"]:
        records = [record for record in records if record["state"] in options["state"]]
    if not records:
        out.message("no matching flags" if options["state"] or condition else "no flags")
    if forced := [record["key"] for record in records if record["forced_off"]]:
        out.message(f"{NOTICE}: {some(forced)}")
    out.records(_columns(records, is_terminal=out.is_terminal), records)


def _columns(records: Sequence[Record], *, is_terminal: bool) -> list[Column]:
    """Returns the columns; some only if a flag needs them, but not in a pipe with fixed places."""
    has_units = is_terminal and any(record_unit(record) != USER for record in records)
    units = [_UNIT] if has_units else []
    owners = [OWNER_COLUMN] if is_terminal and has_owner(records) else []
    return [*_FIRST_COLUMNS, *units, *_MIDDLE_COLUMNS, *owners, *_LAST_COLUMNS]


def _search_filter(text: str | None) -> Q:
    if text is None:
        return Q()
    return Q(key__icontains=text) | Q(description__icontains=text)


def _kind_filter(kind: str | None) -> Q:
    """Returns the condition. Raises CommandError if the model has no such kind."""
    if kind is None:
        return Q()
    field = cast("AnyField", conf.flag_model._meta.get_field("kind"))
    kinds = [str(value) for value, _label in field.flatchoices]
    if kind not in kinds:
        known = ", ".join(kinds)
        raise CommandError(f"there is no kind {kind!r}: choose from {known}", returncode=USAGE)
    return Q(kind=kind)


# The column of a terminal.
_USERS = "users with the flag"


def _add_show(parser: CommandParser) -> None:
    parser.add_argument("keys", metavar="KEY", nargs="+", help="the keys of the flags")


def _show(options: Options, out: Output) -> None:
    keys = list(dict.fromkeys(options["keys"]))
    flags = [_shown_flag(flag, out) for flag in existing_rows(Kind.FLAG, keys)]
    if out.is_json:
        records = [record for _columns, record in flags]
        out.document(records if len(flags) > 1 else records[0])
        return
    for number, (columns, record) in enumerate(flags):
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
    shown = {"summary": summary, **record, "allowed_users": users}
    state = FlagState.of(flag)
    if out.is_terminal and state.enabled and state.has_rules:
        columns.append(Column(_USERS))
        shown[_USERS] = _users(flag)
    return columns, shown


def _users(flag: Any) -> str:
    """How many users have the flag. Counts them for at most a second."""
    [effect] = impact_of_enabling([flag]).values()
    return users_text(effect, effect.on[1])


def _user_names(record: Record) -> str:
    names = (user["name"] for user in record["allowed_users"])
    return some(names, total=record["allowed"])


LIST = Verb(
    name="list",
    help="list the flags with their state",
    examples=(
        "list",
        "list --state rollout --state no-users",
        "list --kind ops --json",
        "list --owner payments --tag checkout",
        "list --search checkout",
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
