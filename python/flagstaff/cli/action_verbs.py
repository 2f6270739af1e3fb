"""The verbs of actions: their arguments, the question, and the write.

The question and the counts are those of the admin. Without a terminal nothing is asked, but for
what needs --yes: scripts are trusted, and must not wait for an answer.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, cast

from django.core.management.base import CommandError, CommandParser
from django.db.models import QuerySet

from flagstaff._tables.rows import Row, all_rows, unknown_row
from flagstaff._words.text import is_storable, joined, some
from flagstaff.actions import Action, Done, all_actions
from flagstaff.actions.arguments import is_input_closed
from flagstaff.actions.running import Run
from flagstaff.changes.consequence import Consequence, consequence_of, impact_lines, text_to_type
from flagstaff.changes.preview import previewed
from flagstaff.changes.row_states import Impact
from flagstaff.cli.errors import USAGE
from flagstaff.cli.options import (
    add_attribution,
    add_expected_version,
    add_key,
    add_later,
    add_no_wait,
    add_wait,
    add_yes,
)
from flagstaff.cli.output import Output
from flagstaff.cli.receipt import report, texts_of
from flagstaff.cli.verb import Options, Topic, Verb
from flagstaff.history.kinds import Kind
from flagstaff.history.log import deleted_pk

_UNCHANGED = "nothing was changed"


def action_verbs(kind: Kind | str) -> tuple[Verb, ...]:
    """Returns a verb for each action of a kind of row."""
    return tuple(verb_of(action) for action in all_actions(kind))


def existing_rows(kind: Kind, keys: Sequence[str], *, or_deleted: bool = False) -> list[Row]:
    """Returns the rows of the keys. Raises one error that names all unknown keys.

    With `or_deleted`, the keys of rows that were deleted are left out.
    """
    rows: QuerySet[Any] = all_rows(kind.model).filter(key__in=filter(is_storable, keys))
    found: dict[str, Row] = {row.key: row for row in rows}
    missing = (key for key in keys if key not in found)
    unknown = [key for key in missing if not (or_deleted and deleted_pk(kind, key))]
    if errors := [unknown_row(kind.model, key) for key in unknown]:
        raise type(errors[0])(joined(map(str, errors), "\n"))
    return [found[key] for key in keys if key in found]


def verb_of(action: Action) -> Verb:
    """Returns the verb of an action."""
    return Verb(
        action.name,
        action.help,
        action.examples,
        run=partial(_run if isinstance(action.kind, Kind) else _run_without_history, action),
        add_arguments=partial(_add_arguments, action),
        topic=Topic.INCIDENT if action.waits or action.undoes else Topic.EVERYDAY,
        notes=action.notes,
    )


def _add_arguments(action: Action, parser: CommandParser) -> None:
    if action.many:
        text = f"the keys of the {action.noun}s"
        parser.add_argument("keys", metavar="KEY", nargs="+", help=text)
    else:
        add_key(parser, action.noun)
    for name, (argument, required) in action.arguments().items():
        argument.add(parser, name, required=required)
    add_attribution(parser)
    (add_no_wait if action.waits else add_wait)(parser)
    if action.takes_version:
        add_expected_version(parser)
    add_yes(parser)
    if action.can_wait:
        add_later(parser)
    if action.always_runs is True:
        # Nothing may delay a kill.
        parser.set_defaults(needs_reason=False)


def _run(action: Action, options: Options, out: Output) -> Done:
    keys = list(dict.fromkeys(options["keys"])) if action.many else [options["key"]]
    expected, kind = options.get("expect_version"), cast("Kind", action.kind)
    if len(keys) > 1 and expected is not None:
        raise CommandError("--expect-version needs one KEY", returncode=USAGE)
    # An unknown key is an error before the standard input is read.
    or_deleted = action.deletes or action.undoes
    rows = [] if action.creates else existing_rows(kind, keys, or_deleted=or_deleted)
    run = Run(action, keys, rows, _arguments_of(action, options, out))
    if action.facts is not None and rows:
        out.messages(f"{key}: {text}" for key, text in action.facts(rows).items() if text)
    if action.deletes and rows:
        require_confirmation(f"Delete {some(keys)}?", out)
    versions = {} if expected is None else {keys[0]: expected}
    if action.is_asked_about(run.arguments) and may_ask(out):
        # A kill does not need it.
        from flagstaff.changes.impact import impact_of_changes  # noqa: PLC0415

        # Before the preview: then newer changes are a conflict.
        seen, preview = run.versions(), run.preview()
        texts = texts_of(preview) if action.undoes else ()
        found = impact_of_changes(preview)
        if ask_about_users(found, out, texts, asks_from=action.asks_from):
            versions = seen | versions
    if _is_later(options):
        return _ask(run, options, versions)
    with previewed() if out.is_dry_run else nullcontext():
        changes = run.write(versions)
    return report(changes, out)


def _is_later(options: Options) -> bool:
    return bool(options.get("at") or options.get("request"))


def _ask(run: Run, options: Options, expected: Mapping[str, Any]) -> Done:
    # A kill does not need it.
    from flagstaff.waiting.actions import ask  # noqa: PLC0415
    from flagstaff.waiting.prospect import Prospect  # noqa: PLC0415

    return ask(Prospect.of(run, expected), options["at"], approval=options["request"])


def _run_without_history(action: Action, options: Options, out: Output) -> Done:
    """Runs an action of a row that has a question and a record of its own."""
    key, expected, seen = options["key"], options.get("expect_version"), dict[str, Any]()
    arguments = _arguments_of(action, options, out)
    if action.question is not None and (action.asks_always or may_ask(out)):
        question = action.question(key, **arguments)
        if question is not None:
            out.messages(question.lines)
            require_confirmation(question.text, out, typed=question.typed)
            seen = {**(question.expected or {})}
    if expected is not None:
        seen["expect_version"] = expected
    if _is_later(options):
        return _ask(Run(action, [key], [], arguments), options, seen)
    return cast("Done", action.write(key, **arguments, **seen))


def _arguments_of(action: Action, options: Options, out: Output) -> dict[str, Any]:
    declared, arguments = action.arguments(), dict[str, Any]()
    for name, (argument, _required) in declared.items():
        arguments |= argument.read(name, options, out.message)
    if action.fields is not None and not (arguments or action.creates):
        names = [argument.option(name) for name, (argument, _required) in declared.items()]
        raise CommandError(f"pass at least one of {', '.join(names)}", returncode=USAGE)
    return arguments


# The question.


def is_terminal() -> bool:
    """Whether a person can type an answer."""
    return not is_input_closed() and sys.stdin.isatty()


def may_ask(out: Output) -> bool:
    """Whether a person started the command on a terminal, without --yes and --dry-run."""
    return out.is_attended and is_terminal() and not out.is_confirmed


def ask_about_users(
    found: Impact,
    out: Output,
    texts: Sequence[str] = (),
    *,
    question: str = "Go on?",
    asks_from: Consequence = Consequence.FEWER,
) -> bool:
    """Asks if the users notice a change, and returns whether it has asked.

    `texts` are printed before. Blocks until the answer. Raises CommandError if it is no.
    """
    if consequence_of(found) < asks_from:
        return False
    *lines, last = [*texts, *impact_lines(found)] or [""]
    out.messages(lines)
    require_confirmation(f"{last} {question}".lstrip(), out, typed=text_to_type(found))
    return True


def require_confirmation(question: str, out: Output, *, typed: str = "") -> None:
    """Asks on the terminal, unless --yes or --dry-run is given. Blocks until the answer.

    `typed` is the text that the person has to type in the place of "y". Raises CommandError if the
    answer is another one, or if there is no terminal.
    """
    if out.is_confirmed:
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
        raise CommandError(f"cancelled; {_UNCHANGED}", returncode=USAGE)
