"""What the command prints of stale flags."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flagstaff._words.cells import Column, Record
from flagstaff.cleanup.signals import Assessment, Finding, Signal
from flagstaff.cleanup.texts import date_of, finding_text

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
        "signals": ", ".join(one.signal.value for one in flag.findings),
        "evidence": "; ".join(finding_text(one) for one in flag.findings),
        "owner": facts.owner,
        "snoozed_until": facts.snoozed_until if flag.is_snoozed else None,
    }


def flag_document(flag: Assessment) -> Record:
    """Returns a flag for JSON."""
    facts = flag.facts
    return {
        "key": facts.key,
        "signals": [_finding(one) for one in flag.findings],
        "unknown": [{"signal": one.signal.value, "why": one.why} for one in flag.unknown],
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
        {"key": flag.facts.key, "signal": one.signal.value, "why": one.why}
        for flag in flags
        for one in flag.unknown
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
