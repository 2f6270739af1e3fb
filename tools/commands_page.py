"""Writes the tables of verbs and the sections of actions in the reference page of commands."""

from __future__ import annotations

import os
from argparse import Action
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
from typing import Any

import django
from django.core.management.base import CommandParser
from django.utils.module_loading import import_string

from flagstaff.cli.verb import Topic, Verb

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "commands.md"
_HEADINGS = {
    "flag": "## ",
    "value": "### value ",
    "segment": "### segment ",
    "plan": "### plan ",
    "experiment": "### experiment ",
}
_WIDTH = 120
# Options that most verbs have: the page describes them once.
_COMMON = {
    "key",
    "keys",
    "reason",
    "actor",
    "actor_name",
    "dry_run",
    "wait",
    "no_wait",
    "expect",
    "expect_version",
    "yes",
}


def written(page: str) -> str:
    """Returns the page with its parts that the verbs give."""
    kinds = (*import_string("flagstaff.history.kinds.Kind"), "plan", "experiment")
    parts = {"verbs": _tables()} | {
        name: _sections(kind, heading)
        for kind, (name, heading) in zip(kinds, _HEADINGS.items(), strict=True)
    }
    for name, lines in parts.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        start = page.index(begin) + len(begin)
        page = page[:start] + "\n" + "\n".join(lines) + "\n" + page[page.index(end) :]
    return page


def _tables() -> Iterator[str]:
    for topic in Topic:
        yield f"**{topic.value}**\n\n| verb | what it does |\n|---|---|"
        for verb in import_string("flagstaff.cli.main.all_verbs")():
            for part in (verb.verbs or (verb,)) if verb.topic is topic else ():
                name = part.name if part is verb else f"{verb.name} {part.name}"
                yield f"| [`{name}`](#{name.replace(' ', '-')}) | {part.help} |"
        yield ""


def _sections(kind: Any, heading: str) -> Iterator[str]:
    for verb in import_string("flagstaff.cli.action_verbs.action_verbs")(kind):
        yield f"{heading}{verb.name}\n"
        text = f"{verb.help[0].upper()}{verb.help[1:]}. {verb.notes}".rstrip()
        yield f"{fill(text, _WIDTH)}\n"
        yield from _arguments(verb)
        lines = (f"$ python manage.py flags {line}" for line in verb.examples)
        yield "\n".join(("```sh", *lines, "```", ""))


def _arguments(verb: Verb) -> Iterator[str]:
    parser = CommandParser(add_help=False)
    verb.add_arguments(parser)
    # argparse has no other list of them.
    own = [one for one in parser._actions if one.dest not in _COMMON]  # noqa: SLF001
    for one in own:
        text = (one.help or "").replace("%%", "%")
        yield f"- {_name(one)}: {text}"
    if own:
        yield ""


def _name(one: Action) -> str:
    words = one.metavar or ", ".join(map(str, one.choices or ()))
    if not one.option_strings:
        return f"`{words or one.dest}`"
    return ", ".join(f"`{f'{option} {words}'.rstrip()}`" for option in one.option_strings)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.support.settings")
    django.setup()
    PAGE.write_text(written(PAGE.read_text()))
