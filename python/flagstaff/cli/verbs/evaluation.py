"""Evaluate a flag or a value for a user: explain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from django.core.management.base import CommandError, CommandParser

from flagstaff._engine import forced_off
from flagstaff._engine.direct import read_own_writes
from flagstaff._engine.explain import Explanation, ValueExplanation, explain, explain_value
from flagstaff._engine.steps import EvaluationStep
from flagstaff._engine.value_steps import result_name
from flagstaff._tables.decoding import is_secret
from flagstaff._tables.rows import find_row, flag_row
from flagstaff._tables.user_lookup import FoundUser, allowed_user_table
from flagstaff._words.cells import Record, as_json
from flagstaff.cli.support.change_arguments import add_key
from flagstaff.cli.support.context_argument import add_context, parse_context
from flagstaff.cli.support.errors import FAILED
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.steps import STEPS, steps_of, steps_of_value, unit_text
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
    result = _result(explanation, user) + unit_text(explanation)
    _print_explanation(explanation, user, result, out)


def _print_explanation(
    explanation: Explanation, user: FoundUser | None, result: str, out: Output
) -> None:
    steps = steps_of(explanation, label(user) if user else None)
    _print_steps(asdict(explanation), user, steps, result, out)


def _print_value(
    explanation: ValueExplanation, user: FoundUser | None, out: Output, *, secret: bool
) -> None:
    """Prints how a value comes about. Of a secret one, prints which result it is in its place."""
    key, name = explanation.key, result_name(explanation)
    result = f"{key} is {as_json(explanation.value)}"
    if explanation.error_code is not None:
        result = f"{key} returns the default of the call"
    elif secret:
        result = f"{key} is secret, and has the result of {name or 'an override'}"
    record = {**asdict(explanation), "result": name}
    if secret:
        record["value"] = None
    sentence = f"{result} {_users_text(user)}{unit_text(explanation)}"
    _print_steps(record, user, steps_of_value(explanation), sentence, out)


def _print_steps(
    record: Record,
    user: FoundUser | None,
    steps: Sequence[EvaluationStep],
    result: str,
    out: Output,
) -> None:
    records = [step.as_dict() for step in steps]
    if out.is_json:
        out.document({**record, "user": user and user.as_dict(), "steps": records})
        return
    out.headline("result", result)
    pairs = zip(records, steps, strict=True)
    out.records(STEPS, [{**record, "why": step.text} for record, step in pairs])


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
