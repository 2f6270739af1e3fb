"""The verbs of actions: their arguments, the question, the write, and what is printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, cast

from django.core.management.base import CommandError, CommandParser
from django.db import transaction
from django.db.models import QuerySet

from flagstaff._tables.rows import Row, all_rows, unknown_row
from flagstaff._words.text import is_storable, joined, some
from flagstaff.actions import Action, Done, all_actions
from flagstaff.actions.arguments import Given
from flagstaff.changes import Changed
from flagstaff.changes.consequence import consequence_of
from flagstaff.changes.impact import impact_of_changes
from flagstaff.changes.locking import read_rows
from flagstaff.changes.preview import is_preview, previewed
from flagstaff.cli.errors import USAGE
from flagstaff.cli.options import add_attribution, add_expected_version, add_key, add_wait, add_yes
from flagstaff.cli.output import Output
from flagstaff.cli.question import ask, may_ask, require_confirmation
from flagstaff.cli.report import Changes, print_changes, report, report_done
from flagstaff.cli.verb import Options, Topic, Verb
from flagstaff.conf import conf
from flagstaff.exceptions import NoHistoryError
from flagstaff.history.kinds import Kind
from flagstaff.history.log import deleted_pk, newest_version, require_history, require_triggers

# The version that each row must have, as an argument by key; none for any.
Versions = Mapping[str, Mapping[str, int]]


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
        run=partial(_run, action),
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
    if action.always_runs is True:
        # Nothing may delay a kill.
        parser.set_defaults(needs_reason=False)


def _run(action: Action, options: Options, out: Output) -> None:
    keys = list(dict.fromkeys(options["keys"])) if action.many else [options["key"]]
    version, kind = options.get("expect_version"), action.kind
    if len(keys) > 1 and version is not None:
        raise CommandError("--expect-version needs one KEY", returncode=USAGE)
    expected = {} if version is None else {"expect_version": version}
    if not isinstance(kind, Kind):
        arguments = _arguments_of(action, keys[0], (), options, out)
        seen = _confirmed(action, keys[0], arguments, options, out)
        done = cast("Done", action.write(keys[0], **arguments, **seen | expected))
        report_done(done, out, options)
        return
    # An unknown key is an error before the standard input is read.
    or_deleted = action.deletes or action.undoes
    rows = [] if action.creates else existing_rows(kind, keys, or_deleted=or_deleted)
    arguments = _arguments_of(action, keys[0], rows, options, out)
    if action.facts is not None and rows:
        out.messages(f"{key}: {text}" for key, text in action.facts(rows).items() if text)
    if action.deletes and rows:
        require_confirmation(f"Delete {some(keys)}?", options, out)
    write = partial(_write, action, kind, rows, arguments)
    versions: Versions = dict.fromkeys(keys, expected)
    if action.is_asked_about(arguments) and may_ask(options, out):
        # Before the preview: then newer changes are a conflict.
        seen = {key: _seen(action, kind, key, rows) | expected for key in keys}
        with previewed():
            changes = write(versions)
        found = impact_of_changes(changes)
        if consequence_of(found) >= action.asks_from:
            if action.undoes:
                print_changes(changes, out)
            ask(found, options, out)
            versions = seen
    report(write(versions), out, options)


def _seen(action: Action, kind: Kind, key: str, rows: Sequence[Row]) -> dict[str, int]:
    """Returns the version of a row, or of a deleted one; nothing without a row or a history."""
    if not action.takes_version:
        return {}
    with suppress(NoHistoryError):
        require_history()
        require_triggers(kind)
        pk = next((row.pk for row in rows if row.key == key), None) or deleted_pk(kind, key)
        return {} if pk is None else {"expect_version": newest_version(kind, pk)}
    # A system check reports it.
    return {}


def _write(
    action: Action,
    kind: Kind,
    rows: Sequence[Row],
    arguments: Mapping[str, Any],
    versions: Versions,
) -> Changes:
    """Writes all rows, or none."""

    def write(key: str) -> tuple[Kind, Changed]:
        return kind, cast("Changed", action.write(key, **arguments, **versions[key]))

    if len(versions) == 1:
        return [*map(write, versions)]
    with transaction.atomic(using=conf.database):
        # In the order of an import and an undo, so that no two can deadlock.
        read_rows(((kind, str(row.pk)) for row in rows), lock=not is_preview())
        return [*map(write, versions)]


def _confirmed(
    action: Action, key: str, arguments: Mapping[str, Any], options: Options, out: Output
) -> dict[str, Any]:
    """Asks the question of an action, and returns what the write has to expect."""
    if action.question is None or not (action.asks_always or may_ask(options, out)):
        return {}
    question = action.question(key, **arguments)
    if question is None:
        return {}
    out.messages(question.lines)
    require_confirmation(question.text, options, out, typed=question.typed)
    return {**(question.expected or {})}


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
