"""The messages about a propagation, for the terminal, the admin and rollout plans."""

from __future__ import annotations

from collections.abc import Iterator

from flagstaff._words.text import Text, some
from flagstaff._words.times import clock_time
from flagstaff._workers.wait import Propagation

_MAX_WORKERS_SHOWN = 20


def propagation_messages(propagation: Propagation) -> Iterator[Text]:
    """Yields sentences: how many workers have applied the change, and which have not."""
    if propagation.polling_deadline is None:
        yield Text("Evaluations query the database, so the change is in effect at once.")
        return
    deadline = clock_time(propagation.polling_deadline)
    yield _counts(propagation)
    if propagation.pending:
        yield Text(
            "Not applied yet: {workers}.", workers=some(propagation.pending, _MAX_WORKERS_SHOWN)
        )
    if propagation.disconnected:
        yield Text(
            "Disconnected (stopped, or lost the connection): {workers}.",
            workers=some(propagation.disconnected, _MAX_WORKERS_SHOWN),
        )
    if propagation.polling:
        yield Text(
            "These workers poll, and apply the change by {time}: {workers}.",
            workers=some(propagation.polling, _MAX_WORKERS_SHOWN),
            time=deadline,
        )
    if propagation.missing:
        yield Text("Expected, but not connected: {count}.", count=propagation.missing)
    if propagation.possibly_elsewhere:
        yield Text(
            "Workers at another server, such as a standby, are not listed. They apply the change "
            "when their server has received it."
        )
    elif propagation.possibly_hidden:
        yield (
            Text("Workers behind a pooler that cannot write to flagstaff_report are not listed.")
            if propagation.polled
            else Text(
                "Workers behind a pooler that cannot write to flagstaff_report are not listed. "
                "They apply the change by {time} if they reach the database.",
                time=deadline,
            )
        )
    if propagation.polled:
        yield Text(
            "All workers that reach the database have applied the change by {time} at the latest.",
            time=deadline,
        )


def _counts(propagation: Propagation) -> Text:
    applied, connected = propagation.applied, propagation.connected
    waited = _seconds(propagation.seconds)
    if not connected:
        return (
            Text("The server lists no worker.")
            if propagation.possibly_hidden
            else Text("No worker is connected.")
        )
    if not applied:
        return Text(
            "Applied by 0 of {connected} workers within {waited} s.",
            connected=connected,
            waited=waited,
        )
    seconds = _seconds(propagation.applied_after or 0.0)
    if propagation.complete:
        return Text(
            "Applied by {applied} of {connected} workers after {seconds} s.",
            applied=applied,
            connected=connected,
            seconds=seconds,
        )
    return Text(
        "Applied by {applied} of {connected} workers after {seconds} s; the wait ended after "
        "{waited} s.",
        applied=applied,
        connected=connected,
        seconds=seconds,
        waited=waited,
    )


def _seconds(seconds: float) -> float:
    return round(seconds, 2)
