"""The verb `differences`: where the results of waffle and flagstaff differ, and why."""

from __future__ import annotations

from django.core.management.base import CommandError, CommandParser

from flagstaff._words.cells import Column, Record
from flagstaff._words.counted import counted
from flagstaff.cli.support.errors import DIFFERS
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.time_argument import point_in_time
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.compat.causes import URGENT, Cause, text_of
from flagstaff.compat.differences import (
    DAYS,
    SHOWN_DAYS,
    Differences,
    Found,
    days_ago,
    read_differences,
    utc_day,
    why_nothing,
)
from flagstaff.compat.settings import waffle_settings


def _add_differences(parser: CommandParser) -> None:
    parser.add_argument(
        "--since",
        type=point_in_time,
        metavar="TIME",
        help=f'only from the day of TIME on, such as "2d" or "2026-11-22"; the default is the last '
        f"{SHOWN_DAYS} days, and counts are kept for {DAYS} days",
    )


def _differences(options: Options, out: Output) -> None:
    since = utc_day(options["since"]) if options["since"] else days_ago(SHOWN_DAYS)
    found = read_differences(since)
    why = "" if found.evaluations else why_nothing()
    if out.is_json:
        out.document({"since": since, **_document(found), "why_nothing": why or None})
    else:
        _print(found, out)
        out.message(why or f"{_summary(found)} since {since} UTC")
    urgent = {(one.kind, one.name) for one in found.urgent}
    if urgent or found.problems:
        names = urgent | {(row.kind, row.name) for row in found.problems}
        raise CommandError(f"{counted(len(names), 'name')} must be looked at", returncode=DIFFERS)


def _print(found: Differences, out: Output) -> None:
    out.records(_COLUMNS, [_record(one) for one in found.found])
    listed = {one.cause for one in found.found} if out.is_terminal else set()
    for cause in Cause:
        if cause in listed:
            out.message(f"{cause.value}: {text_of(cause)}")
    for row in found.problems:
        out.message(f"the last change of {row.kind} {row.name} was not written here: {row.problem}")


def _summary(found: Differences) -> str:
    equal = found.equal.total()
    names = {*found.equal, *((one.kind, one.name) for one in found.found)}
    text = (
        f"compared {counted(found.evaluations, 'evaluation')} of {counted(len(names), 'name')}; "
        f"{equal:,} equal"
    )
    share = waffle_settings().shadow
    return text if share == 1 else f"{text}; SHADOW is {share:g}, so others were not compared"


def _document(found: Differences) -> Record:
    return {
        "evaluations": found.evaluations,
        "equal": [
            {"kind": kind, "name": name, "count": count}
            for (kind, name), count in sorted(found.equal.items())
        ],
        "differences": [_record(one) for one in found.found],
        "problems": [
            {"kind": row.kind, "name": row.name, "key": row.key, "problem": row.problem}
            for row in found.problems
        ],
    }


def _record(one: Found) -> Record:
    return {
        "kind": one.kind,
        "name": one.name,
        "cause": one.cause.value,
        "waffle": one.waffle,
        "flagstaff": one.flagstaff,
        "count": one.count,
        "equal": one.equal,
        "last_day": one.last_day,
        "user": one.user_pk or None,
        "path": one.path,
        "must_be_looked_at": one.cause in URGENT,
    }


def _result(name: str) -> Column:
    return Column(name, lambda record: "on" if record[name] else "off")


def _style(record: Record) -> str | None:
    return "WARNING" if record["must_be_looked_at"] else None


_COLUMNS = (
    Column("kind"),
    Column("name", truncate=True),
    Column("cause", style=_style),
    _result("waffle"),
    _result("flagstaff"),
    Column("count", align_right=True),
    Column("equal", align_right=True),
    Column("last_day"),
    Column("user", lambda record: record["user"] or "", header="EXAMPLE USER"),
    Column("path", below=True),
)

DIFFERENCES = Verb(
    name="differences",
    help="show where the results of waffle and flagstaff differ, and why",
    examples=("differences", "differences --since 2d", "differences --json"),
    add_arguments=_add_differences,
    run=_differences,
    topic=Topic.UPKEEP,
)
