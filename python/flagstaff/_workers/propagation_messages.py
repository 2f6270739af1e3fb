"""The messages about a propagation, for the terminal, the admin and rollout plans."""

from __future__ import annotations

from collections.abc import Iterator

from flagstaff._words.lists import some
from flagstaff._words.message import Message, Template
from flagstaff._words.message import marked as _
from flagstaff._words.times import clock_time
from flagstaff._workers.wait import Propagation

_MAX_WORKERS_SHOWN = 20

_DIRECT = Template(
    "applied_at_once", _("Evaluations query the database, so the change is in effect at once.")
)
_NO_WORKER = Template("no_worker_connected", _("No worker is connected."))
_NONE_LISTED = Template("no_worker_listed", _("The server lists no worker."))
_APPLIED = Template(
    "applied_by_workers", _("Applied by %(applied)s of %(connected)s workers after %(seconds)s s.")
)
_APPLIED_BY_SOME = Template(
    "applied_by_some_workers",
    _(
        "Applied by %(applied)s of %(connected)s workers after %(seconds)s s; the wait ended after "
        "%(waited)s s."
    ),
)
_APPLIED_BY_NONE = Template(
    "applied_by_no_worker", _("Applied by 0 of %(connected)s workers within %(waited)s s.")
)
_PENDING = Template("workers_pending", _("Not applied yet: %(workers)s."))
_DISCONNECTED = Template(
    "workers_disconnected", _("Disconnected (stopped, or lost the connection): %(workers)s.")
)
_POLLING = Template(
    "workers_polling", _("These workers poll, and apply the change by %(time)s: %(workers)s.")
)
_POLLED = Template(
    "workers_polled",
    _("All workers that reach the database have applied the change by %(time)s at the latest."),
)
_MISSING = Template("workers_missing", _("Expected, but not connected: %(count)s."))
_ELSEWHERE = Template(
    "workers_elsewhere",
    _(
        "Workers at another server, such as a standby, are not listed. They apply the change when "
        "their server has received it."
    ),
)
_HIDDEN = Template(
    "workers_hidden",
    _(
        "Workers behind a pooler that cannot write to flagstaff_worker are not listed. They apply "
        "the change by %(time)s if they reach the database."
    ),
)
_HIDDEN_AND_POLLED = Template(
    "workers_hidden_and_polled",
    _("Workers behind a pooler that cannot write to flagstaff_worker are not listed."),
)


def propagation_messages(propagation: Propagation) -> Iterator[Message]:
    """Yields sentences: how many workers have applied the change, and which have not."""
    if propagation.polling_deadline is None:
        yield _DIRECT()
        return
    deadline = clock_time(propagation.polling_deadline)
    yield _counts(propagation)
    if propagation.pending:
        yield _PENDING(workers=some(propagation.pending, _MAX_WORKERS_SHOWN))
    if propagation.disconnected:
        yield _DISCONNECTED(workers=some(propagation.disconnected, _MAX_WORKERS_SHOWN))
    if propagation.polling:
        yield _POLLING(workers=some(propagation.polling, _MAX_WORKERS_SHOWN), time=deadline)
    if propagation.missing:
        yield _MISSING(count=propagation.missing)
    if propagation.possibly_elsewhere:
        yield _ELSEWHERE()
    elif propagation.possibly_hidden:
        yield _HIDDEN_AND_POLLED() if propagation.polled else _HIDDEN(time=deadline)
    if propagation.polled:
        yield _POLLED(time=deadline)


def _counts(propagation: Propagation) -> Message:
    applied, connected = propagation.applied, propagation.connected
    waited = _seconds(propagation.seconds)
    if not connected:
        return _NONE_LISTED() if propagation.possibly_hidden else _NO_WORKER()
    if not applied:
        return _APPLIED_BY_NONE(connected=connected, waited=waited)
    seconds = _seconds(propagation.applied_after or 0.0)
    if propagation.complete:
        return _APPLIED(applied=applied, connected=connected, seconds=seconds)
    return _APPLIED_BY_SOME(applied=applied, connected=connected, seconds=seconds, waited=waited)


def _seconds(seconds: float) -> float:
    return round(seconds, 2)
