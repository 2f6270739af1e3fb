"""The verbs `stale` and `snooze`, and what they print."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.core.management.base import CommandError, CommandParser

from flagstaff._words.cells import Column, Record
from flagstaff._words.message import to_json
from flagstaff.cleanup.ended import ended_keys, ended_record, ended_text, is_older
from flagstaff.cleanup.flag_rows import Selection
from flagstaff.cleanup.snoozes import end_snooze, snooze
from flagstaff.cleanup.stale import assess_flags
from flagstaff.cleanup.stale_signals import Assessment, Finding, Signal
from flagstaff.cleanup.texts import date_of, finding_text, references_command, unknown_texts
from flagstaff.cli.support.argument_types import count, day
from flagstaff.cli.support.change_arguments import add_attribution, add_key
from flagstaff.cli.support.errors import FAILED
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.ownership import add_ownership_filters, ownership_filter
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.cli.support.wait import finish
from flagstaff.conf import conf
from flagstaff.conf.defaults import MAX_STALE_DAYS

_ADVICE = (
    "remove each from the code (manage.py flags references KEY), or, if you still need it, "
    "snooze it (manage.py flags snooze KEY --until DATE)"
)


def _add_stale(parser: CommandParser) -> None:
    parser.add_argument(
        "--days",
        type=count(1, MAX_STALE_DAYS),
        metavar="N",
        help="the number of days after which a flag is stale; the default is STALE_DAYS",
    )
    add_ownership_filters(parser)
    parser.add_argument("--snoozed", action="store_true", help="also list snoozed flags")
    parser.add_argument(
        "--fail", action="store_true", help="exit status 1 if a flag is stale and not snoozed"
    )


def _stale(options: Options, out: Output) -> None:
    days = conf.stale_days if options["days"] is None else options["days"]
    flags = assess_flags(days, Selection(ownership_filter(options)))
    stale = [flag for flag in flags if flag.is_stale]
    listed = [flag for flag in flags if flag.findings] if options["snoozed"] else stale
    is_selected = options["owner"] is not None or options["tags"]
    ended = [] if is_selected else ended_keys()
    if out.is_json:
        unknown = unknown_records(flags)
        document = {"days": days, "flags": [flag_document(flag) for flag in listed]}
        ended_records = [ended_record(key) for key in ended]
        out.document({**document, "ended": ended_records, "unknown": unknown})
    else:
        columns = (*COLUMNS, SNOOZED) if options["snoozed"] else COLUMNS
        out.records(columns, [flag_record(flag) for flag in listed])
        if stale and out.is_terminal:
            out.message("remove them from the code:")
        for flag in stale if out.is_terminal else ():
            out.message(f"  {references_command(flag.facts.key, flag.findings)}")
        if not stale:
            out.message(_none_text(flags, is_selected=bool(is_selected)))
        for key in ended:
            next_step = f"Find it in the code: {references_command(key.key)}"
            out.message(f"{ended_text(key)} {next_step}")
        for line in unknown_texts(flags):
            out.message(line)
    old = [key for key in ended if is_older(key, days)]
    if (stale or old) and options["fail"]:
        number, noun = len(stale) + len(old), "key" if old else "flag"
        what = f"1 {noun} is" if number == 1 else f"{number:,} {noun}s are"
        raise CommandError(f"{what} stale; {_ADVICE}", returncode=FAILED)


def _none_text(flags: Sequence[Assessment], *, is_selected: bool) -> str:
    if is_selected and not flags:
        return "no flag matches --owner and --tag; manage.py flags list shows all flags"
    if any(flag.is_snoozed and flag.findings for flag in flags):
        return "no flag is stale, except snoozed ones"
    return "none of the selected flags is stale" if is_selected else "no flag is stale"


def _add_snooze(parser: CommandParser) -> None:
    add_key(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--until",
        type=day,
        metavar="DATE",
        help='the first day on which the flag can be stale again, such as "2027-01-31"',
    )
    what.add_argument("--end", action="store_true", help="end the snooze")
    add_attribution(parser, "snooze")


def _snooze(options: Options, out: Output) -> None:
    key = options["key"]
    if options["end"]:
        text = "is no longer snoozed" if end_snooze(key) else "was not snoozed"
        document: dict[str, object] = {"key": key, "snoozed_until": None}
    else:
        row = snooze(key, options["until"])
        text = f"snoozed until {row.until}"
        document = {"key": key, "snoozed_until": row.until, "reason": row.reason}
    out.message(f"{key}: {text}")
    finish(document, out, options, written=True)


STALE = Verb(
    name="stale",
    help="list the flags that are probably no longer needed, and the evidence",
    examples=("stale", "stale --days 60 --owner web", "stale --fail", "stale --json"),
    add_arguments=_add_stale,
    run=_stale,
    topic=Topic.UPKEEP,
)
SNOOZE = Verb(
    name="snooze",
    help="keep a flag off the list of stale flags until a date",
    examples=(
        'snooze dark_mode --until 2099-01-31 --reason "used again in winter"',
        "snooze dark_mode --end",
    ),
    add_arguments=_add_snooze,
    run=_snooze,
    topic=Topic.UPKEEP,
)


COLUMNS = (
    Column("key"),
    Column("signals"),
    Column("evidence", truncate=True),
    Column("owner"),
)
SNOOZED = Column("snoozed_until")


def flag_record(flag: Assessment) -> Record:
    """Returns a flag as a line of a table."""
    facts = flag.facts
    return {
        "key": facts.key,
        "signals": ", ".join(finding.signal.value for finding in flag.findings),
        "evidence": "; ".join(finding_text(finding) for finding in flag.findings),
        "owner": facts.owner,
        "snoozed_until": facts.snoozed_until if flag.is_snoozed else None,
    }


def flag_document(flag: Assessment) -> Record:
    """Returns a flag for JSON."""
    facts = flag.facts
    return {
        "key": facts.key,
        "signals": [_finding(finding) for finding in flag.findings],
        "unknown": [
            {"signal": unknown.signal.value, "why": to_json(unknown.why)}
            for unknown in flag.unknown
        ],
        "kind": facts.kind,
        "owner": facts.owner,
        "tags": list(facts.tags),
        "review_on": facts.review_on,
        "snoozed_until": facts.snoozed_until if flag.is_snoozed else None,
        "snooze_reason": facts.snooze_reason if flag.is_snoozed else "",
    }


def unknown_records(flags: Iterable[Assessment]) -> list[Record]:
    """Returns the signals that are not known, with their flags, for JSON."""
    return [
        {"key": flag.facts.key, "signal": unknown.signal.value, "why": to_json(unknown.why)}
        for flag in flags
        for unknown in flag.unknown
    ]


def _finding(finding: Finding) -> dict[str, Any]:
    result = {"result": finding.result} if finding.signal is Signal.CONSTANT else {}
    return {
        "signal": finding.signal.value,
        **result,
        "since": date_of(finding),
        "days": finding.days,
        "exact": finding.is_exact,
        "text": finding_text(finding),
    }
