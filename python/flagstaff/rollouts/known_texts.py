"""The texts of plans in the language of a page: events, verdicts and refused changes.

Events are stored in English, because their readers have different languages.
"""

from __future__ import annotations

import re
from typing import Final

from django.utils.translation import gettext

from flagstaff._words.known_texts import KnownTexts
from flagstaff._words.known_texts import message as _
from flagstaff.changes.known_texts import REFUSALS

_UNTRANSLATED: Final = (
    *("key", "command", "text", "value", "path", "type", "database", "table", "reason", "steps"),
    *("option", "percent", "time", "expected", "actor", "change"),
)
_UNITS: Final = {
    "d": _("%(count)s d"),
    "h": _("%(count)s h"),
    "min": _("%(count)s min"),
    "s": _("%(count)s s"),
}
_TIME: Final = re.compile(r"([0-9]+) (d|h|min|s)")
_NAMES: Final = KnownTexts([_("latency over %(seconds)s s"), _("errors")])

_STATES: Final = [
    *(_("pending"), _("running"), _("holding"), _("paused"), _("done"), _("rolled back"))
]


def _duration(text: str) -> str:
    """A duration such as "1 d 12 h"."""
    return _TIME.sub(lambda found: gettext(_UNITS[found[2]]) % {"count": found[1]}, text)


_STEP: Final = KnownTexts([_("%(percent)s %% for %(time)s")], parts={"time": _duration})

_VERDICTS: Final = [
    _(
        "%(what)s; %(new)s of %(visitors)s failing visitors inside have a cookie that is younger "
        "than the step"
    ),
    _(
        "%(guard)s: %(inside)s of %(users_inside)s users inside were slower, %(outside)s of "
        "%(users_outside)s outside; %(ratio)s times as often"
    ),
    _(
        "%(guard)s: %(inside)s of %(users_inside)s users inside were slower, %(outside)s of "
        "%(users_outside)s outside"
    ),
    _(
        "%(guard)s: %(inside)s of %(users_inside)s users inside failed, %(outside)s of "
        "%(users_outside)s outside; %(ratio)s times as often"
    ),
    _("brake: %(inside)s of %(users_inside)s users inside failed, none of %(users)s outside"),
    _(
        "%(guard)s: %(inside)s of %(users_inside)s users inside failed, %(outside)s of "
        "%(users_outside)s outside"
    ),
    _("waits for data: %(what)s"),
    _(
        "signs of harm, too few for a trip: %(guard)s, %(inside)s of %(users_inside)s users "
        "inside, %(outside)s of %(users_outside)s outside; find the cause, or jump to the next step"
    ),
    _(
        "waits for users: %(seen)s of %(required)s users inside seen, too few failures to compare "
        "%(guard)s"
    ),
    _(
        "waits for users: %(seen)s of %(required)s users inside seen, %(guard)s may be up to "
        "%(ratio)s times as often"
    ),
    _("fine after %(users)s users inside: only the brake compares errors"),
    _("fine after %(users)s users inside: %(guard)s at most %(ratio)s times as often"),
    _("fine after %(users)s users inside: %(guard)s with too few failures to compare"),
    _(
        "fine after %(users)s users inside: %(guard)s would have tripped at %(ratio)s times as "
        "often"
    ),
    _("no user inside has been seen yet"),
    _("no user outside has been seen yet"),
    _("no request or task of a user inside has ended yet"),
    _("no request or task of a user outside has ended yet"),
    _(
        "a worker stopped without its last report; after ten minutes the step begins anew",
    ),
    _(
        "%(count)s workers stopped without their last reports; after ten minutes the step begins "
        "anew"
    ),
    _(
        "workers had no memory left for a failure; the step begins anew at the end of its time",
    ),
    _(
        "workers had no memory left for %(count)s failures; the step begins anew at the end of its "
        "time"
    ),
    _(
        "%(left_out)s of %(users)s users were left out, because others of their networks came "
        "first; check CLIENT_ADDRESS, or jump to the next step"
    ),
    _(
        "%(left_out)s of %(users)s failing users were left out, because others of their networks "
        "came first; check CLIENT_ADDRESS, or jump to the next step"
    ),
    _("at 100 %% only callable guards watch the step"),
    _("%(path)s did not return within %(seconds)s s; make it faster"),
    _("%(path)s raised %(type)s; repair it"),
    _("%(path)s returned False"),
    _("%(path)s returned %(type)s; return True, False or a text"),
]

