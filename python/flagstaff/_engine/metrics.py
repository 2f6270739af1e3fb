"""What of `status()` can be counted, under the names that each collecting system gives it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flagstaff._engine.status import Status

__all__ = ["MEASURES", "MODES", "Measure", "Sample"]

#: The labels beside the process, and the number.
Sample = tuple[dict[str, str], float]

#: Each mode that a worker can be in. A collector wants a row for those too that it is not in.
MODES = ("idle", "starting", "live", "poll", "reload", "down", "direct")


@dataclass(frozen=True)
class Measure:
    """One number of a worker, or one for each of some words. It names no flag, host or user."""

    name: str
    #: What it says, in a sentence.
    help: str
    #: Its samples; none where there is nothing to tell yet.
    read: Callable[[Status], Sequence[Sample]]
    unit: str = ""
    is_counter: bool = False
    #: What tells its samples apart, beside the process.
    labels: tuple[str, ...] = ()

    @property
    def prometheus_name(self) -> str:
        """As Prometheus has it: with the unit, and a word for what only grows."""
        parts = ["flagstaff", self.name, self.unit, "total" if self.is_counter else ""]
        return "_".join(part for part in parts if part)


def _number(read: Callable[[Status], float | None]) -> Callable[[Status], Sequence[Sample]]:
    """One number without further labels, where there is one."""

    def samples(status: Status) -> Sequence[Sample]:
        value = read(status)
        return () if value is None else (({}, float(value)),)

    return samples


def _modes(status: Status) -> Sequence[Sample]:
    return [({"mode": mode}, float(mode == status.mode)) for mode in MODES]


MEASURES = (
    Measure(
        "ready",
        "Whether there is something to answer from.",
        _number(lambda status: status.ready),
    ),
    Measure(
        "stale",
        "Whether the answers have not been known to equal the database for MAX_STALENESS.",
        _number(lambda status: status.stale),
    ),
    Measure(
        "snapshot_age",
        "How long ago the answers were last known to equal the database.",
        _number(lambda status: status.age),
        unit="seconds",
    ),
    Measure("mode", "How the worker is kept up to date: 1 for its mode.", _modes, labels=("mode",)),
    Measure(
        "token",
        "The newest token in the snapshot; workers with the same one have seen the same changes.",
        _number(lambda status: status.token),
    ),
    Measure("flags", "How many flags are in memory.", _number(lambda status: status.flags)),
    Measure("values", "How many values are in memory.", _number(lambda status: status.values)),
    Measure(
        "problems",
        "How many rows were set aside because they cannot be evaluated.",
        _number(lambda status: len(status.problems)),
    ),
    Measure(
        "loads",
        "How many times this process has loaded.",
        _number(lambda status: status.loads),
        is_counter=True,
    ),
    Measure(
        "failures",
        "How many times something went wrong.",
        _number(lambda status: status.failures),
        is_counter=True,
    ),
    Measure(
        "last_load",
        "How long the last load took.",
        _number(lambda status: status.load_seconds),
        unit="seconds",
    ),
)
