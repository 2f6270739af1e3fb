"""`--wait`: after a change, waits until all workers have applied it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from django.core.management.base import CommandError, CommandParser

from flagstaff._workers.wait import Propagation, forbid_transaction, wait_for_workers
from flagstaff._workers.words import propagation_messages
from flagstaff.cli.support.argument_types import count, seconds
from flagstaff.cli.support.errors import UNCONFIRMED, UNVERIFIABLE, USAGE
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.verb import Options
from flagstaff.exceptions import PropagationError

# --wait without a number.
_DEFAULT = -1.0
_MAX_SECONDS = 3600.0
# The start of a message, by whether something was written.
_STATE = {True: "the change is committed", False: "nothing had to be changed"}
# What a worker may not have confirmed.
_UNCONFIRMED = {True: "it", False: "the present state"}


class _Problem(NamedTuple):
    """Why the change is not confirmed."""

    text: str
    status: int


class _Waited(NamedTuple):
    """The result of a wait."""

    document: Mapping[str, object]
    #: None if the change is confirmed.
    problem: _Problem | None


def add_wait(parser: CommandParser, *, by_default: bool = False) -> None:
    """Adds --wait and --expect, and --no-wait if the verb waits by default."""
    waits = parser.add_mutually_exclusive_group() if by_default else parser
    if by_default:
        parser.set_defaults(waits=True)
        waits.add_argument("--no-wait", action="store_true", help="do not wait for the workers")
    waits.add_argument(
        "--wait",
        nargs="?",
        type=seconds(_MAX_SECONDS, hint="; write KEY before --wait, or write --wait=5"),
        const=_DEFAULT,
        metavar="SECONDS",
        help="wait until all workers have applied the change, by default up to 5 s, or for "
        "POLL_INTERVAL and a second more if that is longer",
    )
    parser.add_argument(
        "--expect",
        type=count(),
        metavar="N",
        help="wait until N workers are registered and have applied the change",
    )


def check_wait(options: Options) -> None:
    """Raises PropagationError if a wait is wanted inside a transaction. Call it before the change.

    Workers do not see a change before it is committed.
    """
    if options.get("no_wait") and options["expect"] is not None:
        raise CommandError("--no-wait cannot be combined with --expect", returncode=USAGE)
    if _is_wanted(options) and not options.get("dry_run"):
        forbid_transaction()


def finish(document: Mapping[str, object], out: Output, options: Options, *, written: bool) -> None:
    """Ends a verb that changes something: waits if wanted, and prints the document for --json.

    `written` is False if there was nothing to change. Blocks up to the seconds of --wait. Raises
    CommandError if not every worker has confirmed the change, or the present state.
    """
    if out.is_dry_run:
        if out.is_json:
            out.document({**document, **_rolled_back(document), "dry_run": True})
        return
    waited = _wait(options, out.message, written=written)
    if out.is_json:
        out.document({**document, **({"propagation": waited.document} if waited else {})})
    if waited and waited.problem:
        raise CommandError(waited.problem.text, returncode=waited.problem.status)


def _rolled_back(document: Mapping[str, object]) -> Mapping[str, object]:
    """Returns None for each member of the document that only a committed change has."""
    gone: dict[str, object] = {name: None for name in ("version", "undo") if name in document}
    changes = document.get("changes")
    if isinstance(changes, list):
        gone["changes"] = [{**change, **_rolled_back(change)} for change in changes]
    return gone


def _is_wanted(options: Options) -> bool:
    return options.get("wait") is not None or options.get("expect") is not None


def _is_default(options: Options) -> bool:
    """Whether the verb waits by default."""
    return options.get("waits", False) and not options["no_wait"]


def _wait(options: Options, message: Callable[[str], None], *, written: bool) -> _Waited | None:
    if not _is_wanted(options):
        if not _is_default(options):
            return None
        try:
            forbid_transaction()
        except PropagationError:
            message("not waiting for the workers: they see the change after the commit")
            return None
    timeout = None if options["wait"] in {None, _DEFAULT} else options["wait"]
    try:
        propagation = wait_for_workers(timeout, expect=options["expect"])
    except PropagationError as error:
        problem = f"{_STATE[written]}, but the wait failed: {error}"
        document = {"complete": False, "error": str(error)}
        return _Waited(document, _Problem(problem, UNVERIFIABLE))
    for sentence in propagation_messages(propagation):
        message(sentence)
    return _Waited(propagation.as_dict(), _problem(propagation, written=written))


def _problem(propagation: Propagation, *, written: bool) -> _Problem | None:
    if propagation.complete:
        return None
    state, it = _STATE[written], _UNCONFIRMED[written]
    if propagation.pending or propagation.missing:
        workers = "not every worker" if propagation.applied else "no worker"
        text = (
            f"{state}, but {workers} has confirmed {it}; "
            '"manage.py flags workers" shows which are behind'
        )
        return _Problem(text, UNCONFIRMED)
    why = "some do not report" if propagation.unreported else "none is registered"
    return _Problem(f"{state}, but it is not known which workers have {it}: {why}", UNVERIFIABLE)
