"""The sentences about workers, for the terminal, the admin and rollout plans."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext_lazy

from flagstaff._core import RULE_FORMAT
from flagstaff._words.text import Text, marked, some
from flagstaff._words.times import duration
from flagstaff._workers.register import Worker, Workers
from flagstaff._workers.wait import Propagation

#: What each refresh mode means, by its name.
MODE_TEXTS = {
    "starting": gettext_lazy("the first load has not finished"),
    "live": gettext_lazy("notified of each change, and polls as well"),
    "poll": gettext_lazy("polls for changes"),
    "reload": gettext_lazy(
        "cannot see which table has changed: loads all flags and values at each poll, "
        "and allowed users once a minute"
    ),
    "down": gettext_lazy("cannot load the flags"),
    "direct": gettext_lazy("evaluations query the database"),
}
_STATES = {True: marked("behind"), False: marked("up to date"), None: marked("unknown")}
# The workers that a sentence names.
_MAX_NAMED = 20


def state_label(is_behind: bool | None) -> Text:  # noqa: FBT001 (a state, not an option)
    """Returns "behind", "up to date" or "unknown"."""
    return Text(_STATES[is_behind])


def worker_label(worker: Worker) -> Text:
    """Returns the state of a worker: also "lost", or for how long it is behind."""
    if not worker.is_expected:
        return Text("lost")
    if not worker.is_behind:
        return state_label(worker.is_behind)
    return Text("behind for {time}", time=_time(worker))


def summary(register: Workers) -> Text:
    """Returns how many workers there are, and which are behind for how long."""
    count = len(register.expected)
    if register.behind:
        late = [
            Text("{worker} for {time}", worker=str(worker), time=_time(worker))
            for worker in register.behind
        ]
        return Text(
            "{behind} of {count} workers behind: {workers}.",
            behind=len(late),
            count=count,
            workers=some(late, _MAX_NAMED),
        )
    if not count:
        return Text("No worker is registered.")
    if unknown := [worker for worker in register.expected if worker.is_behind is None]:
        return Text(
            "Registered workers: {count}. It is not known whether these are up to date: {workers}.",
            count=count,
            workers=some(unknown, _MAX_NAMED),
        )
    return Text("Registered workers: {count}. All are up to date.", count=count)


def notes(register: Workers) -> Iterator[Text]:
    """Yields sentences about workers that do not report, are lost, or run an older version."""
    yield from _absent(register)
    if older := [worker for worker in register.expected if worker.is_older]:
        yield Text(
            "An older version, which cannot read format {format} of rules: {workers}. Deploy this "
            "version there.",
            format=str(RULE_FORMAT),
            workers=some(older, _MAX_NAMED),
        )


def propagation_messages(propagation: Propagation) -> Iterator[Text]:
    """Yields sentences: how many workers have applied a change, and which have not."""
    if propagation.direct:
        yield Text("Evaluations query the database, so the change is in effect at once.")
        return
    yield _applied(propagation)
    if propagation.pending:
        yield Text("Not applied yet: {workers}.", workers=some(propagation.pending, _MAX_NAMED))
    yield from _absent(propagation)
    if propagation.missing:
        yield Text("Expected, but not registered: {count}.", count=propagation.missing)


def _applied(propagation: Propagation) -> Text:
    counts = {"applied": propagation.applied, "registered": propagation.registered}
    waited = round(propagation.seconds, 2)
    if not propagation.registered:
        return Text("No worker is registered.")
    if propagation.applied_after is None:
        return Text(
            "Applied by {applied} of {registered} workers within {waited} s.",
            **counts,
            waited=waited,
        )
    times = {"seconds": round(propagation.applied_after, 2), "waited": waited}
    if propagation.complete:
        return Text(
            "Applied by {applied} of {registered} workers after {seconds} s.", **counts, **times
        )
    return Text(
        "Applied by {applied} of {registered} workers after {seconds} s; the wait ended after "
        "{waited} s.",
        **counts,
        **times,
    )


def _absent(counts: Workers | Propagation) -> Iterator[Text]:
    """Yields how many workers do not report, and which are lost."""
    if counts.unreported:
        yield Text("Connected workers that do not report: {count}.", count=counts.unreported)
    if counts.lost:
        yield Text(
            "Lost (killed, or without a connection): {workers}.",
            workers=some(counts.lost, _MAX_NAMED),
        )


def _time(worker: Worker) -> Text:
    return duration(worker.behind_seconds or 0.0, largest_only=True)
