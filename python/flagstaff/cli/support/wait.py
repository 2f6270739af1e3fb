"""`--wait`: after a change, waits until every connected worker has applied it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from django.core.management.base import CommandError, CommandParser

from flagstaff._text.lists import join_some
from flagstaff._text.times import clock_time
from flagstaff._workers.wait import Propagation, forbid_transaction, wait_for_workers
from flagstaff.cli.support.argument_types import count, seconds
from flagstaff.cli.support.errors import UNCONFIRMED, USAGE
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.verb import Options
from flagstaff.exceptions import PropagationError

__all__ = ["add_wait", "check_wait", "finish"]

_DEFAULT_SECONDS = 5.0
_MAX_SECONDS = 3600.0
_MAX_WORKERS_SHOWN = 20
# The start of a message, by whether something was written.
_STATE = {True: "the change is committed", False: "nothing had to be changed"}
# What a worker may not have confirmed.
_UNCONFIRMED = {True: "it", False: "the present state"}


@dataclass(frozen=True)
class _Waited:
    """The result of a wait."""

    document: Mapping[str, object]
    #: Why the change is not confirmed, or None if it is.
    problem: str | None


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
        const=_DEFAULT_SECONDS,
        metavar="SECONDS",
        help="wait until every connected worker has applied the change, "
        f"by default up to {_DEFAULT_SECONDS:g} s",
    )
    parser.add_argument(
        "--expect",
        type=count(),
        metavar="N",
        help="wait until N workers are connected and have applied the change",
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
        raise CommandError(waited.problem, returncode=UNCONFIRMED)


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
    timeout = _DEFAULT_SECONDS if options["wait"] is None else options["wait"]
    try:
        propagation = wait_for_workers(timeout, expect=options["expect"])
    except PropagationError as error:
        problem = f"{_STATE[written]}, but the wait failed: {error}"
        return _Waited({"complete": False, "error": str(error)}, problem)
    for sentence in _sentences(propagation, options["expect"]):
        message(sentence)
    workers = "not every worker" if propagation.applied else "no worker"
    problem = (
        f"{_STATE[written]}, but {workers} has confirmed {_UNCONFIRMED[written]}; "
        '"manage.py flags workers" shows which are behind'
    )
    return _Waited(propagation.as_dict(), None if propagation.complete else problem)


def _sentences(propagation: Propagation, expect: int | None) -> Iterator[str]:
    if propagation.polling_deadline is None:
        yield "evaluations query the database, so there is nothing to wait for"
        return
    deadline = clock_time(propagation.polling_deadline)
    yield _workers_sentence(propagation)
    if propagation.pending:
        yield f"pending: {_names(propagation.pending)}"
    if propagation.disconnected:
        yield f"disconnected (stopped, or lost the connection): {_names(propagation.disconnected)}"
    if propagation.polling:
        names = _names(propagation.polling)
        yield f"polling (will apply it by {deadline}): {names}"
    if propagation.missing:
        yield f"missing: {propagation.missing} of {expect} expected workers did not connect"
    if propagation.possibly_hidden:
        yield (
            "workers behind a pooler or at a standby are not listed; "
            f"they will apply the change by {deadline} if they reach the database"
        )


def _workers_sentence(propagation: Propagation) -> str:
    applied, connected = propagation.applied, propagation.connected
    waited = f"{propagation.seconds:.2f} s"
    if not connected:
        return f"no worker connected within {waited}"
    if not applied:
        if connected == 1:
            return f"the only connected worker did not apply it within {waited}"
        return f"none of the {connected} connected workers applied it within {waited}"
    workers = f"all {connected} connected workers"
    if applied < connected:
        workers = f"{applied} of {connected} connected workers"
    elif connected == 1:
        workers = "the only connected worker"
    sentence = f"applied by {workers} after {propagation.applied_after or 0:.2f} s"
    return sentence if propagation.complete else f"{sentence}; the wait ended after {waited}"


def _names(workers: tuple[object, ...]) -> str:
    return join_some(workers, _MAX_WORKERS_SHOWN)
