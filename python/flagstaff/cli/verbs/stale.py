"""The verb `stale`: the flags that are probably no longer needed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.core.management.base import CommandError, CommandParser

from flagstaff._words.cells import Column, Record
from flagstaff._words.text import counted
from flagstaff.changes.changed import command_line
from flagstaff.cli.support.argument_types import count
from flagstaff.cli.support.errors import FAILED
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.ownership import add_ownership_filters, ownership_filter
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.conf import MAX_STALE_DAYS, conf
from flagstaff.stale.facts import assess_flags
from flagstaff.stale.flag_rows import Selection
from flagstaff.stale.signals import Assessment, Finding, Signal
from flagstaff.stale.texts import date_of, finding_text, unknown_texts

_ADVICE = (
    "remove each from the code (manage.py flags references KEY), or, if you still need it, set the "
    "day of its next review (manage.py flags details KEY --review-on DATE)"
)
_SILENT_UNTIL = "silent_until"
_COLUMNS = (
    Column("key"),
    Column("signals"),
    Column("evidence", truncate=True),
    Column("owner"),
    Column(_SILENT_UNTIL),
)


def _add_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--days",
        type=count(1, MAX_STALE_DAYS),
        metavar="N",
        help="the number of days after which a flag is stale; the default is STALE_DAYS",
    )
    add_ownership_filters(parser)
    parser.add_argument(
        "--all", action="store_true", help="also list the flags that are silent until their review"
    )
    parser.add_argument(
        "--fail", action="store_true", help="exit status 1 if a flag is stale and not silent"
    )


def _run(options: Options, out: Output) -> None:
    days = conf.stale_days if options["days"] is None else options["days"]
    flags = assess_flags(days, Selection(ownership_filter(options)))
    stale = [flag for flag in flags if flag.is_stale]
    silent = [flag for flag in flags if flag.findings and flag.is_silent]
    listed = [flag for flag in flags if flag.findings] if options["all"] else stale
    if out.is_json:
        out.document(
            {
                "days": days,
                "flags": [_document(flag) for flag in listed],
                "silent": len(silent),
                "unknown": _unknown_records(flags),
            }
        )
    else:
        is_selected = options["owner"] is not None or bool(options["tags"])
        out.records(_COLUMNS, [_record(flag, is_all=options["all"]) for flag in listed])
        _print_messages(flags, stale, out, is_selected=is_selected)
        if silent and not options["all"]:
            are = "flag is" if len(silent) == 1 else "flags are"
            out.message(f"{len(silent):,} {are} silent until the next review; --all lists them")
    if stale and options["fail"]:
        are = "is" if len(stale) == 1 else "are"
        raise CommandError(
            f"{counted(len(stale), 'flag')} {are} stale; {_ADVICE}", returncode=FAILED
        )


def _print_messages(
    flags: Sequence[Assessment], stale: Sequence[Assessment], out: Output, *, is_selected: bool
) -> None:
    if stale and out.is_terminal:
        keys = [flag.facts.key for flag in stale]
        out.message(f"find them in the code: {command_line('references', *keys)}")
    elif is_selected and not flags:
        out.message("no flag matches --owner and --tag; manage.py flags list shows all flags")
    elif not stale:
        out.message("none of the selected flags is stale" if is_selected else "no flag is stale")
    for line in unknown_texts(flags):
        out.message(line)


def _record(flag: Assessment, *, is_all: bool) -> Record:
    facts = flag.facts
    record: dict[str, object] = {
        "key": facts.key,
        "signals": ", ".join(finding.signal.value for finding in flag.findings),
        "evidence": "; ".join(finding_text(finding) for finding in flag.findings),
        "owner": facts.owner,
    }
    # Without this member, the column is left out.
    return record | {_SILENT_UNTIL: _silent_until(flag)} if is_all else record


def _document(flag: Assessment) -> Record:
    facts = flag.facts
    return {
        "key": facts.key,
        "signals": [_finding(finding) for finding in flag.findings],
        "unknown": [
            {"signal": unknown.signal.value, "why": unknown.why} for unknown in flag.unknown
        ],
        "kind": facts.kind,
        "owner": facts.owner,
        "tags": list(facts.tags),
        "review_on": facts.review_on,
        _SILENT_UNTIL: _silent_until(flag),
    }


def _silent_until(flag: Assessment) -> object:
    return flag.facts.review_on if flag.is_silent else None


def _unknown_records(flags: Iterable[Assessment]) -> list[Record]:
    """Returns the signals that are not known, with their flags."""
    return [
        {"key": flag.facts.key, "signal": unknown.signal.value, "why": unknown.why}
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


STALE = Verb(
    name="stale",
    help="list the flags that are probably no longer needed, and the evidence",
    examples=("stale", "stale --days 60 --owner web", "stale --fail", "stale --all --json"),
    add_arguments=_add_arguments,
    run=_run,
    topic=Topic.UPKEEP,
)
