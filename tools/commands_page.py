"""Writes the tables of verbs in the reference page of commands, from what the verbs declare."""

from __future__ import annotations

import os
from argparse import Action, _SubParsersAction
from collections.abc import Iterator, Mapping
from pathlib import Path

import django
from django.core.management.base import CommandParser
from django.utils.module_loading import import_string

from flagstaff.cli.verb import Topic, Verb

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "commands.md"
_BEGIN, _END = "<!-- verbs -->\n", "<!-- end of verbs -->\n"
# Options that most verbs have: the page describes them once.
_COMMON = {
    *("reason", "actor", "actor_name", "dry_run", "wait", "no_wait", "expect", "expect_version"),
    *("yes", "at", "request"),
}
# Options that are not repeated if a later verb has all of them.
_MANY = 3


def written(page: str) -> str:
    """Returns the page with the tables of all verbs."""
    intro, _, rest = page.partition(_BEGIN)
    tables = "\n".join(_tables())
    return f"{intro}{_BEGIN}\n{tables}\n{_END}{rest.partition(_END)[2]}"


def _verbs() -> Mapping[str, Verb]:
    # After `django.setup`.
    verbs: Mapping[str, Verb] = import_string("flagstaff.cli.main.Verbs")()
    return verbs


def single_verbs() -> Iterator[tuple[str, Verb]]:
    """Yields each verb that can be run, by its full name such as "value set"."""
    for verb in _verbs().values():
        if not verb.verbs:
            yield verb.name, verb
        yield from ((f"{verb.name} {part.name}", part) for part in verb.verbs)


def _tables() -> Iterator[str]:
    verbs = _verbs()
    shown: dict[tuple[str, ...], str] = {}
    for topic in Topic:
        yield f"## {topic.value}\n\n| verb | what it does |\n|---|---|"
        for name, verb in single_verbs():
            if verbs[name.partition(" ")[0]].topic is topic:
                yield _row(name, verb, shown)
        yield ""


def _row(name: str, verb: Verb, shown: dict[tuple[str, ...], str]) -> str:
    """Returns the row of a verb. It names an earlier verb that has the same options."""
    arguments = [*_arguments(verb)]
    options = tuple(argument for argument in arguments if argument.startswith("[--"))
    help_text = verb.help
    for others, other in shown.items():
        if set(others) <= set(options):
            arguments = [argument for argument in arguments if argument not in others]
            help_text += f"; with the options of `{other}`"
    if len(options) > _MANY:
        shown[options] = name
    return f"| `{' '.join([name, *arguments])}` | {help_text} |"


def _arguments(verb: Verb) -> Iterator[str]:
    parser = CommandParser(add_help=False)
    verb.add_arguments(parser)
    # argparse has no other list of them.
    for action in parser._actions:  # noqa: SLF001
        if action.dest not in _COMMON and not isinstance(action, _SubParsersAction):
            yield _argument(action)


def _argument(action: Action) -> str:
    words = str(action.metavar or "/".join(map(str, action.choices or ())))
    if not words and action.nargs != 0:
        words = action.dest.upper()
    if not action.option_strings:
        words = words or action.dest.upper()
        many = " …" if action.nargs in {"*", "+"} else ""
        return f"[{words}{many}]" if action.nargs in {"*", "?"} else f"{words}{many}"
    if action.nargs == "?":
        words = f"[{words}]"
    text = f"{action.option_strings[0]} {words}".rstrip()
    return text if action.required else f"[{text}]"


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.support.settings")
    django.setup()
    PAGE.write_text(written(PAGE.read_text()))
