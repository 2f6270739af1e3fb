"""Asks on a terminal before a change, by what it means for the users.

The rule and the counts are those of the admin. Without a terminal nothing is asked, but for what
needs --yes: scripts are trusted, and must not wait for an answer.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from django.core.management.base import CommandError

from flagstaff.actions import Action
from flagstaff.actions.arguments import is_input_closed
from flagstaff.changes import Changed
from flagstaff.changes.consequence import consequence_of, impact_lines, text_to_type
from flagstaff.changes.row_states import Impact
from flagstaff.cli.errors import USAGE, CancelledError
from flagstaff.cli.output import Output
from flagstaff.cli.report import texts_of
from flagstaff.cli.verb import Options

#: The question after the sentences about the users.
GO_ON = "Go on?"
_UNCHANGED = "nothing was changed"


def is_terminal() -> bool:
    """Whether a person can type an answer."""
    return not is_input_closed() and sys.stdin.isatty()


def may_ask(options: Options, out: Output) -> bool:
    """Whether a person started the command on a terminal, without --yes and --dry-run."""
    return out.is_attended and is_terminal() and not (options["yes"] or out.is_dry_run)


def require_confirmation(question: str, options: Options, out: Output, *, typed: str = "") -> None:
    """Asks on the terminal, unless --yes or --dry-run is given. Blocks until the answer.

    `typed` is the text that the person has to type in the place of "y". Raises CommandError if the
    answer is another one, or if there is no terminal.
    """
    if options["yes"] or out.is_dry_run:
        return
    if not is_terminal():
        raise CommandError("not a terminal: pass --yes to confirm", returncode=USAGE)
    out.message(f"{question} [type {typed} to confirm]" if typed else f"{question} [y/N]")
    try:
        answer = input().split()
    except EOFError:  # Ctrl-D
        answer = []
    if typed and answer not in ([], typed.split()):
        raise CommandError(f"not confirmed: type {typed} exactly; {_UNCHANGED}", returncode=USAGE)
    if not answer or not (typed or " ".join(answer).lower() in {"y", "yes"}):
        raise CancelledError(f"cancelled; {_UNCHANGED}", returncode=USAGE)


def ask_about_changes(
    preview: Sequence[Changed], options: Options, out: Output, action: Action
) -> bool:
    """Asks if the users notice the changes of an action, and returns whether it has asked."""
    # A kill does not need it.
    from flagstaff.changes.impact import impact_of_changes  # noqa: PLC0415

    found = impact_of_changes(preview)
    if consequence_of(found) < action.asks_from:
        return False
    if action.undoes:
        out.messages(texts_of(preview))
    ask(found, options, out)
    return True


def ask(found: Impact, options: Options, out: Output, text: str = GO_ON) -> None:
    """Prints what happens to the users, and asks. Blocks until the answer.

    Raises CommandError if the answer is no.
    """
    lines = [*impact_lines(found)]
    out.messages(lines[:-1])
    question = " ".join([*lines[-1:], text])
    require_confirmation(question, options, out, typed=text_to_type(found))
