"""What happens to plans, and what their measurements mean, as messages."""

from __future__ import annotations

from flagstaff._words.message import Template
from flagstaff._words.message import marked as _

# Parts of other messages.

STEP = Template("plan_step_for", _("%(percent)s %% for %(time)s"))
STEP_AT_ONCE = Template("plan_step_at_once", _("%(percent)s %%"))
ERRORS = Template("guard_errors", _("errors"))
LATENCY = Template("guard_latency", _("latency over %(seconds)s"))

# What happened.

CREATED = Template("plan_created", _("created with the steps %(steps)s"))
SCHEDULED = Template("plan_scheduled", _("starts at %(time)s"))
STARTED = Template("plan_started", _("started: rollout %(old)s → %(new)s %%"))
STARTED_BY_USER = Template(
    "plan_started_by_user",
    _("started: rollout %(old)s → %(new)s %%; scheduled by user %(user)s"),
)
STARTED_BY = Template(
    "plan_started_by", _("started: rollout %(old)s → %(new)s %%; scheduled by %(actor)s")
)
TURNED_ON = Template("plan_turned_on", _("the flag is turned on"))
TURNED_ON_FOR_ALLOWED = Template(
    "plan_turned_on_for_allowed_users",
    _("the flag is turned on, so its allowed users have it, too"),
)
TURNED_ON_FOR_RULES = Template(
    "plan_turned_on_for_rules",
    _("the flag is turned on, so the users of its rules have it, too"),
)
TURNED_ON_FOR_BOTH = Template(
    "plan_turned_on_for_both",
    _("the flag is turned on, so its allowed users and the users of its rules have it, too"),
)
SCHEDULED_AND_TURNED_ON = Template(
    "plan_scheduled_and_turned_on", _("starts at %(time)s; then %(what)s")
)
NOT_STARTED = Template("plan_not_started", _("not started, %(why)s"))
HELD = Template("plan_held", _("holds: %(why)s"))
CONTINUED = Template("plan_continued", _("continues; it held because: %(why)s"))
NEXT_STEP = Template(
    "plan_step", _("step %(number)s of %(count)s: rollout %(old)s → %(new)s %%; %(why)s")
)
MEASURED_AGAIN = Template(
    "plan_step_again",
    _("step %(number)s starts again: %(why)s, so the counts were incomplete"),
)
RESUMED = Template(
    "plan_resumed",
    _("resumed at step %(number)s: rollout %(old)s → %(new)s %%; measuring starts again"),
)
RESUMED_AT_FIRST = Template(
    "plan_resumed_at_first_step",
    _("resumed at the first step again: rollout %(old)s → %(new)s %%; measuring starts again"),
)
JUMPED = Template(
    "plan_jumped",
    _("jumped to step %(number)s: rollout %(old)s → %(new)s %%; measuring starts again"),
)
EDITED = Template("plan_edited", _("edited: %(changes)s"), separator="; ")
EDITED_STEPS = Template("plan_edited_steps", _("steps %(old)s → %(new)s"))
EDITED_GUARD = Template("plan_edited_guard", _("guard %(old)s → %(new)s"))
ADDED_GUARD = Template("plan_added_guard", _("guard %(guard)s added"))
REMOVED_GUARD = Template("plan_removed_guard", _("guard %(guard)s removed"))
EDITED_USERS = Template("plan_edited_required_users", _("required users %(old)s → %(new)s"))
EDITED_START = Template("plan_edited_start", _("start %(old)s → %(new)s"))
NO_START = Template("plan_start_by_hand", _("by hand"))
STARTS_AGAIN = Template(
    "plan_edit_starts_step_again",
    _("step %(number)s starts again, with new counts and its whole time"),
)
MEASURES_AGAIN = Template("plan_edit_measures_again", _("measuring before the start begins again"))
DISMISSED = Template("plan_dismissed", _("dismissed while the plan is %(state)s"))
PAUSED = Template("plan_paused", _("paused"))
PAUSED_WHY = Template("plan_paused_why", _("paused: %(why)s"))
DONE = Template("plan_done", _("done; %(why)s"))
ROLLED_BACK = Template("plan_rolled_back", _("rolled back: %(what)s"))
ROLLED_BACK_WHY = Template("plan_rolled_back_why", _("rolled back: %(what)s; reason: %(reason)s"))
AT_ZERO = Template("plan_at_zero", _("rollout 0 %%"))
AT_ZERO_AND_DISABLED = Template(
    "plan_at_zero_and_disabled",
    _("rollout 0 %%, and the flag was disabled, because a rule can grant it"),
)
WITHOUT_FLAG = Template(
    "plan_without_flag", _("the flag %(key)s no longer exists, so no rollout was changed")
)

