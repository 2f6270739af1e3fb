"""Old rows that `manage.py flags run-jobs` deletes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Retention:
    """Rows that `run-jobs` deletes from a certain age on."""

    #: What is deleted, such as "history".
    name: str
    #: The age in days; None deletes nothing.
    days: int | None
    #: Deletes the rows from before a time, and yields the number of each batch, which is committed.
    prune: Callable[[datetime], Iterator[int]]
    #: Whether a setting limits the age. If not, runs that delete nothing are not reported.
    by_setting: bool = True
