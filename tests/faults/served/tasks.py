"""The tasks of the project. With ASK_EARLY it asks while it is imported, before the pool forks."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import django

from tests.faults.served.broker import application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.faults.served.settings")
django.setup()

from flagstaff import get_value, status  # noqa: E402 (settings come first)

__all__ = ["answer", "app"]

app = application(Path(os.environ["CELERY_FOLDER"]))

if os.environ.get("ASK_EARLY"):
    get_value("gateway")


@app.task(name="answer")  # type: ignore[untyped-decorator]
def answer() -> dict[str, Any]:
    """What this process says, and long enough for another one to take the next task."""
    said = {"pid": os.getpid(), "gateway": get_value("gateway"), "mode": status().mode}
    time.sleep(0.02)
    return said
