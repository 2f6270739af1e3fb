"""A verb of `manage.py flags`: what it declares, and the parser and the help made from it."""

from __future__ import annotations

import shutil
import sys
from argparse import SUPPRESS, Action, ArgumentError, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from textwrap import fill, wrap
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from django.core.management.base import CommandError, CommandParser

from flagstaff._words.cells import Record
from flagstaff._words.similar import most_similar
from flagstaff._words.text import described
from flagstaff.cli.errors import USAGE
from flagstaff.cli.output import Output, error_as_json

if TYPE_CHECKING:
    from flagstaff.actions import Done
    from flagstaff.changes import Changed, Undo

#: The parsed command line, as argparse gives it.
Options: TypeAlias = Mapping[str, Any]
#: Adds an argument, or several that belong together, to the parser of a verb.
Argument: TypeAlias = Callable[[Any], object]

# The options of every Django command, so that they may also follow the verb.
_DJANGO_OPTIONS = ("--settings", "--pythonpath")
_DJANGO_SWITCHES = ("--traceback", "--no-color", "--force-color")
# The option with the function that returns the help.
_HELP = "format_help"
# The help is not made narrower than this.
_MIN_WIDTH = 20

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


@dataclass(frozen=True)
class Changes:
    """The rows that a verb has changed in one transaction."""

    rows: Sequence[Changed]
    #: Of an undo of any rows, the further members of the document.
    undone: Record | None = None


@dataclass(frozen=True)
class Written:
    """What else a verb has written."""

    #: For --json.
    document: Record
    #: False if there was nothing to change.
    written: bool
    messages: Sequence[str] = ()
    undo: Undo | None = None
    #: The error after the receipt, if a part was refused.
    problem: CommandError | None = None


#: What a verb has written, so that `cli.receipt` says what takes it back and waits for the workers.
Result: TypeAlias = "Changes | Done | Written | None"
Run: TypeAlias = Callable[[Options, Output], Result]


class Topic(Enum):
    """What verbs are for, in the order of the help. The value is the heading."""

    INCIDENT = "In an incident"
    EVERYDAY = "Everyday"
    VALUES = "Values and segments"
    ROLLOUTS = "Rollouts and experiments"
    FILES = "Files"
    UPKEEP = "Upkeep"


@dataclass(frozen=True)
class Verb:
    """One verb, such as `off`."""

    name: str
    help: str
    #: Command lines, without "manage.py flags".
    examples: tuple[str, ...]
    run: Run
    #: Adds the arguments to the parser of the verb.
    add_arguments: Argument = lambda _parser: None
    #: The verbs below this one, such as `set` below `value`.
    verbs: tuple[Verb, ...] = ()
    #: The heading under which the help lists the verb.
    topic: Topic = Topic.EVERYDAY
    #: What else to know, in paragraphs.
    notes: str = ""

    @property
    def paragraphs(self) -> Iterator[str]:
        """The help as a sentence, with the first of the notes, and the other paragraphs."""
        first, *more = self.notes.split("\n\n")
        yield f"{self.help[0].upper()}{self.help[1:]}. {first}".rstrip()
        yield from more


def verb(
    *examples: str,
    name: str = "",
    topic: Topic = Topic.EVERYDAY,
    arguments: Sequence[Argument] = (),
) -> Callable[[Run], Verb]:
    """Declares a function as a verb, by default of its name. Its docstring is help and notes.

    @verb("workers", "workers --json", topic=Topic.INCIDENT)
    def workers(options: Options, out: Output) -> None:
        \"\"\"List the workers.\"\"\"
        out.records(_COLUMNS, read_workers())
    """

    def declare(run: Run) -> Verb:
        own_name, text, notes = described(run)
        add = together(*arguments)
        return Verb(name or own_name, text, examples, run, add, topic=topic, notes=notes)

    return declare


def verb_group(
    name: str,
    help: str,  # noqa: A002 (as in argparse)
    *verbs: Verb,
    topic: Topic = Topic.EVERYDAY,
) -> Verb:
    """Returns a verb that has verbs of its own, such as `value`."""
    by_name = {verb.name: verb for verb in verbs}

    def add_arguments(parser: VerbParser) -> None:
        add_verbs(parser, by_name, dest="action")

    def run(options: Options, out: Output) -> Result:
        if options["action"] is None:
            print_help(options, out)
        return by_name[options["action"]].run(options, out)

    examples = tuple(line for verb in verbs for line in verb.examples)
    return Verb(name, help, examples, run, add_arguments, verbs, topic)


def option(name: str, text: str, metavar: str | None = None, **how: Any) -> Argument:
    """Declares an argument with its help. `how` is as for `add_argument` of argparse."""
    return lambda parser: parser.add_argument(name, help=text, metavar=metavar, **how)


def switch(name: str, text: str, **how: Any) -> Argument:
    """Declares an option without a value."""
    return lambda parser: parser.add_argument(name, help=text, action="store_true", **how)


def together(*arguments: Argument) -> Argument:
    """Declares several arguments."""
    return lambda parser: [add(parser) for add in arguments]


