"""The sentences about workers, for the terminal, the admin and rollout plans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flagstaff._core import RULE_FORMAT
from flagstaff._text import Sentence, say, some
from flagstaff._text.times import duration
from flagstaff._workers.register import Worker, Workers
from flagstaff._workers.wait import Propagation

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
    counts = {"applied": propagation.applied, "registered": propagation.registered}
    waited = round(propagation.seconds, 2)
    if not propagation.registered:
        return say("No worker is registered.")
    if propagation.applied_after is None:
        return say(
            "Applied by {applied} of {registered} workers within {waited} s.",
            **counts,
            waited=waited,
        )
    times = {"seconds": round(propagation.applied_after, 2), "waited": waited}
    if propagation.complete:
        return say(
            "Applied by {applied} of {registered} workers after {seconds} s.", **counts, **times
        )
    return say(
        "Applied by {applied} of {registered} workers after {seconds} s; the wait ended after "
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
