"""`--wait`: after a change, waits until all workers have applied it."""

from __future__ import annotations

from collections.abc import Mapping

from django.core.management.base import CommandError

from flagstaff._workers.wait import Propagation, forbid_transaction, wait_for_workers
from flagstaff._workers.words import propagation_messages
from flagstaff.cli.errors import UNCONFIRMED, UNVERIFIABLE, USAGE
from flagstaff.cli.options import DEFAULT_WAIT
from flagstaff.cli.output import Output
from flagstaff.cli.verb import Options
from flagstaff.exceptions import PropagationError


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
    problem = None
    if out.is_dry_run:
        document = {**document, **_rolled_back(document), "dry_run": True}
    elif _waits(options, out):
        propagation, problem = _wait(options, out, written=written)
        document = {**document, "propagation": propagation}
    if out.is_json:
        out.document(document)
    if problem:
        raise problem


def _rolled_back(document: Mapping[str, object]) -> Mapping[str, object]:
    """Returns None for each member of the document that only a committed change has."""
    gone: dict[str, object] = {name: None for name in ("version", "undo") if name in document}
    changes = document.get("changes")
    if isinstance(changes, list):
        gone["changes"] = [{**change, **_rolled_back(change)} for change in changes]
    return gone


def _is_wanted(options: Options) -> bool:
    return options.get("wait") is not None or options.get("expect") is not None


def _waits(options: Options, out: Output) -> bool:
    """Whether to wait: with the options, and by default where a commit can be waited for."""
    if _is_wanted(options) or options.get("no_wait", True):
        return _is_wanted(options)
    try:
        forbid_transaction()
    except PropagationError:
        out.message("not waiting for the workers: they see the change after the commit")
        return False
    return True


def _wait(
    options: Options, out: Output, *, written: bool
) -> tuple[dict[str, object], CommandError | None]:
    """Returns what became of a change, and the error if it is not confirmed."""
    state = "the change is committed" if written else "nothing had to be changed"
    timeout = None if options["wait"] == DEFAULT_WAIT else options["wait"]
    try:
        found = wait_for_workers(timeout, expect=options["expect"])
    except PropagationError as error:
        problem = CommandError(f"{state}, but the wait failed: {error}", returncode=UNVERIFIABLE)
        return {"complete": False, "error": str(error)}, problem
    for sentence in propagation_messages(found):
        out.message(sentence)
    if found.complete:
        return found.as_dict(), None
    text, status = _problem(found, "it" if written else "the present state")
    return found.as_dict(), CommandError(f"{state}, but {text}", returncode=status)


def _problem(found: Propagation, it: str) -> tuple[str, int]:
    """Returns why it is not known that all workers have applied `it`, and the exit status."""
    if found.pending or found.missing:
        workers = "not every worker" if found.applied else "no worker"
        advice = '"manage.py flags workers" shows which are behind'
        return f"{workers} has confirmed {it}; {advice}", UNCONFIRMED
    why = "some do not report" if found.unreported else "none is registered"
    return f"it is not known which workers have {it}: {why}", UNVERIFIABLE