FLAG_AND_PLAN = Template(
    "plan_flag_differs", _("flag is at %(rollout)s %%, plan %(state)s at %(percent)s %%")
)
DISABLED_AND_PLAN = Template("plan_flag_is_off", _("flag is off, plan %(state)s at %(percent)s %%"))

# Trips.

TRIPPED = Template("plan_tripped", _("rolled back: %(why)s"))
TRIP_STORED = Template("plan_trip_stored", _("run-jobs will roll it back: %(why)s"))
PAUSED_WITH_TRIP = Template(
    "plan_paused_with_trip",
    _("%(text)s; run-jobs will roll it back: %(why)s"),
)
TRIP_NOT_CARRIED_OUT = Template(
    "plan_trip_not_carried_out",
    _("%(what)s; so it was not rolled back, although harm was found: %(why)s"),
)
REASON_NOT_STORED = Template("guard_reason_not_stored", _("a guard whose reason cannot be stored"))

# Whether the workers have applied a trip.

WORKERS_UNKNOWN = Template("plan_workers_unknown", _("the workers cannot be listed: %(why)s"))
TRIP_APPLIED = Template("plan_trip_applied", "%(sentences)s", separator=" ")

# What somebody else did to the flag.

FLAG_RENAMED = Template("plan_flag_renamed", _("the flag was renamed to %(key)s"))
FLAG_DELETED = Template("plan_flag_deleted", _("the flag was deleted"))
HISTORY_CHANGED = Template("plan_history_changed", _("the history of the flag was changed"))
FLAG_CHANGED_OFTEN = Template(
    "plan_flag_changed_often", _("the flag was changed more than %(limit)s times")
)
FLAG_CHANGED = Template(
    "plan_flag_changed",
    _("the flag was changed, and the history does not say by whom: %(change)s"),
)
FLAG_CHANGED_BY = Template("plan_flag_changed_by", _("%(actor)s changed the flag: %(change)s"))
FLAG_CHANGED_AGAIN = Template("plan_flag_changed_again", _("%(first)s; %(then)s"))

# Verdicts.