_EVENTS: Final = [
    _("started: rollout %(old)s → %(new)s %%; scheduled by user %(actor)s"),
    _("started: rollout %(old)s → %(new)s %%; scheduled by %(actor)s"),
    _("started: rollout %(old)s → %(new)s %%"),
    _("created with the steps %(steps)s"),
    _("starts at %(time)s"),
    _("rolled back by a person"),
    _("rolled back by %(why)s"),
    _("holds: %(why)s"),
    _("continues; it held because: %(why)s"),
    _("step %(number)s of %(count)s: rollout %(old)s → %(new)s %%; %(why)s"),
    _("step %(number)s begins anew: %(why)s, so the evidence was incomplete"),
    _("a worker stopped without its last report"),
    _("workers had no memory left for all counts"),
    _("done; %(why)s"),
    _("paused: %(why)s"),
    _("paused"),
    _("not started, %(why)s"),
    _("%(what)s; so it was not rolled back, but it had tripped: %(why)s"),
    _("run-jobs will roll it back, because it has tripped: %(why)s"),
    _("%(text)s; run-jobs will roll it back, because it has tripped: %(why)s"),
    _("a guard whose reason cannot be stored"),
    _("the flag was renamed to %(key)s"),
    _("the flag was deleted"),
    _("the history of the flag was changed"),
    _("the flag was changed, and the history does not say by whom: %(change)s"),
    _("the flag was changed more than %(limit)s times"),
    _("%(actor)s changed the flag: %(change)s"),
    _("resumed at step %(number)s: rollout %(old)s → %(new)s %%, the evidence begins anew"),
    _(
        "resumed at the first step again: rollout %(old)s → %(new)s %%, the evidence begins anew",
    ),
    _("jumped to step %(number)s: rollout %(old)s → %(new)s %%, the evidence begins anew"),
    _("rolled back: %(what)s; reason: %(reason)s"),
    _("rolled back: %(what)s"),
    _("rollout 0 %%, and the flag was disabled, because a rule can grant it"),
    _("rollout 0 %%"),
    _("the flag %(key)s no longer exists, so no rollout was changed"),
    _("the workers cannot be listed: %(why)s"),
    _("evaluations query the database, so the trip is in effect at once"),
    _(
        "%(workers)s; workers behind a pooler are not listed; they apply the change by %(time)s "
        "if they reach the database"
    ),
    _(
        "%(workers)s; workers at another server, such as a standby, are not listed; they apply the "
        "change when their server has received it"
    ),
    _("the server lists no worker"),
    _("applied by all connected workers: %(count)s"),
    _(
        "applied by %(applied)s of %(connected)s connected workers within %(seconds)s s; "
        "%(command)s lists the others"
    ),
]

