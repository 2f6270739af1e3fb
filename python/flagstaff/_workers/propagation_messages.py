"""The messages about a propagation, for the terminal, the admin and rollout plans."""

from __future__ import annotations

from collections.abc import Iterator

from flagstaff._words.text import Text, some
from flagstaff._workers.wait import Propagation

_MAX_WORKERS_SHOWN = 20


def propagation_messages(propagation: Propagation) -> Iterator[Text]:
    """Yields sentences: how many workers have applied the change, and which have not."""
    if propagation.direct:
        yield Text("Evaluations query the database, so the change is in effect at once.")
        return
    yield _counts(propagation)
    if propagation.pending:
        yield Text(
            "Not applied yet: {workers}.", workers=some(propagation.pending, _MAX_WORKERS_SHOWN)
        )
    if propagation.unreported:
        yield Text("Connected workers that do not report: {count}.", count=propagation.unreported)
    if propagation.lost:
        yield Text(
            "Lost (killed, or without a connection): {workers}.",
            workers=some(propagation.lost, _MAX_WORKERS_SHOWN),
        )
    if propagation.missing:
        yield Text("Expected, but not registered: {count}.", count=propagation.missing)


def _counts(propagation: Propagation) -> Text:
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
    seconds = round(propagation.applied_after, 2)
    if propagation.complete:
        return Text(
            "Applied by {applied} of {registered} workers after {seconds} s.",
            **counts,
            seconds=seconds,
        )
    return Text(
        "Applied by {applied} of {registered} workers after {seconds} s; the wait ended after "
        "{waited} s.",
        **counts,
        seconds=seconds,
        waited=waited,
    )
