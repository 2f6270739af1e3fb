"""Why a plan, its steps or its guards are refused, and why a plan cannot run, as messages."""

from __future__ import annotations

from flagstaff._words.message import Template
from flagstaff._words.message import marked as _

# The state of a plan.

_STATES = {
    "pending": Template("plan_is_pending", _("pending")),
    "running": Template("plan_is_running", _("running")),
    "holding": Template("plan_is_holding", _("holding")),
    "paused": Template("plan_is_paused", _("paused")),
    "done": Template("plan_is_done", _("done")),
    "rolled_back": Template("plan_is_rolled_back", _("rolled back")),
}


def state_text(state: str) -> str:
    """Returns the name of a state. SQL may have written an unknown one."""
    return _STATES[state]() if state in _STATES else state


EXISTS = Template(
    "plan_exists",
    _(
        "%(key)s has a rollout plan already, which is %(state)s; delete it before you create "
        "another: %(command)s"
    ),
)
EXISTS_AND_RUNS = Template(
    "plan_exists_and_runs",
    _(
        "%(key)s has a rollout plan already, which is %(state)s; pause it and delete it before you "
        "create another: %(command)s"
    ),
)
EXISTS_PENDING = Template(
    "plan_exists_pending",
    _(
        "%(key)s has a pending plan already; start it without new options, or delete it first: "
        "%(command)s"
    ),
)
HAS_NEWER_PLAN = Template(
    "plan_is_not_newest", _("%(key)s has a newer rollout plan; see it: %(command)s")
)
NO_PLAN = Template("no_plan", _("the flag %(key)s has no rollout plan; start one: %(command)s"))
CHANGED_SINCE_QUESTION = Template(
    "plan_changed_since_question",
    _("the rollout plan of %(key)s has been changed since the question; run the command again"),
)

#: By the action that the state of a plan does not allow.
WRONG_STATE = {
    "start": Template(
        "plan_cannot_start",
        _(
            "the rollout plan of %(key)s is %(state)s and cannot be started; possible next: "
            "%(command)s"
        ),
    ),
    "pause": Template(
        "plan_cannot_pause",
        _(
            "the rollout plan of %(key)s is %(state)s and cannot be paused; possible next: "
            "%(command)s"
        ),
    ),
    "resume": Template(
        "plan_cannot_resume",
        _(
            "the rollout plan of %(key)s is %(state)s and cannot be resumed; possible next: "
            "%(command)s"
        ),
    ),
    "jump": Template(
        "plan_cannot_jump",
        _("the rollout plan of %(key)s is %(state)s and cannot jump; possible next: %(command)s"),
    ),
    "rollback": Template(
        "plan_cannot_roll_back",
        _(
            "the rollout plan of %(key)s is %(state)s and cannot be rolled back; possible next: "
            "%(command)s"
        ),
    ),
    "edit": Template(
        "plan_cannot_be_edited",
        _(
            "the rollout plan of %(key)s is %(state)s and cannot be edited; possible next: "
            "%(command)s"
        ),
    ),
    "delete": Template(
        "plan_cannot_be_deleted",
        _(
            "the rollout plan of %(key)s is %(state)s and cannot be deleted; possible next: "
            "%(command)s"
        ),
    ),
}
CANNOT_JUMP_BECAUSE = Template(
    "plan_cannot_jump_because",
    _(
        "the rollout plan of %(key)s cannot jump, because %(why)s; pause and resume it first: "
        "%(command)s"
    ),
)
CANNOT_EDIT_BECAUSE = Template(
    "plan_cannot_be_edited_because",
    _("the rollout plan of %(key)s cannot be edited, because %(why)s; pause it first: %(command)s"),
)
CANNOT_EDIT_TRIPPED = Template(
    "plan_cannot_be_edited_after_trip",
    _("the rollout plan of %(key)s cannot be edited, because %(why)s; see it: %(command)s"),
)
GUARD_LOOSENED = Template(
    "plan_guard_loosened",
    _("the plan runs, so its guards can only be tightened, and %(new)s is looser than %(old)s"),
)
GUARD_REMOVED = Template(
    "plan_guard_removed",
    _("the plan runs, so its guards can only be tightened, and %(guard)s would be removed"),
)
USERS_LOWERED = Template(
    "plan_required_users_lowered",
    _("the plan runs, so the required users can only be raised, and %(new)s is below %(old)s"),
)
PRESENT_STEP_CHANGED = Template(
    "plan_present_step_changed",
    _("the plan runs, so its present step, %(step)s, must stay"),
)
PAST_STEP_CHANGED = Template(
    "plan_past_step_changed",
    _("the plan of %(key)s is at step %(number)s, so the steps before must stay: %(steps)s"),
)
NO_PRESENT_STEP = Template(
    "plan_has_no_present_step",
    _("the plan of %(key)s is at step %(number)s, so it needs at least so many steps"),
)
HAS_STARTED = Template(
    "plan_has_started", _("the plan of %(key)s is %(state)s, so its start cannot be changed")
)
NOTHING_TO_DISMISS = Template(
    "plan_has_nothing_to_dismiss",
    _("the rollout plan of %(key)s is %(state)s and needs no attention; see it: %(command)s"),
)
NO_SUCH_STEP = Template(
    "plan_has_no_such_step",
    _("the plan of %(key)s has no step of %(percent)s %%; choose one of %(steps)s"),
)

# Why a plan cannot run.

