"""What is used, and what can go: usage, stale, references."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.db import DatabaseError
from django.utils import timezone

from flagstaff._code.files import UntrackedError, Use, tracked_files
from flagstaff._code.project import KnownKeys, all_keys, is_test, stored_keys, uses_in
from flagstaff._code.text import Found, Place, find_places
from flagstaff._tables.rows import Kind
from flagstaff._text import counted, some
from flagstaff._text.times import Column, Record, full_time, printable
from flagstaff._workers.usage import HourlyUsage, Usage
from flagstaff._workers.usage import usage as counted_usage
from flagstaff.changes.fields import command_line
from flagstaff.changes.rule_use import uses_by_name
from flagstaff.cli.errors import FAILED, UNKNOWN, USAGE
from flagstaff.cli.options import add_ownership, count, ownership_filter
from flagstaff.cli.output import Output
from flagstaff.cli.verb import Options, Topic, option, switch, verb
from flagstaff.conf import MAX_STALE_DAYS, conf
from flagstaff.stale.facts import assess_flags
from flagstaff.stale.signals import (
    Assessment,
    Finding,
    Signal,
    date_of,
    finding_text,
    unknown_texts,
)


def _result_text(record: Record) -> str:
    result: str = record["result"]
    if not result.isdecimal():
        return result
    return f"rule {result}" if int(result) else "the value itself"


_USAGE = (
    Column("key"),
    Column("result", _result_text),
    Column("count", align_right=True),
    Column("last_at", header="LAST REPORT"),
)


@verb(
    "usage",
    "usage new_checkout --days 2",
    "usage --json",
    topic=Topic.UPKEEP,
    arguments=(
        option("key", "the key; by default all", "KEY", nargs="?"),
        option("--days", "only the last N days", "N", type=count(0, MAX_STALE_DAYS)),
    ),
)
def usage(options: Options, out: Output) -> None:
    """Show how often each key was evaluated, and with which result.

    The result of a flag is `true` or `false`. It is `bulk` or `browsers` if the flag was served in
    bulk, and `needed` if a condition of another row has read it, which are not counted. That of a
    value with rules is the number of the rule, or 0 for the value itself. `unknown` are evaluations
    without a flag: misspelled keys, and keys of deleted flags that code still uses. The standard
    error says which period the counts cover.
    """
    number = options["days"]
    age = None if number is None else timedelta(days=number)
    counts = counted_usage(options["key"], since=age)
    out.records(_USAGE, _totals(counts.hours), empty="no matching entries")
    out.message(_period(counts, age))


def _totals(hours: Iterable[HourlyUsage]) -> list[Record]:
    """Returns one record per key and result, with the sum of its hours."""
    by_place = defaultdict[tuple[str, str], list[HourlyUsage]](list)
    for hour in hours:
        by_place[hour.key, hour.result].append(hour)
    return [
        {
            "key": key,
            "result": result,
            "count": sum(hour.count for hour in of_place),
            "last_at": max(hour.last_at for hour in of_place),
        }
        for (key, result), of_place in sorted(by_place.items())
    ]


def _period(counts: Usage, age: timedelta | None) -> str:
    """Says which time the counts cover."""
    interval, since, until = conf.usage_interval, counts.since, counts.until
    reports = f"workers report every {interval:g} s"
    if not interval:
        reports = "usage is turned off in this process: USAGE_INTERVAL is 0"
    if since is None or until is None:
        return f"no worker has reported its usage yet; {reports}"
    if age is not None:
        since = max(since, timezone.now() - age)
    return f"counted from {full_time(since)} until {full_time(until)}; {reports}"


_ADVICE = (
    "remove each from the code (manage.py flags references KEY), or, if you still need it, set the "
    "day of its next review (manage.py flags details KEY --review-on DATE)"
)
_SILENT_UNTIL = "silent_until"
_STALE = (
    Column("key"),
    Column("signals"),
    Column("evidence", truncate=True),
    Column("owner"),
    Column(_SILENT_UNTIL),
)


@verb(
    "stale",
    "stale --days 60 --owner web",
    "stale --fail",
    "stale --all --json",
    topic=Topic.UPKEEP,
    arguments=(
        option(
            "--days",
            "the number of days after which a flag is stale; the default is STALE_DAYS",
            "N",
            type=count(1, MAX_STALE_DAYS),
        ),
        add_ownership,
        switch("--all", "also list the flags that are silent until their review"),
        switch("--fail", "exit status 1 if a flag is stale and not silent"),
    ),
)
def stale(options: Options, out: Output) -> None:
    """List the flags that are probably no longer needed, and the evidence.

    On a terminal, the command follows that finds their keys in the code. The last line is the
    number of flags that are silent until their review.
    """
    number = conf.stale_days if options["days"] is None else options["days"]
    flags = assess_flags(number, ownership_filter(options))
    stale_flags = [flag for flag in flags if flag.is_stale]
    silent = [flag for flag in flags if flag.findings and flag.is_silent]
    listed = [flag for flag in flags if flag.findings] if options["all"] else stale_flags
    documents = [_document(flag) for flag in listed]
    records = [
        {
            **flag_document,
            "signals": ", ".join(finding["signal"] for finding in flag_document["signals"]),
            "evidence": "; ".join(finding["text"] for finding in flag_document["signals"]),
        }
        for flag_document in documents
    ]
    unknown = [{"key": flag.facts.key, **signal} for flag in flags for signal in _unknown(flag)]
    counts = {"silent": len(silent), "unknown": unknown}
    document = {"days": number, "flags": documents, **counts}
    # Without --all the last column would be empty.
    out.records(_STALE if options["all"] else _STALE[:-1], records, document=document)
    if not out.is_json:
        if stale_flags and out.is_terminal:
            keys = [flag.facts.key for flag in stale_flags]
            out.message(f"find them in the code: {command_line('references', *keys)}")
        elif not stale_flags:
            out.message("no flag is stale")
        out.messages(unknown_texts(flags))
        if silent and not options["all"]:
            are = counted(len(silent), "flag is", "flags are")
            out.message(f"{are} silent until the next review; --all lists them")
    if stale_flags and options["fail"]:
        are = counted(len(stale_flags), "flag is", "flags are")
        raise CommandError(f"{are} stale; {_ADVICE}", returncode=FAILED)


def _document(flag: Assessment) -> Record:
    facts = flag.facts
    return {
        "key": facts.key,
        "signals": [_finding(finding) for finding in flag.findings],
        "unknown": _unknown(flag),
        "kind": facts.kind,
        "owner": facts.owner,
        "tags": list(facts.tags),
        "review_on": facts.review_on,
        _SILENT_UNTIL: facts.review_on if flag.is_silent else None,
    }


def _unknown(flag: Assessment) -> list[Record]:
    """Returns the signals that are not known."""
    return [{"signal": unknown.signal.value, "why": unknown.why} for unknown in flag.unknown]


def _finding(finding: Finding) -> Record:
    result = {"result": finding.result} if finding.signal is Signal.CONSTANT else {}
    return {
        "signal": finding.signal.value,
        **result,
        "since": date_of(finding),
        "days": finding.days,
        "exact": finding.is_exact,
        "text": finding_text(finding),
    }


@verb(
    "references",
    "references new_checkout",
    "references --fail-unknown",
    "references --json",
    topic=Topic.UPKEEP,
    arguments=(
        option("keys", "a key; without one, all keys", "KEY", nargs="*"),
        switch(
            "--fail-unknown",
            "instead, list the lines that use a key that neither code nor the database has; exit "
            "status 1 if there is one",
        ),
    ),
)
def references(options: Options, out: Output) -> None:
    """List the lines of code and the rules that name a key, and the keys that nothing names.

    Reads the files that git tracks in the repository of Django's setting BASE_DIR. Without KEY,
    looks for the keys of all flags, values and experiments. With keys, it also works without a
    database. A key that no line names may be built at run time: `stale` lists the flags that are
    not evaluated either. A key of letters only, such as "weekly", is found in quotes, as an
    attribute and in a call, and not in a sentence.
    """
    typed, project = list(dict.fromkeys(options["keys"])), Path(getattr(settings, "BASE_DIR", "."))
    try:
        paths = tracked_files(project)
    except UntrackedError as error:
        problem = f"git does not list the files of {project}: {error}"
        raise CommandError(problem, returncode=USAGE) from error
    if options["fail_unknown"]:
        _list_unknown(paths, out, typed)
        return
    kinds = _existing_keys(out, is_needed=not typed)
    # Of all keys: at "shop.checkout", which may be the key of another flag, no place is "checkout".
    search = _find({*typed, *(kinds or ())}, paths)
    uses = {} if kinds is None else uses_by_name()
    records: list[dict[str, Any]] = [
        {
            "key": key,
            "kind": (kinds or {}).get(key),
            "places": [*map(vars, sorted(search.places.get(key, ()), key=_position))],
            "rules": [use.label() for use in uses.get((Kind.FLAG, key), ())],
        }
        for key in typed or sorted(kinds or ())
    ]
    unnamed = [record for record in records if not record["places"] and not record["rules"]]
    missing = [record["key"] for record in unnamed if kinds is not None and record["kind"] is None]
    if out.is_json:
        out.document({"keys": records, "not_searched": search.not_searched})
    else:
        for line in chain.from_iterable(map(_reference_lines, records)):
            out.line(line)
        if keys_in_no_file := [_name(record) for record in unnamed if record["key"] not in missing]:
            out.message(f"in no file: {', '.join(keys_in_no_file)}")
        if not records:
            out.message("nothing has a key")
        if search.not_searched:
            files = (f"{path} ({why})" for path, why in search.not_searched.items())
            out.message(f"not searched: {some(files)}")
    if missing:
        raise CommandError(
            f"neither the code nor the database has the key {some(missing)}; correct it",
            returncode=UNKNOWN,
        )


def _reference_lines(record: Record) -> Iterator[str]:
    for place in record["places"]:
        yield printable("{path}:{line}: {code}".format_map(place))
    yield from (f"rules of {label}: {record['key']}" for label in record["rules"])


def _find(keys: Collection[str], paths: Sequence[str]) -> Found:
    """Returns the places of keys, and those of the constants that stand for them."""
    search = find_places(paths, keys)
    for use in uses_in(path for path in paths if path.endswith(".py")):
        places = search.places.get(use.key, [])
        if use.key in keys and not any(_position(use) == _position(place) for place in places):
            search.places[use.key].append(Place(use.path, use.line, use.code))
    return search


def _list_unknown(paths: Iterable[str], out: Output, typed: Sequence[str]) -> None:
    """Lists the lines that use an unknown key, but not those of tests. Fails if there is one."""
    if typed:
        raise CommandError("--fail-unknown accepts no KEY: it looks for all", returncode=USAGE)
    by_kind = all_keys(stored_keys())
    known = KnownKeys(by_kind, conf.allowed_keys)
    records: list[Record] = [
        {"path": use.path, "line": use.line, "key": use.key, "problem": problem, "code": use.code}
        for use in uses_in(paths)
        if not is_test(use) and (problem := known.problem(use))
    ]
    if out.is_json:
        out.document({"unknown": records})
    else:
        for record in records:
            out.line(printable("{path}:{line}: {problem}".format_map(record)))
    if records:
        are = counted(len(records), "line uses", "lines use")
        raise CommandError(f"{are} an unknown key; {_HOW_TO_KNOW}", returncode=FAILED)


_HOW_TO_KNOW = (
    "correct it, or declare it in the flags.py of an app, create it, or add it to ALLOWED_KEYS"
)


def _position(place: Place | Use) -> tuple[str, int]:
    return place.path, place.line


def _name(record: Record) -> str:
    """Returns the key of a flag, or the kind and the key of something else."""
    kind, key = record["kind"], record["key"]
    return str(key) if kind in ("flag", None) else f"{kind} {key}"


def _existing_keys(out: Output, *, is_needed: bool) -> dict[str, str] | None:
    """Returns what has each key; None if the database cannot be read, unless it is needed."""
    try:
        by_kind = all_keys(stored_keys())
    except DatabaseError:
        if is_needed:
            raise
        out.message("the database cannot be read, so it is not known what has the keys")
        return None
    return {key: kind for kind, keys in by_kind.items() for key in keys}
