"""What a run of the driver did to one plan."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from flagstaff.rollouts.models import Plan, PlanEvent
from flagstaff.rollouts.stored import steps_of


@dataclass(frozen=True)
class PlanReport:
    """What a run of the driver did to one plan."""

    plan: str
    state: str
    #: The number of the present step from 1, and of all steps.
    step: int | None = None
    steps: int = 0
    percent: int | None = None
    #: The kind of the event that happened in this run, or None.
    event: str | None = None
    #: What happened, or why the plan holds.
    message: str = ""
    #: Why the plan could not be driven in this run, or None. The next run tries again.
    error: str | None = None

    @property
    def is_news(self) -> bool:
        """Whether something happened."""
        return self.event is not None or self.error is not None

    @property
    def fields(self) -> tuple[str, ...]:
        """The report as the fields of one line."""
        return self.plan, self.event or self.state, self.error or self.message

    def as_dict(self) -> dict[str, Any]:
        """Returns the report as a dict for JSON."""
        fields = asdict(self)
        fields["text"] = fields.pop("message")
        return fields


def report_of(plan: Plan, event: PlanEvent.Kind | None = None, message: str = "") -> PlanReport:
    """Returns the report of a plan in its present state."""
    steps = steps_of(plan)
    return PlanReport(
        plan=plan.key,
        state=str(plan.state),
        step=None if plan.step is None else plan.step + 1,
        steps=len(steps),
        percent=None if plan.step is None else steps[plan.step].percent,
        event=None if event is None else event.value,
        message=message or plan.reason,
    )
