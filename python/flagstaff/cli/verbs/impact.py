"""The effect of another rollout of a flag, or of other rules of a value: impact."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser
from django.db import Error, transaction

from flagstaff._engine.impact import Impact, impact
from flagstaff._engine.value_impact import ValueImpact, value_impact
from flagstaff._tables.bucket_units import BUCKET_BY
from flagstaff._tables.flag_states import FlagState
from flagstaff._tables.optional_fields import RULES
from flagstaff._tables.rows import find_row, flag_row
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._words.cells import Column, Record
from flagstaff._words.counted import counted
from flagstaff.changes.anonymous import anonymous_percents, anonymous_text
from flagstaff.cli.support.argument_types import count, percent
from flagstaff.cli.support.change_arguments import add_key
from flagstaff.cli.support.dry_run_impact import changed_users
from flagstaff.cli.support.errors import USAGE
from flagstaff.cli.support.json_argument import read_rules
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.value_json import read_value_json
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.conf import conf

_MAX_SAMPLE = 1000
# The fields that a terminal shows, in words.
_PERCENTAGES: Final[Mapping[str, str]] = {
    "rollout_percent": "rollout now",
    "percent": "new rollout",
}
_COUNTS: Final[Mapping[str, str]] = {
    "users": "users",
    "have": "have the flag now",
    "gain": "would gain it",
    "lose": "would lose it",
    "would_have": "would have it",
}


def _add_arguments(parser: CommandParser) -> None:
    add_key(parser)
    parser.add_argument(
        "percent",
        metavar="PERCENT",
        type=percent,
        nargs="?",
        help="for a flag: the new rollout, a whole number from 0 to 100",
    )
    of_value = parser.add_argument_group("for a value")
    of_value.add_argument("--value", dest="text", metavar="JSON", help="the new value itself")
    of_value.add_argument("--rules", metavar="JSON", help="the new rules, or a file with them")
    of_value.add_argument("--bucket-by", metavar="UNIT", help="the new bucketing unit")
    parser.add_argument(
        "--sample",
        type=count(0, _MAX_SAMPLE),
        default=10,
        metavar="N",
        help="how many of the affected users to list, by default 10",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="the time limit, by default 60",
    )


def _run(options: Options, out: Output) -> None:
    key, fields = options["key"], _fields_of_value(options)
    if find_row(conf.flag_model, key) is None and find_row(conf.value_model, key) is not None:
        if options["percent"] is not None:
            raise CommandError(f"{key} is a value: pass --rules or --value", returncode=USAGE)
        _print_value(value_impact(key, fields, **_limits(options)), out, is_change=bool(fields))
        return
    if fields or options["percent"] is None:
        # Raises for an unknown key.
        flag_row(key)
        raise CommandError(f"{key} is a flag: pass PERCENT and nothing else", returncode=USAGE)
    result = impact(
        key,
        options["percent"],
        **_limits(options),
    )
    out.headline("impact", _sentence(result))
    if out.is_terminal:
        record = _in_words(result)
        out.record([Column(name) for name in record], record)
    else:
        record = result.as_dict()
        out.record([Column(name) for name in record], record)
    if result.as_if_enabled:
        out.message(f"{result.key} is disabled: until it is enabled, no user has it")


def _limits(options: Options) -> dict[str, Any]:
    return {"sample": options["sample"], "timeout": options["timeout"]}


def _fields_of_value(options: Options) -> dict[str, Any]:
    fields = {name: options[name] for name in (RULES, BUCKET_BY) if options[name] is not None}
    if RULES in fields:
        fields[RULES] = read_rules(fields[RULES])
    if options["text"] is not None:
        fields["value"] = read_value_json(options, verb="set", secret=True)
    return fields


def _print_value(result: ValueImpact, out: Output, *, is_change: bool) -> None:
    """Prints which users would get which result. Shows no value, which may be secret."""
    sentence = f"{changed_users(result)}."
    if not is_change:
        at_least = "" if result.is_exact else "at least "
        verb = "has" if result.others == 1 else "have"
        users = counted(result.users, "user")
        sentence = f"{at_least}{result.others:,} of {users} {verb} another value by a rule."
    out.headline("impact", f"{sentence[0].upper()}{sentence[1:]}")
    record: Record = result.as_dict()
    if out.is_terminal:
        by_result = "; ".join(result.after.texts)
        names = ", ".join(_names(result.sample))
        record = {
            "value": result.key,
            **({"users of each result": by_result} if by_result else {}),
            **({"for example": names} if names else {}),
            "anonymous users": "not counted",
        }
    out.record([Column(name) for name in record], record)


def _sentence(result: Impact) -> str:
    users = counted(result.users, "user")
    affected = result.gain or result.lose
    at_least = "at least " if result.unsure or result.would_be_unsure else ""
    verb = "gain" if result.gain else "lose"
    sentence = f"{at_least}{affected:,} of {users} would {verb} the flag."
    if result.direction == "same":
        sentence = "nothing would change for any user."
        if at_least:
            sentence = "no user that can be counted would gain or lose the flag."
    if result.as_if_enabled:
        return f"If {result.key} were enabled at {result.percent} %, {sentence}"
    return sentence[0].upper() + sentence[1:]


def _in_words(result: Impact) -> Record:
    percentages = {words: f"{getattr(result, name)} %" for name, words in _PERCENTAGES.items()}
    counts = {words: f"{getattr(result, name):,}" for name, words in _COUNTS.items()}
    for name, unsure in (("have", result.unsure), ("would_have", result.would_be_unsure)):
        if unsure:
            counts[_COUNTS[name]] = f"at least {counts[_COUNTS[name]]}"
    by_rule = result.reach.texts
    return {
        "flag": result.key,
        **percentages,
        **counts,
        **({"users of each rule then": "; ".join(by_rule)} if by_rule else {}),
        **({"for example": ", ".join(_names(result.sample))} if result.sample else {}),
        "anonymous users": _anonymous(result) or "not counted",
    }


def _anonymous(result: Impact) -> str:
    """Returns the sentence about anonymous users; empty unless they gain or lose the flag."""
    now = FlagState.of(flag_row(result.key))
    then = replace(now, enabled=True, rollout_percent=result.percent)
    return anonymous_text(anonymous_percents(now, then), now.bucket_by)


def _names(sample: Iterable[object]) -> list[str]:
    """Returns the usernames of a sample, or primary keys if the role may not read the names."""
    pks = [str(pk) for pk in sample]
    table, names = allowed_user_table(), {}
    with suppress(Error), transaction.atomic(using=table.database):
        names = table.names(pks)
    return sorted(names.get(pk, pk) for pk in pks)


IMPACT = Verb(
    name="impact",
    help="count the users who would gain or lose a flag, or get another value",
    examples=(
        "impact new_checkout 50",
        "impact new_checkout 0% --sample 100 --json",
        "impact max_items",
        "impact max_items --rules rules.json",
    ),
    add_arguments=_add_arguments,
    run=_run,
)
