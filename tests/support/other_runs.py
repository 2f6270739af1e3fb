"""Runs of the same tests with other primary keys and in another order: none may pass by luck.

With TEST_FIRST_PK=1000003 all sequences start there. With TEST_ORDER=7 the files, and the tests of
each file, are in the order of this seed. TEST_TIME_ZONE is read by the settings of the tests.
"""

import os
import random
from pathlib import Path
from typing import Protocol, TypeVar

#: Below it are the primary keys that tests give.
FIRST_PK = 1001


class _Test(Protocol):
    @property
    def nodeid(self) -> str: ...

    @property
    def path(self) -> Path: ...


_T = TypeVar("_T", bound=_Test)


def start_sequences(*, first: int) -> str:
    """Returns the statement after which all sequences of a schema go on at this number or above it.

    TEST_FIRST_PK, if it is set, replaces the number.
    """
    first = int(os.environ.get("TEST_FIRST_PK", first))
    # As called: of one that was only set, the view says nothing, and a second call would lower it.
    return f"""
        SELECT setval(format('%I.%I', schemaname, sequencename)::regclass,
            greatest(last, 1), last > 0)
        FROM (
            SELECT schemaname, sequencename,
                greatest(least({first}, max_value) - 1, coalesce(last_value, 0)) AS last
            FROM pg_sequences WHERE schemaname = current_schema()
        ) AS s
    """


def put_in_order(tests: list[_T], seed: str) -> None:
    """Shuffles the files, and the tests of each file. All processes get the same order."""
    drawn = random.Random(seed)
    tests.sort(key=lambda test: test.nodeid)
    drawn.shuffle(tests)
    files = dict.fromkeys(test.path for test in tests)
    places = {path: place for place, path in enumerate(files)}
    tests.sort(key=lambda test: places[test.path])
