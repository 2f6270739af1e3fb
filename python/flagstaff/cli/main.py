"""The list of all verbs, and how the command runs one: who does it, a dry run, and the workers."""

from __future__ import annotations

import getpass
import os
import platform
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Final

from django.core.management.base import CommandError
from django.db import transaction
from django.utils.module_loading import import_string

from flagstaff._attribution import attributed, attribution
from flagstaff._tables.attributes import ObjectReader
from flagstaff._tables.database import db
from flagstaff._tables.rows import Kind
from flagstaff._tables.user_lookup import actor_table
from flagstaff._text.rules import naming
from flagstaff._workers.status import propagation_messages
from flagstaff._workers.wait import forbid_transaction, wait_for_workers
from flagstaff.actions import Done, all_actions
from flagstaff.changes.fields import quoted_command
from flagstaff.cli.action_verbs import verb_of
from flagstaff.cli.errors import FAILED, UNCONFIRMED, UNVERIFIABLE, USAGE, exit_statuses
from flagstaff.cli.options import DEFAULT_WAIT
from flagstaff.cli.output import Output
from flagstaff.cli.receipt import COMMITTED
from flagstaff.cli.verb import Options, Verb
from flagstaff.conf import conf
from flagstaff.exceptions import PropagationError
from flagstaff.extensions import Hook

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
    "diff": "files.diff",
    "declare": "declare.declare",
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
# Characters of the name of a system user, and of a host, in the history.
_MAX_NAME = 100


class Verbs(Mapping[str, Verb]):
    """All verbs by name, also of the optional apps that are installed.

    Each is imported when it is needed: an incident must not wait for the code of all others.
    """

    def __getitem__(self, name: str) -> Verb:
        if name in _OWN:
            own_verb: Verb = import_string(f"flagstaff.cli.verbs.{_OWN[name]}")
            return own_verb
        # Lazily: an action of the core needs no code of apps.
        actions = (verb_of(action) for action in all_actions(Kind.FLAG))
        for verb in chain(actions, chain.from_iterable(VERBS_OF_APPS)):
            if verb.name == name:
                return verb
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        actions = (action.name for action in all_actions(Kind.FLAG))
        others = (name for name in _OWN if name not in _FIRST)
        of_apps = (verb.name for verb in chain.from_iterable(VERBS_OF_APPS))
        return chain(_FIRST, actions, others, of_apps)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def run(options: Options, out: Output) -> None:
    """Runs the verb. Raises CommandError with the exit status of the error."""
    with exit_statuses(), _attributed(options, out), naming(ObjectReader().names):
        # Before the change: inside a transaction, a wait is an error.
        waits = _waits(options, out)
        with _dry_run(out):
            done = Verbs()[options["verb"]].run(options, out)
            if done is not None:
                _finish(done, options, out, waits=waits)


@contextmanager
def _dry_run(out: Output) -> Iterator[None]:
    """Rolls back what the block writes, if it is a dry run, after what a commit would check.

    Changes of flags, values and segments are computed in memory.
    """
    if not out.is_dry_run:
        yield
        return
    with db.atomic():
        yield
        if db.is_postgresql:
            db.connection.check_constraints()
        transaction.set_rollback(True, using=db.alias)
    out.message("dry run: nothing was written")


@contextmanager
def _attributed(options: Options, out: Output) -> Iterator[None]:
    """Attributes the changes in the block to --as and --reason, if the verb has these options.

    Without an actor, the source of the changes contains the system user and the host. Queries
    users.
    """
    if "actor" not in options:
        yield
        return
    needs = options.get("needs_reason")
    # A wrong setting does not stop a kill, either.
    if not out.is_dry_run and (needs is None or needs(options, out)):
        _require_author(options)
    actor, source = _actor(options["actor"], options["actor_name"]), "command"
    if actor is None:
        source = f"command ({_system_user()}@{_shortened(platform.node())})"
    claim = attribution(actor, source=source, reason=options["reason"])
    with attributed(lambda: claim):
        yield