BRAKE = Template(
    "brake_tripped",
    _("%(inside)s of %(users_inside)s users with the flag failed, none of %(users)s without it"),
)
FAILED = Template(
    "guard_tripped",
    _(
        "%(guard)s: %(inside)s of %(users_inside)s users with the flag failed, %(outside)s of "
        "%(users_outside)s without it"
    ),
)
FAILED_TIMES = Template(
    "guard_tripped_times",
    _(
        "%(guard)s: %(inside)s of %(users_inside)s users with the flag failed, %(outside)s of "
        "%(users_outside)s without it; %(ratio)s times as often"
    ),
)
SLOWER = Template(
    "latency_tripped",
    _(
        "%(guard)s: %(inside)s of %(users_inside)s users with the flag were slower, %(outside)s of "
        "%(users_outside)s without it"
    ),
)
SLOWER_TIMES = Template(
    "latency_tripped_times",
    _(
        "%(guard)s: %(inside)s of %(users_inside)s users with the flag were slower, %(outside)s of "
        "%(users_outside)s without it; %(ratio)s times as often"
    ),
)
NEW_VISITORS = Template(
    "trip_with_new_visitors",
    _(
        "%(what)s; %(new)s of %(visitors)s failing visitors with the flag have a cookie that "
        "is younger than the step"
    ),
)
WAITS_FOR_DATA = Template("waits_for_data", _("waits for data: %(what)s"))
NO_USER_INSIDE = Template("no_user_inside", _("no user with the flag has been seen yet"))
NO_USER_OUTSIDE = Template("no_user_outside", _("no user without the flag has been seen yet"))
NO_REQUEST_INSIDE = Template(
    "no_request_inside", _("no request or task of a user with the flag has ended yet")
)
NO_REQUEST_OUTSIDE = Template(
    "no_request_outside", _("no request or task of a user without the flag has ended yet")
)
WORKER_LOST = Template(
    "worker_lost",
    _("a worker stopped without its last report; after ten minutes the step starts again"),
)
WORKERS_LOST = Template(
    "workers_lost",
    _(
        "%(count)s workers stopped without their last reports; after ten minutes the step starts "
        "again"
    ),
)
FAILURE_DROPPED = Template(
    "failure_dropped",
    _(
        "workers had no memory left for a failure; the step starts again when its dwell time has "
        "ended"
    ),
)
FAILURES_DROPPED = Template(
    "failures_dropped",
    _(
        "workers had no memory left for %(count)s failures; the step starts again when its dwell "
        "time has ended"
    ),
)
USERS_LEFT_OUT = Template(
    "users_left_out",
    _(
        "%(left_out)s of %(users)s users were left out, because others of their networks came "
        "first; check CLIENT_ADDRESS, or jump to the next step"
    ),
)
FAILING_USERS_LEFT_OUT = Template(
    "failing_users_left_out",
    _(
        "%(left_out)s of %(users)s failing users were left out, because others of their networks "
        "came first; check CLIENT_ADDRESS, or jump to the next step"
    ),
)
SIGNS_OF_HARM = Template(
    "signs_of_harm",
    _(
        "signs of harm, not certain yet: %(guard)s, %(inside)s of %(users_inside)s users "
        "with the flag, %(outside)s of %(users_outside)s without it; find the cause, or jump to "
        "the next step"
    ),
)
WAITS_FOR_USERS = Template(
    "waits_for_users",
    _(
        "waits for users: %(seen)s of %(required)s users with the flag seen, %(guard)s may be "
        "up to %(ratio)s times as often"
    ),
)
WAITS_FOR_FAILURES = Template(
    "waits_for_failures",
    _(
        "waits for users: %(seen)s of %(required)s users with the flag seen, too few failures "
        "to compare %(guard)s"
    ),
)
FINE = Template(
    "guards_fine",
    _("fine after %(users)s users with the flag: %(guard)s at most %(ratio)s times as often"),
)
FINE_BY_USERS = Template(
    "guards_fine_by_users",
    _(
        "fine after %(users)s users with the flag: %(guard)s would have tripped at %(ratio)s times "
        "as often"
    ),
)
FINE_WITHOUT_FAILURES = Template(
    "guards_fine_without_failures",
    _("fine after %(users)s users with the flag: %(guard)s with too few failures to compare"),
)
FINE_WITHOUT_GUARDS = Template(
    "fine_without_guards",
    _("fine after %(users)s users with the flag: no guard compares errors"),
)
AT_ALL = Template("step_compares_nothing", _("at 100 %% only function guards watch the step"))
INCOMPLETE_BY_LOSS = Template("evidence_lost_worker", _("a worker stopped without its last report"))
INCOMPLETE_BY_MEMORY = Template(
    "evidence_no_memory", _("workers had no memory left for all counts")
)

# Guards that are functions of the project.

GUARD_LATE = Template(
    "guard_late", _("%(path)s did not return within %(seconds)s s; make it faster")
)
GUARD_RAISED = Template("guard_raised", _("%(path)s raised %(type)s; repair it"))
GUARD_FALSE = Template("guard_returned_false", _("%(path)s returned False"))
GUARD_TEXT = Template("guard_returned_text", _("%(path)s: %(returned)s"))
GUARD_TYPE = Template(
    "guard_returned_type", _("%(path)s returned %(type)s; return True, False or a text")
)
