"""Writes the reference page of commands from what the verbs declare.

What is written by hand stays: all before the first verb, and in the section of a verb what follows
the line "by hand", such as the output of a command.
"""

from __future__ import annotations

import os
import re
from argparse import Action, _SubParsersAction
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill

import django
from django.core.management.base import CommandParser
from django.utils.module_loading import import_string

from flagstaff.cli.verb import APPS, Topic, Verb

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "commands.md"
_BY_HAND = "<!-- by hand -->\n"
_WIDTH = 120
# Options that most verbs have: the page describes them once.
_COMMON = {
    *("key", "keys", "reason", "actor", "actor_name", "dry_run", "wait", "no_wait", "expect"),
    *("expect_version", "yes"),
}


def written(page: str) -> str:
    """Returns the page with its parts that the verbs give."""
    begin, end = "<!-- verbs -->\n", "<!-- end of verbs -->\n"
    intro, _, rest = page.partition(begin)
    general, sections, old = rest.partition(end)[2].partition("<!-- sections -->\n")
    by_hand = {
        section.partition("\n")[0]: section.partition(_BY_HAND)[2].strip()
        for section in re.split(r"^##+ ", old, flags=re.MULTILINE)
    }
    tables = "\n".join(["", *_tables()])
    return (
        f"{intro}{begin}{tables}\n{end}{general}{sections}\n"
        + "\n\n".join(_sections(by_hand))
        + "\n"
    )


def _all_verbs() -> tuple[Verb, ...]:
    verbs: tuple[Verb, ...] = import_string("flagstaff.cli.main.all_verbs")()
    return verbs


def _tables() -> Iterator[str]:
    for topic in Topic:
        yield f"**{topic.value}**\n\n| verb | what it does |\n|---|---|"
        for verb in _all_verbs():
            for part in (verb.verbs or (verb,)) if verb.topic is topic else ():
                name = part.name if part is verb else f"{verb.name} {part.name}"
                yield f"| [`{name}`](#{name.replace(' ', '-')}) | {part.help} |"
        yield ""


def _sections(by_hand: dict[str, str]) -> Iterator[str]:
    for verb in _all_verbs():
        yield from _section(verb.name, verb, by_hand)
        for part in verb.verbs:
            yield from _section(f"{verb.name} {part.name}", part, by_hand)


def _section(name: str, verb: Verb, by_hand: dict[str, str]) -> Iterator[str]:
    yield f"{'###' if ' ' in name else '##'} {name}"
    yield from (fill(one, _WIDTH) for one in verb.paragraphs)
    if verb.name in APPS:
        yield f'Needs `"{APPS[verb.name]}"` in `INSTALLED_APPS`.'
    if arguments := "\n".join(_arguments(verb)):
        yield arguments
    if not verb.verbs:
        lines = (f"$ python manage.py flags {line}" for line in verb.examples)
        yield "\n".join(("```sh", *lines, "```"))
    if text := by_hand.get(name):
        yield f"{_BY_HAND}\n{text}"


def _arguments(verb: Verb) -> Iterator[str]:
    parser = CommandParser(add_help=False)
    verb.add_arguments(parser)
    # argparse has no other list of them.
    for one in parser._actions:  # noqa: SLF001
        if one.dest not in _COMMON and not isinstance(one, _SubParsersAction):
            yield f"- {_name(one)}: {(one.help or '').replace('%%', '%')}"


def _name(one: Action) -> str:
    words = one.metavar or ", ".join(map(str, one.choices or ()))
    if not one.option_strings:
        return f"`{words or one.dest}`"
    if one.nargs == "?":
        words = f"[{words}]"
    return ", ".join(f"`{f'{option} {words}'.rstrip()}`" for option in one.option_strings)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.support.settings")
    django.setup()
    PAGE.write_text(written(PAGE.read_text()))
