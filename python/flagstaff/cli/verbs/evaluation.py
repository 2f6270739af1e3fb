"""Evaluates a flag or a value for a user: explain."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from flagstaff._engine import forced_off, forced_on
from flagstaff._engine.direct import read_own_writes
from flagstaff._evaluation import (
    Explanation,
    ValueExplanation,
    explain_value,
    parse_pairs,
    step_text,
)
from flagstaff._evaluation import explain as explain_flag
from flagstaff._request.context import with_objects
from flagstaff._tables.attributes import ObjectReader, keyed_context
from flagstaff._tables.rows import USER, find_row, flag_row, present_row
from flagstaff._tables.user_lookup import FoundUser, allowed_user_table
from flagstaff._text.times import Column, Record, as_json
from flagstaff.changes.consequence import code_text
from flagstaff.cli.errors import FAILED, USAGE
from flagstaff.cli.options import add_key
from flagstaff.cli.output import Output
from flagstaff.cli.verb import Options, Topic, one_of, option, switch, verb
from flagstaff.conf import conf
from flagstaff.extensions import deciding_code
from flagstaff.validators import is_secret

# What a flag does, in words.
_ON = {True: "is on", False: "is off"}
_DEFAULT = "returns the default of the call"


def _style(record: Record) -> str | None:
    return "MIGRATE_LABEL" if record["decides"] else None


def _step_name(record: Record) -> str:
    """Returns the name of a step, after the key of the flag that the rules need, if it is its."""
    needed = record["values"].get("flag")
    return str(record["name"]) if needed is None else f"{needed}: {record['name']}"


_STEPS = (
    Column("decides", lambda record: "▸" if record["decides"] else "", header=""),
    Column(
        "name",
        lambda record: f"{'  ' * record['level']}{_step_name(record)}",
        header="STEP",
        style=_style,
    ),
    Column("met", header="", style=_style),
    Column("text", header="", style=_style, truncate=True),
)


@verb(
    "explain new_checkout 42",
    "explain page_size 42",
    "explain new_checkout alice",
    "explain new_checkout --anonymous",
    "explain new_checkout alice --context country=DE --context seats=5",
    "explain new_checkout --anonymous --context visitor=8f3a",
    topic=Topic.INCIDENT,
    arguments=(
        add_key,
        one_of(
            option("user", "a user's primary key or username", "USER", nargs="?"),
            switch("--anonymous", "evaluate for an anonymous user"),
            required=True,
        ),
        option(
            "--context",
            'an attribute that rules read, such as country=DE, seats=5 or visitor=ID; code="5" is '
            "a text; may be repeated",
            "NAME=VALUE",
            action="append",
            default=[],
        ),
    ),
)
def explain(options: Options, out: Output) -> None:
    """Show step by step why a flag is on or off for a user, or which value the user gets.

    Reads the current rows from the database, but for a flag that FLAGSTAFF_FORCE_OFF or
    FLAGSTAFF_FORCE_ON decides. A primary key without a user is accepted, because code can evaluate
    flags for bare primary keys.

    Each rule has a step with its name and its percentage, down to the rule that decides. Below it
    are its conditions, and those of its segments. "missing" means that the attribute has no value,
    or that there is no such segment: the condition is false. "needs the user object" means that
    USER is a primary key without a user, so the attributes of the user are not known.

    If the flag has another bucketing unit than the user, pass the unit with --context, such as
    `--context organization=7`. A secret value is not shown: the first line only says whether it is
    that of a rule, and of which one.

    For scripts: `flags explain new_checkout alice --json | jq --exit-status .value` ends with exit
    status 0 only if the flag is on.
    """
    key, context = options["key"], parse_pairs(options["context"])
    if context.problems:
        raise CommandError(f"argument --context: {'; '.join(context.problems)}", returncode=USAGE)
    if key in forced_off.keys or key in forced_on.keys:
        # The same for all users, also where the database cannot be reached.
        state = "off" if key in forced_off.keys else "on"
        _print(explain_flag(key), f"{key} is {state} for all users.", None, out)
        return
    # Raises for an unknown key and for a database that cannot be reached.
    value = None if find_row(conf.flag_model, key) else present_row(conf.value_model, key)
    if value is None:
        flag_row(key)
    user = None if options["anonymous"] else allowed_user_table().find(options["user"])
    if user and user.by is None:
        out.message(
            f"no user has the primary key {user.pk}; "
            f"showing the result for primary key {user.pk} anyway"
        )
    # Rules read the columns of the row. A primary key without a row is a user, too.
    subject: Any = user and (user.pk if user.row is None else user.row)
    try:
        typed = keyed_context(context.attributes, ObjectReader())
    except ValidationError as error:
        text = f"argument --context: {' '.join(error.messages)}"
        raise CommandError(text, returncode=USAGE) from error
    attributes, notes = with_objects(typed, subject)
    out.messages(notes)
    evaluate: Any = explain_flag if value is None else explain_value
    # The snapshot of this process may be older.
    with read_own_writes():
        explanation = evaluate(key, subject, context=attributes)
    if value is not None:
        members = {"result": _source(explanation)} | ({"value": None} if is_secret(value) else {})
        _print(explanation, _value_text(explanation, secret=is_secret(value)), user, out, **members)
    elif explanation.error_code == "PROVIDER_NOT_READY":
        raise CommandError("the flag cannot be read from the database", returncode=FAILED)
    else:
        if explanation.reason != "DISABLED" and (code := deciding_code([key]).get(key)):
            out.message(f"{code_text(code)}; the steps say what the flag alone returns")
        # The rules, or the user, cannot be read.
        is_default = explanation.error_code in ("PARSE_ERROR", "GENERAL")
        _print(
            explanation,
            f"{key} {_DEFAULT if is_default else _ON[bool(explanation.value)]}",
            user,
            out,
        )


def _value_text(explanation: ValueExplanation, *, secret: bool) -> str:
    is_misfit = explanation.error_code == "TYPE_MISMATCH"
    if explanation.error_code is not None and not is_misfit:
        return f"{explanation.key} {_DEFAULT}"
    if secret:
        source = _source(explanation) or "an override"
        return f"{explanation.key} is secret, and has the result of {source}"
    note = ", its default, because what is stored is not as code declares it" if is_misfit else ""
    return f"{explanation.key} is {as_json(explanation.value)}{note}"


def _source(explanation: ValueExplanation) -> str:
    """Returns what the value is that of; "" for an override or an error."""
    if explanation.error_code is not None or explanation.override is not None:
        return ""
    return "the value itself" if explanation.has_own else f"rule {explanation.rule}"


def _print(
    explanation: Explanation | ValueExplanation,
    text: str,
    user: FoundUser | None,
    out: Output,
    **members: object,
) -> None:
    """Prints the result, with the steps below. `members` replace those of the JSON document."""
    steps = [
        {**asdict(step), "text": step_text(step, " (pass --context {example})")}
        for step in explanation.steps
    ]
    if not text.endswith("."):
        text = f"{text} {_user_text(user)}{_unit_text(explanation)}"
    out.headline("result", text)
    document = {**asdict(explanation), **members, "user": user and user.as_dict(), "steps": steps}
    out.records(_STEPS, steps, document=document)


def _user_text(user: FoundUser | None) -> str:
    if user is None:
        return "for anonymous users."
    name = f" ({user.name})" if user.name not in (None, str(user.pk)) else ""
    found_by = f", found by {user.by}" if user.by else ""
    return f"for user {user.pk}{name}{found_by}."


def _unit_text(explanation: Explanation | ValueExplanation) -> str:
    """Returns a sentence about the bucket of another unit than the user, or ""."""
    unit, bucket = explanation.bucket_by or USER, explanation.bucket
    if unit == USER:
        return ""
    place = "which is missing" if bucket is None else f"bucket {bucket}"
    return f" It is bucketed by {unit}, {place}."
