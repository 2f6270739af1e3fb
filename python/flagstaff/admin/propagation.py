"""The sentences after a change about the workers that have applied it."""

from __future__ import annotations

from typing import NamedTuple

from django.db import connections
from django.utils.translation import gettext as _

from flagstaff._words.message import localized
from flagstaff._workers.propagation_messages import propagation_messages
from flagstaff._workers.wait import wait_for_workers
from flagstaff.conf import conf
from flagstaff.exceptions import PropagationError


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
    if propagation.polling_deadline is None:
        return Applied("", complete=propagation.complete)
    sentences = map(localized, propagation_messages(propagation))
    return Applied(" ".join(sentences), complete=propagation.complete)