def _require_author(options: Options) -> None:
    """Raises CommandError without the reason or the actor that a setting requires."""
    problem = ""
    if conf.require_reason and not options["reason"].strip():
        problem = "a reason is required by the setting REQUIRE_REASON: pass --reason TEXT"
    elif conf.require_actor and options["actor"] is None and options["actor_name"] is None:
        problem = (
            "an actor is required by the setting REQUIRE_ACTOR: pass --as USER, or --as-name NAME"
        )
    if problem:
        raise CommandError(problem, returncode=USAGE)


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


def _system_user() -> str:
    """Returns the user of the operating system, who may have become root with sudo."""
    try:
        return _shortened(os.environ.get("SUDO_USER") or getpass.getuser())
    except (ImportError, KeyError, OSError):  # which of them depends on Python
        # As in a container whose user has no name.
        return str(os.getuid()) if hasattr(os, "getuid") else ""


def _shortened(name: str) -> str:
    # Not UTF-8 in every environment. A name that cannot be stored must not stop a change.
    return os.fsencode(name).decode(errors="replace").replace("\0", "")[:_MAX_NAME]


# What has been written.


def _finish(done: Done, options: Options, out: Output, *, waits: bool) -> None:
    """Prints what a verb has written, and the command that undoes it, and waits for the workers.

    Blocks up to the seconds of --wait. Raises CommandError if not every worker has confirmed the
    change, or the present state.
    """
    out.messages([*done.notes, *done.messages])
    document, problem, undo = {"undo": None, **done.record}, done.problem, done.undo
    if out.is_dry_run:
        # There is nothing to undo.
        document |= {name: None for name in COMMITTED if name in document}
        document["dry_run"] = True
    else:
        if undo and done.instead:
            # A person must not expect more of it.
            out.message(f"{done.key}: {quoted_command(*undo.arguments)} {done.instead}")
        elif undo:
            document["undo"] = undo.arguments
            out.message(f"undo: {undo.command}")
        if waits:
            document["propagation"], unconfirmed = _wait(options, out, written=done.written)
            problem = unconfirmed or problem
    if out.is_json:
        out.document(document)
    if problem:
        raise problem


def _waits(options: Options, out: Output) -> bool:
    """Whether to wait for the workers: with the options, and by default after a kill.

    Workers do not see a change before it is committed, so inside a transaction the options are an
    error, and a kill is done without a wait. Raises CommandError or PropagationError.
    """
    is_wanted = options.get("wait") is not None or options.get("expect") is not None
    if options.get("no_wait") and is_wanted:
        raise CommandError("--no-wait cannot be combined with --expect", returncode=USAGE)
    if out.is_dry_run or not (is_wanted or not options.get("no_wait", True)):
        return False
    try:
        forbid_transaction()
    except PropagationError:
        if is_wanted:
            raise
        out.message("not waiting for the workers: they see the change after the commit")
        return False
    return True


def _wait(
    options: Options, out: Output, *, written: bool
) -> tuple[dict[str, object], CommandError | None]:
    """Returns what became of a change, and the error if it is not confirmed."""
    state, target = "nothing had to be changed", "the present state"
    if written:
        state, target = "the change is committed", "it"
    timeout = None if options["wait"] == DEFAULT_WAIT else options["wait"]
    try:
        propagation = wait_for_workers(timeout, expect=options["expect"])
    except PropagationError as error:
        document: dict[str, object] = {"complete": False, "error": str(error)}
        text, status = f"the wait failed: {error}", UNVERIFIABLE
    else:
        out.messages(propagation_messages(propagation))
        document = propagation.as_dict()
        if propagation.complete:
            return document, None
        if propagation.pending or propagation.missing:
            workers = "not every worker" if propagation.applied else "no worker"
            advice = '"manage.py flags workers" shows which are behind'
            text, status = f"{workers} has confirmed {target}; {advice}", UNCONFIRMED
        else:
            why = "some do not report" if propagation.unreported else "none is registered"
            if propagation.silent_regions:
                why = "no worker reports from a region"
            text, status = f"it is not known which workers have {target}: {why}", UNVERIFIABLE
    return document, CommandError(f"{state}, but {text}", returncode=status)
