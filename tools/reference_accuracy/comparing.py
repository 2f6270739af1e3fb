"""Compares what the search found with what stands in the code."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from tools.reference_accuracy.truth import Place

__all__ = ["Comparison", "Find", "compared"]


@dataclass(frozen=True)
class Find:
    """One result of the search, with a path relative to the code base."""

    path: str
    line: int
    kind: str
    key: str | None
    code: str


@dataclass
class Comparison:
    """The places that were found or missed, and the finds that are wrong."""

    right: list[tuple[Place, Find]] = field(default_factory=list)
    missed: list[Place] = field(default_factory=list)
    wrong: list[Find] = field(default_factory=list)

    @property
    def precision(self) -> float:
        """The share of the finds that are right."""
        return _share(len(self.right), len(self.wrong))

    @property
    def recall(self) -> float:
        """The share of the places that were found."""
        return _share(len(self.right), len(self.missed))

    @property
    def other_kinds(self) -> list[tuple[Place, Find]]:
        """The places that were found as places of another kind."""
        return [(place, find) for place, find in self.right if place.kind != find.kind]

    def by_kind(self) -> dict[str, tuple[int, int, int]]:
        """Returns the numbers of right, missed and wrong places of each kind."""
        right = Counter(place.kind for place, _ in self.right)
        missed = Counter(place.kind for place in self.missed)
        wrong = Counter(find.kind for find in self.wrong)
        return {k: (right[k], missed[k], wrong[k]) for k in sorted({*right, *missed, *wrong})}

    def __add__(self, other: Comparison) -> Comparison:
        return Comparison(
            self.right + other.right, self.missed + other.missed, self.wrong + other.wrong
        )


def compared(places: Iterable[Place], finds: Iterable[Find]) -> Comparison:
    """Matches finds with places by path, line and key."""
    by_path: defaultdict[str, list[Place]] = defaultdict(list)
    for place in places:
        by_path[place.path].append(place)
    result, matched = Comparison(), dict[int, Find]()
    for find in finds:
        candidates = [
            place
            for place in by_path[find.path]
            if place.line <= find.line <= place.last_line and place.accepts(find.key)
        ]
        free = [place for place in candidates if id(place) not in matched]
        if free:
            # A place that must be found first, and one with exactly this key.
            best = min(free, key=lambda place: (place.optional, place.key != find.key))
            matched[id(best)] = find
            if not best.optional:
                result.right.append((best, find))
        elif not any(
            place.optional or matched[id(place)].line != find.line for place in candidates
        ):
            result.wrong.append(find)
    for listed in by_path.values():
        result.missed += [p for p in listed if id(p) not in matched and not p.optional]
    return result


def _share(part: int, other: int) -> float:
    return part / (part + other) if part + other else 1.0
