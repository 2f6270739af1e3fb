"""A streaming response of server-sent events from the worker that serves the request."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from crowd.observer import Observer

INTERVAL = 0.01  # seconds between two evaluations


def _always() -> bool:
    return True


# gunicorn.conf.py replaces this: a stream must end when its worker shuts down.
is_serving: Callable[[], bool] = _always


def events(observer: Observer) -> Iterator[str]:
    while is_serving():
        if event := observer.next_event():
            yield event
        time.sleep(INTERVAL)