_REFUSED: Final = [
    _(
        "%(key)s has a pending plan already; start it without new options, or delete it first: "
        "%(command)s"
    ),
    _("the plan of %(key)s has no step of %(percent)s %%; choose one of %(steps)s"),
    _("the flag %(key)s has no rollout plan; start one: %(command)s"),
    _(
        "the number of required users is %(value)s; write a whole number from 1 to %(limit)s",
    ),
    _(
        "%(key)s has a rollout plan already, which is %(state)s; pause it and delete it before you "
        "create another: %(command)s"
    ),
    _(
        "%(key)s has a rollout plan already, which is %(state)s; delete it before you create "
        "another: %(command)s"
    ),
    _("the rollout plan of %(key)s is %(state)s and cannot be started; possible next: %(command)s"),
    _("the rollout plan of %(key)s is %(state)s and cannot be paused; possible next: %(command)s"),
    _("the rollout plan of %(key)s is %(state)s and cannot be resumed; possible next: %(command)s"),
    _("the rollout plan of %(key)s is %(state)s and cannot jump; possible next: %(command)s"),
    _(
        "the rollout plan of %(key)s is %(state)s and cannot be rolled back; possible next: "
        "%(command)s"
    ),
    _("the rollout plan of %(key)s is %(state)s and cannot be deleted; possible next: %(command)s"),
    _(
        "the rollout plan of %(key)s cannot jump, because %(why)s; pause and resume it first: "
        "%(command)s"
    ),
    _("%(key)s has a newer rollout plan; see it: %(command)s"),
    _("%(key)s is at 100 %% already, so a plan has no steps; lower its rollout first"),
    _(
        "the first step is %(percent)s %%, and %(key)s is at %(now)s %% already; begin with a "
        "higher step"
    ),
    _("the plan cannot start in the year %(year)s; write an earlier time"),
    _(
        "the flag %(key)s was deleted and created again after its plan; delete the plan: "
        "%(command)s"
    ),
    _("%(text)s is not a step; write a percentage and a time in s, m, h, d or w, such as %(step)s"),
    _('the plan has no steps; add one such as "5:1h"'),
    _(
        "step %(percent)s %% follows %(before)s %%; each step must be higher than the one before",
    ),
    _("the steps that the plan has stored cannot be read; create the plan again"),
    _("the plan is at step %(step)s of %(steps)s; create the plan again"),
    _("the plan has the unknown state %(value)s; delete the plan"),
    _("the percentage %(value)s is not a whole number from 1 to 100"),
    _("the time of step %(percent)s %% must be at most 365 d"),
    _("step %(percent)s %% has no time; write for example %(step)s"),
    _("%(text)s is not a guard; %(expected)s"),
    _("the guard %(guard)s is there twice; remove one"),
    _("the guards that the plan has stored cannot be read; create the plan again"),
    _(
        "%(option)s of %(text)s is not an option of a guard; write limit=2, tolerated=1 or "
        "action=hold"
    ),
    _("%(value)s of %(text)s is not a number; write a number such as 1.5"),
    _(
        'the action of the guard %(guard)s is neither "rollback" nor "hold"; choose one',
    ),
    _(
        "the option tolerated of the guard %(guard)s is not valid; write a number of at least 1 "
        "and below %(limit)s"
    ),
    _(
        "the option limit of the guard %(guard)s is not valid; write a number above tolerated, "
        "which is %(least)s"
    ),
    _("the time of the guard %(guard)s is not valid; write seconds above 0 and up to %(limit)s"),
    _("the guard %(guard)s cannot be imported: %(text)s; correct its path"),
    _("the guard %(guard)s is not a function; correct its path"),
    _("the rollout plan of %(key)s cannot run: %(why)s"),
    _(
        "a plan needs PostgreSQL and the history, and database %(database)s is %(value)s; change "
        "the rollout by hand"
    ),
    _(
        "the workers evaluate with database %(database)s, which may not write what they count to "
        "%(table)s; use a database and a role that may write it"
    ),
    _(
        "run-jobs has not run in the last %(minutes)s minutes, so no guard would watch it; start "
        "%(command)s and try again"
    ),
    _("the flag is disabled; enable it with %(command)s"),
    _("the user who scheduled it no longer exists; start it yourself"),
    _("run-jobs cannot read the user who scheduled it; start it yourself"),
    _(
        "user %(actor)s, who scheduled it, no longer has the permission to change or toggle the "
        "flag; start it yourself"
    ),
]

#: All texts of plans, and those of the changes that a plan makes.
PLAN_TEXTS: Final = KnownTexts(
    # The first message that matches is used: "%(guard)s: …" also matches events with a verdict.
    [*_EVENTS, *_VERDICTS, *_REFUSED],
    parts={
        "guard": _NAMES.translate,
        "state": _STATES,
        "steps": lambda text: ", ".join(map(_STEP.translate, text.split(", "))),
    },
    untranslated=_UNTRANSLATED,
    others=(REFUSALS,),
)
