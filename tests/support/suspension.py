"""A process that polls often, and its requests after a suspension."""

import asyncio
import time
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory, RequestFactory

import flagstaff
from flagstaff.middleware import FlagstaffMiddleware

# Seconds: the interval of the polls, and the age at which one is overdue.
POLL = 0.1
OVERDUE = 1.1 * POLL + 1


def page(_request: HttpRequest) -> HttpResponse:
    return HttpResponse(flagstaff.get_value("gateway"))


async def async_page(request: HttpRequest) -> HttpResponse:
    return page(request)


def served(kind: str) -> list[Any]:
    """The value that a request or a task reads, and the seconds it took. Runs in the worker."""
    started = time.monotonic()
    if kind == "task":
        from celery import signals

        signals.task_prerun.send(sender=None, task_id="1")
        return [flagstaff.get_value("gateway"), time.monotonic() - started]
    middleware: Any = FlagstaffMiddleware(async_page if kind == "async" else page)
    if kind == "async":
        # Debugging would log that the first evaluation blocks the loop.
        response = asyncio.run(middleware(AsyncRequestFactory().get("/")), debug=False)
    else:
        response = middleware(RequestFactory().get("/"))
    return [response.content.decode(), time.monotonic() - started]
