"""The verbs of actions: their arguments, the question, and the write.

The question and the counts are those of the admin. Without a terminal nothing is asked: scripts are
trusted, and must not wait for an answer. What needs --yes is refused there without it: deletions,
and in production what reaches most users.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, cast

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser

from flagstaff._text import some
from flagstaff.actions import Action, Done, all_actions
from flagstaff.actions.arguments import is_input_closed
from flagstaff.actions.table import Run, present_rows
from flagstaff.changes.consequence import Consequence, impact_lines, needs_question, text_to_type
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
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidArgumentError
from flagstaff.history.kinds import Kind

_UNCHANGED = "nothing was changed"


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
    if action.always_runs:
        parser.set_defaults(needs_reason=partial(_needs_reason, action))


def _needs_reason(action: Action, options: Options, out: Output) -> bool:
    """Nothing may delay a kill, or a rollout to 0 %."""
    is_fixed = not callable(action.always_runs)
    return not action.runs_always({} if is_fixed else _arguments_of(action, options, out))


def _run(action: Action, options: Options, out: Output) -> Done:
    keys = list(dict.fromkeys(options["keys"])) if action.many else [options["key"]]
    version, has_history = options.get("expect_version"), isinstance(action.kind, Kind)
    if len(keys) > 1 and version is not None:
        raise CommandError("--expect-version needs one KEY", returncode=USAGE)
    # An unknown key is an error before the standard input is read.
    rows = present_rows(action, keys, also_deleted=action.deletes or action.undoes)
    run = Run(action, keys, rows, _arguments_of(action, options, out))
    confirmed = _ask_about_changes(run, out) if has_history else _ask_question(run, out)
    expected = confirmed or {}
    if version is not None:
        expected[keys[0] if has_history else "expect_version"] = version
    if options.get("at") or options.get("request"):
        # A kill does not need it.
        from flagstaff.waiting.actions import ask  # noqa: PLC0415
        from flagstaff.waiting.prospect import Prospect  # noqa: PLC0415

        return ask(Prospect.of(run, expected), options["at"], approval=options["request"])
    if not has_history:
        return cast("Done", action.write(*keys, **run.arguments, **expected))
    with previewed() if out.is_dry_run else nullcontext():
        changes = run.write(expected)
    is_counted = confirmed is None and action.is_asked_about(run.arguments)
    return report(changes, out, is_counted=is_counted)


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


def _ask_about_changes(run: Run, out: Output) -> dict[str, Any] | None:
    """Asks about a deletion, or if users notice the changes.

    Returns the versions that the question about users was about; None without one.
    """
    action, rows = run.action, run.rows
    if action.facts is not None and rows:
        out.messages(f"{key}: {text}" for key, text in action.facts(rows).items() if text)
    if action.deletes and rows:
        require_confirmation(f"Delete {some(run.keys)}?", out)
    if not (action.is_asked_about(run.arguments) and may_be_refused(out)):
        return None
    # A kill does not need it.
    from flagstaff.changes.impact import impact_of_changes  # noqa: PLC0415

    # Before the preview: then newer changes are a conflict.
    versions, preview = dict[str, Any](run.versions()), run.preview()
    texts, impact = texts_of(preview) if action.undoes else (), impact_of_changes(preview)
    has_asked = ask_about_users(impact, out, texts, asks_from=action.asks_from)
    return versions if has_asked else None


def _ask_question(run: Run, out: Output) -> dict[str, Any] | None:
    """Asks what an action of an app asks. Returns the arguments by which it is refused."""
    action, question = run.action, None
    if action.question is not None and (action.asks_always or may_be_refused(out)):
        question = action.question(*run.keys, **run.arguments)
    if question is None or not (action.asks_always or may_ask(out) or question.typed):
        return None
    out.messages(question.lines)
    require_confirmation(question.text, out, typed=question.typed)
    return dict(question.expected or {})


def is_terminal() -> bool:
    """Whether a person can type an answer."""
    return not is_input_closed() and sys.stdin.isatty()


def may_ask(out: Output) -> bool:
    """Whether a person started the command on a terminal, without --yes and --dry-run."""
    return out.is_attended and is_terminal() and not out.is_confirmed


def may_be_refused(out: Output) -> bool:
    """Whether an answer may refuse a change; in production also the lack of --yes."""
    return may_ask(out) or (conf.is_production and not out.is_confirmed)


def ask_about_users(
    impact: Impact,
    out: Output,
    texts: Sequence[str] = (),
    *,
    always: str = "",
    asks_from: Consequence = Consequence.FEWER,
) -> bool:
    """Asks if the users notice a change, and returns whether it has asked.

    `texts` are printed before. `always` is a question that is asked in any case. Blocks until the
    answer. Raises CommandError if it is no, or if nobody can answer and --yes is needed.
    """
    typed = text_to_type(impact)
    is_asked = needs_question(impact, asks_from) and (may_ask(out) or typed)
    if not (always or is_asked):
        return False
    lines = [*texts, *impact_lines(impact)]
    last = lines.pop() if lines and is_terminal() else ""
    out.messages(lines)
    question = f"{last} {always or 'Go on?'}".lstrip()
    require_confirmation(question, out, typed=typed)
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
