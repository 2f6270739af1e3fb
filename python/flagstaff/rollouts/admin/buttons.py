"""The buttons on the page of a plan, and what they do.

Those that give the flag to more users ask first. Pausing and rolling back are done at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._tables.rows import FlagRow
from flagstaff._words.duration import duration
from flagstaff._words.message import localized
from flagstaff.admin.confirmation import PreviewRow
from flagstaff.rollouts import plans
from flagstaff.rollouts.admin.texts import NONE
from flagstaff.rollouts.conditions import rules_can_grant
from flagstaff.rollouts.models import WATCHED_STATES, Plan, State
from flagstaff.rollouts.releasing import PlannedSteps, planned_steps
from flagstaff.rollouts.stored import problem_of_plan
from flagstaff.rollouts.transitions import steps_of


@dataclass(frozen=True)
class Button:
    """A button of a plan in its present state."""

    #: The value of the button: "start", "pause", "resume", "jump" or "rollback".
    name: str
    label: str | Promise
    #: Does it, and returns the plan.
    press: Callable[[str], Plan]
    #: The message afterwards.
    done: str | Promise
    #: The question of the confirmation page; empty if the button needs none.
    question: str | Promise = ""
    #: The index of the step that the plan is at afterwards; None if that does not change.
    step: int | None = None


def buttons_of(plan: Plan) -> tuple[Button, ...]:
    """Returns the buttons that the state of a plan allows."""
    if problem_of_plan(plan):
        return _stopping(plan)
    state = State(plan.state)
    if state is State.PENDING:
        return (_START, _PAUSE) if plan.starts_at else (_START,)
    if state is State.PAUSED:
        return (_START_PAUSED,) if plan.step is None else (_resume(plan.step), _ROLL_BACK)
    if state is State.ROLLED_BACK:
        return (_AGAIN,)
    if state is State.DONE:
        return ()
    return (*_jump(plan), _PAUSE, _ROLL_BACK)


def _stopping(plan: Plan) -> tuple[Button, ...]:
    """The buttons that need neither the steps nor the guards."""
    if plan.state in WATCHED_STATES:
        return (_PAUSE, _ROLL_BACK)
    return (_ROLL_BACK,) if plan.state == State.PAUSED and plan.step is not None else ()


def version_of_plan(plan: Plan) -> str:
    """Returns a text that differs whenever the plan is in another state or step, or trips."""
    return f"{plan.state}-{plan.step}-{plan.run_id}-{plan.trip_run_id}"


def preview(plan: Plan, button: Button, flag: FlagRow | None) -> list[PreviewRow]:
    """Returns what the button changes, for the confirmation page. Makes no query."""
    steps = steps_of(plan)
    index = button.step or 0
    step = steps[index]
    now = NONE if flag is None else f"{flag.rollout_percent} %"
    rows = [
        PreviewRow(_("state"), str(State(plan.state).label), str(State.RUNNING.label)),
        PreviewRow(_("rollout"), now, f"{step.percent} %"),
        PreviewRow(
            _("step"),
            NONE if plan.step is None else _place(plan.step, len(steps)),
            _("%(place)s, for %(time)s or longer")
            % {"place": _place(index, len(steps)), "time": localized(duration(step.seconds))},
        ),
    ]
    if flag is not None and rules_can_grant(flag):
        text = _("rollout %(percent)s, and the flag is turned off, because a rule can grant it")
        text %= {"percent": "0 %"}
        rows.append(PreviewRow(_("if a guard trips"), "", text))
    return rows


def steps_after(plan: Plan, button: Button, flag: FlagRow | None) -> PlannedSteps | None:
    """Returns what the button does to the flag. Counts the users, for at most two seconds."""
    return None if flag is None else planned_steps(flag, steps_of(plan), button.step or 0)


def _place(index: int, count: int) -> str:
    return _("%(step)s of %(steps)s") % {"step": index + 1, "steps": count}


def _jump(plan: Plan) -> tuple[Button, ...]:
    steps, index = steps_of(plan), (plan.step or 0) + 1
    if index >= len(steps):
        return ()
    percent = steps[index].percent
    return (
        Button(
            "jump",
            _("Jump to %(percent)s %%") % {"percent": percent},
            lambda key: plans.jump(key, percent),
            gettext_lazy("The plan of “%(key)s” jumped to the next step."),
            gettext_lazy(
                "Jump to the next step of “%(key)s”, without waiting for the evidence of this one?"
            ),
            index,
        ),
    )


def _resume(step: int) -> Button:
    return Button(
        "resume",
        gettext_lazy("Resume"),
        plans.resume,
        gettext_lazy("The plan of “%(key)s” continues. Measuring starts again."),
        gettext_lazy("Resume the plan of “%(key)s”? Measuring starts again."),
        step,
    )


_START = Button(
    "start",
    gettext_lazy("Start"),
    plans.start,
    gettext_lazy("The plan of “%(key)s” has started."),
    gettext_lazy("Start the rollout plan of “%(key)s”?"),
    0,
)
_START_PAUSED = Button(
    "resume",
    gettext_lazy("Start"),
    plans.resume,
    gettext_lazy("The plan of “%(key)s” has started."),
    gettext_lazy("Start the rollout plan of “%(key)s”?"),
    0,
)
_AGAIN = Button(
    "resume",
    gettext_lazy("Begin again"),
    plans.resume,
    gettext_lazy("The plan of “%(key)s” began again at its first step."),
    gettext_lazy("Begin the plan of “%(key)s” again at its first step?"),
    0,
)
_PAUSE = Button(
    "pause",
    gettext_lazy("Pause"),
    plans.pause,
    gettext_lazy("The plan of “%(key)s” is paused. The rollout stays as it is."),
)
_ROLL_BACK = Button(
    "rollback",
    gettext_lazy("Roll back"),
    plans.rollback,
    gettext_lazy("The plan of “%(key)s” was rolled back."),
)