CANNOT_RUN = Template("plan_cannot_run", _("the rollout plan of %(key)s cannot run: %(why)s"))
NEEDS_POSTGRESQL = Template(
    "plan_needs_postgresql",
    _(
        "a plan needs PostgreSQL and the history, and database %(database)s is %(value)s; change "
        "the rollout by hand"
    ),
)
CANNOT_COUNT = Template(
    "plan_cannot_count",
    _(
        "the workers evaluate with database %(database)s, which may not write what they count to "
        "%(table)s; use a database and a role that may write it"
    ),
)
NO_DRIVER = Template(
    "plan_has_no_driver",
    _(
        "run-jobs has not run in the last %(minutes)s minutes, so no guard would watch it; start "
        "%(command)s and try again"
    ),
)
FLAG_DISABLED = Template(
    "plan_flag_disabled", _("the flag is disabled; enable it with %(command)s")
)
FLAG_DISABLED_AT_START = Template(
    "plan_flag_disabled_at_start",
    _(
        "the flag is disabled; enable it with %(command)s, or let the start enable it: pass "
        "enable=True, or --yes to the command"
    ),
)
FLAG_CREATED_AGAIN = Template(
    "plan_flag_created_again",
    _(
        "the flag %(key)s was deleted and created again after its plan; delete the plan: "
        "%(command)s"
    ),
)
AT_ALL_ALREADY = Template(
    "plan_at_all_already",
    _("%(key)s is at 100 %% already, so a plan has no steps; lower its rollout first"),
)
FIRST_STEP_TOO_LOW = Template(
    "plan_first_step_too_low",
    _(
        "the first step is %(percent)s %%, and %(key)s is at %(now)s %% already; begin with a "
        "higher step"
    ),
)
START_TOO_LATE = Template(
    "plan_start_too_late", _("the plan cannot start in the year %(year)s; write an earlier time")
)
SCHEDULER_DELETED = Template(
    "plan_scheduler_deleted", _("the user who scheduled it no longer exists; start it yourself")
)
SCHEDULER_UNREADABLE = Template(
    "plan_scheduler_unreadable",
    _("run-jobs cannot read the user who scheduled it; start it yourself"),
)
SCHEDULER_HAS_NO_PERMISSION = Template(
    "plan_scheduler_has_no_permission",
    _(
        "the user who scheduled it no longer has the permission to change or toggle the flag; "
        "start it yourself"
    ),
)
USERS_NOT_VALID = Template(
    "plan_required_users_not_valid",
    _("the number of required users is %(value)s; write a whole number from 1 to %(limit)s"),
)

# What a plan has stored.

STEPS_UNREADABLE = Template(
    "plan_steps_unreadable",
    _("the steps that the plan has stored cannot be read; create the plan again"),
)
STEP_UNKNOWN = Template(
    "plan_step_unknown", _("the plan is at step %(step)s of %(steps)s; create the plan again")
)
GUARDS_UNREADABLE = Template(
    "plan_guards_unreadable",
    _("the guards that the plan has stored cannot be read; create the plan again"),
)
STATE_UNKNOWN = Template(
    "plan_state_unknown", _("the plan has the unknown state %(value)s; delete the plan")
)

# Steps.

NOT_A_STEP = Template(
    "step_not_readable",
    _("%(text)s is not a step; write a percentage and a time in s, m, h, d or w, such as %(step)s"),
)
NO_STEPS = Template("plan_has_no_steps", _('the plan has no steps; add one such as "5:1h"'))
STEP_NOT_HIGHER = Template(
    "step_not_higher",
    _("step %(percent)s %% follows %(before)s %%; each step must be higher than the one before"),
)
PERCENT_NOT_VALID = Template(
    "step_percent_not_valid",
    _("the percentage %(value)s is not a whole number from 1 to 100"),
)
STEP_TOO_LONG = Template(
    "step_too_long", _("the time of step %(percent)s %% must be at most 365 d")
)
STEP_WITHOUT_TIME = Template(
    "step_without_time", _("step %(percent)s %% has no time; write for example %(step)s")
)

# Guards.

NOT_A_GUARD = Template(
    "guard_not_readable",
    _(
        '%(text)s is not a guard; write "errors", "latency=0.5" (in seconds) or '
        '"function=shop.guards.orders"'
    ),
)
NOT_A_KIND = Template(
    "guard_kind_unknown",
    _(
        '%(kind)s is not a kind of guard; write "errors", "latency=0.5" (in seconds) or '
        '"function=shop.guards.orders"'
    ),
)
GUARD_TWICE = Template("guard_given_twice", _('the guard "%(guard)s" is given twice; remove one'))
NOT_AN_OPTION = Template(
    "guard_option_unknown",
    _(
        "%(option)s of %(text)s is not an option of a guard; write limit=2, tolerated=1 or "
        "action=hold"
    ),
)
NOT_A_NUMBER = Template(
    "guard_number_not_valid",
    _("%(value)s of %(text)s is not a number; write a number such as 1.5"),
)
ACTION_UNKNOWN = Template(
    "guard_action_unknown",
    _('the action of the guard "%(guard)s" is neither "rollback" nor "hold"; choose one'),
)
TOLERATED_NOT_VALID = Template(
    "guard_tolerated_not_valid",
    _(
        'the option tolerated of the guard "%(guard)s" is not valid; write a number of at least 1 '
        "and below %(limit)s"
    ),
)
LIMIT_NOT_VALID = Template(
    "guard_limit_not_valid",
    _(
        'the option limit of the guard "%(guard)s" is not valid; write a number above tolerated, '
        "which is %(least)s"
    ),
)
SECONDS_NOT_VALID = Template(
    "guard_seconds_not_valid",
    _('the time of the guard "%(guard)s" is not valid; write seconds above 0 and up to %(limit)s'),
)
GUARD_NOT_IMPORTED = Template(
    "guard_not_imported", _("the guard %(guard)s cannot be imported: %(text)s; correct its path")
)
GUARD_NOT_FUNCTION = Template(
    "guard_not_function", _("the guard %(guard)s is not a function; correct its path")
)
