"""A verb of `manage.py flags`: what it declares, and the parser and the help made from it."""

from __future__ import annotations

import shutil
import sys
from argparse import SUPPRESS, Action, ArgumentError, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from textwrap import fill, wrap
from typing import TYPE_CHECKING, Any, TypeAlias

from django.core.management.base import CommandParser

from flagstaff._text import described, most_similar
from flagstaff.cli.errors import USAGE
from flagstaff.cli.output import Output, error_as_json

if TYPE_CHECKING:
    from flagstaff.actions import Done

#: The parsed command line, as argparse gives it.
Options: TypeAlias = Mapping[str, Any]
#: Adds an argument, or several that belong together, to the parser of a verb.
AddArguments: TypeAlias = Callable[[Any], object]
#: Returns what it has written, so that the frame says what takes it back and waits for the workers.
RunVerb: TypeAlias = "Callable[[Options, Output], Done | None]"

# The options of every Django command, so that they may also follow the verb.
_DJANGO_OPTIONS = (("--settings",), ("--pythonpath",), ("-v", "--verbosity"))
_DJANGO_SWITCHES = ("--traceback", "--no-color", "--force-color")
# The help is not made narrower than this.
_MIN_WIDTH = 20


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
    run: RunVerb
    #: Adds the arguments to the parser of the verb.
    add_arguments: AddArguments = lambda _parser: None
    #: The verbs below this one, such as `set` below `value`.
    verbs: tuple[Verb, ...] = ()
    #: The heading under which the help lists the verb.
    topic: Topic = Topic.EVERYDAY
    #: What else to know, in paragraphs.
    notes: str = ""


def verb(
    *examples: str,
    name: str = "",
    topic: Topic = Topic.EVERYDAY,
    arguments: Sequence[AddArguments] = (),
) -> Callable[[RunVerb], Verb]:
    """Declares a function as a verb, by default of its name. Its docstring is help and notes.

    @verb("workers", "workers --json", topic=Topic.INCIDENT)
    def workers(options: Options, out: Output) -> None:
        \"\"\"List the workers.\"\"\"
        out.records(_COLUMNS, read_workers())
    """

    def declare(run: RunVerb) -> Verb:
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
        parser.add_verbs(by_name, dest="action")

    def run(options: Options, out: Output) -> Done | None:
        return by_name[options["action"]].run(options, out)

    examples = tuple(line for verb in verbs for line in verb.examples)
    return Verb(name, help, examples, run, add_arguments, verbs, topic)


def option(name: str, text: str, metavar: str | None = None, **how: Any) -> AddArguments:
    """Declares an argument with its help. `how` is as for `add_argument` of argparse."""
    return lambda parser: parser.add_argument(name, help=text, metavar=metavar, **how)


def switch(name: str, text: str, **how: Any) -> AddArguments:
    """Declares an option without a value."""
    return lambda parser: parser.add_argument(name, help=text, action="store_true", **how)


def together(*arguments: AddArguments) -> AddArguments:
    """Declares several arguments."""
    return lambda parser: [add(parser) for add in arguments]


def one_of(*arguments: AddArguments, required: bool = False) -> AddArguments:
    """Declares arguments of which at most one can be given, or exactly one."""
    return lambda parser: together(*arguments)(
        parser.add_mutually_exclusive_group(required=required)
    )


class VerbParser(CommandParser):
    """A parser whose errors are JSON with --json, and name a similar verb."""

    #: Whether options may stand between FILE and the keys.
    has_keys_anywhere = False
    #: Returns the list of verbs, for the end of the description.
    list_verbs: Callable[[], str] = str

    def add_verbs(self, verbs: Mapping[str, Verb], *, dest: str) -> None:
        """Adds a parser for each verb, and lists the verbs in the help."""
        subparsers: Any = self.add_subparsers(
            title=dest,
            help=f"one of the {dest}s above",
            metavar=dest.upper(),
            dest=dest,
            # Without a verb, the command prints its help.
            required=dest != "verb",
        )
        prefix = subparsers._prog_prefix  # noqa: SLF001
        parsers = _Parsers(verbs, prefix, is_process=self.called_from_command_line)
        subparsers.choices = subparsers._name_parser_map = parsers  # noqa: SLF001
        self.list_verbs = lambda: _listed(verbs, dest)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parses the arguments. argparse takes no keys after an option, unless they are mixed."""
        if not self.has_keys_anywhere:
            return super().parse_known_args(args, namespace)
        # Calls this method again, in some versions of Python.
        self.has_keys_anywhere = False
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self.has_keys_anywhere = True

    def format_help(self) -> str:
        """Returns the help. Only here are all verbs needed."""
        about, self.list_verbs = f"\n\n{self.list_verbs()}".rstrip(), str
        self.description = f"{self.description}{about}"
        return super().format_help()

    def error(self, message: str) -> Any:
        """Prints the error, as JSON with --json, and ends the process."""
        # An error means that there are no parsed arguments.
        if self.called_from_command_line and "--json" in sys.argv:
            self.exit(USAGE, f"{error_as_json(message, USAGE)}\n")
        return super().error(message)

    def _check_value(self, action: Action, value: Any) -> None:
        # Only verbs have parsers as choices.
        if isinstance(action.choices, _Parsers) and value not in action.choices:
            noun, similar = action.dest, most_similar(value, action.choices)
            advice = f"did you mean {similar!r}?" if similar else f"--help lists all {noun}s"
            raise ArgumentError(None, f"there is no {noun} {value!r}; {advice}")
        super()._check_value(action, value)


def _listed(verbs: Mapping[str, Verb], dest: str) -> str:
    """Returns verbs with their help, as wide as the terminal; all verbs under headings."""
    indent = max(map(len, verbs)) + 4
    width = max(shutil.get_terminal_size().columns - indent - 2, _MIN_WIDTH)
    lists: dict[str, list[str]] = {topic.value: [] for topic in Topic}
    for verb in verbs.values():
        text = f"\n{'':{indent}}".join(wrap(verb.help, width))
        heading = verb.topic.value if dest == "verb" else f"{dest}s"
        lists.setdefault(heading, []).append(f"  {verb.name:{indent - 2}}{text}")
    return "\n\n".join(
        "\n".join([f"{heading}:", *lines]) for heading, lines in lists.items() if lines
    )


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
        first, *more = verb.notes.split("\n\n")
        about = f"{verb.help[0].upper()}{verb.help[1:]}. {first}".rstrip()
        parser = VerbParser(
            prog=f"{self._prefix} {name}",
            parents=[_common_options()],
            description="\n\n".join(map(fill, (about, *more))),
            epilog="\n".join(
                ["examples:", *(f"  manage.py flags {example}" for example in verb.examples)]
            ),
            formatter_class=RawDescriptionHelpFormatter,
            called_from_command_line=self._is_process,
        )
        verb.add_arguments(parser)
        return parser


def _common_options() -> CommandParser:
    parser = CommandParser(add_help=False, argument_default=SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print one complete JSON document")
    for names in _DJANGO_OPTIONS:
        parser.add_argument(*names, help=SUPPRESS)
    for name in _DJANGO_SWITCHES:
        parser.add_argument(name, action="store_true", help=SUPPRESS)
    return parser
