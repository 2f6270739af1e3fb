"""What a plan needs to start or to continue: of the database, of run-jobs and of the flag."""

from __future__ import annotations

from flagstaff._tables.database import db
from flagstaff._tables.rows import RULES, FlagRow, Kind
from flagstaff._text import Sentence, say
from flagstaff._text.rules import can_grant
from flagstaff.changes.fields import count_allowed_users, quoted_command
from flagstaff.exceptions import NoHistoryError, PlanError
from flagstaff.history.log import require_history, require_triggers
from flagstaff.rollouts.models import GUARDED_FOR, DriverRun
from flagstaff.rollouts.steps_and_guards import Step
from flagstaff.validators import rule_problem


def require(key: str, *problems: str | None) -> None:
    """Raises PlanError with the first of these problems, if there is one."""
    for problem in problems:
        if problem:
            raise PlanError("the rollout plan of {key} cannot run: {why}", key=key, why=problem)


def problem_of_database() -> str | None:
    """Returns why plans are not possible in the flags' database, or None. Queries the catalog."""
    if not db.is_postgresql:
        return say(
            "a plan needs PostgreSQL and the history, and database {database} is {value}; change "
            "the rollout by hand",
            database=repr(db.alias),
            value=db.connection.display_name,
        )
    try:
        require_history()
        require_triggers(Kind.FLAG)
    except NoHistoryError as error:
        return error.message
    return None


def problem_of_driver() -> str | None:
    """Returns that no driver runs, or None. Makes a query."""
    if DriverRun.is_recent():
        return None
    minutes = int(GUARDED_FOR.total_seconds() // 60)
    command = quoted_command("run-jobs", "--loop")
    return say(
        "run-jobs has not run in the last {minutes} minutes, so no guard would watch it; start "
        "{command} and try again",
        minutes=minutes,
        command=command,
    )


def problem_of_flag(flag: FlagRow, *, enable: bool = False) -> str | None:
    """Returns that the flag is disabled, and the start does not `enable` it; or None."""
    if flag.enabled or enable:
        return None
    command = quoted_command("on", flag.key)
    return say(
        "the flag is off; turn it on with {command}, or let the start of a plan turn it on: "
        "pass enable=True, or --enable to the command",
        command=command,
    )


def problem_of_first_step(flag: FlagRow, first: Step, *, is_created: bool) -> str | None:
    """Returns that the first step would lower the rollout, or None.

    The steps of a plan that `is_created` cannot change.
    """
    now = present_rollout(flag)
    if first.percent >= now:
        return None
    text = say(
        "the first step is {percent} %, and {key} is at {now} % already; begin with {now} % or more"
    )
    if is_created:
        text = say(
            "the first step is {percent} %, and {key} is at {now} % already; delete this plan, and "
            "plan one that begins with {now} % or more"
        )
    return say(text, percent=first.percent, key=flag.key, now=now)


def present_rollout(flag: FlagRow) -> int:
    """Returns the rollout of a flag, which is 0 % while it is disabled."""
    return flag.rollout_percent if flag.enabled else 0


def fields_of_start(flag: FlagRow, *, enable: bool, delete_rules: bool) -> dict[str, object]:
    """Returns what a start writes to a flag beside the rollout: on, and which rules stay."""
    fields: dict[str, object] = {"enabled": True} if enable and not flag.enabled else {}
    if delete_rules and own_bucket_rules(flag):
        deleted = own_bucket_rules(flag)
        fields[RULES] = [rule for rule in flag.rules if rule not in deleted]
    return fields


def own_bucket_rules(flag: FlagRow) -> list[object]:
    """Returns the rules that select by the bucket of the flag itself, as a first small rollout.

    Their users have the flag by a rule, so a plan does not compare them.
    """
    if rule_problem(flag.rules) is not None:
        return []
    return [
        rule
        for rule in flag.rules
        if any(condition.get("bucket") == flag.key for condition in rule["conditions"])
    ]


def enabling_message(flag: FlagRow) -> Sentence:
    """Returns that the flag is turned on, and who gets it besides the first step. One query."""
    if count_allowed_users(flag) or can_grant(flag.rules):
        return say(
            "the flag is turned on, so its allowed users and the users of its rules have it, too"
        )
    return say("the flag is turned on")
