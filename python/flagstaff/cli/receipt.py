"""The end of a verb that writes: its report, the receipt of the workers, and the document."""

from __future__ import annotations

from django.core.management.base import CommandError

from flagstaff._workers.wait import forbid_transaction, wait_for_workers
from flagstaff._workers.words import propagation_messages
from flagstaff.actions import Done
from flagstaff.cli.errors import UNCONFIRMED, UNVERIFIABLE, USAGE
from flagstaff.cli.options import DEFAULT_WAIT
from flagstaff.cli.output import Output
from flagstaff.cli.report import report, report_of_done
from flagstaff.cli.verb import Changes, Options, Result
from flagstaff.exceptions import PropagationError

# What only a committed change has.
_COMMITTED = ("version", "undo")


def finish(result: Result, options: Options, out: Output) -> None:
    """Prints what a verb has written, and the command that undoes it; waits if wanted.

    Blocks up to the seconds of --wait. Raises CommandError if not every worker has confirmed the
    change, or the present state.
    """
    if result is None:
        return
    if isinstance(result, Changes):
        result = report(result, is_dry_run=out.is_dry_run)
    elif isinstance(result, Done):
        result = report_of_done(result)
    out.messages(result.messages)
    document, problem = dict(result.document), None
    if out.is_dry_run:
        # There is nothing to undo.
        document |= {name: None for name in _COMMITTED if name in document}
        document["dry_run"] = True
    else:
        if result.undo:
            document["undo"] = result.undo.arguments
            out.message(f"undo: {result.undo.command}")
        if _waits(options, out):
            document["propagation"], problem = _wait(options, out, written=result.written)
    if out.is_json:
        out.document(document)
    if problem := problem or result.problem:
        raise problem


def check_wait(options: Options) -> None:
    """Raises PropagationError if a wait is wanted inside a transaction. Call it before the change.

    Workers do not see a change before it is committed.
    """
    if options.get("no_wait") and options["expect"] is not None:
        raise CommandError("--no-wait cannot be combined with --expect", returncode=USAGE)
    if _is_wanted(options) and not options.get("dry_run"):
        forbid_transaction()


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
    state, it = "nothing had to be changed", "the present state"
    if written:
        state, it = "the change is committed", "it"
    timeout = None if options["wait"] == DEFAULT_WAIT else options["wait"]
    try:
        found = wait_for_workers(timeout, expect=options["expect"])
    except PropagationError as error:
        document: dict[str, object] = {"complete": False, "error": str(error)}
        text, status = f"the wait failed: {error}", UNVERIFIABLE
    else:
        out.messages(propagation_messages(found))
        document = found.as_dict()
        if found.complete:
            return document, None
        if found.pending or found.missing:
            workers = "not every worker" if found.applied else "no worker"
            advice = '"manage.py flags workers" shows which are behind'
            text, status = f"{workers} has confirmed {it}; {advice}", UNCONFIRMED
        else:
            why = "some do not report" if found.unreported else "none is registered"
            text, status = f"it is not known which workers have {it}: {why}", UNVERIFIABLE
    return document, CommandError(f"{state}, but {text}", returncode=status)
