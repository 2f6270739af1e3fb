"""The state of this worker: how it is refreshed, how fresh it is, and what last failed.

Also as metrics for Prometheus and OpenTelemetry, and in Prometheus' text format.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from flagstaff import _core
from flagstaff._core import RULE_FORMAT
from flagstaff._declared import DECLARED, declared_value
from flagstaff._engine import forced_on
from flagstaff._text import Sentence, say, some
from flagstaff._text.times import duration
from flagstaff._workers.register import Worker, Workers
from flagstaff._workers.wait import Propagation
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


#: What each refresh mode means, by its name.
MODE_TEXTS = {
    "starting": say("the first load has not finished").lazy,
    "live": say("notified of each change, and polls as well").lazy,
    "poll": say("polls for changes").lazy,
    "reload": say(
        "cannot see which table has changed: loads all flags and values at each poll, "
        "and allowed users once a minute"
    ).lazy,
    "down": say("cannot load the flags").lazy,
    "direct": say("evaluations query the database").lazy,
}
_STATES = {True: say("behind"), False: say("up to date"), None: say("unknown")}
# The region of workers without the setting REGION.
_NAMELESS = say("behind replication, without REGION")
# The workers that a sentence names.
_MAX_NAMED = 20


def state_label(is_behind: bool | None) -> Sentence:  # noqa: FBT001 (a state, not an option)
    """Returns "behind", "up to date" or "unknown"."""
    return say(_STATES[is_behind])


def worker_label(worker: Worker) -> Sentence:
    """Returns the state of a worker: also "lost", or for how long it is behind."""
    if not worker.is_expected:
        return say("lost")
    if worker.is_elsewhere:
        return say("reads another server, timeline {timeline}", timeline=str(worker.timeline))
    if not worker.is_behind:
        return state_label(worker.is_behind)
    return say("behind for {time}", time=_time(worker))


def summary(register: Workers) -> Sentence:
    """Returns how many workers there are, and which are behind for how long."""
    count = len(register.expected)
    if register.behind:
        late = [
            say("{worker} for {time}", worker=str(worker), time=_time(worker))
            for worker in register.behind
        ]
        return say(
            "{behind} of {count} worker behind: {workers}.",
            "{behind} of {count} workers behind: {workers}.",
            behind=len(late),
            count=count,
            workers=some(late, _MAX_NAMED),
        )
    if not count:
        return say("No worker is registered.")
    if unknown := [worker for worker in register.expected if worker.is_behind is None]:
        return say(
            "Registered workers: {count}. It is not known whether these are up to date: {workers}.",
            count=count,
            workers=some(unknown, _MAX_NAMED),
        )
    return say("Registered workers: {count}. All are up to date.", count=count)


def notes(register: Workers) -> Iterator[Sentence]:
    """Yields sentences about workers that do not report, are lost, or run an older version."""
    yield from _absent(register)
    if register.elsewhere:
        yield say(
            "These read another server than this one, such as an old primary or a copy of it: "
            "{workers}. Let them read a copy of this one.",
            workers=some(register.elsewhere, _MAX_NAMED),
        )
    if older := [worker for worker in register.expected if worker.is_older]:
        yield say(
            "An older version, which cannot read format {format} of rules: {workers}. Deploy this "
            "version there.",
            format=str(RULE_FORMAT),
            workers=some(older, _MAX_NAMED),
        )


def propagation_messages(propagation: Propagation) -> Iterator[Sentence]:
    """Yields sentences: how many workers have applied a change, and which have not."""
    if propagation.direct:
        yield say("Evaluations query the database, so the change is in effect at once.")
        return
    yield _applied(propagation)
    if propagation.pending:
        yield say("Not applied yet: {workers}.", workers=some(propagation.pending, _MAX_NAMED))
    yield from _absent(propagation)
    if propagation.unasked_regions:
        yield say(
            "Regions that were not asked: {regions}.",
            regions=_region_names(propagation.unasked_regions),
        )
    if propagation.missing:
        yield say("Expected, but not registered: {count}.", count=propagation.missing)


def _applied(propagation: Propagation) -> Sentence:
    counts = {"applied": propagation.applied, "count": propagation.registered}
    waited = round(propagation.seconds, 2)
    if not propagation.registered:
        return say("No worker is registered.")
    if propagation.applied_after is None:
        return say(
            "Applied by {applied} of {count} worker within {waited} s.",
            "Applied by {applied} of {count} workers within {waited} s.",
            **counts,
            waited=waited,
        )
    times = {"seconds": round(propagation.applied_after, 2), "waited": waited}
    if propagation.complete:
        return say(
            "Applied by {applied} of {count} worker after {seconds} s.",
            "Applied by {applied} of {count} workers after {seconds} s.",
            **counts,
            **times,
        )
    return say(
        "Applied by {applied} of {count} worker after {seconds} s; the wait ended after "
        "{waited} s.",
        "Applied by {applied} of {count} workers after {seconds} s; the wait ended after "
        "{waited} s.",
        **counts,
        **times,
    )


def _absent(counts: Workers | Propagation) -> Iterator[Sentence]:
    """Yields how many workers do not report, which regions, and which workers are lost."""
    if counts.unreported:
        yield say("Connected workers that do not report: {count}.", count=counts.unreported)
    if counts.silent_regions:
        yield say(
            "Regions in which no worker reports: {regions}.",
            regions=_region_names(counts.silent_regions),
        )
    if counts.unknown_receivers:
        yield say(
            "Standbys, subscribers or backups of this server: {count}. No worker there has "
            "reported.",
            count=counts.unknown_receivers,
        )
    if counts.lost:
        yield say(
            "Lost (killed, or without a connection): {workers}.",
            workers=some(counts.lost, _MAX_NAMED),
        )


def _region_names(regions: Sequence[str]) -> Sentence:
    return some([region or _NAMELESS for region in regions], _MAX_NAMED)


def _time(worker: Worker) -> Sentence:
    return duration(worker.behind_seconds or 0.0, largest_only=True)
