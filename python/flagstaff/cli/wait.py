"""`--wait`: after a change, until every connected worker has applied it."""

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
    """What there is to tell of a wait."""

    document: dict[str, Any]
    #: Why the change is not confirmed; None where it is.
    unconfirmed: str | None


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
        out.document(document | ({"confirmation": waited.document} if waited else {}))
    if waited and waited.unconfirmed:
        raise CommandError(waited.unconfirmed, returncode=UNCONFIRMED)


def _wait(options: Options, say: Callable[[str], None]) -> _Waited | None:
    if not _is_asked_for(options):
        return None
    patience = _SECONDS if options["wait"] is None else options["wait"]
    try:
        found = wait_for_workers(patience, expect=options["expect"])
    except PropagationError as error:
        document = {"confirmed": False, "error": str(error)}
        return _Waited(document, f"the change is made, but not confirmed: {error}")
    for sentence in _sentences(found, options["expect"]):
        say(sentence)
    problem = None if found.confirmed else "the change is made, but not confirmed by every worker"
    return _Waited(found.as_dict(), problem)


def _is_asked_for(options: Options) -> bool:
    return options.get("wait") is not None or options.get("expect") is not None


def _sentences(found: Propagation, expect: int | None) -> Iterator[str]:
    if found.polling_by is None:
        yield "each question asks the database, so there is nothing to wait for"
        return
    by = f"{timezone.localtime(found.polling_by):%H:%M:%S}"
    yield _how_many(found)
    if found.waiting:
        yield f"not yet: {_named(found.waiting)}"
    if found.vanished:
        yield f"vanished, so ended or cut off: {_named(found.vanished)}"
    if found.polling:
        yield f"only polling, and by {by} if they reach the database: {_named(found.polling)}"
    if found.missing:
        yield f"never seen: {found.missing} of the {expect} expected"
    if found.hidden:
        yield (
            "workers behind a pooler or at a standby are not shown here; "
            f"by {by} if they reach the database"
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
