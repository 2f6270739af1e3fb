"""The list of all verbs, and how the command runs one: who does it, and what a dry run is."""

from __future__ import annotations

import getpass
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Final

from django.core.management.base import CommandError
from django.db import connections
from django.utils.module_loading import import_string

from flagstaff._attribution.context import attributed, attribution
from flagstaff._connection.vendor import is_postgresql
from flagstaff._tables.user_lookup import actor_table
from flagstaff.actions import all_actions
from flagstaff.changes.preview import rolled_back
from flagstaff.cli.action_verbs import verb_of
from flagstaff.cli.errors import FAILED, USAGE, exit_statuses
from flagstaff.cli.output import Output
from flagstaff.cli.receipt import check_wait, finish
from flagstaff.cli.verb import Options, Verb
from flagstaff.conf import conf
from flagstaff.extensions import Hook
from flagstaff.history.kinds import Kind

# The verbs of the core that are no actions of flags, in the order of the help: their modules.
_OWN = {
    "list": "flags.list_",
    "show": "flags.show",
    "history": "history.history",
    "undo-since": "history.undo_since",
    "undo-transaction": "history.undo_transaction",
    "explain": "evaluation.explain",
    "workers": "workers.workers",
    "status": "workers.status",
    "value": "values.value",
    "segment": "values.segment",
    "export": "files.export",
    "import": "files.import_",
    "run-jobs": "jobs.run_jobs",
    "usage": "cleanup.usage",
    "stale": "cleanup.stale",
    "references": "cleanup.references",
    "forget-user": "history.forget_user",
    "install-triggers": "workers.install_triggers",
}
# Before the actions, in the help.
_FIRST = ("list", "show")
VERBS_OF_APPS: Final[Hook[Sequence[Verb]]] = Hook("verbs")
# Characters of the name of a shell user, in the history.
_MAX_SHELL_USER = 100


class Verbs(Mapping[str, Verb]):
    """All verbs by name, also of the optional apps that are installed.

    Each is imported when it is needed: an incident must not wait for the code of all others.
    """

    def __getitem__(self, name: str) -> Verb:
        return self.own(name) or {one.name: one for one in _of_apps()}[name]

    def __iter__(self) -> Iterator[str]:
        actions = (one.name for one in all_actions(Kind.FLAG))
        others = (name for name in _OWN if name not in _FIRST)
        return chain(_FIRST, actions, others, (one.name for one in _of_apps()))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @staticmethod
    def own(name: str) -> Verb | None:
        """Returns a verb of the core, or of an action; None without one."""
        if name in _OWN:
            found: Verb = import_string(f"flagstaff.cli.verbs.{_OWN[name]}")
            return found
        # Lazily: an action of the core needs no code of apps.
        return next((verb_of(one) for one in all_actions(Kind.FLAG) if one.name == name), None)


def _of_apps() -> Iterator[Verb]:
    return chain.from_iterable(VERBS_OF_APPS)


def run(options: Options, out: Output) -> None:
    """Runs the verb. Raises CommandError with the exit status of the error."""
    with exit_statuses(), _attributed(options, out):
        check_wait(options)
        with _dry_run(out):
            verb = Verbs.own(options["verb"]) or Verbs()[options["verb"]]
            done = verb.run(options, out)
            if done is not None:
                finish(done, options, out)


@contextmanager
def _dry_run(out: Output) -> Iterator[None]:
    """Rolls back what the block writes, if it is a dry run, after what a commit would check.

    Changes of flags, values and segments are computed in memory.
    """
    if not out.is_dry_run:
        yield
        return
    with rolled_back():
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
    # A wrong setting does not stop a kill, either.
    needs_reason = options.get("needs_reason", True) and not out.is_dry_run
    if needs_reason and conf.require_reason and not options["reason"].strip():
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
