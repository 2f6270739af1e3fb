"""Finds out whether a difference is only one of time, in a thread with its own connection.

waffle may use an outdated row of its cache: `update()`, SQL, `users.clear()` and an unlucky order
of a read and a save leave one there, while flagstaff has the new one. Only the database shows it,
and the connection of the request must not be used: it may be in a transaction that a failed query
would end. And flagstaff hears of a change some milliseconds after its commit.

So the thread waits until flagstaff must have heard of a change, reads the row, and evaluates again.
It ends when there is nothing left to check. What it found holds for a minute.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock, Thread
from typing import Any, NamedTuple

from django.db import connections, router

from flagstaff import _core
from flagstaff._engine import lifecycle
from flagstaff._engine.log_once import log_once, place_of
from flagstaff.compat.causes import Cause
from flagstaff.conf import conf

# Seconds that a finding holds, and the checks of a name in this time.
_SECONDS = 60.0
_MAX_CHECKS = 3
# Differences that wait for a check, with their requests. Others are counted without it.
_MAX_WAITING = 100
# The seconds after a poll in which flagstaff has loaded a change.
_LOAD = 1.0


class Counted(NamedTuple):
    """The arguments of `_core.count_difference`."""

    kind: str
    name: str
    cause: str
    waffle: bool
    flagstaff: bool
    user_pk: str
    path: str


class _Waiting(NamedTuple):
    """A difference that waits for its check."""

    row: Any
    counted: Counted
    #: Evaluates again, and returns whether the results are equal now.
    is_equal_now: Callable[[], bool]
    since: float


@dataclass
class _Finding:
    """What the last check of a name found."""

    #: The columns of the row that was checked.
    columns: dict[str, Any]
    is_stale: bool
    until: float
    checks: int


_findings: dict[tuple[str, str], _Finding] = {}
_waiting: deque[_Waiting] = deque()
_thread: Thread | None = None
_lock = Lock()


def count_when_checked(row: Any, counted: Counted, is_equal_now: Callable[[], bool]) -> None:
    """Counts a difference, as "stale cache" if it is one of time. Does not block."""
    finding = _finding(row, counted)
    if finding is not None:
        _count(counted, is_stale=finding.is_stale)
    elif len(_waiting) >= _MAX_WAITING:
        _count(counted, is_stale=False)
    else:
        _check_later(_Waiting(row, counted, is_equal_now, _core.monotonic()))


def _finding(row: Any, counted: Counted) -> _Finding | None:
    """Returns what is known about the row; None if it has to be checked."""
    finding = _findings.get((counted.kind, counted.name))
    if finding is None or finding.until < _core.monotonic():
        return None
    is_known = finding.columns == _columns(row) or finding.checks >= _MAX_CHECKS
    return finding if is_known else None


def _check_later(item: _Waiting) -> None:
    global _thread  # noqa: PLW0603 (one thread of the process)
    with _lock:
        _waiting.append(item)
        if _thread is None:
            _thread = Thread(target=_run, name="flagstaff-compat", daemon=True)
            _thread.start()


def _run() -> None:
    """Checks all that waits. The body of the thread."""
    try:
        while (item := _next()) is not None:
            time.sleep(max(item.since + _delay() - _core.monotonic(), 0))
            _check(item)
    finally:
        # Those of this thread only.
        connections.close_all()


def _next() -> _Waiting | None:
    global _thread  # noqa: PLW0603 (the next difference starts another one)
    with _lock:
        if _waiting:
            return _waiting.popleft()
        _thread = None
        return None


def _delay() -> float:
    """Returns the seconds after which flagstaff has heard of a change."""
    return conf.poll_interval + _LOAD


def _check(item: _Waiting) -> None:
    row, counted = item.row, item.counted
    finding = _finding(row, counted)
    if finding is None:
        place, now = (counted.kind, counted.name), _core.monotonic()
        last = _findings.get(place)
        checks = last.checks + 1 if last is not None and last.until > now else 1
        finding = _Finding(_columns(row), _is_stale(item), now + _SECONDS, checks)
        _findings[place] = finding
    _count(counted, is_stale=finding.is_stale)


def _is_stale(item: _Waiting) -> bool:
    try:
        return _is_outdated(item.row) or item.is_equal_now()
    except Exception as error:  # noqa: BLE001 (a wrong cause is better than no count)
        log_once("shadow", "stale", f"the rows of waffle cannot be read: {place_of(error)}")
        return False


def _is_outdated(row: Any) -> bool:
    """Whether the database has another row, or other users and groups than waffle's cache."""
    model = type(row)
    rows = model._base_manager.using(router.db_for_write(model))
    fresh = rows.filter(name=row.name).first()
    if fresh is None or row.pk is None:
        return fresh is not None or row.pk is not None
    return _columns(fresh) != _columns(row) or _has_other_members(row, fresh)


def _has_other_members(row: Any, fresh: Any) -> bool:
    if not hasattr(row, "_get_user_ids"):
        return False
    users, groups = (
        {*members.using(fresh._state.db).values_list("pk", flat=True)}
        for members in (fresh.users, fresh.groups)
    )
    cached = row._get_user_ids(), row._get_group_ids()  # noqa: SLF001 (waffle has no public name)
    return bool(cached != (users, groups))


def _columns(row: Any) -> dict[str, Any]:
    """Returns the columns by name. Makes no query."""
    return {name: value for name, value in row.__dict__.items() if not name.startswith("_")}


def _count(counted: Counted, *, is_stale: bool) -> None:
    cause = Cause.STALE_CACHE.value if is_stale else counted.cause
    _core.count_difference(*counted._replace(cause=cause))


def _after_fork() -> None:
    """Resets a forked child, which has no thread, and whose parent may hold the lock."""
    global _thread, _lock
    _thread, _lock = None, Lock()
    _waiting.clear()
    _findings.clear()


lifecycle.fork_hooks.append(_after_fork)
