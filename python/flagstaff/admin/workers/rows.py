"""Workers as rows of the table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from flagstaff import _core
from flagstaff._words.duration import duration
from flagstaff._words.message import localized
from flagstaff._workers.overview import WorkerState
from flagstaff._workers.words import MODE_TEXTS, state_label
from flagstaff.admin.cells import time_cell

#: The classes of the badges in admin.css, by whether a worker is behind.
BADGES = {True: "flagstaff-partial", False: "flagstaff-on", None: "flagstaff-none"}


@dataclass(frozen=True)
class WorkerRow:
    """A worker in the words of the page."""

    host: str
    #: "pid 7", or the session if the worker's own number is not known.
    process: str
    badge: str
    state: str
    snapshot: str
    mode: str
    mode_text: str
    #: HTML.
    connected: str
    version: str
    is_older: bool


def worker_rows(states: Iterable[WorkerState]) -> list[WorkerRow]:
    """Returns the rows. Does not query."""
    return [
        WorkerRow(
            host=one.worker.host,
            process=_process(one),
            badge=BADGES[one.is_behind],
            state=state_label(one.is_behind),
            snapshot=_snapshot(one),
            mode=one.worker.mode,
            mode_text=str(MODE_TEXTS.get(one.worker.mode, "")),
            connected=time_cell(one.connected_at),
            version=_version(one.worker.rule_format),
            is_older=one.is_older,
        )
        for one in states
    ]


def _process(state: WorkerState) -> str:
    worker = state.worker
    if worker.pid is None:
        return _("session %(session)s") % {"session": worker.session}
    return _("pid %(pid)s") % {"pid": worker.pid}


def _snapshot(state: WorkerState) -> str:
    """Returns the age of the flags in the memory of the worker, as far as the server knows it."""
    if state.worker.mode == "starting":
        return _("not loaded yet")
    if state.behind_seconds is not None:
        time = localized(duration(state.behind_seconds, largest_only=True))
        return _("has not applied a change made %(time)s ago") % {"time": time}
    if state.idle_seconds is None:
        return ""
    time = localized(duration(state.idle_seconds, largest_only=True))
    return _("compared with the database %(time)s ago") % {"time": time}


def _version(rule_format: int | None) -> str:
    if rule_format is None:
        return pgettext("version", "unknown")
    if rule_format < _core.RULE_FORMAT:
        return _("older version")
    if rule_format > _core.RULE_FORMAT:
        return _("newer version")
    return _("this version")