def one_of(*arguments: Argument, required: bool = False) -> Argument:
    """Declares arguments of which at most one can be given, or exactly one."""
    return lambda parser: together(*arguments)(
        parser.add_mutually_exclusive_group(required=required)
    )


class VerbParser(CommandParser):
    """A parser whose errors are JSON with --json, and name a similar verb."""

    #: Returns the list of verbs, for the end of the description.
    list_verbs: Callable[[], str] | None = None

    def format_help(self) -> str:
        """Returns the help. Only here are all verbs needed."""
        if self.list_verbs is not None:
            self.description = f"{self.description}\n\n{self.list_verbs()}"
            self.list_verbs = None
        return super().format_help()

    def error(self, message: str) -> Any:
        """Prints the error, as JSON with --json, and ends the process."""
        # An error means that there are no parsed arguments.
        if self.called_from_command_line and "--json" in sys.argv:
            self.exit(USAGE, f"{error_as_json(message, USAGE)}\n")
        return super().error(message)

    def _check_value(self, action: Action, value: Any) -> None:
        # Only verbs have parsers as choices.
        verbs = action.choices if isinstance(action.choices, _Parsers) else None
        if verbs is not None and value not in verbs:
            what = action.dest
            if what == "verb" and value in APPS:
                text = f'{value!r} needs "{APPS[value]}" in INSTALLED_APPS; add it, and run '
                raise ArgumentError(None, f'{text}"manage.py migrate"')
            similar = most_similar(value, verbs)
            advice = f"did you mean {similar!r}?" if similar else f"--help lists all {what}s"
            raise ArgumentError(None, f"there is no {what} {value!r}; {advice}")
        super()._check_value(action, value)


def add_verbs(parser: VerbParser, verbs: Mapping[str, Verb], *, dest: str) -> None:
    """Adds a parser for each verb, and lists the verbs in the help."""
    subparsers: Any = parser.add_subparsers(
        title=dest, help=f"one of the {dest}s above", metavar=dest.upper(), dest=dest
    )
    prefix, called = subparsers._prog_prefix, parser.called_from_command_line  # noqa: SLF001
    parsers = _Parsers(verbs, prefix, is_process=called)
    subparsers.choices = subparsers._name_parser_map = parsers  # noqa: SLF001
    parser.set_defaults(**{_HELP: parser.format_help})
    parser.list_verbs = partial(_listed, verbs, dest)


def _listed(verbs: Mapping[str, Verb], dest: str) -> str:
    """Returns verbs with their help, as wide as the terminal; all verbs under headings."""
    indent = max(map(len, verbs)) + 4
    width = max(shutil.get_terminal_size().columns - indent - 2, _MIN_WIDTH)
    lists: dict[str, list[str]] = {}
    for one in verbs.values():
        text = f"\n{'':{indent}}".join(wrap(one.help, width))
        heading = one.topic.value if dest == "verb" else f"{dest}s"
        lists.setdefault(heading, []).append(f"  {one.name:{indent - 2}}{text}")
    headings = (topic.value for topic in Topic) if dest == "verb" else lists
    return "\n\n".join("\n".join([f"{one}:", *lists[one]]) for one in headings if one in lists)


class _Parsers(Mapping[str, CommandParser]):
    """The parsers of verbs by name, each built when it is needed: all of them take 25 ms."""

    def __init__(self, verbs: Mapping[str, Verb], prefix: str, *, is_process: bool | None) -> None:
        self._verbs, self._prefix, self._is_process = verbs, prefix, is_process

    def __iter__(self) -> Iterator[str]:
        return iter(self._verbs)

    def __len__(self) -> int:
        return len(self._verbs)

    def __contains__(self, name: object) -> bool:
        # The default builds the parser.
        return name in self._verbs

    def __getitem__(self, name: str) -> CommandParser:
        verb = self._verbs[name]
        parser = VerbParser(
            prog=f"{self._prefix} {name}",
            parents=[_common_options()],
            description="\n\n".join(map(fill, verb.paragraphs)),
            epilog="\n".join(["examples:", *(f"  manage.py flags {e}" for e in verb.examples)]),
            formatter_class=RawDescriptionHelpFormatter,
            called_from_command_line=self._is_process,
        )
        verb.add_arguments(parser)
        return parser


def _common_options() -> CommandParser:
    parser = CommandParser(add_help=False, argument_default=SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print one complete JSON document")
    for name in _DJANGO_OPTIONS:
        parser.add_argument(name, help=SUPPRESS)
    for name in _DJANGO_SWITCHES:
        parser.add_argument(name, action="store_true", help=SUPPRESS)
    parser.add_argument("-v", "--verbosity", type=int, help=SUPPRESS)
    return parser


def print_help(options: Options, out: Output) -> NoReturn:
    """Prints the help of a command line that ends before a verb, and raises CommandError."""
    out.line(options[_HELP]().rstrip())
    what = "action" if "action" in options else "verb"
    raise CommandError(f"no {what}: pass one of the {what}s above", returncode=USAGE)
