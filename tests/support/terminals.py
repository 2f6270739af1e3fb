"""Runs `manage.py flags` in a pipe or on a terminal."""

import json
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import Any, NamedTuple
from unittest.mock import patch

from django.core.management import CommandError
from django.utils.timezone import override

from flagstaff.management.commands.flags import Command


class Ran(NamedTuple):
    """The exit status of a command, and its output."""

    status: int
    out: str
    err: str


class Terminal(StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def flags(*arguments: str) -> Ran:
    """Runs the command in this process, with pipes."""
    out, err = StringIO(), StringIO()
    return Ran(_run(arguments, out, err), out.getvalue(), err.getvalue())


def run(line: str) -> Ran:
    """Runs a line such as "off new_checkout", with pipes."""
    return flags(*shlex.split(line))


def ok(line: str) -> Ran:
    """Runs a line that succeeds."""
    ran = run(line)
    assert ran.status == 0, ran.err
    return ran


def refused(line: str, status: int, *messages: str) -> Ran:
    """Runs a line that ends with this exit status and prints these parts of messages as errors.

    The exit statuses are those of docs/reference/commands.md.
    """
    ran = run(line)
    assert ran.status == status, ran.err
    for message in messages:
        assert message in ran.err
    return ran


def asked(line: str, *answers: str | Callable[[], str]) -> Ran:
    """Runs a line on a terminal where a person types these answers, which are all asked for.

    A function is called when the question is asked, and returns the answer.
    """
    left = list(answers)

    def answer() -> str:
        text = left.pop(0)
        return text if isinstance(text, str) else text()

    with terminal(answer):
        ran = on_terminal(line)
    assert not left, ran.err
    return ran


@contextmanager
def terminal(answer: Callable[[], str]) -> Iterator[None]:
    """Gives the process a terminal where a person types these answers, whatever is asked."""
    with patch("sys.stdin", Terminal()), patch("builtins.input", answer):
        yield


def on_terminal(line: str) -> Ran:
    """Runs a line within `terminal`."""
    out, err = StringIO(), Terminal()
    status = _run(shlex.split(line), out, err, is_process=True)
    return Ran(status, out.getvalue(), err.getvalue())


def document(*arguments: str) -> Any:
    """Returns the document of --json, whose words are separate arguments."""
    ran = flags(*arguments, "--json")
    assert ran.out, ran.err
    return json.loads(ran.out)


def rows(*arguments: str) -> list[list[str]]:
    """Returns the rows of the table that a command prints in a pipe."""
    return table_rows(flags(*arguments).out)


def table_rows(printed: str) -> list[list[str]]:
    """Returns the fields between tabs, by line, without the header."""
    return [line.split("\t") for line in printed.splitlines()[1:]]


def json_word(value: object) -> str:
    """Returns a value as JSON that is one word of a line."""
    return shlex.quote(json.dumps(value))


def undo_of(printed: str) -> str:
    """Returns the line after `manage.py flags` of the one command that undoes a change."""
    lines: list[str] = re.findall(r"^undo: python manage\.py flags (.+)$", printed, re.MULTILINE)
    [line] = lines
    return line


def typed(line: str) -> str:
    """Returns what a terminal shows after a line such as "flags list | cut -f 1"."""
    command, _bar, rest = line.partition(" | ")
    arguments = shlex.split(command)[1:]
    if rest:
        data = flags(*arguments).out
        cut = subprocess.run(shlex.split(rest), input=data, stdout=-1, text=True, check=True)
        return cut.stdout
    screen = Terminal()
    _run(arguments, screen, screen)
    return screen.getvalue()


def _run(
    arguments: Sequence[str], out: StringIO, err: StringIO, *, is_process: bool = False
) -> int:
    with override("UTC"):
        try:
            # `call_command` builds the parsers of all verbs, for options that are keywords.
            command = Command()
            command._called_from_command_line = is_process  # type: ignore[attr-defined]
            options = vars(command.create_parser("", "flags").parse_args(list(arguments)))
            command.execute(*options.pop("args", ()), **options, stdout=out, stderr=err)
        except CommandError as error:
            err.write(f"CommandError: {error}\n")
            return error.returncode
        except SystemExit as ended:
            return int(ended.code or 0)
    return 0
