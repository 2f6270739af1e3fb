"""The tasks of the project. With ASK_EARLY it asks while it is imported, before the pool forks."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import django

from flagstaff.changes import set_rollout
from tests.faults.served.broker import application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.faults.served.settings")
django.setup()

from flagstaff import acting_as, flag_enabled, get_value, status  # noqa: E402 (settings come first)

__all__ = ["answer", "app", "change", "survey"]

app = application(Path(os.environ["CELERY_FOLDER"]))

if os.environ.get("ASK_EARLY"):
    get_value("gateway")


@app.task(name="answer")  # type: ignore[untyped-decorator]
def answer() -> dict[str, Any]:
    """What this process says, and long enough for another one to take the next task."""
    said = {"pid": os.getpid(), "gateway": get_value("gateway"), "mode": status().mode}
    time.sleep(0.02)
    return said


@app.task(name="change")  # type: ignore[untyped-decorator]
def change(percent: int, actor: str | None) -> int:
    """Ramp a flag, in somebody's name or in nobody's."""
    with acting_as(actor, reason="at night") if actor else nullcontext():
        set_rollout("new_checkout", percent)
    return os.getpid()


@app.task(name="survey")  # type: ignore[untyped-decorator]
def survey(users: int) -> int:
    """As many questions as there are users."""
    for user in range(users):
        flag_enabled("new_checkout", user)
    return os.getpid()
