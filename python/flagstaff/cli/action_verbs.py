"""The verbs of actions: their arguments, the question, the write, and what is printed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import zip_longest
from typing import Any, cast

from django.core.management.base import CommandError, CommandParser
from django.db import transaction
from django.db.models import QuerySet

from flagstaff._tables.rows import Row, all_rows
from flagstaff._words.text import is_storable, joined, some
from flagstaff.actions import Action, Done, all_actions
from flagstaff.actions.arguments import Given
from flagstaff.changes import Changed
from flagstaff.changes.locking import read_rows
from flagstaff.changes.preview import is_preview
from flagstaff.cli.asking import RowKey, may_ask, require_confirmation, write_confirmed
from flagstaff.cli.errors import USAGE
from flagstaff.cli.options import add_attribution, add_expected_version, add_key, add_wait, add_yes
from flagstaff.cli.output import Output
from flagstaff.cli.report import report, report_done
from flagstaff.cli.verb import Options, Topic, Verb
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError
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
    missing = [key for key in keys if key not in found]
    unknown = [key for key in missing if not (or_deleted and deleted_pk(kind, key))]
    if errors := [error for key in unknown for error in _errors(kind, key)]:
        raise type(errors[0])(joined(map(str, errors), "\n"))
    return [found[key] for key in keys if key in found]


def _errors(kind: Kind, key: str) -> Iterator[FlagstaffError]:
    try:
        kind.row(key)
    except FlagstaffError as error:
        yield error


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
        for key, text in action.facts(rows).items():
            if text:
                out.message(f"{key}: {text}")
    if action.deletes and rows:
        require_confirmation(f"Delete {some(keys)}?", options, out)
    ids = [(kind, str(row.pk)) for row in rows]
    write = partial(_write, action, keys, ids, arguments | expected)
    if action.asks_from is not None and action.is_asked_about(arguments):
        pks: list[str | None] = [pk for _kind, pk in ids]
        if action.undoes and not rows:
            pks = [deleted_pk(kind, keys[0])]
        changed = [RowKey(kind, *one) for one in zip_longest(keys, pks)]
        changes = write_confirmed(
            *(changed, write, options, out), shows=action.undoes, asks_from=action.asks_from
        )
    else:
        changes = write()
    report(kind, changes, out, options)


def _confirmed(
    action: Action, key: str, arguments: Mapping[str, Any], options: Options, out: Output
) -> dict[str, Any]:
    """Asks the question of an action, and returns what the write has to expect."""
    if action.question is None or not (action.asks_always or may_ask(options, out)):
        return {}
    question = action.question(key, **arguments)
    if question is None:
        return {}
    for line in question.lines:
        out.message(line)
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


def _write(
    action: Action,
    keys: Sequence[str],
    ids: Sequence[tuple[Kind, str]],
    arguments: Mapping[str, Any],
) -> list[Changed]:
    """Writes all rows, or none."""
    if len(keys) == 1:
        return [cast("Changed", action.write(keys[0], **arguments))]
    with transaction.atomic(using=conf.database):
        # In the order of an import and an undo, so that no two can deadlock.
        read_rows(ids, lock=not is_preview())
        return [cast("Changed", action.write(key, **arguments)) for key in keys]
