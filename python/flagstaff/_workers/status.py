"""The state of this worker: how it is refreshed, how fresh it is, and what last failed.

Also as metrics for Prometheus and OpenTelemetry, and in Prometheus' text format.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from flagstaff import _core
from flagstaff._declared import DECLARED, declared_value
from flagstaff._engine import forced_on
from flagstaff._text import Sentence, say
from flagstaff.conf import conf

#: The content type of Prometheus' text format.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: The labels besides the process, and the number.
Sample = tuple[dict[str, str], float]

#: All modes of a worker. The metric `mode` has a sample for each.
MODES = ("idle", "starting", "live", "poll", "reload", "down", "direct")


@dataclass(frozen=True)
class Status:
    """The state of one worker."""

    #: idle (nothing evaluated yet), starting, live (LISTEN and polling), poll, reload (without
    #: triggers), down (serving the last snapshot) or direct (querying the database).
    mode: str
    #: Why the mode is not live; None if it is.
    mode_reason: Sentence | None
    #: Whether a snapshot has been loaded.
    ready: bool
    #: Seconds since the snapshot was last known to equal the primary's flags. None before the first
    #: load, and if a standby or a subscriber cannot tell: `problems` then says why.
    age: float | None
    #: Seconds since all members of the groups that rules read were read; None without such rules.
    members_age: float | None
    #: Whether `age` exceeds MAX_STALENESS. For alerts only: results do not change.
    stale: bool
    #: How many snapshots this process has had.
    version: int
    #: The id of the newest change token in the snapshot.
    token: int | None
    flags: int
    values: int
    loads: int
    #: Seconds that the last load took.
    load_seconds: float | None
    failures: int
    #: How often the database lacked changes that this process had seen, as after a restore.
    lost_changes: int
    #: What may have happened the last time, and the flags that differ from before.
    last_lost_changes: Sentence | None
    #: The last error. It stays after a recovery.
    last_error: Sentence | None
    #: Why usage is not collected; None if it is, or if nothing was evaluated yet.
    usage_problem: Sentence | None
    #: Rows that are ignored because they cannot be evaluated, names in rules that do not exist,
    #: values that are not as code declares them, tables and columns that the database lacks until
    #: `migrate`, and how many recent changes have no entry in the history. At most 100 texts of
    #: these: the last one then says how many more there are. What a validator refuses follows, and
    #: that FLAGSTAFF_FORCE_ON has no effect.
    problems: tuple[Sentence, ...]
    #: The number of all problems.
    problem_count: int
    #: The keys of the flags and experiments that FLAGSTAFF_FORCE_OFF turns off in this process.
    forced_off: tuple[str, ...]
    #: The keys of the flags that FLAGSTAFF_FORCE_ON turns on in this process.
    forced_on: tuple[str, ...]
    pid: int

    def as_dict(self) -> dict[str, object]:
        """Returns the status as a dict that JSON can hold."""
        return {**vars(self), "problems": list(self.problems)}


def status() -> Status:
    """Returns the state of this worker. Does not block, and starts nothing."""
    report = _core.status_report()
    age, refused = report["age"], [*_refused_values()]
    if forced_on.problem is not None:
        refused.append(forced_on.problem)
    report["problems"] += tuple(refused)
    report["problem_count"] += len(refused)
    return Status(**report, stale=age is not None and age > conf.max_staleness)


def _refused_values() -> Iterator[Sentence]:
    """Yields which values in memory a validator refuses. Without the values."""
    for key in DECLARED:
        declared = declared_value(key)
        if declared is None or not declared.validators:
            continue
        texts = _core.stored_results(key)
        for problem in {declared.problem(json.loads(text), secret=True) for text in texts}:
            if problem:
                yield say("value {key}: {problem}", key=repr(key), problem=problem)


@dataclass(frozen=True)
class StatusMetric:
    """A metric of one worker. Has no names of flags, hosts or users."""

    name: str
    #: A description in one sentence.
    help: str
    #: Reads the samples; none if the number is not known yet.
    read: Callable[[Status], Sequence[Sample]]
    unit: str = ""
    is_counter: bool = False
    #: The names of the labels besides the process.
    labels: tuple[str, ...] = ()

    @property
    def prometheus_name(self) -> str:
        """The name by Prometheus' conventions: with the unit, and `total` for a counter."""
        parts = ["flagstaff", self.name, self.unit, "total" if self.is_counter else ""]
        return "_".join(part for part in parts if part)


def prometheus_text(status: Status) -> str:
    """Returns all metrics in Prometheus' text format.

    The label `pid` tells workers behind the same address apart.
    """
    return "".join(line for metric in METRICS for line in _lines(metric, status))


def _lines(metric: StatusMetric, status: Status) -> Iterator[str]:
    name = metric.prometheus_name
    yield f"# HELP {name} {metric.help}\n"
    yield f"# TYPE {name} {'counter' if metric.is_counter else 'gauge'}\n"
    for labels, value in metric.read(status):
        yield f"{name}{_label_text({'pid': str(status.pid), **labels})} {value!r}\n"


def _label_text(labels: Mapping[str, str]) -> str:
    # Digits and constants: nothing to escape.
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


def _number(read: Callable[[Status], float | None]) -> Callable[[Status], Sequence[Sample]]:
    """A reader of one number without labels. No sample for None."""

    def samples(status: Status) -> Sequence[Sample]:
        value = read(status)
        return () if value is None else (({}, float(value)),)

    return samples


def _modes(status: Status) -> Sequence[Sample]:
    return [({"mode": mode}, float(mode == status.mode)) for mode in MODES]


METRICS = (
    StatusMetric(
        "ready",
        "Whether flags are loaded.",
        _number(lambda status: status.ready),
    ),
    StatusMetric(
        "stale",
        "Whether the snapshot is older than MAX_STALENESS.",
        _number(lambda status: status.stale),
    ),
    StatusMetric(
        "snapshot_age",
        "Time since the snapshot was last known to equal the database.",
        _number(lambda status: status.age),
        unit="seconds",
    ),
    StatusMetric(
        "mode",
        "The mode of the worker: 1 for the current mode, 0 for the others.",
        _modes,
        labels=("mode",),
    ),
    StatusMetric(
        "token",
        "The newest change token in the snapshot; equal in workers that have the same changes.",
        _number(lambda status: status.token),
    ),
    StatusMetric("flags", "Number of flags in memory.", _number(lambda status: status.flags)),
    StatusMetric("values", "Number of values in memory.", _number(lambda status: status.values)),
    StatusMetric(
        "problems",
        "Number of rows that cannot be evaluated, and of missing names, tables and columns.",
        _number(lambda status: status.problem_count),
    ),
    StatusMetric(
        "forced_off",
        "Number of flags and experiments that FLAGSTAFF_FORCE_OFF turns off in this process.",
        _number(lambda status: len(status.forced_off)),
    ),
    StatusMetric(
        "loads",
        "Number of loads by this process.",
        _number(lambda status: status.loads),
        is_counter=True,
    ),
    StatusMetric(
        "failures",
        "Number of failed attempts of this process to connect, poll or load.",
        _number(lambda status: status.failures),
        is_counter=True,
    ),
    StatusMetric(
        "lost_changes",
        "How often the database lacked changes that this process had seen, as after a restore.",
        _number(lambda status: status.lost_changes),
        is_counter=True,
    ),
    StatusMetric(
        "last_load",
        "Duration of the last load.",
        _number(lambda status: status.load_seconds),
        unit="seconds",
    ),
)
