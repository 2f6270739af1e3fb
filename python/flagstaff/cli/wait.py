"""`--wait`: waits after a change until every connected worker has applied it."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from flagstaff._workers.sessions import Worker
from flagstaff._workers.wait import Propagation, forbid_transaction, wait_for_workers
from flagstaff.cli.errors import UNCONFIRMED
from flagstaff.cli.numbers import seconds
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options
from flagstaff.exceptions import PropagationError

__all__ = ["add_wait", "check_wait", "end"]

_SECONDS = 5.0
_LONGEST = 3600.0
# More names than a person reads.
_NAMED = 20


@dataclass(frozen=True)
class _Waited:
    """The result of a wait."""

    document: dict[str, Any]
    #: Why not every worker is known to have the change; None if every worker has it.
    problem: str | None


def add_wait(parser: CommandParser) -> None:
    """Give a verb's parser the options that have it wait."""
    parser.add_argument(
        "--wait",
        nargs="?",
        type=_seconds,
        const=_SECONDS,
        metavar="SECONDS",
        help=f"until every connected worker has it, by default for {_SECONDS:g} seconds at most",
    )
    parser.add_argument(
        "--expect",
        type=_count,
        metavar="N",
        help="wait for so many workers, also for those that are not connected yet",
    )


def check_wait(options: Options) -> None:
    """Refuse before the change what could not be waited for after it.

    Raises PropagationError within a transaction.
    """
    if _is_asked_for(options):
        forbid_transaction()


def end(document: dict[str, Any], out: Output, options: Options) -> None:
    """End a command that has changed something: wait if that was asked for, and print how it ended.

    Raises CommandError where the change is not confirmed.
    """
    waited = _wait(options, out.say)
    if out.is_json:
        out.document(document | ({"propagation": waited.document} if waited else {}))
    if waited and waited.problem:
        raise CommandError(waited.problem, returncode=UNCONFIRMED)


def _wait(options: Options, say: Callable[[str], None]) -> _Waited | None:
    if not _is_asked_for(options):
        return None
    timeout = _SECONDS if options["wait"] is None else options["wait"]
    try:
        found = wait_for_workers(timeout, expect=options["expect"])
    except PropagationError as error:
        document = {"complete": False, "error": str(error)}
        return _Waited(document, f"the change is committed, but the wait failed: {error}")
    for sentence in _sentences(found, options["expect"]):
        say(sentence)
    incomplete = "the change is committed, but not every worker has confirmed it"
    problem = None if found.complete else incomplete
    return _Waited(found.as_dict(), problem)


def _is_asked_for(options: Options) -> bool:
    return options.get("wait") is not None or options.get("expect") is not None


def _sentences(found: Propagation, expect: int | None) -> Iterator[str]:
    if found.polling_deadline is None:
        yield "evaluations query the database, so there is nothing to wait for"
        return
    deadline = f"{timezone.localtime(found.polling_deadline):%H:%M:%S}"
    yield _how_many(found)
    if found.pending:
        yield f"pending: {_named(found.pending)}"
    if found.disconnected:
        yield f"disconnected (stopped or cut off): {_named(found.disconnected)}"
    if found.polling:
        yield f"polling (by {deadline} if they reach the database): {_named(found.polling)}"
    if found.missing:
        yield f"missing: {found.missing} of the {expect} expected workers were never connected"
    if found.possibly_hidden:
        yield (
            "workers behind a pooler or at a standby are not listed; "
            f"they have the change by {deadline} if they reach the database"
        )


def _how_many(found: Propagation) -> str:
    took = f"after {found.seconds:.2f} s"
    if not found.connected:
        return f"no worker is connected {took}"
    if found.applied < found.connected:
        return f"applied by {found.applied} of {found.connected} connected workers {took}"
    many = "the only" if found.connected == 1 else f"all {found.connected}"
    return f"applied by {many} connected worker{'s' * (found.connected > 1)} {took}"


def _named(workers: Sequence[Worker]) -> str:
    more = len(workers) - _NAMED
    names = ", ".join(map(str, workers[:_NAMED]))
    return f"{names} and {more} more" if more > 0 else names


def _seconds(text: str) -> float:
    return seconds(text, _LONGEST, advice="; a key stands before --wait, or after --wait=5")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ArgumentTypeError(f"expected a number of workers, not {text!r}")
    return int(text)
