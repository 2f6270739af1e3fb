"""The list of all verbs, and how the command runs one."""

from __future__ import annotations

from typing import Final

from flagstaff._extensions import optional_apps
from flagstaff.cli.support.change_arguments import attributed_to_actor
from flagstaff.cli.support.errors import exit_statuses
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb, print_help
from flagstaff.cli.support.wait import check_wait
from flagstaff.cli.verbs import (
    allowed_users,
    evaluation,
    flags,
    history,
    impact,
    jobs,
    privacy,
    reader_role,
    segments,
    serialization,
    undo,
    usage,
    values,
    workers,
)

__all__ = ["VERBS", "all_verbs", "run"]

#: In the order of the help, without those of optional apps.
VERBS: Final[tuple[Verb, ...]] = (
    flags.KILL,
    history.HISTORY,
    history.WATCH,
    undo.UNDO,
    undo.RESTORE,
    evaluation.EXPLAIN,
    workers.WORKERS,
    workers.STATUS,
    flags.LIST,
    flags.SHOW,
    flags.ON,
    flags.OFF,
    flags.ROLLOUT,
    allowed_users.ALLOW,
    segments.SET_RULES,
    flags.CREATE,
    flags.UPDATE,
    flags.DELETE,
    evaluation.TEST,
    impact.IMPACT,
    values.VALUE,
    segments.SEGMENT,
    serialization.EXPORT,
    serialization.IMPORT,
    jobs.RUN_JOBS,
    usage.USAGE,
    usage.UNKNOWN,
    privacy.FORGET_USER,
    reader_role.READER_ROLE,
)


def all_verbs() -> tuple[Verb, ...]:
    """Returns all verbs, also of the optional apps that are installed, by topic."""
    verbs = (*VERBS, *(verb for app in optional_apps() for verb in app.verbs()))
    order = list(Topic)
    return tuple(sorted(verbs, key=lambda verb: order.index(verb.topic)))


def run(options: Options, out: Output) -> None:
    """Runs the verb. Raises CommandError with the exit status of the error."""
    if options["verb"] is None:
        print_help(options, out)
    with exit_statuses(), attributed_to_actor(options, out):
        check_wait(options)
        by_name = {verb.name: verb for verb in all_verbs()}
        by_name[options["verb"]].run(options, out)
