"""The headings under which the help lists the verbs."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Protocol

_GAP = 2
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


class _Listed(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def help(self) -> str: ...
    @property
    def topic(self) -> Topic: ...


def verbs_by_topic(verbs: Iterable[_Listed]) -> str:
    """Returns the verbs with their help, under the headings, as wide as the terminal."""
    listed = list(verbs)
    width = max(len(verb.name) for verb in listed) + _GAP
    parts = ["\n".join(_lines(topic, listed, width)) for topic in Topic]
    return "\n\n".join(part for part in parts if part)


def _lines(topic: Topic, listed: list[_Listed], width: int) -> Iterator[str]:
    chosen = [verb for verb in listed if verb.topic is topic]
    if chosen:
        yield f"{topic.value}:"
    columns = max(shutil.get_terminal_size().columns - width - 2 * _GAP, _MIN_WIDTH)
    for verb in chosen:
        first, *more = textwrap.wrap(verb.help, columns)
        yield f"{'':{_GAP}}{verb.name:{width}}{first}"
        yield from (f"{'':{_GAP + width}}{line}" for line in more)
