"""The verbs of actions: their arguments, the question, and the write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

from django.core.management.base import CommandError, CommandParser
from django.db.models import QuerySet

from flagstaff._tables.rows import Row, all_rows, unknown_row
from flagstaff._words.text import is_storable, joined, some
from flagstaff.actions import Action, Done, all_actions
from flagstaff.actions.arguments import Given
from flagstaff.actions.running import Run
from flagstaff.cli.errors import USAGE
from flagstaff.cli.options import (
    add_attribution,
    add_expected_version,
    add_key,
    add_later,
    add_wait,
    add_yes,
)
from flagstaff.cli.output import Output
from flagstaff.cli.question import ask_about_changes, may_ask, require_confirmation
from flagstaff.cli.verb import Changes, Options, Topic, Verb
from flagstaff.history.kinds import Kind
from flagstaff.history.log import deleted_pk


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
    add_wait(parser, by_default=action.waits)
    if action.takes_version:
        add_expected_version(parser)
    add_yes(parser)
    if action.can_wait:
        add_later(parser)
    if action.always_runs is True:
        # Nothing may delay a kill.
        parser.set_defaults(needs_reason=False)


def _run(action: Action, options: Options, out: Output) -> Changes | Done:
    keys = list(dict.fromkeys(options["keys"])) if action.many else [options["key"]]
    expected, kind = options.get("expect_version"), cast("Kind", action.kind)
    if len(keys) > 1 and expected is not None:
        raise CommandError("--expect-version needs one KEY", returncode=USAGE)
    # An unknown key is an error before the standard input is read.
    or_deleted = action.deletes or action.undoes
    rows = [] if action.creates else existing_rows(kind, keys, or_deleted=or_deleted)
    run = Run(action, keys, rows, _arguments_of(action, keys[0], rows, options, out))
    if action.facts is not None and rows:
        out.messages(f"{key}: {text}" for key, text in action.facts(rows).items() if text)
    if action.deletes and rows:
        require_confirmation(f"Delete {some(keys)}?", options, out)
    versions = {} if expected is None else {keys[0]: expected}
    if action.is_asked_about(run.arguments) and may_ask(options, out):
        # Before the preview: then newer changes are a conflict.
        seen = run.versions()
        if ask_about_changes(run.preview(), options, out, action):
            versions = seen | versions
    if _is_later(options):
        return _ask(run, options, versions)
    return Changes(run.write(versions))


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
    arguments = _arguments_of(action, key, (), options, out)
    if action.question is not None and (action.asks_always or may_ask(options, out)):
        question = action.question(key, **arguments)
        if question is not None:
            out.messages(question.lines)
            require_confirmation(question.text, options, out, typed=question.typed)
            seen = {**(question.expected or {})}
    if expected is not None:
        seen["expect_version"] = expected
    if _is_later(options):
        return _ask(Run(action, [key], [], arguments), options, seen)
    return cast("Done", action.write(key, **arguments, **seen))


def _arguments_of(
    action: Action, key: str, rows: Sequence[Row], options: Options, out: Output
) -> dict[str, Any]:
    words = () if action.kind is Kind.FLAG else (action.noun,)
    given = Given(options, (*words, action.name, key), rows, out.message)
    declared, arguments = action.arguments(), dict[str, Any]()
    for name, (argument, _required) in declared.items():
        arguments |= argument.read(name, given)
    if action.fields is not None and not (arguments or action.creates):
        names = [argument.option(name) for name, (argument, _required) in declared.items()]
        raise CommandError(f"pass at least one of {', '.join(names)}", returncode=USAGE)
    return arguments
