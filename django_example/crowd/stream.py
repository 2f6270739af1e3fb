"""An answer that does not end: server-sent events from the worker that took the request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator

from crowd.watch import Watch

TICK = 0.01


def _always() -> bool:
    return True


# gunicorn.conf.py puts the worker's own flag here. A stream that outlives its worker's last
# order would hold the process up.
serving: Callable[[], bool] = _always


def events(watch: Watch) -> Iterator[str]:
    while serving():
        if told := watch.look():
            yield told
        time.sleep(TICK)


async def aevents(watch: Watch) -> AsyncIterator[str]:
    """The same under ASGI, where an endless plain iterator would be collected to its end."""
    while serving():
        if told := watch.look():
            yield told
        await asyncio.sleep(TICK)
