"""Refuses rules that a connected worker cannot read, because it runs an older version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.db import connections

from flagstaff._connection.vendor import is_postgresql
from flagstaff._words.lists import some
from flagstaff._words.message import Message
from flagstaff._words.rule_parts import objects_in
from flagstaff._workers.sessions import Worker, list_workers
from flagstaff.changes.messages import FIELD_PROBLEM, OLD_WORKERS
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidChangeError

_ignored: ContextVar[bool] = ContextVar("flagstaff_old_workers_ignored", default=False)


def required_format(rules: object) -> int:
    """Returns the oldest format of rules that has all of these rules or conditions; 0 for none.

    In format 2, rules of values have a value each.

    A new format of `RULE_FORMAT` in src/rules.rs extends this function, and no other.
    """
    if any("value" in rule for rule in objects_in(rules)):
        return 2
    return 1 if rules else 0


@contextmanager
def ignoring_old_workers(ignore: bool) -> Iterator[None]:  # noqa: FBT001 (the `force` of a caller)
    """Writes rules in the block even if a connected worker cannot read them."""
    token = _ignored.set(ignore or _ignored.get())
    try:
        yield
    finally:
        _ignored.reset(token)


def old_worker_problem(written: Iterable[object]) -> Message | None:
    """Returns which workers cannot read new rules or conditions, or None. Lists the workers.

    The database cannot see the format of workers at a standby, or behind a pooler without the right
    to write to flagstaff_worker, so these count as workers that can.
    """
    connection = connections[conf.database]
    needed = max(map(required_format, written), default=0)
    if needed == 0 or not is_postgresql(connection):
        return None
    old = [one for one in list_workers(connection).workers if _is_older(one, needed)]
    if not old:
        return None
    return OLD_WORKERS(format=str(needed), versions=some(old))


def require_workers(name: str, written: Iterable[object]) -> None:
    """Raises InvalidChangeError if a connected worker cannot read these new rules or conditions.

    `name` is the name of their field.
    """
    if problem := refused_by_workers(written):
        raise InvalidChangeError(FIELD_PROBLEM(field=name, problem=problem))


def refused_by_workers(written: Iterable[object]) -> str | None:
    """Returns the problem of old workers; None within `ignoring_old_workers`. Makes a query."""
    return None if _ignored.get() else old_worker_problem(written)


def _is_older(worker: Worker, needed: int) -> bool:
    return worker.rule_format is not None and worker.rule_format < needed
