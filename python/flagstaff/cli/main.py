"""The list of all verbs, and how the command runs one: who does it, and what a dry run is."""

from __future__ import annotations

import getpass
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import chain
from typing import Final

from django.core.management.base import CommandError
from django.db import connections

from flagstaff._attribution.context import attributed, attribution
from flagstaff._connection.vendor import is_postgresql
from flagstaff._tables.user_lookup import actor_table
from flagstaff.changes.preview import previewed, rolled_back
from flagstaff.cli.action_verbs import action_verbs
from flagstaff.cli.errors import FAILED, USAGE, exit_statuses
from flagstaff.cli.output import Output
from flagstaff.cli.verb import Options, Topic, Verb, print_help
from flagstaff.cli.verbs import cleanup, evaluation, files, flags, history, jobs, values, workers
from flagstaff.cli.wait import check_wait
from flagstaff.conf import conf
from flagstaff.extensions import Hook
from flagstaff.history.kinds import Kind

#: In the order of the help, without those of flags, values, segments and optional apps.
VERBS: Final[tuple[Verb, ...]] = (
    history.history,
    history.undo_since,
    history.undo_transaction,
    evaluation.explain,
    workers.workers,
    workers.status,
    files.export,
    files.import_,
    jobs.run_jobs,
    cleanup.usage,
    cleanup.stale,
    cleanup.references,
    history.forget_user,
    workers.install_triggers,
)
VERBS_OF_APPS: Final[Hook[Sequence[Verb]]] = Hook("verbs")
# Characters of the name of a shell user, in the history.
_MAX_SHELL_USER = 100


def own_verbs() -> tuple[Verb, ...]:
    """Returns the verbs of the core, and those of all actions, by topic."""
    of_flags = (flags.list_, flags.show, *action_verbs(Kind.FLAG))
    return _by_topic((*of_flags, *VERBS, *values.groups()))


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
    with exit_statuses(), _attributed(options, out):
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


@contextmanager
def _attributed(options: Options, out: Output) -> Iterator[None]:
    """Attributes the changes in the block to --as and --reason, if the verb has these options.

    Without an actor, the source of changes from a terminal contains the user of the shell. Queries
    users.
    """
    if "actor" not in options:
        yield
        return
    # `import` has a --dry-run of its own.
    is_dry_run = out.is_dry_run or options.get("only_plan", False)
    needs_reason = options["needs_reason"] and not is_dry_run
    if conf.require_reason and needs_reason and not options["reason"].strip():
        raise CommandError(
            "a reason is required by the setting REQUIRE_REASON: pass --reason TEXT",
            returncode=USAGE,
        )
    actor, source = _actor(options["actor"], options["actor_name"]), "command"
    if actor is None and out.is_interactive and (shell_user := _shell_user()):
        source = f"command ({shell_user})"
    claim = attribution(actor, source=source, reason=options["reason"])
    with attributed(lambda: claim):
        yield


def _actor(user: str | None, name: str | None) -> str | None:
    """Returns the primary key of the user, or else the name. Raises CommandError. Queries users."""
    table, problem = actor_table(), ""
    if "" in (user, name):
        problem = "the actor is empty: pass a user to --as, or a name to --as-name"
    elif name is not None and table.names([name]):
        # The history would show the user.
        problem = f"{name!r} is the primary key of a user; pass --as, or use another name"
    elif user is not None:
        pk = table.find_many([user]).get(user)
        if pk is not None:
            return str(pk)
        _, shared = table.by_username([user])
        problem = (
            f"several users have the username {user!r}; pass a primary key"
            if shared
            else f"no user has the primary key or username {user!r}; to record a name that is not "
            f"a user, pass --as-name {shlex.quote(user)}{table.guess(user)}"
        )
    if problem:
        raise CommandError(problem, returncode=FAILED)
    return name


def _shell_user() -> str | None:
    """Returns the user of the operating system, who may have become root with sudo."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (ImportError, KeyError, OSError):  # which of them depends on Python
        return None
    # Not UTF-8 in every environment. A name that cannot be stored must not stop a change.
    return os.fsencode(name).decode(errors="replace").replace("\0", "")[:_MAX_SHELL_USER]
