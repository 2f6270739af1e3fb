"""Observes the tasks of Celery, as the middleware observes requests.

`AppConfig.ready` connects the signals if Celery is imported by then, as it is in a project whose
package imports its Celery app. Otherwise call `connect()` once.
"""

from __future__ import annotations

from typing import Any

from celery import signals

from flagstaff._core import Observation

__all__ = ["connect"]

#: The observations of the tasks that are running, by the id of the task. A task may run another
#: one in place, and a worker may run many at the same time.
_observed: dict[str, Observation] = {}


def connect() -> None:
    """Counts each task that evaluates a watched flag. A retry is no failure; the last one decides.

    Can be called again.
    """
    uid = "flagstaff"
    signals.task_prerun.connect(_begin, dispatch_uid=uid, weak=False)
    signals.task_failure.connect(_note_failure, dispatch_uid=uid, weak=False)
    signals.task_postrun.connect(_end, dispatch_uid=uid, weak=False)


def _begin(task_id: str, **_: Any) -> None:
    _observed[task_id] = Observation().__enter__()


def _note_failure(task_id: str, **_: Any) -> None:
    if observed := _observed.get(task_id):
        observed.failed = True


def _end(task_id: str, **_: Any) -> None:
    if observed := _observed.pop(task_id, None):
        observed.__exit__(None, None, None)
