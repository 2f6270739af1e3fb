"""The verbs of actions: their arguments, the question, and the write.

The question and the counts are those of the admin. Without a terminal nothing is asked: scripts are
trusted, and must not wait for an answer. What needs --yes is refused there without it: deletions,
and in production what reaches most users.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser

from flagstaff._tables.rows import Kind
from flagstaff.actions import Action, Done, all_actions
from flagstaff.actions.arguments import is_input_closed
from flagstaff.actions.table import EXPECT_VERSION, Expected, Look, Run, present_rows
from flagstaff.changes import Changed
from flagstaff.changes.consequence import impact_lines
from flagstaff.changes.fields import command_line
from flagstaff.cli.errors import USAGE
from flagstaff.cli.options import (
    add_attribution,
    add_expected_version,
    add_key,
    add_later,
    add_no_wait,
    add_until,
    add_wait,
    add_yes,
)
from flagstaff.cli.output import Output
from flagstaff.cli.receipt import ended, report, texts_of
from flagstaff.cli.verb import Options, Topic, Verb
from flagstaff.exceptions import ConflictError, InvalidArgumentError

if TYPE_CHECKING:
    from flagstaff.actions.table import Written

_UNCHANGED, _NOT_A_TERMINAL = "nothing was changed", "not a terminal: pass --yes to confirm"
# Without a question, a script tries again if something has changed meanwhile.
_ATTEMPTS = 3


def action_verbs(kind: Kind | str) -> tuple[Verb, ...]:
    """Returns a verb for each action of a kind of row."""
    return tuple(verb_of(action) for action in all_actions(kind))


def verb_of(action: Action) -> Verb:
    """Returns the verb of an action."""
    return Verb(
        action.name,
        action.help,
        action.examples,
        run=partial(_run, action),
        add_arguments=partial(_add_arguments, action),
        topic=Topic.INCIDENT if action.waits_for_workers or action.undoes else Topic.EVERYDAY,
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
    (add_no_wait if action.waits_for_workers else add_wait)(parser)
    if action.takes_version:
        add_expected_version(parser)
    add_yes(parser)
    if action.can_wait:
        add_later(parser)
    if action.ended_by:
        add_until(parser)
    parser.set_defaults(needs_reason=partial(_needs_reason, action))


def _needs_reason(action: Action, options: Options, out: Output) -> bool:
    """Nothing may delay a kill, or a rollout to 0 %."""
    is_fixed = not callable(action.always_runs)
    arguments = {} if is_fixed else _arguments_of(action, options, out)
    return action.keeps_reason and not action.runs_always(arguments)


def _run(action: Action, options: Options, out: Output) -> Done:
    keys = list(dict.fromkeys(options["keys"])) if action.many else [options["key"]]
    version, expected = options.get("expect_version"), dict[str, dict[str, int]]()
    if len(keys) > 1 and version is not None:
        raise CommandError("--expect-version needs one KEY", returncode=USAGE)
    # An unknown key is an error before the standard input is read.
    rows = present_rows(action, keys, also_deleted=action.deletes or action.undoes)
    run = Run(action, keys, rows, _arguments_of(action, options, out))
    if version is not None:
        expected[keys[0]] = {EXPECT_VERSION: version}
    is_later = options.get("at") or options.get("until") or options.get("request")
    if action.runs_always(run.arguments) and not (is_later or out.is_dry_run):
        return _at_once(run, expected, out)
    # A kill does not need it.
    from flagstaff.actions.commit import look_at  # noqa: PLC0415

    if is_later:
        from flagstaff.waiting.actions import ask  # noqa: PLC0415
        from flagstaff.waiting.outlook import look_ahead  # noqa: PLC0415

        at, until = options["at"], options.get("until")
        look = look_ahead(run, at)
        # A question has shown the notes, and so has the look at the row of an app.
        is_told = confirm(look, out) or not look.changed
        done = ask(run, look.expecting(expected), at, until=until, approval=options["request"])
        return done if is_told else replace(done, notes=[*done.notes, *_notes_of(look)])
    written, look, has_asked = write(partial(look_at, run), out, expected, with_texts=action.undoes)
    is_counted = not has_asked and action.is_asked_about(run.arguments)
    return _report(run, written, out, look, is_counted=is_counted)


def _at_once(run: Run, expected: Expected, out: Output) -> Done:
    """Writes what nothing may delay, and then counts whom a brake gave something."""
    written = run.write(expected)
    if run.action.always_runs is True:
        return _report(run, written, out)
    from flagstaff.actions.commit import look_after  # noqa: PLC0415

    return _report(run, written, out, look_after(written), is_counted=True)


def _report(
    run: Run, written: Written, out: Output, look: Look | None = None, *, is_counted: bool = False
) -> Done:
    """Returns what was done, with the texts of the changes of rows with a history."""
    for done in written:
        # A row of an app, which is one.
        if isinstance(done, Done):
            seen = Look(app_row=run.app_row) if look is None else replace(look, changed=())
            texts, _records = ended(seen, written, is_done=not out.is_dry_run)
            return replace(done, messages=[*done.messages, *texts])
    changed = cast("Sequence[Changed]", written)
    return report(changed, out, None if look is None else look.impact, is_counted=is_counted)


def write(
    make_look: Callable[[], Look],
    out: Output,
    expected: Expected | None = None,
    *,
    with_texts: bool = False,
) -> tuple[Written, Look, bool]:
    """Shows a look, asks, and writes it. Returns what was written, the look, and if it has asked.

    `expected` is what the write is refused by in any case; after a question, and for rows of apps,
    also by what the look has shown. `with_texts` shows the old and the new values, too. The
    question also names what waits, and would not run afterwards. Blocks until the answer.
    """
    from flagstaff.actions.commit import commit  # noqa: PLC0415
    from flagstaff.changes.locking import ChangedMeanwhileError  # noqa: PLC0415

    for attempt in range(_ATTEMPTS):
        look = make_look()

        def read_texts(look: Look = look) -> list[str]:
            ends = [] if out.is_confirmed else ended(look)[0]
            return [*(texts_of(look.changed) if with_texts else ()), *ends]

        has_asked = confirm(look, out, read_texts)
        if out.is_dry_run:
            return look.changed or look.write(expected or {}), look, has_asked
        # The commit compares rows with a history itself, and of rows of apps only what they expect.
        shown = replace(look, expected={}) if look.changed and not has_asked else look
        look = shown.expecting(expected or {})
        try:
            return commit(look), look, has_asked
        except ConflictError as error:
            # What the caller expects stays wrong, and an import would delete what nobody has seen.
            is_final = not isinstance(error, ChangedMeanwhileError) and (expected or not look.rows)
            # Nobody has seen what has changed.
            if has_asked or is_final or attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError


def _arguments_of(action: Action, options: Options, out: Output) -> dict[str, Any]:
    declared, arguments, name = action.arguments(), dict[str, Any](), ""
    try:
        for name, (argument, _required) in declared.items():
            arguments |= argument.read(name, options, out.message)
    except ValidationError as error:
        problem = " ".join(error.messages)
        raise InvalidArgumentError("{name}: {problem}", name=name, problem=problem) from error
    if action.fields is not None and not (arguments or action.creates):
        names = [argument.option(name) for name, (argument, _required) in declared.items()]
        raise CommandError(f"pass at least one of {', '.join(names)}", returncode=USAGE)
    return arguments


# The question.


def confirm(look: Look, out: Output, read_texts: Callable[[], Sequence[str]] = list) -> bool:
    """Prints a look and asks, if somebody has to confirm it. Returns whether a person has answered.

    The texts are read if it asks, and printed before. Blocks until the answer. Raises CommandError
    if it is no, or if nobody can answer and --yes is needed.
    """
    is_asked = look.asks and not out.is_confirmed and (may_ask(out) or bool(look.typed))
    if not (is_asked or look.asks_always):
        # What is written is said after the change, but not of rows of apps.
        out.messages([] if look.changed else _notes_of(look))
        return False
    if look.asks_always and not (out.is_confirmed or is_terminal()):
        raise CommandError(_NOT_A_TERMINAL, returncode=USAGE)
    sides = (f"{line.field}: {line.now} → {line.after}" for line in look.lines if line.now)
    lines = [*read_texts(), *sides, *_notes_of(look)]
    # Of rows of apps, the notes say who gets what.
    lines += impact_lines(look.impact) if look.changed else ()
    is_joined = lines and is_terminal() and not out.is_confirmed
    last = f"{lines.pop()} " if is_joined else ""
    out.messages(lines)
    require_confirmation(f"{last}{look.question}", out, typed=look.typed)
    return not out.is_confirmed


def _notes_of(look: Look) -> Iterator[str]:
    """Yields what a person should know, and the command that a page has as a link."""
    yield from look.notes
    if look.held_back:
        yield f"to give it to them, too, run: {command_line('release', *look.held_back)}"


def is_terminal() -> bool:
    """Whether a person can type an answer."""
    return not is_input_closed() and sys.stdin.isatty()


def may_ask(out: Output) -> bool:
    """Whether a person started the command on a terminal, without --yes and --dry-run."""
    return out.is_attended and is_terminal() and not out.is_confirmed


def require_confirmation(question: str, out: Output, *, typed: str = "") -> None:
    """Asks on the terminal, unless --yes or --dry-run is given. Blocks until the answer.

    `typed` is the text that the person has to type in the place of "y". Raises CommandError if the
    answer is another one, or if there is no terminal.
    """
    if out.is_confirmed:
        return
    if not is_terminal():
        raise CommandError(_NOT_A_TERMINAL, returncode=USAGE)
    out.message(f"{question} [type {typed} to confirm]" if typed else f"{question} [y/N]")
    try:
        answer = input().split()
    except EOFError:  # Ctrl-D
        answer = []
    if typed and answer not in ([], typed.split()):
        raise CommandError(f"not confirmed: type {typed} exactly; {_UNCHANGED}", returncode=USAGE)
    if not answer or not (typed or " ".join(answer).lower() in {"y", "yes"}):
        raise CommandError(f"cancelled; {_UNCHANGED}", returncode=USAGE)
