"""The Celery tasks. With EVALUATE_AT_IMPORT they evaluate a value before the pool forks."""

import os
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import django
from celery.signals import worker_process_init

from tests.faults.served.broker import application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.faults.served.settings")
django.setup()

from django.contrib.auth.models import User  # noqa: E402 (after setup)
from django.utils.functional import SimpleLazyObject  # noqa: E402

from flagstaff import (  # noqa: E402
    acting_as,
    changes,
    flag_enabled,
    get_value,
    status,
)
from tests.support.openfeature_events import (  # noqa: E402
    add_handlers,
    events,
    set_provider,
)
from tests.support.python_processes import end_patiently  # noqa: E402

end_patiently()
app = application(Path(os.environ["CELERY_FOLDER"]))

if os.environ.get("EVALUATE_AT_IMPORT"):
    get_value("gateway")


if os.environ.get("OPENFEATURE"):
    set_provider()
    worker_process_init.connect(lambda **_: add_handlers(), weak=False)


@app.task(name="events")  # type: ignore[untyped-decorator]
def openfeature_events() -> dict[str, Any]:
    """Returns the events of this process. Evaluates nothing."""
    time.sleep(0.02)
    return events()


@app.task(name="read")  # type: ignore[untyped-decorator]
def read() -> dict[str, Any]:
    """Returns what this process sees. Sleeps, so that another process takes the next task."""
    now = {"pid": os.getpid(), "gateway": get_value("gateway"), "mode": status().mode}
    time.sleep(0.02)
    return now


@app.task(name="change")  # type: ignore[untyped-decorator]
def change(percent: int, actor: str | None) -> int:
    """Sets a rollout, with an actor or without. Returns the process id."""
    with acting_as(actor, reason="at night") if actor else nullcontext():
        changes.flags.set_rollout("new_checkout", percent)
    return os.getpid()


@app.task(name="survey")  # type: ignore[untyped-decorator]
def survey(users: int) -> int:
    """Evaluates a flag for each user. Returns the process id."""
    for user in range(users):
        flag_enabled("new_checkout", user)
    return os.getpid()


@app.task(name="admit")  # type: ignore[untyped-decorator]
def admit(username: str) -> bool:
    """Evaluates a flag for a user who is read only if it is needed."""
    user = SimpleLazyObject(lambda: User.objects.get(username=username))
    return flag_enabled("staff", user)


@app.task(name="buy")  # type: ignore[untyped-decorator]
def buy(user: int) -> bool:
    """Evaluates a flag for one user. Fails for every tenth user who has it."""
    enabled = flag_enabled("new_checkout", user)
    if enabled and user % 10 == 0:
        raise RuntimeError("a planted fault")
    return enabled
