"""Actions that wait."""

from datetime import timedelta
from typing import Any

from django.db.models.functions import Now
from django.utils import timezone

from flagstaff.models import WaitingAction
from tests.support.terminals import document, run

TOMORROW = f"{timezone.now() + timedelta(days=1):%Y-%m-%dT%H:%M}"


def make_due(**since: float) -> None:
    """Makes all waiting actions due since a time, by default since a minute."""
    WaitingAction.objects.update(run_at=Now() - timedelta(**(since or {"minutes": 1})))


def ask(line: str, actor: str = "ana") -> WaitingAction:
    """Asks for a line, by default for tomorrow."""
    is_complete = "--at" in line or "--request" in line
    ran = run(f"{line} --as {actor}" + ("" if is_complete else f" --at {TOMORROW}"))
    assert ran.status == 0, ran.err
    return WaitingAction.objects.latest("id")


def run_jobs() -> list[dict[str, Any]]:
    """Runs the jobs, and returns the reports about waiting actions."""
    reports: list[dict[str, Any]] = document("run-jobs").get("waiting", [])
    return reports


def state_of(waiting: WaitingAction) -> str:
    """Returns the state in which an action is stored now."""
    waiting.refresh_from_db()
    return str(waiting.state)
