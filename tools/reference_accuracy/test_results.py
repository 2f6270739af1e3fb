"""The results of tests, by pytest's JUnit XML or by the output of unittest."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

__all__ = ["ABSENT", "Results", "changes", "counted", "results_of"]

#: What became of each test: passed, failed, error or skipped.
Results = dict[str, str]

ABSENT = "absent"
_ORDER = ("passed", "skipped", "failed", "error")
_IN_XML = {"failure": "failed", "error": "error", "skipped": "skipped"}
# A docstring stands in a second line.
_LINE = re.compile(
    r"^(\w+) \(([\w.]+)\)(?:\n[^\n]*?)? \.\.\. (ok|FAIL|ERROR|skipped)", re.MULTILINE
)
_IN_TEXT = {"ok": "passed", "FAIL": "failed", "ERROR": "error", "skipped": "skipped"}


def results_of(report: Path, output: Path) -> Results:
    """Returns the results of a run. Without a report, of unittest's verbose output."""
    if report.is_file():
        return _of_xml(report.read_text())
    return _of_text(output.read_text(errors="replace"))


def changes(old: Results, new: Results) -> dict[str, tuple[str, str]]:
    """Returns the tests with another result: the old one, and the new one."""
    every = sorted({*old, *new})
    both = {test: (old.get(test, ABSENT), new.get(test, ABSENT)) for test in every}
    return {test: pair for test, pair in both.items() if pair[0] != pair[1]}


def counted(results: Results) -> str:
    """Returns the number of tests of each result."""
    numbers = Counter(results.values())
    return ", ".join(f"{numbers[result]} {result}" for result in _ORDER if numbers[result])


def _of_xml(text: str) -> Results:
    results: Results = {}
    for case in ET.fromstring(text).iter("testcase"):  # noqa: S314 (written by our run)
        name = f"{case.get('classname')}.{case.get('name')}".lstrip(".")
        _add(results, name, next((_IN_XML[c.tag] for c in case if c.tag in _IN_XML), "passed"))
    return results


def _of_text(text: str) -> Results:
    results: Results = {}
    for name, place, result in _LINE.findall(text):
        test = place if place.endswith(f".{name}") else f"{place}.{name}"
        _add(results, test, _IN_TEXT[result])
    return results


def _add(results: Results, test: str, result: str) -> None:
    """Adds a result. Of several, the worst counts."""
    results[test] = max(result, results.get(test, result), key=_ORDER.index)
