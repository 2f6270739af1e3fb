"""Evaluate a flag or a value for a user: explain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType

from django.core.management.base import CommandError, CommandParser

from flagstaff._engine import forced_off
from flagstaff._engine.direct import read_own_writes
from flagstaff._engine.explain import (
    Explanation,
    ValueExplanation,
    explain,
    explain_value,
    step_text,
)
from flagstaff._stored_value_schema import is_secret
from flagstaff._tables.bucket_units import USER
from flagstaff._tables.rows import find_row, flag_row
from flagstaff._tables.user_lookup import FoundUser, allowed_user_table
from flagstaff._words.cells import Column, Record, as_json
from flagstaff.cli.support.change_arguments import add_key
from flagstaff.cli.support.context_argument import add_context, parse_context
from flagstaff.cli.support.errors import FAILED
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.user_arguments import evaluated_user, label
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.conf import conf


def _add_explain(parser: CommandParser) -> None:
    add_key(parser)
    users = parser.add_mutually_exclusive_group(required=True)
    users.add_argument("user", metavar="USER", nargs="?", help="a user's primary key or username")
    users.add_argument("--anonymous", action="store_true", help="evaluate for an anonymous user")
    add_context(parser)


def _explain(options: Options, out: Output) -> None:
    key, context = options["key"], parse_context(options)
    if key in forced_off.keys:
        # Off for all users, also where the database cannot be reached.
        explanation = explain(key)
        result = f"{key} is off for all users."
        _print_explanation(explanation, None, result, out)
        return
    # Raises for an unknown key and for a database that cannot be reached.
    value = None if find_row(conf.flag_model, key) else find_row(conf.value_model, key)
    if value is None:
        flag_row(key)
    user = None if options["anonymous"] else allowed_user_table().find(options["user"])
    if user and user.by is None:
        out.message(
            f"no user has the primary key {user.pk}; "
            f"showing the result for primary key {user.pk} anyway"
        )
    if value is not None:
        with read_own_writes():
            of_value = explain_value(key, evaluated_user(user), context=context)
        _print_value(of_value, user, out, secret=is_secret(value))
        return
    explanation = _evaluate(key, user, context)
    result = _result(explanation, user) + _unit_text(explanation)
    _print_explanation(explanation, user, result, out)


def _print_value(
    explanation: ValueExplanation, user: FoundUser | None, out: Output, *, secret: bool
) -> None:
    """Prints how a value comes about. Of a secret one, prints which result it is in its place."""
    key, name = explanation.key, ""
    if explanation.error_code is None and explanation.override is None:
        name = "the value itself" if explanation.has_own else f"rule {explanation.rule}"
    sentence = f"{key} is {as_json(explanation.value)}"
    if explanation.error_code is not None:
        sentence = f"{key} returns the default of the call"
    elif secret:
        sentence = f"{key} is secret, and has the result of {name or 'an override'}"
    sentence = f"{sentence} {_users_text(user)}{_unit_text(explanation)}"
    members = {"value": None, "result": name} if secret else {"result": name}
    _print_explanation(explanation, user, sentence, out, members)


def _print_explanation(
    explanation: Explanation | ValueExplanation,
    user: FoundUser | None,
    sentence: str,
    out: Output,
    members: Mapping[str, object] = MappingProxyType({}),
) -> None:
    """Prints the steps below the sentence. `members` replace those of the JSON document."""
    steps = [
        {**asdict(step), "text": step_text(step, " (pass --context %(example)s)")}
        for step in explanation.steps
    ]
    if not out.is_json:
        out.headline("result", sentence)
        out.records(_STEPS, steps)
        return
    document = {**asdict(explanation), **members}
    out.document({**document, "user": user and user.as_dict(), "steps": steps})


def _name_text(record: Record) -> str:
    return f"{'  ' * record['level']}{record['name']}"


def _style(record: Record) -> str | None:
    return "MIGRATE_LABEL" if record["decides"] else None


_STEPS = (
    Column("decides", lambda record: "▸" if record["decides"] else "", header=""),
    Column("name", _name_text, header="STEP", style=_style),
    Column("met", header="", style=_style),
    Column("text", header="", style=_style, truncate=True),
)


def _unit_text(explanation: Explanation | ValueExplanation) -> str:
    """Returns a sentence about the bucket of another unit than the user, or ""."""
    unit, bucket = explanation.bucket_by or USER, explanation.bucket
    if unit == USER:
        return ""
    found = "which is missing" if bucket is None else f"bucket {bucket}"
    return f" It is bucketed by {unit}, {found}."


def _evaluate(key: str, user: FoundUser | None, context: Mapping[str, object]) -> Explanation:
    """Evaluates the flag from the database: the snapshot of this process may be older."""
    with read_own_writes():
        explanation = explain(key, evaluated_user(user), context=context)
    if explanation.error_code == "PROVIDER_NOT_READY":
        raise CommandError("the flag cannot be read from the database", returncode=FAILED)
    return explanation


def _result(explanation: Explanation, user: FoundUser | None) -> str:
    return f"{explanation.key} {_RESULTS[_result_of(explanation)]} {_users_text(user)}"


def _users_text(user: FoundUser | None) -> str:
    if user is None:
        return "for anonymous users."
    found = f", found by {user.by}" if user.by else ""
    return f"for {label(user)}{found}."


# What a flag with this result does, in words.
_RESULTS = {"on": "is on", "off": "is off", "default": "returns the default of the call"}


def _result_of(explanation: Explanation) -> str:
    """Returns "on" or "off", or "default" if the rules or the user cannot be read."""
    if explanation.error_code in ("PARSE_ERROR", "GENERAL"):
        return "default"
    return "on" if explanation.value else "off"


EXPLAIN = Verb(
    name="explain",
    help="show step by step why a flag is on or off for a user, or which value the user gets",
    examples=(
        "explain new_checkout 42",
        "explain max_items 42",
        "explain new_checkout alice",
        "explain new_checkout --anonymous",
        "explain new_checkout alice --context country=DE --context seats=5",
        "explain new_checkout --anonymous --context visitor=8f3a",
    ),
    add_arguments=_add_explain,
    run=_explain,
    topic=Topic.INCIDENT,
)
