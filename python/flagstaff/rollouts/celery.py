"""Observes the tasks of Celery, as the middleware observes requests.

`AppConfig.ready` connects the signals if Celery is imported by then, as it is in a project whose
package imports its Celery app. Otherwise call `connect()` once.
"""

from __future__ import annotations

from collections import defaultdict
from threading import get_ident
from typing import Any

from celery import signals

from flagstaff._core import Observation

__all__ = ["connect"]

#: The observations of the tasks that are running, by thread and task. A task may run another one in
#: place, an eager retry has the same id, and a broker may deliver a task twice.
_observed: defaultdict[tuple[int, str], list[Observation]] = defaultdict(list)


def connect() -> None:
    """Counts each task that evaluates a watched flag. A retry is no failure; the last one decides.

    Can be called again.
    """
    uid = "flagstaff"
    signals.task_prerun.connect(_begin, dispatch_uid=uid, weak=False)
    signals.task_failure.connect(_note_failure, dispatch_uid=uid, weak=False)
    signals.task_postrun.connect(_end, dispatch_uid=uid, weak=False)


def _begin(task_id: str, **_: Any) -> None:
    _observed[get_ident(), task_id].append(Observation().__enter__())


def _note_failure(task_id: str, **_: Any) -> None:
    if running := _observed.get((get_ident(), task_id)):
        running[-1].failed = True


def _end(task_id: str, **_: Any) -> None:
    running = _observed.pop((get_ident(), task_id), None)
    if not running:
        return
    ended = running.pop()
    if running:
        _observed[get_ident(), task_id] = running
    ended.__exit__(None, None, None)
