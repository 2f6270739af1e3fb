"""The sentences after a change about the workers that have applied it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from django.db import connections
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._words.lists import join_some
from flagstaff._words.local_formats import local_number, local_seconds
from flagstaff._words.times import clock_time
from flagstaff._workers.wait import Propagation, wait_for_workers
from flagstaff.conf import conf
from flagstaff.exceptions import PropagationError
from flagstaff.history.describe import and_more

_MAX_WORKERS_SHOWN = 20


class Applied(NamedTuple):
    """Which workers have applied a change."""

    #: Sentences; empty if evaluations query the database.
    text: str
    #: Whether all known workers have applied it.
    complete: bool


def applied_by_workers(timeout: float) -> Applied:
    """Waits until the workers have applied what is committed. Blocks for at most `timeout` seconds.

    Inside a transaction, as with ATOMIC_REQUESTS, workers cannot see the change yet: the text is
    empty.
    """
    if connections[conf.database].in_atomic_block:
        return Applied("", complete=True)
    try:
        propagation = wait_for_workers(timeout)
    except PropagationError as error:
        text = _("It is not known whether the workers have applied it: %(problem)s.")
        return Applied(text % {"problem": error}, complete=False)
    return Applied(" ".join(_sentences(propagation)), complete=propagation.complete)


def _sentences(propagation: Propagation) -> Iterator[str]:
    if propagation.polling_deadline is None:
        return
    deadline = clock_time(propagation.polling_deadline)
    yield _counts(propagation)
    lists = (
        (_("Not applied yet: %(workers)s."), propagation.pending),
        (
            _("These workers poll, and apply the change by %(time)s: %(workers)s."),
            propagation.polling,
        ),
        (_("Disconnected: %(workers)s."), propagation.disconnected),
    )
    for text, workers in lists:
        if workers:
            names = join_some(map(str, workers), _MAX_WORKERS_SHOWN, more=and_more)
            yield text % {"workers": names, "time": deadline}
    if propagation.possibly_elsewhere:
        yield _(
            "Workers at another server, such as a standby, are not listed. They apply the change "
            "when their server has received it."
        )
    elif propagation.possibly_hidden:
        text = _("Workers behind a pooler are not listed. They apply the change by %(time)s.")
        yield text % {"time": deadline}


def _counts(propagation: Propagation) -> str:
    connected = propagation.connected
    if not connected:
        return _("No worker is connected.")
    seconds = propagation.applied_after
    text = ngettext(
        "%(applied)s of %(count)s worker has applied it after %(seconds)s s.",
        "%(applied)s of %(count)s workers have applied it after %(seconds)s s.",
        connected,
    )
    return text % {
        "applied": local_number(propagation.applied),
        "count": local_number(connected),
        "seconds": local_seconds(propagation.seconds if seconds is None else seconds),
    }
