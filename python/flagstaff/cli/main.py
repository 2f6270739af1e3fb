"""The list of all verbs, and how the command runs one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import chain
from typing import Final

from django.db import connections

from flagstaff._connection.vendor import is_postgresql
from flagstaff.changes.preview import previewed, rolled_back
from flagstaff.cli.support.action_verbs import action_verbs
from flagstaff.cli.support.change_arguments import attributed_to_actor
from flagstaff.cli.support.errors import exit_statuses
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb, print_help
from flagstaff.cli.support.wait import check_wait
from flagstaff.cli.verbs import (
    evaluation,
    flag_list,
    history,
    jobs,
    privacy,
    references,
    segments,
    serialization,
    stale,
    triggers,
    undo,
    usage,
    values,
    workers,
)
from flagstaff.conf import conf
from flagstaff.extensions import Hook
from flagstaff.history.kinds import Kind

#: In the order of the help, without those of flags, values, segments and optional apps.
VERBS: Final[tuple[Verb, ...]] = (
    history.HISTORY,
    undo.UNDO,
    undo.RESTORE,
    evaluation.EXPLAIN,
    workers.WORKERS,
    workers.STATUS,
    serialization.EXPORT,
    serialization.IMPORT,
    jobs.RUN_JOBS,
    usage.USAGE,
    stale.STALE,
    references.REFERENCES,
    privacy.FORGET_USER,
    triggers.INSTALL_TRIGGERS,
)
VERBS_OF_APPS: Final[Hook[Sequence[Verb]]] = Hook("verbs")


def own_verbs() -> tuple[Verb, ...]:
    """Returns the verbs of the core, and those of all actions, by topic."""
    flags = (flag_list.LIST, flag_list.SHOW, *action_verbs(Kind.FLAG))
    return _by_topic((*flags, *VERBS, values.group(), segments.group()))


def all_verbs() -> tuple[Verb, ...]:
    """Returns all verbs, also of the optional apps that are installed, by topic."""
    return _by_topic((*own_verbs(), *chain.from_iterable(VERBS_OF_APPS)))


def _by_topic(verbs: Sequence[Verb]) -> tuple[Verb, ...]:
    order = list(Topic)
    return tuple(sorted(verbs, key=lambda verb: order.index(verb.topic)))


def run(options: Options, out: Output) -> None:
    """Runs the verb. Raises CommandError with the exit status of the error."""
    if options["verb"] is None:
        print_help(options, out)
    with exit_statuses(), attributed_to_actor(options, out):
        check_wait(options)
        name, own = options["verb"], {verb.name: verb for verb in own_verbs()}
        of_apps = {verb.name: verb for verb in chain.from_iterable(VERBS_OF_APPS)}
        with _dry_run(out, in_memory=name in own):
            (own | of_apps)[name].run(options, out)


@contextmanager
def _dry_run(out: Output, *, in_memory: bool) -> Iterator[None]:
    """Lets the block write nothing, if it is a dry run.

    Verbs of the core compute changes in memory. Those of apps write, and are rolled back after what
    a commit would check.
    """
    if not out.is_dry_run:
        yield
        return
    with rolled_back(), previewed() if in_memory else nullcontext():
        yield
        if is_postgresql(connections[conf.database]):
            connections[conf.database].check_constraints()
    out.message("dry run: nothing was written")
