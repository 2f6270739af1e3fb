"""A verb of `manage.py flags`: its name, help, arguments and function."""

from __future__ import annotations

import sys
from argparse import (
    SUPPRESS,
    Action,
    ArgumentError,
    RawDescriptionHelpFormatter,
    _SubParsersAction,
)
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any, NoReturn, TypeAlias

from django.core.management.base import CommandError, CommandParser

from flagstaff._words.similar import most_similar
from flagstaff.cli.support.errors import USAGE
from flagstaff.cli.support.output import Output, error_as_json
from flagstaff.cli.support.topics import Topic

#: The parsed command line, as argparse gives it.
Options: TypeAlias = Mapping[str, Any]

# The options of every Django command, so that they may also follow the verb.
_DJANGO_OPTIONS = ("--settings", "--pythonpath")
_DJANGO_SWITCHES = ("--traceback", "--no-color", "--force-color")
# The option with the function that returns the help.
_HELP = "format_help"

#: The verbs of the optional apps, so that a project without the app is told about it.
APPS = {
    "compare-waffle": "flagstaff.contrib.waffle",
    "experiment": "flagstaff.experiments",
    "import-waffle": "flagstaff.contrib.waffle",
    "ofrep-key": "flagstaff.contrib.ofrep",
    "plan": "flagstaff.rollouts",
    "sample-size": "flagstaff.experiments",
    "webhooks": "flagstaff.contrib.webhooks",
}


def _no_arguments(_parser: CommandParser) -> None:
    pass


class VerbParser(CommandParser):
    """A parser whose errors are JSON with --json, and name a similar verb."""

    def error(self, message: str) -> Any:
        """Prints the error, as JSON with --json, and ends the process."""
        # An error means that there are no parsed arguments.
        if self.called_from_command_line and "--json" in sys.argv:
            self.exit(USAGE, f"{error_as_json(message, USAGE)}\n")
        return super().error(message)

    def _check_value(self, action: Action, value: Any) -> None:
        # Only verbs have parsers as choices.
        verbs = action.choices if isinstance(action.choices, dict) else None
        if verbs is not None and value not in verbs:
            what = action.dest
            if what == "verb" and value in APPS:
                raise ArgumentError(None, _install_text(value))
            similar = most_similar(value, verbs)
            advice = f"did you mean {similar!r}?" if similar else f"--help lists all {what}s"
            raise ArgumentError(None, f"there is no {what} {value!r}; {advice}")
        super()._check_value(action, value)


def _install_text(verb: str) -> str:
    app = f'"{APPS[verb]}"'
    return f'{verb!r} needs {app} in INSTALLED_APPS; add it, and run "manage.py migrate"'


@dataclass(frozen=True)
class Verb:
    """One verb, such as `off`."""

    name: str
    help: str
    #: Command lines, without "manage.py flags".
    examples: tuple[str, ...]
    run: Callable[[Options, Output], None]
    #: Adds the arguments to the parser of the verb.
    add_arguments: Callable[[CommandParser], None] = _no_arguments
    #: The verbs below this one, such as `set` below `value`.
    verbs: tuple[Verb, ...] = ()
    #: The heading under which the help lists the verb.
    topic: Topic = Topic.EVERYDAY
    #: What else to know, in sentences.
    notes: str = ""


def verb_group(
    name: str,
    help: str,  # noqa: A002 (as in argparse)
    *verbs: Verb,
    topic: Topic = Topic.EVERYDAY,
) -> Verb:
    """Returns a verb that has verbs of its own, such as `value`."""
    by_name = {verb.name: verb for verb in verbs}

    def add_arguments(parser: CommandParser) -> None:
        add_verbs(parser, verbs, dest="action")

    def run(options: Options, out: Output) -> None:
        if options["action"] is None:
            print_help(options, out)
        by_name[options["action"]].run(options, out)

    examples = tuple(line for verb in verbs for line in verb.examples)
    return Verb(name, help, examples, run, add_arguments, verbs, topic)


def add_verbs(
    parser: CommandParser, verbs: Sequence[Verb], *, dest: str, is_listed: bool = True
) -> None:
    """Adds a parser for each verb: its help, its examples, and the options of all verbs.

    Pass False for `is_listed` if the description of the parser lists the verbs.
    """
    title, text = (f"{dest}s", None) if is_listed else ("verb", f"one of the {dest}s above")
    subparsers: Any = parser.add_subparsers(
        title=title, help=text, metavar=dest.upper(), dest=dest, action=_Subparsers
    )
    parser.set_defaults(**{_HELP: parser.format_help})
    for verb in verbs:
        subparsers.add_verb(verb, is_listed=is_listed)


class _Subparsers(_SubParsersAction):  # type: ignore[type-arg]  # not at run time
    """Builds the parser of a verb when it is needed: all of them take 25 ms."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._verbs: dict[str, Verb] = {}
        self.choices = self._name_parser_map = _LazyParsers(self._build)

    def add_verb(self, verb: Verb, *, is_listed: bool) -> None:
        self._verbs[verb.name] = verb
        self._name_parser_map[verb.name] = None
        if is_listed:
            text = verb.help.replace("%", "%%")
            self._choices_actions.append(self._ChoicesPseudoAction(verb.name, (), text))

    def _build(self, name: str) -> CommandParser:
        verb = self._verbs[name]
        lines = (f"  manage.py flags {line}" for line in verb.examples)
        subparser: CommandParser = self.add_parser(
            name,
            parents=[_common_options()],
            description=fill(f"{verb.help[0].upper()}{verb.help[1:]}. {verb.notes}"),
            epilog="\n".join(["examples:", *lines]),
            formatter_class=RawDescriptionHelpFormatter,
        )
        verb.add_arguments(subparser)
        return subparser


class _LazyParsers(dict[str, Any]):
    """The parsers by name, or None until they are built. Iterating over them builds them all."""

    def __init__(self, build: Callable[[str], CommandParser]) -> None:
        super().__init__()
        self._build = build

    def __getitem__(self, name: str) -> Any:
        if super().__getitem__(name) is None:
            # argparse refuses a name that it has already.
            del self[name]
            self._build(name)
        return super().__getitem__(name)

    def values(self) -> Any:
        return [self[name] for name in tuple(self)]

    def items(self) -> Any:
        return [(name, self[name]) for name in tuple(self)]


def print_help(options: Options, out: Output) -> NoReturn:
    """Prints the help of a command line that ends before a verb, and raises CommandError."""
    out.line(options[_HELP]().rstrip())
    what = "action" if "action" in options else "verb"
    raise CommandError(f"no {what}: pass one of the {what}s above", returncode=USAGE)


def _common_options() -> CommandParser:
    parser = CommandParser(add_help=False, argument_default=SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print one complete JSON document")
    for option in _DJANGO_OPTIONS:
        parser.add_argument(option, help=SUPPRESS)
    for switch in _DJANGO_SWITCHES:
        parser.add_argument(switch, action="store_true", help=SUPPRESS)
    parser.add_argument("-v", "--verbosity", type=int, help=SUPPRESS)
    return parser
