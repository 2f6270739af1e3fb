"""A row is locked, and compared with what somebody saw, before it is changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import transaction

from flagstaff.conf import conf
from flagstaff.exceptions import ConflictError
from flagstaff.history.describe import describe_actor, describe_change
from flagstaff.history.events import Event
from flagstaff.history.kinds import Kind
from flagstaff.history.reading import events_of
from flagstaff.history.versions import require_history, require_triggers, version_of

__all__ = ["check_version", "conflict", "locked_row", "raise_all"]

# Who has looked away for long is told of the last changes alone.
_MOST_TOLD = 20


@contextmanager
def locked_row(kind: Kind, key: str) -> Iterator[Any]:
    """The row that has the key, locked until the end of the transaction that this is part of."""
    with transaction.atomic(using=conf.database):
        yield kind.row(key, lock=True)


def check_version(kind: Kind, key: str, pk: Any, version: int | None) -> None:
    """Raise ConflictError where the row has another version. Its lock is held already."""
    if version is None:
        return
    require_history()
    actual = version_of(kind, pk)
    if actual != version:
        raise conflict(kind, key, pk, version, actual)
    # That it has the version still says nothing where changes leave no entry.
    require_triggers(kind)


def conflict(kind: Kind, key: str, pk: Any, version: int, actual: int | None) -> ConflictError:
    """Both versions: the one that was seen, and what came after it."""
    newer = events_of(kind, pk, after=version, limit=_MOST_TOLD)
    seen = events_of(kind, pk, before=version + 1, limit=1)
    told = "; ".join(
        f"{_by(event)} at {event.at:%Y-%m-%d %H:%M}: {describe_change(event)}" for event in newer
    )
    return ConflictError(
        f"{key} has version {actual}, not {version}; since then: {told or 'nothing'}",
        key=key,
        expected=version,
        actual=actual,
        seen=seen[0] if seen else None,
        newer=newer,
    )


def _by(event: Event) -> str:
    """In one line, whatever somebody has called themselves."""
    return " ".join(describe_actor(event).split())


def raise_all(errors: Iterable[ConflictError]) -> None:
    """Raise the one conflict, or one that tells of all of them, if there is any."""
    errors = list(errors)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ConflictError("\n".join(map(str, errors)), key=errors[0].key)
