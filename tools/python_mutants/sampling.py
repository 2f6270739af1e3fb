"""Draws lines of the package, and one mutation of each: as many of every room as its share."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from tools.python_mutants.mutations import Mutation, mutations_of

__all__ = ["Mutant", "draw"]

LEFT_OUT = {"migrations", "locale"}
# One of so many mutants is tested without its change, too: it must survive.
CONTROL = 20


class Mutant(NamedTuple):
    """One mutation of one file, whose path is relative to the package."""

    file: str
    room: str
    mutation: Mutation

    @property
    def name(self) -> str:
        """Returns file, line and change."""
        return f"{self.file}:{self.mutation.line} {self.mutation.name}: {self.mutation.text[:60]}"


def draw(package: Path, seed: str, lines: int) -> list[Mutant]:
    """Returns about `lines` mutants: the same ones for the same package and seed."""
    by_room: dict[str, list[tuple[str, list[Mutation]]]] = defaultdict(list)
    for path in sorted(package.rglob("*.py")):
        file = path.relative_to(package)
        if LEFT_OUT.isdisjoint(file.parts):
            room = file.parts[0] if len(file.parts) > 1 else "(top level)"
            by_room[room] += _by_line(str(file), path.read_text(encoding="utf-8"))
    total = sum(len(found) for found in by_room.values())
    chosen = []
    for room, found in sorted(by_room.items()):
        number = min(len(found), max(3, round(lines * len(found) / total)))
        chooser = random.Random(f"{seed} {room}")  # noqa: S311 (the same draw for the same seed)
        for name, mutations in chooser.sample(found, number):
            # Most lines have a text. Another change of the line says more about its tests.
            others = [mutation for mutation in mutations if mutation.name != "text"]
            chosen.append(Mutant(name, room, chooser.choice(others or mutations)))
    return chosen + [_control(mutant, package) for mutant in chosen[::CONTROL]]


def _control(mutant: Mutant, package: Path) -> Mutant:
    change = mutant.mutation
    text = (package / mutant.file).read_bytes()[change.start : change.end].decode()
    return mutant._replace(room="(control)", mutation=change._replace(text=text, name="control"))


def _by_line(file: str, source: str) -> list[tuple[str, list[Mutation]]]:
    lines: dict[int, list[Mutation]] = defaultdict(list)
    for mutation in mutations_of(source):
        lines[mutation.line].append(mutation)
    return [(file, mutations) for _line, mutations in sorted(lines.items())]
