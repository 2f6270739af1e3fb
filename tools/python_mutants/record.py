"""Which tests of a suite reach a line, the fastest first."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from contextlib import closing
from pathlib import Path

from coverage.numbits import numbits_to_nums

__all__ = ["Record"]


class Record:
    """What `tools.python_mutants.plugin` recorded of one run of a suite."""

    def __init__(self, folder: Path, package: Path) -> None:
        self._seconds: dict[str, float] = {}
        for path in folder.glob("seconds.*.json"):
            self._seconds |= json.loads(path.read_text())
        self._tests: dict[tuple[str, int], set[str]] = defaultdict(set)
        for path in folder.glob("lines.*"):
            self._read(path, package)

    def tests_of(self, file: str, line: int, limit: float) -> list[str]:
        """Returns the tests that reach the line, the fastest first, for `limit` seconds in all."""
        total = 0.0
        chosen: list[str] = []
        found = self._tests.get((file, line), set())
        for test in sorted(found, key=lambda test: (self._seconds[test], test)):
            total += self._seconds[test]
            if chosen and total > limit:
                break
            chosen.append(test)
        return chosen

    def _read(self, path: Path, package: Path) -> None:
        with closing(sqlite3.connect(path)) as session:
            rows = session.execute(
                "SELECT file.path, context.context, line_bits.numbits FROM line_bits "
                "JOIN file ON file.id = line_bits.file_id "
                "JOIN context ON context.id = line_bits.context_id"
            )
            for file, test, bits in rows:
                if test in self._seconds:
                    name = str(Path(file).relative_to(package))
                    for line in numbits_to_nums(bits):
                        self._tests[name, line].add(test)
