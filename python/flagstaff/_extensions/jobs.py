"""A periodic job of an optional app, which `manage.py flags run-jobs` runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from flagstaff._words.cells import Column


class JobReport(Protocol):
    """What one run of a job did to one thing, such as a plan."""

    @property
    def is_news(self) -> bool:
        """Whether something happened. `run-jobs --loop` prints only such reports."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The report as one line: its fields, which tabs separate."""

    def as_dict(self) -> dict[str, Any]:
        """Returns the report as a dict for JSON."""


@dataclass(frozen=True)
class Job:
    """A job that `run-jobs` runs before the deliveries of webhooks."""

    #: The name of the job in JSON and in messages, such as "plans".
    name: str
    #: Runs all that is due. The event ends the run earlier, between two reports.
    run: Callable[[Event], Sequence[JobReport]]
    #: The columns of the reports in a table.
    columns: Sequence[Column]
