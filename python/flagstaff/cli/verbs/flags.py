"""Shows flags: list, show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

from django.db import ProgrammingError
from django.db.models import Count

from flagstaff._declared import declared_flag
from flagstaff._engine import forced_off
from flagstaff._engine.forced_on import NOTICE, is_forced_on
from flagstaff._tables.database import db
from flagstaff._tables.rows import OWNER, TAGS, Kind, all_rows, declared_rows, flag_row, is_stored
from flagstaff._tables.states import AS_DECLARED, FlagState, ReleaseState, state_label, state_of
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._text import MAX_SHOWN, some
from flagstaff._text.rules import rules_text
from flagstaff._text.times import Column, Record, as_json, with_fields
from flagstaff.changes.consequence import users_texts
from flagstaff.changes.fields import allowed_users_of, count_allowed_users
from flagstaff.changes.impact import impact_of_enabling
from flagstaff.changes.rule_use import keys_that_name
from flagstaff.cli.options import add_key, add_ownership, ownership_filter
from flagstaff.cli.output import Output
from flagstaff.cli.receipt import flag_summary
from flagstaff.cli.verb import Options, option, verb
from flagstaff.conf import conf
from flagstaff.validators import tags_problem

_STYLES = {"off": None, "all": "SUCCESS"}
# The field of a terminal.
_USERS = "users with the flag"


def _state_text(record: Record) -> str:
    fields = FlagState.of_fields(record)
    label = state_label(state_of(fields, record["allowed"]), fields)
    label = label if record["stored"] else str(AS_DECLARED)
    for forced in ("off", "on"):
        label += f" (forced {forced})" if record[f"forced_{forced}"] else ""
    return label


def _state_style(record: Record) -> str | None:
    return None if record["forced_off"] else _STYLES.get(record["state"], "WARNING")


def _rules_text(record: Record) -> str:
    return rules_text(record["rules"]) or as_json(record["rules"])


def _tags_text(record: Record) -> str:
    tags = record[TAGS]
    return as_json(tags) if tags_problem(tags) else ", ".join(tags)


def _user_names(record: Record) -> str:
    return some((user["name"] for user in record["allowed_users"]), total=record["allowed"])


_STATE = Column("state", _state_text, style=_state_style)
_COLUMNS = (
    Column("key"),
    _STATE,
    Column(
        "rollout_percent",
        lambda record: f"{record['rollout_percent']} %",
        header="ROLLOUT",
        align_right=True,
    ),
    Column("allowed", align_right=True),
    Column("kind"),
    Column("changed_at", header="CHANGED"),
    Column("description", truncate=True),
)
# The fields of one flag that a terminal shows in words.
_IN_WORDS = {
    "state": _STATE,
    "rules": Column("rules", _rules_text),
    TAGS: Column(TAGS, _tags_text, is_text=True),
    "allowed_users": Column("allowed_users", _user_names),
}


def _record(flag: Any, allowed: int) -> Record:
    return with_fields(
        flag,
        {
            "key": flag.key,
            "state": state_of(FlagState.of(flag), allowed).value,
            "enabled": flag.enabled,
            "rollout_percent": flag.rollout_percent,
            "allowed": allowed,
            "forced_off": flag.key in forced_off.keys,
            "forced_on": is_forced_on(flag.key),
            "stored": is_stored(flag),
            "declared": _declared_in(flag),
        },
    )


def _is_selected(flag: Any, options: Options) -> bool:
    """Whether --owner and --tag select a flag that has no row."""
    owner, tags = options[OWNER], options[TAGS] or ()
    return owner in (None, flag.owner) and {*tags} <= {*flag.tags}


def _declared_in(flag: Any) -> str | None:
    """Returns where code declares a flag, and None for another."""
    declared = declared_flag(flag.key)
    return None if declared is None else declared.place.path


@verb(
    "list",
    "list --state rollout --state no-users",
    "list --owner payments --tag checkout --json",
    arguments=(
        option(
            "--state",
            "only flags in this state; may be repeated",
            action="append",
            choices=[state.value for state in ReleaseState],
        ),
        add_ownership,
    ),
)
def list_(options: Options, out: Output) -> None:
    """List the flags with their state.

    "(forced off)" means that FLAGSTAFF_FORCE_OFF turns the flag off in this process, "(forced on)"
    that FLAGSTAFF_FORCE_ON turns it on. An enabled flag with rules is `by-rules`, whatever its
    rollout, unless the rollout and all rules are at 100 %: then it is `all`. For another order or
    selection, such as a kind, or for other columns such as the owner, pass the lines to `grep`, or
    `--json` to `jq`.
    """
    condition = ownership_filter(options)
    rows = all_rows(conf.flag_model).filter(condition).order_by("key")
    # The annotation's name must not clash with a field of the project's model.
    stored = rows.annotate(flagstaff_allowed=Count("allowed_users"))
    declared = [flag for flag in declared_rows(conf.flag_model) if _is_selected(flag, options)]
    flags = sorted([*stored, *declared], key=attrgetter("key"))
    records = [_record(flag, getattr(flag, "flagstaff_allowed", 0)) for flag in flags]
    if options["state"]:
        records = [record for record in records if record["state"] in options["state"]]
    for notice, field in ((forced_off.NOTICE, "forced_off"), (NOTICE, "forced_on")):
        if forced := [record["key"] for record in records if record[field]]:
            out.message(f"{notice}: {some(forced)}")
    empty = "no matching flags" if options["state"] or condition else "no flags"
    out.records(_COLUMNS, records, empty=empty)


def _used_by(key: str, out: Output) -> Mapping[str, Sequence[str]]:
    """Returns what uses a flag; nothing if the database user may not read all that could."""
    try:
        with db.atomic():
            return keys_that_name(Kind.FLAG, key)
    except ProgrammingError as error:
        out.message(f"what uses the flag cannot be read: {error}")
        return {}


@verb(
    "show new_checkout",
    "show new_checkout --json",
    arguments=(add_key,),
)
def show(options: Options, out: Output) -> None:
    """Show which users have a flag, and its fields.

    A terminal shows the first ten allowed users, and the rules as sentences; a pipe and `--json`
    show all users, and the rules as JSON.
    """
    flag = flag_row(options["key"])
    allowed = count_allowed_users(flag)
    # A terminal shows the first users, a program gets all of them.
    users = allowed_users_of(flag).order_by("pk")[: MAX_SHOWN if out.is_terminal else None]
    summary, names = flag_summary(flag, allowed), allowed_user_table().name_of
    shown = [{"pk": user.pk, "name": names(user)} for user in users]
    fields = {**_record(flag, allowed), "allowed_users": shown}
    used_by = _used_by(flag.key, out)
    if out.is_json:
        out.document({"summary": summary, **fields, "used_by": used_by})
        return
    if out.is_terminal and FlagState.of(flag).enabled and FlagState.of(flag).has_rules:
        # Counts them for at most a second.
        [effect] = impact_of_enabling([flag]).values()
        fields[_USERS] = users_texts(effect)[1]
    fields |= {f"used by {noun}": some(keys) for noun, keys in used_by.items() if keys}
    out.headline("summary", summary)
    out.record([_IN_WORDS.get(name) or Column(name) for name in fields], fields)
