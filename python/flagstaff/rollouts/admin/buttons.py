"""The buttons on the page of a plan.

Those that give the flag to more users ask first. Pausing and rolling back are done at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import starmap
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext

from flagstaff._tables.rows import FlagRow
from flagstaff._words.text import localized
from flagstaff._words.times import duration
from flagstaff.admin.action_page import Button, Confirmation
from flagstaff.admin.confirmation import PreviewRow
from flagstaff.history.user_names import HasPermissions
from flagstaff.rollouts import plans
from flagstaff.rollouts.admin.texts import NONE, state_name
from flagstaff.rollouts.admin.warnings import nothing_to_compare, too_few_users
from flagstaff.rollouts.conditions import rules_can_grant
from flagstaff.rollouts.models import WATCHED_STATES, Plan, State
from flagstaff.rollouts.releasing import planned_steps
from flagstaff.rollouts.stored import problem_of_plan, steps_of


def buttons_of(
    plan: Plan,
    flag: FlagRow | None,
    flag_version: int | None,
    *,
    viewer: HasPermissions | None = None,
) -> tuple[Button, ...]:
    """Returns the buttons that the state of a plan allows, given its flag as it was read.

    The users are counted as the `viewer` may see them.
    """
    if problem_of_plan(plan):
        return _stopping(plan)
    state = State(plan.state)
    asking = partial(_asking, flag, viewer=viewer)
    if state is State.PENDING:
        return (asking(_starting(_START, plans.start, flag, flag_version), 0),)
    roll_back = replace(_ROLL_BACK, done=_rolled_back(flag))
    # The engine continues only if the flag is on; a warning says so.
    is_on = flag is not None and bool(flag.enabled)
    if state is State.PAUSED:
        return (*([asking(_RESUME, plan.step or 0)] if is_on else []), roll_back)
    if state is State.ROLLED_BACK:
        return (asking(_AGAIN, 0),) if is_on else ()
    return (_PAUSE, roll_back) if plan.state in WATCHED_STATES else ()


def _rolled_back(flag: FlagRow | None) -> Any:
    """Returns the message after a roll back."""
    if flag is not None and rules_can_grant(flag):
        return gettext_lazy(
            "The plan of “%(key)s” was rolled back: the rollout is 0 %%, and the flag is off, "
            "because a rule can grant it."
        )
    return gettext_lazy("The plan of “%(key)s” was rolled back: the rollout is 0 %%.")


def _stopping(plan: Plan) -> tuple[Button, ...]:
    """The buttons that need neither the steps nor the guards."""
    if plan.state in WATCHED_STATES:
        return (_PAUSE, _ROLL_BACK)
    return (_ROLL_BACK,) if plan.state == State.PAUSED else ()


def _starting(
    button: Button, change: Callable[..., Plan], flag: FlagRow | None, version: int | None
) -> Button:
    """Returns the button that also turns on a flag that is off, as its page says."""
    enable = flag is not None and not flag.enabled
    return replace(
        button, run=lambda key, _form: change(key, enable=enable, expect_version=version)
    )


def _asking(
    flag: FlagRow | None, button: Button, index: int, *, viewer: HasPermissions | None
) -> Button:
    """Returns the button with a page that shows the step to which it leads."""
    return replace(
        button, confirm=lambda plan, _data: _confirmation(plan, flag, index, viewer=viewer)
    )


def _confirmation(
    plan: Plan, flag: FlagRow | None, index: int, *, viewer: HasPermissions | None
) -> Confirmation:
    """Shows what the step changes, and counts the users, for at most two seconds."""
    rows = _preview(plan, flag, index)
    if flag is None:
        return Confirmation(rows)
    # Only a start turns the flag on.
    ahead = planned_steps(flag, steps_of(plan), index, enable=plan.step is None, viewer=viewer)
    rows += starmap(PreviewRow, ahead.rows)
    notes = [*ahead.notes, too_few_users(plan, flag, index), nothing_to_compare(plan, index)]
    return Confirmation(rows, notes=[*filter(None, notes)], typed=ahead.text_to_type)


def _preview(plan: Plan, flag: FlagRow | None, index: int) -> list[PreviewRow]:
    """Returns what the step at this index changes. Makes no query."""
    steps = steps_of(plan)
    step = steps[index]
    now = NONE if flag is None else f"{flag.rollout_percent} %"
    rows = [
        PreviewRow(_("plan"), state_name(plan), str(State.RUNNING.label)),
        PreviewRow(_("rollout"), now, f"{step.percent} %"),
        PreviewRow(
            _("step"),
            NONE if plan.step is None else _place(plan.step, len(steps)),
            _("%(place)s, for %(time)s or longer")
            % {"place": _place(index, len(steps)), "time": localized(duration(step.seconds))},
        ),
    ]
    if flag is not None and not flag.enabled and plan.step is None:
        rows.insert(0, turned_on_row())
    if flag is not None and rules_can_grant(flag):
        text = _("rollout %(percent)s, and the flag is turned off, because a rule can grant it")
        text %= {"percent": "0 %"}
        rows.append(PreviewRow(_("if a guard finds harm"), "", text))
    return rows


def turned_on_row() -> PreviewRow:
    """Returns that the start of the plan turns its flag on."""
    off, on = pgettext("state of a flag", "off"), pgettext("state of a flag", "on")
    return PreviewRow(_("flag"), off, on)


def _place(index: int, count: int) -> str:
    return _("%(step)s of %(steps)s") % {"step": index + 1, "steps": count}


def _run(change: Callable[[str], Plan]) -> Callable[[str, Any], Plan]:
    return lambda key, _form: change(key)


_START = Button(
    "start",
    gettext_lazy("Start…"),
    _run(plans.start),
    gettext_lazy("The plan of “%(key)s” has started."),
    gettext_lazy("Start the rollout plan of “%(key)s”?"),
    weight="default",
)
_RESUME = Button(
    "resume",
    gettext_lazy("Resume…"),
    _run(plans.resume),
    gettext_lazy("The plan of “%(key)s” continues. Measuring starts again."),
    gettext_lazy("Resume the plan of “%(key)s”? Measuring starts again."),
    weight="default",
)
_AGAIN = Button(
    "resume",
    gettext_lazy("Begin again…"),
    _run(plans.resume),
    gettext_lazy("The plan of “%(key)s” began again at its first step."),
    gettext_lazy("Begin the plan of “%(key)s” again at its first step?"),
    weight="default",
)
_PAUSE = Button(
    "pause",
    gettext_lazy("Pause"),
    _run(plans.pause),
    gettext_lazy("The plan of “%(key)s” is paused. The rollout stays as it is."),
    weight="secondary",
    is_brake=True,
)
_ROLL_BACK = Button(
    "rollback",
    gettext_lazy("Roll back"),
    _run(plans.rollback),
    gettext_lazy("The plan of “%(key)s” was rolled back."),
    weight="danger",
    is_brake=True,
)
